/** The log against a plain array, under what leaders send and disks finish in any interleaving. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RaftLog } from '../../../manager/raft/log.ts';
import { MemoryStorage } from '../../../manager/raft/memory-storage.ts';
import { type Entry, type EntryId, NO_BYTES } from '../../../manager/raft/types.ts';

const NO_LIMIT = Number.POSITIVE_INFINITY;

function entriesOf(terms: readonly number[], first = 1): Entry[] {
  return terms.map((term, i) => ({ index: first + i, term, type: 'normal', data: NO_BYTES }));
}

function logOf(terms: readonly number[]): RaftLog {
  const storage = new MemoryStorage();
  storage.append(entriesOf(terms));
  return new RaftLog(storage, NO_LIMIT, undefined);
}

const termsOf = (log: RaftLog): number[] =>
  (log.entriesFrom(1, NO_LIMIT) as readonly Entry[]).map(({ term }) => term);

/** Terms never fall along a log. */
const terms = fc
  .array(fc.integer({ min: 1, max: 5 }), { maxLength: 10 })
  .map((list) => list.sort((a, b) => a - b));

/**
 * Two logs of one cluster: whoever shares an entry (index and term) shares all before it, as each
 * term had one leader.
 */
const twoLogs = fc
  .tuple(terms, terms, fc.nat(10))
  .map(([a, b, common]) => [a, [...a.slice(0, common), ...b]] as const)
  .filter(([, b]) => b.every((term, i) => i === 0 || term >= b[i - 1]!))
  .filter(([a, b]) => {
    const fork = b.findIndex((term, i) => term !== a[i]);
    return fork < 0 || b.every((term, i) => i < fork || term !== a[i]);
  });

/** Where two logs agree: the length of what they have in common. */
function agreement(a: readonly number[], b: readonly number[]): number {
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i++) if (a[i] !== b[i]) return i;
  return end;
}

describe('raft log, against a plain array', () => {
  test('finds the best match for a term as a search through all entries does', () => {
    fc.assert(
      fc.property(terms, fc.nat(10), fc.integer({ min: 0, max: 6 }), (own, at, term) => {
        const index = Math.min(at, own.length);
        const fits = own.slice(0, index).map((one) => one <= term);
        const best = fits.lastIndexOf(true) + 1;
        const expected = { index: best, term: best === 0 ? 0 : own[best - 1]! };
        expect(logOf(own).findConflictByTerm({ index, term })).toEqual(expected);
      }),
    );
  });

  test('a hint never skips the place where two logs agree', () => {
    fc.assert(
      fc.property(twoLogs, fc.nat(12), ([leader, follower], at) => {
        const [sender, receiver] = [logOf(leader), logOf(follower)];
        const common = agreement(leader, follower);
        const probed = Math.min(at, leader.length);
        const term = sender.termOrZero(probed);
        if (receiver.matches({ index: probed, term })) return;
        // What a follower answers, and what the leader makes of it.
        const index = Math.min(probed, receiver.lastIndex());
        const hint = receiver.findConflictByTerm({ index, term });
        const next = sender.findConflictByTerm(hint);
        expect(next.index).toBeGreaterThanOrEqual(Math.min(common, probed));
        expect(next.index).toBeLessThan(probed);
      }),
    );
  });

  test('after any append of a leader it agrees with the leader up to the last entry sent', () => {
    fc.assert(
      fc.property(twoLogs, fc.nat(10), fc.nat(10), ([leader, follower], from, count) => {
        const log = logOf(follower);
        const previous = Math.min(from, leader.length);
        const sent = entriesOf(leader).slice(previous, previous + count);
        const id = { index: previous, term: leader[previous - 1] ?? 0 };
        const last = log.tryAppend({ previous: id, entries: sent }, 0);
        const fits = previous <= agreement(leader, follower);
        expect(last).toBe(fits ? previous + sent.length : null);
        const before = agreement(leader, follower);
        const end = previous + sent.length;
        // What is new or conflicts cuts the log; what it has already leaves its tail alone.
        const expected = !fits || end <= before ? follower : [...leader.slice(0, end)];
        expect(termsOf(log)).toEqual(expected);
      }),
    );
  });
});

/** One write of the unstable tail, and what the disk will say of it. */
interface Write {
  readonly entries: readonly Entry[];
  readonly last: EntryId;
  readonly term: number;
}

type Step =
  | { readonly kind: 'append'; readonly count: number }
  | { readonly kind: 'replace'; readonly from: number; readonly count: number }
  /** A leader of long ago is back, with the log that this node once had. */
  | { readonly kind: 'bring-back'; readonly ago: number }
  | { readonly kind: 'begin-write' }
  | { readonly kind: 'finish-write' };

const count = fc.integer({ min: 1, max: 3 });
const one: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('append' as const), count }),
  fc.record({ kind: fc.constant('replace' as const), from: fc.nat(2), count }),
  fc.record({ kind: fc.constant('bring-back' as const), ago: fc.nat(2) }),
  fc.record({ kind: fc.constant('begin-write' as const) }),
  fc.record({ kind: fc.constant('finish-write' as const) }),
);

/** Now and then a leader comes and goes before the disk has finished anything. */
const interlude = fc
  .record({ from: fc.nat(2), count })
  .map(({ from, count: added }): Step[] => [
    { kind: 'begin-write' },
    { kind: 'replace', from, count: added },
    { kind: 'begin-write' },
    { kind: 'bring-back', ago: 1 },
  ]);

const steps = fc
  .array(fc.oneof({ weight: 5, arbitrary: one.map((step) => [step]) }, interlude), {
    maxLength: 20,
  })
  .map((list) => list.flat());

describe('raft log while writes are under way', () => {
  test('reads are of its newest entries, whatever the disk has finished', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const storage = new MemoryStorage();
        const log = new RaftLog(storage, NO_LIMIT, undefined);
        const model: number[] = [];
        const past: number[][] = [[]];
        const writes: Write[] = [];
        let term = 1;
        const put = (from: number, added: readonly number[]): void => {
          model.splice(from, model.length - from, ...added);
          log.append(entriesOf(added, from + 1));
          past.push([...model]);
        };
        const added = (count: number): number[] => Array.from({ length: count }, () => term);
        for (const step of all) {
          switch (step.kind) {
            case 'append':
              put(model.length, added(step.count));
              break;
            case 'replace':
              term++; // another leader, hence another term, is what replaces entries
              put(Math.min(step.from, model.length), added(step.count));
              break;
            case 'bring-back': {
              term++;
              const wanted = past.at(-1 - (step.ago % past.length))!;
              const from = agreement(wanted, model);
              if (from < wanted.length) put(from, wanted.slice(from));
              break;
            }
            case 'begin-write': {
              if (!log.unstable.hasNextEntries()) break;
              writes.push({ entries: log.unstable.nextEntries(), last: log.lastEntryId(), term });
              log.unstable.acceptInProgress();
              break;
            }
            case 'finish-write': {
              const write = writes.shift();
              if (write === undefined) break;
              storage.append(write.entries);
              // The rule of `storageAppendResponse`: void once the term is another.
              if (write.term === term) log.unstable.stableTo(write.last);
              break;
            }
          }
          expect(termsOf(log)).toEqual(model);
        }
        for (const { entries } of writes) storage.append(entries);
        storage.append(log.unstable.nextEntries());
        expect([...model.keys()].map((i) => storage.term(i + 1))).toEqual(model);
      }),
      { numRuns: 500 },
    );
  });
});
