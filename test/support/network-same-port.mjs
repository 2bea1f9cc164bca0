// A client that uses one port of its own towards two addresses: network-same-port.mjs PORT OWN_PORT ADDRESS ADDRESS
// Prints what it is answered over TCP (the first connection begins first and ends last), then over UDP on the next port.
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

const [port, localPort, first, second] = process.argv.slice(2);
const later = (ms, what) => new Promise((resolve) => setTimeout(resolve, ms, what));

const opened = (host) =>
  new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), localPort: Number(localPort) });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
const answered = (socket) =>
  new Promise((resolve) => {
    let text = '';
    socket.on('data', (chunk) => (text += chunk));
    socket.on('error', (err) => resolve(err.code));
    socket.on('end', () => resolve(text.split('\r\n\r\n')[1]?.trim()));
    socket.write('\r\n');
  });
const begun = async (host) => {
  const socket = await opened(host);
  socket.on('error', () => {});
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n');
  await later(200);
  return socket;
};

async function tcp() {
  const one = await begun(first);
  const two = await begun(second);
  console.log(await Promise.race([answered(two), later(3000, 'timeout')]));
  console.log(await Promise.race([answered(one), later(3000, 'timeout')]));
}

async function udp() {
  const socket = createSocket(first.includes(':') ? 'udp6' : 'udp4');
  await new Promise((resolve) => socket.bind(Number(localPort), resolve));
  const asked = async (...addresses) => {
    const answers = [];
    const hear = (message, from) => answers.push(`${String(message).trim()} from ${from.address}`);
    socket.on('message', hear);
    for (const address of addresses) socket.send('x', Number(port) + 1, address);
    await later(500);
    socket.off('message', hear);
    return answers.sort().join(', ');
  };
  console.log(await asked(first, second));
  console.log(await asked(first));
}

await tcp().catch((err) => console.log(err.code));
await udp();
process.exit();
