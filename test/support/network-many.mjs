// Many connections, long ones and floods, for network tests. One JSON line or word on standard output.
//   serve PORT                     echoes every connection and datagram; prints `ready`
//   open ADDRESS PORT COUNT        holds COUNT connections at once, then asks each one
//   hold ADDRESS PORT IDLE_MS      asks, says nothing for IDLE_MS, asks again on the same connection
//   flood ADDRESS PORT FLOWS       datagrams over so many flows until it is killed; prints `ready` first
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';

const [mode, ...args] = process.argv.slice(2);
/** Handshakes under way at once: a queue of connections that are not accepted yet has an end. */
const DIALLED_MAX = 200;
const ANSWER_LIMIT_MS = 30_000;

function dial(address, port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port: Number(port) });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      socket.on('error', () => socket.destroy());
      resolve(socket);
    });
  });
}

/** True when the other end echoes. */
function ask(socket) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), ANSWER_LIMIT_MS);
    const done = (answered) => {
      clearTimeout(timer);
      resolve(answered);
    };
    socket.once('data', (data) => done(String(data) === 'x'));
    socket.once('close', () => done(false));
    socket.write('x');
  });
}

async function open(address, port, count) {
  const sockets = [];
  const failures = new Map();
  let left = Number(count);
  const dialler = async () => {
    while (left-- > 0) {
      try {
        sockets.push(await dial(address, port));
      } catch (err) {
        failures.set(err.code, (failures.get(err.code) ?? 0) + 1);
      }
    }
  };
  await Promise.all(Array.from({ length: DIALLED_MAX }, dialler));
  const answers = await Promise.all(sockets.map(ask));
  const answered = answers.filter(Boolean).length;
  console.log(JSON.stringify({ opened: sockets.length, answered, failures: [...failures] }));
  process.exit(0);
}

async function hold(address, port, idleMs) {
  const socket = await dial(address, port);
  const first = await ask(socket);
  await new Promise((resolve) => setTimeout(resolve, Number(idleMs)));
  console.log(JSON.stringify({ first, second: await ask(socket), port: socket.localPort }));
  process.exit(0);
}

function flood(address, port, flows) {
  const sockets = Array.from({ length: Number(flows) }, () => {
    const socket = createSocket('udp4');
    socket.on('error', () => {}); // nobody listens there any more: goes on
    socket.connect(Number(port), address);
    return socket;
  });
  setInterval(() => {
    for (const socket of sockets) {
      try {
        socket.send('x');
      } catch {} // not connected yet, or refused by the datagram before
    }
  }, 1);
  console.log('ready');
}

function serve(port) {
  const udp = createSocket('udp4');
  udp.on('message', (data, from) => udp.send(data, from.port, from.address));
  udp.bind(Number(port));
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen({ port: Number(port), backlog: 4096 }, () => console.log('ready'));
}

const modes = { serve, open, hold, flood };
await modes[mode](...args);
