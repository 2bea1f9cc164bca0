// A task for network tests: HTTP on port 80 (or as given) and UDP on the next one answer "<name> <client address>".
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';

const [, , name, port = '80'] = process.argv;
const plain = (address) => address.replace(/^::ffff:/, '');
createServer((request, response) => {
  response.setHeader('connection', 'close');
  response.end(request.url === '/bulk' ? 'x'.repeat(300_000) : `${name} ${plain(request.socket.remoteAddress)}\n`);
}).listen(Number(port), '::');
const udp = createSocket('udp4');
udp.on('message', (_message, from) => udp.send(`${name} ${from.address}\n`, from.port, from.address));
udp.bind(Number(port) + 1, '0.0.0.0', () => console.log('ready'));
const udp6 = createSocket({ type: 'udp6', ipv6Only: true });
udp6.on('message', (_message, from) => udp6.send(`${name} ${from.address}\n`, from.port, from.address));
udp6.bind(Number(port) + 1, '::');
