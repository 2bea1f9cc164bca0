/** What one seed of the cluster's world is about: sizes, speeds, which faults strike and how often. */
import { SeededRandom, shuffled } from '../../../common/base/random.ts';
import { STREAM_HIGH_WATER_BYTES } from '../../../common/rpc/limits.ts';
import type { Quality } from './wires.ts';

/** Each is a function in `faults.ts`. */
export const CLUSTER_FAULTS = [
  'isolate',
  'halves',
  'one-way',
  'heal',
  'reset',
  'pause',
  'kill',
  'crash',
  'stop',
  'blackout',
  'transfer',
  'container-ends',
  'end-forgotten',
  'stale-report',
  'late-reports',
  'lost-entry',
] as const;

export type ClusterFault = (typeof CLUSTER_FAULTS)[number];

export interface ClusterPlan {
  readonly seed: number;
  readonly managers: number;
  readonly workers: number;
  readonly faultyMs: number;
  readonly meanPauseMs: number;
  readonly weights: ReadonlyMap<ClusterFault, number>;
  readonly link: Quality;
  /** Longest of one operation of a disk; 0 = none takes any time. */
  readonly diskMs: number;
  /** Longest of one move of a container. */
  readonly moveMs: number;
  /** Wall clocks differ from the right time by up to so much. */
  readonly clockErrorMs: number;
  readonly heartbeatMs: number;
  readonly historyLimit: number;
  readonly snapshotIntervalEntries: number;
  readonly keepEntries: number;
  /** Users, and how long each thinks between two requests. */
  readonly users: number;
  readonly thinkMs: number;
  readonly servicesMax: number;
  readonly replicasMax: number;
  /** Nobody removes the nodes of machines that broke: they stay down to the end. */
  readonly keepsLost: boolean;
  /** Users follow the output of services, and read it slowly. */
  readonly hasLogReaders: boolean;
  /** Under way to an agent, before the dispatcher is told to wait. */
  readonly agentHighWaterBytes: number;
}

const LOCAL = 500_000;

export function clusterPlanOf(seed: number): ClusterPlan {
  const random = new SeededRandom(seed * 2 + LOCAL);
  const pick = <T>(...items: readonly T[]): T => items[random.below(items.length)]!;
  return {
    seed,
    managers: pick(1, 3, 3, 3, 3),
    workers: pick(1, 2, 2, 3),
    faultyMs: pick(12_000, 16_000, 24_000),
    meanPauseMs: pick(500, 1_500, 1_500, 4_000),
    weights: drawFaults(random),
    link: { delayMinMs: pick(0.2, 1, 5), delayMeanMs: pick(0, 1, 5, 30) },
    diskMs: pick(0, 0, 2, 10),
    moveMs: pick(5, 100, 100, 1_000),
    clockErrorMs: pick(0, 0, 50, 1_000),
    heartbeatMs: pick(500, 1_000, 2_000),
    historyLimit: pick(0, 1, 2, 5),
    snapshotIntervalEntries: pick(10, 40, 200, 1_000),
    keepEntries: pick(0, 10, 500),
    users: pick(1, 2, 3),
    thinkMs: pick(300, 1_000, 2_500),
    servicesMax: pick(2, 4, 6),
    replicasMax: pick(2, 4, 6),
    keepsLost: pick(true, false, false),
    hasLogReaders: pick(true, false, false),
    agentHighWaterBytes: pick(STREAM_HIGH_WATER_BYTES, 4_000, 1),
  };
}

function drawFaults(random: SeededRandom): Map<ClusterFault, number> {
  const count = random.below(4) === 0 ? CLUSTER_FAULTS.length : 1 + random.below(6);
  const kinds = shuffled(CLUSTER_FAULTS, random).slice(0, count);
  return new Map(kinds.map((kind) => [kind, [0.3, 1, 3][random.below(3)]!]));
}
