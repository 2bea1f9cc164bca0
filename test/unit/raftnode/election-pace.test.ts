import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../common/base/random.ts';
import { ElectionPace } from '../../../manager/raftnode/election-pace.ts';
import { ELECTION_MS } from '../../sim/machine.ts';
import { SimRaft } from '../../support/sim-raft.ts';

const TICKS = 10;
const NOBODY = { leader: 0, role: 'follower' } as const;
const CANDIDATE = { leader: 0, role: 'candidate' } as const;
const FOLLOWER = { leader: 7, role: 'follower' } as const;

function pace(rank = 0) {
  const drawn: number[] = [];
  const it = new ElectionPace({
    electionTicks: () => TICKS,
    random: new SeededRandom(1),
    rank: () => rank,
    setTimeoutTicks: (ticks) => drawn.push(ticks),
  });
  return { it, drawn };
}

describe('pace of elections', () => {
  test('one that stands for election stands again after half to one election timeout', () => {
    for (const role of ['pre-candidate', 'candidate'] as const) {
      const { it, drawn } = pace();
      for (let term = 1; term <= 50; term++) {
        it.note(FOLLOWER, term);
        it.note({ leader: 0, role }, term);
      }
      expect(drawn).toHaveLength(50);
      expect(Math.min(...drawn)).toBe(TICKS / 2);
      expect(Math.max(...drawn)).toBe(TICKS - 1);
    }
  });

  test('one that lost stands again sooner, and not so once it follows a leader', () => {
    const { it, drawn } = pace();
    it.note(CANDIDATE, 2);
    it.note(NOBODY, 2);
    expect(drawn[1]).toBeLessThanOrEqual(TICKS / 2);
    it.note(FOLLOWER, 2);
    expect(drawn[2]).toBeGreaterThanOrEqual(TICKS);
    it.note(FOLLOWER, 2);
    expect(drawn).toHaveLength(3);
  });

  test('those that stood twice do not stand together again', () => {
    const timeouts = [0, 1, 4].map((rank) => {
      const { it, drawn } = pace(rank);
      for (let term = 2; term <= 5; term++) it.note(CANDIDATE, term);
      return drawn.slice(1);
    });
    expect(timeouts).toEqual([
      [5, 5, 5],
      [6, 6, 6],
      [9, 9, 9],
    ]);
    const { it, drawn } = pace(4);
    for (let term = 2; term <= 5; term++) it.note(CANDIDATE, term);
    it.note(FOLLOWER, 6);
    it.note(CANDIDATE, 7);
    expect(drawn.at(-1)).not.toBe(9); // the next loss is another matter
  });

  test('one that made way for a candidate of a higher term leaves it its time', () => {
    const { it, drawn } = pace();
    it.note(CANDIDATE, 2);
    it.note(NOBODY, 3);
    it.note(FOLLOWER, 3);
    expect(drawn).toHaveLength(1);
  });

  test('followers are left as the core has drawn', () => {
    const { it, drawn } = pace();
    it.note(NOBODY, 1);
    it.note(FOLLOWER, 1);
    it.note(NOBODY, 1);
    expect(drawn).toEqual([]);
  });
});

describe('election after the loss of a leader', () => {
  test('is over soon on slow links too, where votes are often split', {
    timeout: 60_000,
  }, async () => {
    // Without the pace 6 of these 60 seeds take longer than 2 s, the longest 3.4 s.
    const tookMs: number[] = [];
    for (let seed = 1; seed <= 60; seed++) {
      const sim = new SimRaft(seed);
      await sim.cluster(5);
      Object.assign(sim.quality, { delayMinMs: 20, delayMeanMs: 20, delayMaxMs: 60 });
      await sim.advance(1.5 * ELECTION_MS);
      const old = sim.leader()!;
      sim.isolate(old.raftId);
      const lostMs = sim.nowMs;
      const others = [...sim.members.values()].filter((member) => member !== old);
      await sim.until(() => others.some(({ node }) => node!.status().role === 'leader'), 'leader');
      tookMs.push(sim.nowMs - lostMs);
    }
    tookMs.sort((a, b) => a - b);
    expect(tookMs[53]).toBeLessThan(1.9 * ELECTION_MS);
    expect(tookMs.at(-1)).toBeLessThan(2.6 * ELECTION_MS);
  });
});
