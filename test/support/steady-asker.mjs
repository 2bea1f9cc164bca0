// Asks for a page over HTTP at a fixed rate, whatever the answers take, each time by a connection of its own:
//   steady-asker.mjs RATE PORT ADDRESS...      RATE a second in all, of the addresses in turn
// Says `ready`. At SIGTERM it asks no more, waits for what is open, and prints one line of JSON:
// {"asked", "answered", "seconds", "failures": [how each of the others was lost]}
import { get } from 'node:http';

const [rate, port, ...addresses] = process.argv.slice(2);
const LIMIT_MS = 20_000;
const TICK_MS = 5;
const failures = [];
let [asked, answered] = [0, 0];

function ask(address) {
  return new Promise((resolve) => {
    const lost = (why) => {
      failures.push(`${new Date().toISOString()} ${address}:${port}: ${why}`);
      resolve();
    };
    const request = get({ host: address, port, agent: false }, (response) => {
      response.once('error', (err) => lost(err.code));
      response.once('end', () => {
        if (response.statusCode !== 200) return lost(`status ${response.statusCode}`);
        answered += 1;
        resolve();
      });
      response.resume();
    });
    request.setTimeout(LIMIT_MS, () => request.destroy(new Error('no answer')));
    request.once('error', (err) => lost(err.code ?? err.message));
  });
}

const open = new Set();
const beganMs = performance.now();
const seconds = () => (performance.now() - beganMs) / 1000;
// By the clock: ticks that came late are made up for.
const ticker = setInterval(() => {
  for (const due = Math.floor(seconds() * Number(rate)); asked < due; asked++) {
    const one = ask(addresses[asked % addresses.length]).then(() => open.delete(one));
    open.add(one);
  }
}, TICK_MS);
process.once('SIGTERM', () => {
  clearInterval(ticker);
  const took = seconds();
  void Promise.all(open).then(() => {
    console.log(JSON.stringify({ asked, answered, seconds: took, failures }));
    process.exit(0);
  });
});
console.log('ready');
