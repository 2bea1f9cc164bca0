import dnsPacket from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import { readQuestion } from '../../../worker/network/dns-message.ts';
import { answerLocally } from '../../../worker/network/dns-resolver.ts';
import { endpoint, network, service, set } from '../../support/network-scene.ts';

const FRONT = network('front', 4097, 1, { subnet6: 'fd01::/64' });
const NODE = { nodeId: 'n', address: '172.30.0.1' };
const STABLE = '10.0.1.2';
const CANARY = '10.0.1.3';
const ROUNDS = 2_000;

interface Scene {
  readonly stable: number | null;
  readonly canary: number | null;
  readonly stableServes?: boolean;
  readonly canaryServes?: boolean;
}

/** How often each answer to `api` came, which both services have as an alias. */
function answers(
  { stable, canary, stableServes = true, canaryServes = true }: Scene,
  type: 'A' | 'AAAA' = 'A',
  name = 'api',
): Record<string, number> {
  const tables = new ClusterTables();
  tables.apply(
    [
      set('network', FRONT),
      set('serviceEntry', service(FRONT, 'stable', STABLE, ['api'], stable)),
      set('serviceEntry', service(FRONT, 'canary', CANARY, ['api'], canary)),
      set('endpoint', endpoint(FRONT, 'stable', 1, NODE, '10.0.1.11', { serving: stableServes })),
      set('endpoint', endpoint(FRONT, 'canary', 1, NODE, '10.0.1.12', { serving: canaryServes })),
    ],
    true,
  );
  const random = new SeededRandom(20261129);
  const query = dnsPacket.encode({ type: 'query', id: 1, questions: [{ type, name }] });
  const question = readQuestion(query);
  const counts: Record<string, number> = {};
  for (let i = 0; i < ROUNDS && question; i++) {
    const client = { networkIds: [FRONT.id] };
    const answer = answerLocally(tables, client, query, question, 512, random) as Buffer;
    const data = (dnsPacket.decode(answer).answers ?? []).map((it) => 'data' in it && it.data);
    const key = data.sort().join();
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

describe('services that share a name', () => {
  test('are all answered while no weight is told', () => {
    expect(answers({ stable: null, canary: null })).toEqual({ [`${STABLE},${CANARY}`]: ROUNDS });
  });

  test.each([
    [{ stable: 9, canary: 1 }, 0.1],
    [{ stable: 1, canary: 1 }, 0.5],
    [{ stable: null, canary: 3 }, 0.75], // one without the label counts 1
  ])('are answered one at a time, by their weights: %j', (weights, share) => {
    const counts = answers(weights);
    expect(Object.keys(counts).sort()).toEqual([STABLE, CANARY]);
    expect((counts[CANARY] ?? 0) / ROUNDS).toBeGreaterThan(share - 0.03);
    expect((counts[CANARY] ?? 0) / ROUNDS).toBeLessThan(share + 0.03);
  });

  test('with weight 0 are answered only when no other serves', () => {
    expect(answers({ stable: 1, canary: 0 })).toEqual({ [STABLE]: ROUNDS });
    const alone = { stable: 1, canary: 0, stableServes: false };
    expect(answers(alone)).toEqual({ [`${STABLE},${CANARY}`]: ROUNDS });
  });

  test('without a serving task take no part', () => {
    expect(answers({ stable: 9, canary: 1, stableServes: false })).toEqual({ [CANARY]: ROUNDS });
    expect(answers({ stable: 9, canary: 1, canaryServes: false })).toEqual({ [STABLE]: ROUNDS });
  });

  test('are chosen alike for IPv6; each keeps the names that it has for itself', () => {
    expect(Object.keys(answers({ stable: 1, canary: 1 }, 'AAAA')).sort()).toEqual([
      'fd01::a00:102',
      'fd01::a00:103',
    ]);
    expect(answers({ stable: 1, canary: 0 }, 'A', 'canary')).toEqual({ [CANARY]: ROUNDS });
    expect(answers({ stable: 9, canary: 1 }, 'A', 'tasks.api')).toEqual({
      '10.0.1.11,10.0.1.12': ROUNDS,
    });
  });
});
