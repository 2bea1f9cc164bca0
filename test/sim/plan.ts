/**
 * What one seed is about: sizes, speeds, which faults strike and how often. Swarm testing: each run
 * has a few kinds of faults, strong or weak, rather than a little of all.
 */
import { SeededRandom, shuffled } from '../../common/base/random.ts';
import type { FlowLimits } from '../../manager/raftnode/node-options.ts';

/** Each is a function in `faults.ts`. */
export const FAULT_KINDS = [
  'isolate',
  'strand',
  'halves',
  'bridge',
  'one-way',
  'clog',
  'heal',
  'pause',
  'crash',
  'kill',
  'stop',
  'blackout',
  'sync-error',
  'full-disk',
  'rot',
  'snapshot-rot',
  'lost-disk',
  'grow',
  'shrink',
  'transfer',
  'burst',
  'slow-disk',
  'rotate-key',
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];

/** Chances and times of one direction between two machines. */
export interface LinkQuality {
  readonly delayMinMs: number;
  /** Mean of what comes on top, exponentially distributed. */
  readonly delayMeanMs: number;
  /** No delay is longer. */
  readonly delayMaxMs: number;
  readonly loss: number;
  readonly duplicate: number;
  /** Chance to overtake what was sent before. */
  readonly overtake: number;
}

export interface Plan {
  readonly seed: number;
  readonly voters: number;
  /** Time with faults; then all of them end. */
  readonly faultyMs: number;
  readonly meanPauseMs: number;
  readonly weights: ReadonlyMap<FaultKind, number>;
  /** Something can be asked in time: messages arrive once, clocks go right, windows are wide. */
  readonly isCalm: boolean;
  readonly link: LinkQuality;
  /** Longest of one operation; 0 = none takes any time. */
  readonly diskMs: number;
  readonly clockRates: readonly [number, number];
  /**
   * The machine that is at another address with each start; 0 = none. It finds the others and they
   * know it by its id; two that moved at once might not find each other.
   */
  readonly moving: number;
  readonly clients: number;
  readonly thinkMs: number;
  readonly keys: number;
  readonly readShare: number;
  readonly swapShare: number;
  readonly payloadBytesMax: number;
  readonly membersMax: number;
  readonly flow: FlowLimits;
  readonly snapshotIntervalEntries: number;
  readonly keepEntries: number;
  readonly segmentBytes: number;
  /** Ends with the loss of all members but one, and a new cluster from that one. */
  readonly endsForced: boolean;
}

const LOCAL = 200_000;

/** One plan of so many is calm: faults strike, but between them links, clocks and windows are good. */
const CALM_EVERY = 4;

export function planOf(seed: number): Plan {
  const random = new SeededRandom(seed * 2 + LOCAL);
  const pick = <T>(...items: readonly T[]): T => items[random.below(items.length)]!;
  const maxInflightMessages = pick(1, 2, 8, 256, 256);
  const maxSizePerMessageBytes = pick(0, 300, 2_000, 256 * 1024, 256 * 1024);
  const plan: Plan = {
    seed,
    voters: pick(1, 2, 3, 3, 3, 3, 3, 4, 5),
    faultyMs: pick(8_000, 12_000, 16_000),
    meanPauseMs: pick(150, 400, 400, 1_000),
    weights: drawFaults(random),
    isCalm: false,
    link: {
      delayMinMs: pick(0.2, 1, 5),
      delayMeanMs: pick(0, 1, 3, 10, 40),
      delayMaxMs: Number.POSITIVE_INFINITY,
      loss: pick(0, 0, 0.01, 0.05, 0.2),
      duplicate: pick(0, 0, 0.02, 0.1),
      overtake: pick(0, 0, 0.05, 0.3),
    },
    diskMs: pick(0, 0, 2, 10, 40),
    clockRates: pick<[number, number]>([1, 1], [1, 1], [0.8, 1.2], [0.5, 2]),
    moving: pick(0, 0, 0, 2),
    clients: 1 + random.below(8),
    thinkMs: pick(20, 60, 150, 400),
    keys: 1 + random.below(4),
    readShare: pick(0.1, 0.3, 0.5),
    swapShare: pick(0, 0.3, 0.6),
    payloadBytesMax: pick(0, 100, 600, 3_000),
    membersMax: pick(3, 5, 5, 6),
    flow: {
      maxInflightMessages,
      maxSizePerMessageBytes,
      maxInflightBytes: Math.max(maxSizePerMessageBytes, pick(500, 4_000_000)),
      maxCommittedSizePerReadyBytes: pick(1, 1_000, 4_000_000, 4_000_000),
      maxUncommittedBytes: pick(1_000, 10_000, 32_000_000, 32_000_000),
    },
    snapshotIntervalEntries: pick(5, 20, 60, 200),
    keepEntries: pick(0, 3, 20, 200),
    segmentBytes: pick(8, 16, 64) * 1024,
    endsForced: random.below(10) === 0,
  };
  return random.below(CALM_EVERY) === 0 ? calmed(plan) : plan;
}

function calmed(plan: Plan): Plan {
  const { link, flow } = plan;
  return {
    ...plan,
    isCalm: true,
    link: { ...link, loss: 0, duplicate: 0, delayMeanMs: Math.min(link.delayMeanMs, 10) },
    clockRates: [1, 1],
    flow: {
      ...flow,
      maxInflightMessages: 256,
      maxSizePerMessageBytes: 256 * 1024,
      maxInflightBytes: 4_000_000,
    },
  };
}

function drawFaults(random: SeededRandom): Map<FaultKind, number> {
  const count = random.below(4) === 0 ? FAULT_KINDS.length : 2 + random.below(8);
  const kinds = shuffled(FAULT_KINDS, random).slice(0, count);
  return new Map(kinds.map((kind) => [kind, [0.3, 1, 3][random.below(3)]!]));
}
