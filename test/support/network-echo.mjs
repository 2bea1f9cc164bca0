// A task for network tests: HTTP on port 80 (or as given) and UDP on the next one answer "<name> <client address>".
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';

const [, , name, port = '80'] = process.argv;
const plain = (address) => address.replace(/^::ffff:/, '');
createServer((request, response) => {
  response.setHeader('connection', 'close');
  response.end(`${name} ${plain(request.socket.remoteAddress)}\n`);
}).listen(Number(port), '0.0.0.0');
const udp = createSocket('udp4');
udp.on('message', (_message, from) => udp.send(`${name} ${from.address}\n`, from.port, from.address));
udp.bind(Number(port) + 1, '0.0.0.0', () => console.log('ready'));
