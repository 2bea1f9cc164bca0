import dnsPacket from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import type { DnsAsker } from '../../../worker/network/dns-asker.ts';
import { isOfResolver, nameDifferences, nameToAsk } from '../../../worker/network/name-check.ts';
import { endpoint, network, service, set } from '../../support/network-scene.ts';

const NODE = { nodeId: 'n1', address: '172.30.0.1' };
const FRONT = network('front', 4096, 1);
const INGRESS = network('ingress', 4095, 0, { ingress: true });
const legs = [INGRESS, FRONT].map(({ id }) => ({ networkId: id }));

/** Answers these addresses, or that there is no such name. */
const answering = (addresses: readonly string[] | null) =>
  ({
    ask: async (query: Buffer) => {
      const { questions } = dnsPacket.decode(query);
      const name = questions?.[0]?.name ?? '';
      const answers = (addresses ?? []).map((data) => ({ type: 'A' as const, name, data }));
      return dnsPacket.encode({
        ...{ type: 'response', questions: questions ?? [], answers },
        flags: addresses ? 0 : 3,
      });
    },
  }) as unknown as DnsAsker;
const silent = { ask: async () => null } as unknown as DnsAsker;

describe("a task's resolver", () => {
  const tables = new ClusterTables();
  tables.apply(
    [
      ...[INGRESS, FRONT].map((item) => set('network', item)),
      set('serviceEntry', service(INGRESS, 'entry', '10.0.0.2')),
      set('serviceEntry', service(FRONT, 'idle', null)),
      set('serviceEntry', service(FRONT, 'Web', '10.0.1.2')),
      set('serviceEntry', service(FRONT, 'db', null)),
      set('endpoint', endpoint(FRONT, 'db', 1, NODE, '10.0.1.11')),
    ],
    true,
  );

  test('is asked for a service with addresses in a network of the task’s own', () => {
    expect(nameToAsk(tables, legs)).toEqual({ name: 'Web', addresses: ['10.0.1.2'] });
    expect(nameToAsk(tables, legs.slice(0, 1))).toBeNull();
  });

  test.each([
    ['the virtual IP', ['10.0.1.2'], answering(['10.0.1.2']), null],
    ['one of several', ['10.0.1.2', '10.0.1.3'], answering(['10.0.1.3']), null],
    ['that nobody serves', [], answering([]), null],
    ['another address', ['10.0.1.2'], answering(['10.0.9.9']), '10.0.9.9'],
    ['no address', ['10.0.1.2'], answering([]), 'no address'],
    ['an address of nobody', [], answering(['10.0.9.9']), '10.0.9.9'],
    ['that there is no such name', ['10.0.1.2'], answering(null), null],
    ['nothing', ['10.0.1.2'], silent, null],
  ])('answers %s', async (what, addresses, asker, found) => {
    const differences = await nameDifferences({ name: 'Web', addresses }, asker, '/nowhere');
    const isRight = ['the virtual IP', 'one of several', 'that nobody serves'].includes(what);
    const wanted = addresses.join(' ') || 'no address';
    expect(differences).toEqual(
      isRight ? [] : [{ what: 'answer of 127.0.0.11 to Web', wanted, found }],
    );
    expect(differences.every(isOfResolver)).toBe(true);
  });
});
