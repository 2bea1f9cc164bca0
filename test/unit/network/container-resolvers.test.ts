import { expect, test } from 'vitest';
import { resolverSubject } from '../../../worker/network/container-resolvers.ts';
import type { DnsAsker } from '../../../worker/network/dns-asker.ts';
import type { WantedName } from '../../../worker/network/name-check.ts';

/** Of this process: it is there. */
const OWN = '/proc/self/ns/net';
const NAMES = ['web', 'db'].map((name) => ({ name, addresses: ['10.9.0.2'] }));
/** No answer to anything. */
const silent = { ask: async () => null } as unknown as DnsAsker;

function subject(netnsPath: string, wanted: () => readonly WantedName[] | null) {
  const reopen = async (): Promise<void> => {};
  return resolverSubject(silent, { where: 'container c0ffee', netnsPath, wanted, reopen });
}

test('a resolver that does not answer is told of, name by name, where it is tried', async () => {
  const silentOne = subject(OWN, () => NAMES);
  expect(await silentOne.differences()).toEqual([]);
  expect(await silentOne.tried?.()).toEqual(
    NAMES.map(({ name }) => ({
      ...{ what: `answer of 127.0.0.11 to ${name}`, wanted: '10.9.0.2', found: null },
    })),
  );
});

test('one whose container has ended meanwhile is not', async () => {
  expect(await subject('/proc/4194305/ns/net', () => NAMES).tried?.()).toEqual([]);
  let looks = 0;
  expect(await subject(OWN, () => (looks++ === 0 ? NAMES : null)).tried?.()).toEqual([]);
});
