// Sends one datagram and prints the answer: network-udp.mjs ADDRESS PORT [SOURCE_PORT]
import { createSocket } from 'node:dgram';

const [address, port, sourcePort = '0'] = process.argv.slice(2);
const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
const timer = setTimeout(() => {
  console.log('timeout');
  process.exit(1);
}, 2000);
socket.on('error', (err) => {
  console.log(err.code);
  process.exit(1);
});
socket.on('message', (message, from) => {
  clearTimeout(timer);
  console.log(`${String(message).trim()} from ${from.address}`);
  socket.close();
});
socket.bind(Number(sourcePort), () => socket.connect(Number(port), address, () => socket.send('x')));
