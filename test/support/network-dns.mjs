// DNS in namespaces. Ask: network-dns.mjs ask SERVER NAME TYPE udp|tcp. Send a response, then ask: network-dns.mjs
// respond SERVER NAME TYPE; prints which ids were answered. Serve on port 53: network-dns.mjs serve ADDRESS
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import dnsPacket from 'dns-packet';

const [mode, server, name, type, transport] = process.argv.slice(2);

/** Of `large.example` a datagram says only that there is more. */
function reply(query, isDatagram) {
  const { id, questions } = dnsPacket.decode(query);
  if (questions[0].name === 'large.example') {
    const flags = dnsPacket.RECURSION_AVAILABLE | (isDatagram ? dnsPacket.TRUNCATED_RESPONSE : 0);
    const answers = Array.from({ length: isDatagram ? 0 : 60 }, (_, i) => {
      return { type: 'A', name: 'large.example', ttl: 60, data: `203.0.113.${i + 1}` };
    });
    return dnsPacket.encode({ type: 'response', id, flags, questions, answers });
  }
  const known = questions[0].name === 'outside.example';
  return dnsPacket.encode({
    type: 'response',
    id,
    flags: known ? dnsPacket.RECURSION_AVAILABLE : 3,
    questions,
    answers: known ? [{ type: 'A', name: questions[0].name, ttl: 60, data: '203.0.113.7' }] : [],
  });
}

function show(message) {
  const { rcode, answers, flag_tc: cut } = dnsPacket.decode(message);
  const data = answers.map((answer) => answer.data).sort();
  console.log(JSON.stringify({ rcode, data, cut }));
  process.exit(0);
}

if (mode === 'serve') {
  const udp = createSocket('udp4');
  udp.on('message', (query, from) => udp.send(reply(query, true), from.port, from.address));
  udp.bind(53, server);
  createServer((socket) => {
    socket.on('data', (chunk) => {
      const answer = reply(chunk.subarray(2), false);
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length);
      socket.end(Buffer.concat([length, answer]));
    });
  }).listen(53, server, () => console.log('ready'));
} else if (mode === 'respond') {
  const udp = createSocket('udp4');
  const answered = [];
  udp.on('message', (message) => {
    answered.push(dnsPacket.decode(message).id);
    if (!answered.includes(2)) return;
    console.log(JSON.stringify(answered));
    process.exit(0);
  });
  const send = (message, then) => udp.send(dnsPacket.encode(message), 53, server, then);
  const questions = [{ type, name }];
  send({ type: 'response', id: 1, questions, answers: [] }, () =>
    send({ type: 'query', id: 2, questions }),
  );
} else {
  const question = {
    type: 'query',
    id: 4711,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type, name }],
  };
  setTimeout(() => {
    console.log('timeout');
    process.exit(1);
  }, 8000);
  if (transport === 'udp') {
    const udp = createSocket('udp4');
    udp.on('message', show);
    udp.send(dnsPacket.encode(question), 53, server);
  } else {
    const socket = connect(53, server);
    // In two pieces: the server must put a message together again.
    const framed = dnsPacket.streamEncode(question);
    socket.write(framed.subarray(0, 5), () => setTimeout(() => socket.write(framed.subarray(5)), 50));
    socket.on('data', (chunk) => show(chunk.subarray(2)));
  }
}
