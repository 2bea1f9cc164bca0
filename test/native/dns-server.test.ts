import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { encode } from 'dns-packet';
import { afterEach, expect, test } from 'vitest';
import { OWN_NAMESPACE } from '../../native/ffi/net/sockets.ts';
import { DnsFrames, frameOf } from '../../worker/network/dns-asker.ts';
import { RCODE } from '../../worker/network/dns-message.ts';
import { type AnswerQuery, DnsServer } from '../../worker/network/dns-server.ts';
import { RESOLVER_ADDRESS } from '../../worker/network/name-files.ts';

const QUERY = Buffer.from(
  encode({ type: 'query', id: 7, questions: [{ type: 'A', name: 'web' } as const] }),
);

let server: DnsServer | null = null;

afterEach(async () => {
  await server?.close();
  server = null;
});

async function askByUdp(): Promise<Buffer> {
  const socket = createSocket('udp4');
  try {
    socket.send(QUERY, 53, RESOLVER_ADDRESS);
    const [response] = (await once(socket, 'message')) as [Buffer];
    return response;
  } finally {
    socket.close();
  }
}

async function askByTcp(): Promise<Buffer> {
  const socket = connect(53, RESOLVER_ADDRESS);
  try {
    socket.write(frameOf(QUERY));
    const frames = new DnsFrames();
    for (;;) {
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      for (const response of frames.push(chunk)) return response;
    }
  } finally {
    socket.destroy();
  }
}

const failing: readonly (readonly [string, AnswerQuery])[] = [
  [
    'throws',
    () => {
      throw new Error('"x" is not an address');
    },
  ],
  ['rejects', () => Promise.reject(new Error('"x" is not an address'))],
];

test.each(
  failing.flatMap(([how, answer]) => [
    { how, answer, by: 'UDP', ask: askByUdp },
    { how, answer, by: 'TCP', ask: askByTcp },
  ]),
)(
  'where the answer $how, who asks by $by is told of a failure, and is answered again',
  async ({ answer, ask }) => {
    server = new DnsServer(answer);
    await server.open(OWN_NAMESPACE);
    for (let i = 0; i < 2; i++) {
      const response = await ask();
      expect(response.readUInt16BE(0)).toBe(7);
      expect(response.readUInt16BE(2) & 0xf).toBe(RCODE.serverFailure);
    }
  },
);
