import { encode } from 'dns-packet';
import { expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { OWN_NAMESPACE } from '../../../native/ffi/net/sockets.ts';
import { DnsAsker } from '../../../worker/network/dns-asker.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** A broadcast address of the loopback link: the kernel refuses to connect to it at once. */
const REFUSED = '127.255.255.255';

test.each(['udp', 'tcp'] as const)(
  'an error that the kernel tells at once is no answer, and nobody else hears of it, by %s',
  async (transport) => {
    const asker = new DnsAsker(new FakeClock(), new SeededRandom(1), 2_000);
    const questions = [{ type: 'A', name: 'example.org' } as const];
    const query = Buffer.from(encode({ type: 'query', id: 7, questions }));
    // From a turn of the event loop, where what is due at the next tick comes before what was awaited.
    const answer = await new Promise((resolve) => {
      setImmediate(() => {
        void asker.ask(query, REFUSED, transport, OWN_NAMESPACE).then(resolve);
      });
    });
    expect(answer).toBeNull();
  },
);
