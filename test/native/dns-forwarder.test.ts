import { encode } from 'dns-packet';
import { expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { SeededRandom } from '../../common/base/random.ts';
import { OWN_NAMESPACE } from '../../native/ffi/net/sockets.ts';
import { DnsForwarder } from '../../worker/network/dns-forwarder.ts';
import { RCODE, readQuestion } from '../../worker/network/dns-message.ts';

test.each(['udp', 'tcp'] as const)(
  'a server to which there is no way fails the question, by %s',
  async (transport) => {
    const forwarder = new DnsForwarder(new SystemClock(), new SeededRandom(1));
    const questions = [{ type: 'A', name: 'example.org' } as const];
    const query = Buffer.from(encode({ type: 'query', id: 7, questions }));
    // A broadcast address cannot be connected to: the system refuses at once.
    const answer = await forwarder.forward(
      'task-1',
      query,
      readQuestion(query),
      { servers: ['255.255.255.255'], nsPath: OWN_NAMESPACE },
      transport,
    );
    expect(answer.readUInt16BE(0)).toBe(7);
    expect(answer.readUInt16BE(2) & 0xf).toBe(RCODE.serverFailure);
  },
);
