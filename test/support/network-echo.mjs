// A task for network tests: HTTP on port 80 and UDP on port 81 answer "<name> <client address>".
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';

const name = process.argv[2];
const plain = (address) => address.replace(/^::ffff:/, '');
createServer((request, response) => {
  response.setHeader('connection', 'close');
  response.end(`${name} ${plain(request.socket.remoteAddress)}\n`);
}).listen(80, '0.0.0.0');
const udp = createSocket('udp4');
udp.on('message', (_message, from) => udp.send(`${name} ${from.address}\n`, from.port, from.address));
udp.bind(81, '0.0.0.0', () => console.log('ready'));
