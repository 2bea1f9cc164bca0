import { encode } from 'dns-packet';
import { expect, test, vi } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { OWN_NAMESPACE } from '../../../native/ffi/net/sockets.ts';
import { DnsForwarder, ownUpstream } from '../../../worker/network/dns-forwarder.ts';
import { RCODE } from '../../../worker/network/dns-message.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

/** Sockets from which nothing is ever heard. */
vi.mock('node:dgram', () => ({
  createSocket: () => ({ on: () => {}, connect: () => {}, close: () => {} }),
}));

const OF_ONE_MAX = 256;
const UPSTREAM = { servers: ['192.0.2.53'], nsPath: OWN_NAMESPACE };

test('who asks dead servers too much is refused alone, until they were given up', async () => {
  const clock = new FakeClock();
  const forwarder = new DnsForwarder(clock, new SeededRandom(1));
  const codes = new Map<string, number[]>([
    ['busy', []],
    ['other', []],
  ]);
  const ask = (asker: string): void => {
    const questions = [{ type: 'A', name: 'a.example' } as const];
    const query = Buffer.from(encode({ type: 'query', id: 7, questions }));
    void forwarder.forward(asker, query, null, UPSTREAM, 'udp').then((answer) => {
      codes.get(asker)?.push(answer.readUInt16BE(2) & 0xf);
    });
  };
  for (let i = 0; i <= OF_ONE_MAX; i++) ask('busy');
  ask('other');
  await settle();
  expect([codes.get('busy'), codes.get('other')]).toEqual([[RCODE.refused], []]);
  await clock.advance(2_000);
  await settle();
  expect(codes.get('other')).toEqual([RCODE.serverFailure]);
  expect(codes.get('busy')).toHaveLength(OF_ONE_MAX + 1);
  ask('busy');
  await settle();
  expect(codes.get('busy')).toHaveLength(OF_ONE_MAX + 1);
});

test('the resolver that forwards is no nameserver of a task, for it would ask itself', () => {
  const nsPath = '/nowhere';
  const servers = ['127.0.0.1', '192.0.2.53'];
  expect(ownUpstream(['127.0.0.11', ...servers], nsPath)).toEqual({ servers, nsPath });
  expect(ownUpstream(['127.0.0.11'], nsPath)).toBeNull();
  expect(ownUpstream([], nsPath)).toBeNull();
});
