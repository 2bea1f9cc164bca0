import { describe, expect, test } from 'vitest';
import { macOf } from '../../../native/ffi/net/address.ts';
import { entryMark } from '../../../worker/network/entry-rules.ts';
import {
  compareFacts,
  type Difference,
  FACT,
  factsOf,
} from '../../../worker/network/kernel-facts.ts';
import { mendedOf, prove, type Subject, together } from '../../../worker/network/self-proof.ts';
import {
  hostSettings,
  isOverlayFactOfOurs,
  isTaskFactOfOurs,
  overlayFacts,
  taskFacts,
} from '../../../worker/network/wanted-facts.ts';

const DRIFT: Difference = { what: 'link eth0', wanted: 'veth', found: null };

/** A namespace that is wrong until it is repaired `repairsNeeded` times. */
class FakeSubject implements Subject {
  readonly where: string;
  readonly calls: string[] = [];
  suspicious = true;
  #wrong: number;

  constructor(where: string, repairsNeeded: number) {
    this.where = where;
    this.#wrong = repairsNeeded;
  }
  suspect(): boolean {
    return this.suspicious;
  }
  trust(): void {
    this.suspicious = false;
  }
  async differences(): Promise<Difference[]> {
    this.calls.push('look');
    return this.#wrong > 0 ? [DRIFT] : [];
  }
  async repair(): Promise<void> {
    this.calls.push('repair');
    this.#wrong--;
  }
}

describe('the self-proof', () => {
  const BACKGROUND = { repair: true, all: false };

  test('looks at what is suspect, and no more at what was found right', async () => {
    const right = new FakeSubject('right', 0);
    expect(await prove([right], BACKGROUND)).toMatchObject({ compared: 1, drifts: [] });
    expect(await prove([right], BACKGROUND)).toMatchObject({ compared: 0 });
    expect(await prove([right], { repair: true, all: true })).toMatchObject({ compared: 1 });
  });

  test('repairs, looks again, and stays suspicious until a look finds nothing', async () => {
    const wrong = new FakeSubject('wrong', 1);
    const proof = await prove([wrong], BACKGROUND);
    expect(proof).toEqual({
      compared: 1,
      isWhole: true,
      drifts: [{ where: 'wrong', ...DRIFT }],
      left: [],
      failures: [],
    });
    expect(wrong.calls).toEqual(['look', 'repair', 'look']);
    expect(wrong.suspicious).toBe(true);
    await prove([wrong], BACKGROUND);
    expect(wrong.suspicious).toBe(false);
  });

  test('tells what a repair left, and repairs nothing unless asked', async () => {
    const stubborn = new FakeSubject('stubborn', 2);
    expect((await prove([stubborn], BACKGROUND)).left).toHaveLength(1);
    const wrong = new FakeSubject('wrong', 1);
    expect((await prove([wrong], { repair: false, all: true })).left).toHaveLength(1);
    expect(wrong.calls).toEqual(['look']);
  });

  test('in turns everything is looked at once, whatever is suspect', async () => {
    const [first, quiet, wrong, last] = ['first', 'quiet', 'wrong', 'last'].map(
      (where) => new FakeSubject(where, where === 'wrong' ? 9 : 0),
    ) as [FakeSubject, FakeSubject, FakeSubject, FakeSubject];
    quiet.suspicious = false;
    const seen = new Set<string>();
    const all = [first, quiet, wrong, last];
    const turn = () => prove(all, { ...BACKGROUND, turn: { seen, isOver: () => true } });
    const turns = [await turn(), await turn(), await turn(), await turn()];
    expect(turns.map(({ compared, isWhole }) => [compared, isWhole])).toEqual([
      [1, false],
      [1, false],
      [1, true],
      [0, true],
    ]);
    expect(all.map(({ calls }) => calls.length)).toEqual([1, 0, 3, 1]);
    expect(together(turns)).toMatchObject({ compared: 3, isWhole: true });
    expect(together(turns).left.map(({ where }) => where)).toEqual(['wrong']);
  });

  test('one that cannot be looked at does not keep the others from it', async () => {
    const broken = new FakeSubject('broken', 0);
    broken.differences = () => Promise.reject(new Error('no such namespace'));
    const wrong = new FakeSubject('wrong', 1);
    const proof = await prove([broken, wrong], BACKGROUND);
    expect(proof.failures).toEqual([{ where: 'broken', reason: 'no such namespace' }]);
    expect(wrong.calls).toContain('repair');
    expect(broken.suspicious).toBe(true);
  });
});

describe('what counts as mended', () => {
  const REPAIR = { repair: true, all: true };
  const refuse = () => Promise.reject(new Error('no buffer space'));

  test('is what a second look no longer finds', async () => {
    expect(mendedOf(await prove([new FakeSubject('wrong', 1)], REPAIR))).toHaveLength(1);
    expect(mendedOf(await prove([new FakeSubject('stubborn', 2)], REPAIR))).toEqual([]);
  });

  test('is nothing where the repair failed, or the second look', async () => {
    const unrepaired = new FakeSubject('unrepaired', 1);
    unrepaired.repair = refuse;
    const unseen = new FakeSubject('unseen', 1);
    unseen.repair = async () => {
      unseen.differences = refuse;
    };
    const proof = await prove([unrepaired, unseen], REPAIR);
    expect(proof.failures.map(({ where }) => where)).toEqual(['unrepaired', 'unseen']);
    expect(proof.left).toEqual(proof.drifts);
    expect(mendedOf(proof)).toEqual([]);
  });

  test('is never less than nothing, though a repair breaks more than it mends', () => {
    const drift = { where: 'a', ...DRIFT };
    const proof = { compared: 1, failures: [], drifts: [drift] };
    const others = ['b', 'c'].map((where) => ({ ...drift, where }));
    expect(mendedOf({ ...proof, left: others })).toEqual([drift]);
    expect(mendedOf({ ...proof, left: [drift, ...others] })).toEqual([]);
  });
});

describe('facts of the kernel', () => {
  test('what is wanted must be so; what is there besides matters only where all is ours', () => {
    const wanted = new Map([
      ['a', '1'],
      ['b', '2'],
    ]);
    const found = new Map([
      ['b', '3'],
      ['c', '4'],
      ['ours d', '5'],
    ]);
    expect(compareFacts(wanted, found, (what) => what.startsWith('ours'))).toEqual([
      { what: 'a', wanted: '1', found: null },
      { what: 'b', wanted: '2', found: '3' },
      { what: 'ours d', wanted: null, found: '5' },
    ]);
  });

  const link = { index: 7, up: true, mtu: 1450, master: 0, port: null, vxlan: null };

  test('a network is right when links, ports and remote seats are as its table says', () => {
    const vxlan = { vni: 4097, local: '172.30.0.1', port: 4789 };
    const wanted = overlayFacts({
      mtu: 1450,
      vxlan,
      subnet6: '',
      remote: new Map([['10.0.1.12', '172.30.0.2']]),
      ports: new Map([['v1', '10.0.1.11']]),
    });
    const plain = { learning: false, unicastFlood: false, isolated: false, hairpin: false };
    const mac = macOf('10.0.1.12');
    const own = macOf('10.0.1.11');
    const dumps = {
      links: [
        { ...link, index: 1, name: 'br0', kind: 'bridge', mac },
        {
          ...link,
          index: 2,
          name: 'vx0',
          kind: 'vxlan',
          mac,
          master: 1,
          vxlan,
          port: { ...plain, unicastFlood: true },
        },
        { ...link, index: 3, name: 'v1', kind: 'veth', mac, master: 1, port: plain },
      ],
      forwarding: [
        { index: 2, mac, host: '172.30.0.2', pinned: false },
        { index: 3, mac: own, host: null, pinned: true },
        { index: 3, mac: macOf('10.0.9.9'), host: null, pinned: false },
      ],
      neighbours: [{ index: 2, address: '10.0.1.12', mac }],
    };
    expect(compareFacts(wanted, factsOf(dumps), isOverlayFactOfOurs)).toEqual([]);
    const strange = { index: 2, mac: own, host: '172.30.0.9', pinned: false };
    const altered = { ...dumps, forwarding: [...dumps.forwarding, strange], neighbours: [] };
    expect(
      compareFacts(wanted, factsOf(altered), isOverlayFactOfOurs).map(({ what }) => what),
    ).toEqual([FACT.neighbour('vx0', '10.0.1.12'), FACT.remoteMac('vx0', own)]);
  });

  test('two links of a task may lead to the same subnet', () => {
    const seat = { address: '10.0.1.11/24', mtu: 1450 };
    const legs = [
      { link: 'eth0', ...seat },
      { link: 'eth1', ...seat },
    ];
    const routes = [...taskFacts({ legs, wayOut: null, entry: null }).keys()].filter((what) =>
      what.startsWith('route 10.0.1.0/24'),
    );
    expect(routes).toHaveLength(2);
  });

  test('what delivers to each address of IPv4 of a task is ours, and what its resolver stands on', () => {
    const leg = { link: 'eth0', address: '10.0.1.11/24', address6: 'fd01::b/64', mtu: 1450 };
    const facts = taskFacts({ legs: [leg], wayOut: null, entry: null });
    for (const [to, link] of [
      ['10.0.1.11/32', 'eth0'],
      ['127.0.0.1/32', 'lo'],
      ['127.0.0.0/8', 'lo'],
    ] as const) {
      expect(facts.get(FACT.linkRoute(255, to, link))).toBe('there');
    }
    // The kernel makes it a while after the address.
    expect(facts.has(FACT.linkRoute(255, 'fd01::b/128', 'eth0'))).toBe(false);
  });

  test('of a task’s rules only those for entry nodes are ours', () => {
    expect(isTaskFactOfOurs(FACT.markRule(1000, entryMark('10.0.0.2')))).toBe(true);
    expect(isTaskFactOfOurs(FACT.markRule(1000, 51820))).toBe(false);
    expect(isTaskFactOfOurs(FACT.markRule(100, entryMark('10.0.0.2')))).toBe(false);
    expect(isTaskFactOfOurs(FACT.route(254, '0.0.0.0/0'))).toBe(false);
  });

  test('a task without a way out answers its clients by a route to nowhere', () => {
    const entry = { link: 'eth0', nodes: ['10.0.0.2'] };
    const what = FACT.linkRoute(254, '0.0.0.0/0', 'lo', 0x7fffffff);
    expect(taskFacts({ legs: [], wayOut: null, entry }).has(what)).toBe(true);
    const wayOut = { link: 'eth1', address: '172.18.0.2/16', mtu: 1500, via: '172.18.0.1' };
    expect(taskFacts({ legs: [], wayOut, entry }).has(what)).toBe(false);
  });

  test('forwarding is wanted of a host only where packets pass through it', () => {
    expect(hostSettings({ gateway: null, ingress: null })).toEqual([]);
    const ingress = { link: 'skep_in', address: '10.0.0.2/24', mtu: 1450 };
    expect(hostSettings({ gateway: null, ingress })).toContain('ipv4/ip_forward');
  });
});
