/**
 * The course of one run: a cluster is founded, faults strike while users work, then all faults end and
 * everything has to become what was asked for.
 */

import { DEFAULT_CLUSTER_SPEC } from '../../../common/model/cluster.ts';
import { asId, type ClusterId } from '../../../common/model/ids.ts';
import type { NodeRole } from '../../../common/model/node.ts';
import type { ManagerOrigin } from '../../../manager/manager-options.ts';
import { aCluster } from '../../support/builders.ts';
import { WORLD } from '../clock.ts';
import type { RunReport } from '../life.ts';
import { ClusterFaultHand } from './faults.ts';
import type { Host } from './host.ts';
import { LogReaders } from './logs.ts';
import { newNode, Operator } from './operator.ts';
import { clusterPlanOf } from './plan.ts';
import { unmet } from './settled.ts';
import { Users } from './users.ts';
import { ClusterWorld } from './world.ts';

const FOUNDING_MS = 60_000;
/** Restart delays, updates of a few slots with their monitors, stops that take their whole grace. */
const HEALING_MS = 240_000;
const LOOK_MS = 1_000;
/** So long a machine is looked for that could break in the middle of an update. */
const BREAK_MS = 5_000;
const BREAK_LOOK_MS = 20;
const LIVENESS = 2;
const ANSWER = 'every acknowledged spec is reached';

class ClusterLife {
  readonly world: ClusterWorld;
  readonly #operator: Operator;
  readonly #users: Users;
  readonly #hand: ClusterFaultHand;
  readonly #readers: LogReaders;

  constructor(world: ClusterWorld) {
    this.world = world;
    this.#operator = new Operator(world);
    this.#users = new Users(world, this.#operator);
    this.#hand = new ClusterFaultHand(world);
    this.#readers = new LogReaders(world);
  }

  async run(): Promise<void> {
    this.#everySecond();
    for (const step of [() => this.#found(), () => this.#suffer(), () => this.#heal()]) {
      if (this.world.checks.violation === null) await step();
    }
  }

  async #found(): Promise<void> {
    const { world } = this;
    const { managers, workers, heartbeatMs, historyLimit } = world.plan;
    const first = world.addHost('manager');
    const node = newNode(first.nodeId, 'manager');
    const cluster = aCluster({
      id: asId<ClusterId>('cluster'.padEnd(25, '0')),
      spec: {
        ...DEFAULT_CLUSTER_SPEC,
        taskHistoryLimit: historyLimit,
        dispatcherHeartbeatNanos: heartbeatMs * 1e6,
      },
    });
    const origin = {
      kind: 'bootstrap',
      cluster: { cluster, node, identity: undefined },
    } as unknown as ManagerOrigin; // nobody here reads the certificate of the first manager
    void world.start(first, origin);
    await this.#mustBe('a first manager', FOUNDING_MS, () => first.isUp);
    for (let i = 1; i < managers; i++) await this.#add('manager');
    for (let i = 0; i < workers; i++) await this.#add('worker');
  }

  async #add(role: NodeRole): Promise<void> {
    const { world } = this;
    if (world.checks.violation !== null) return;
    let host: Host | null = null;
    const join = (): void => {
      const again = (): void => {
        world.clock.schedule(100, WORLD, 'client', join);
      };
      this.#operator.join(role).then((joined) => {
        host = joined;
        if (joined === null) again();
      }, again);
    };
    join();
    await this.#mustBe(`new ${role}`, FOUNDING_MS, () => host?.isUp ?? false);
  }

  async #suffer(): Promise<void> {
    const { world } = this;
    world.note(WORLD, 'faults begin');
    this.#users.start();
    this.#hand.start();
    this.#readers.start();
    await world.run(world.plan.faultyMs);
    this.#hand.stop();
    this.#users.stop();
    this.#readers.stop();
    if (!world.plan.keepsLost) return;
    let lookAtMs = 0;
    await world.run(BREAK_MS, () => {
      if (world.clock.nowMs < lookAtMs) return false;
      lookAtMs = world.clock.nowMs + BREAK_LOOK_MS;
      return this.#operator.breaksHalfStarted();
    });
  }

  async #heal(): Promise<void> {
    const { world } = this;
    world.note(WORLD, 'faults end');
    world.isFaulty = false;
    world.wires.isHealed = true;
    world.wires.heal();
    for (const host of world.hosts.values()) {
      world.resume(host);
      void world.start(host);
    }
    this.#operator.cleanUp();
    let lookAtMs = 0;
    let lacking = 'nothing was looked at';
    const isReached = (): boolean => {
      if (world.clock.nowMs < lookAtMs) return false;
      lookAtMs = world.clock.nowMs + LOOK_MS;
      lacking = unmet(world) ?? '';
      return lacking === '';
    };
    const startedMs = world.clock.nowMs;
    const isOver = await world.run(HEALING_MS, isReached);
    if (world.checks.violation !== null) return;
    if (!isOver) {
      world.checks.report(LIVENESS, ANSWER, `after ${HEALING_MS} ms of peace: ${lacking}`);
      return;
    }
    world.statistics.add('healing.seconds', Math.round((world.clock.nowMs - startedMs) / 1_000));
    world.note(WORLD, 'all is as it was asked for');
    world.view((view) => world.checks.tell('ended', view));
  }

  #everySecond(): void {
    this.world.clock.schedule(LOOK_MS, WORLD, 'timer', () => {
      this.world.checks.tell('second');
      this.#everySecond();
    });
  }

  async #mustBe(what: string, limitMs: number, test: () => boolean): Promise<void> {
    const { world } = this;
    if (world.checks.violation !== null) return;
    if (await world.run(limitMs, test)) return;
    if (world.checks.violation !== null) return;
    world.checks.report(LIVENESS, ANSWER, `no ${what} within ${limitMs} ms`);
  }
}

/** Lives through one seed. Never rejects: what goes wrong is in the report. */
export async function runClusterSeed(seed: number, traceLines = 60): Promise<RunReport> {
  const world = new ClusterWorld(clusterPlanOf(seed), traceLines);
  const life = new ClusterLife(world);
  const { checks, trace, clock, statistics } = world;
  const onRejection = (reason: unknown): void => world.surprise(reason);
  process.on('unhandledRejection', onRejection);
  try {
    await life.run();
  } catch (err) {
    world.surprise(err);
  } finally {
    process.off('unhandledRejection', onRejection);
  }
  return {
    seed,
    violation: checks.violation,
    traceHash: trace.hash,
    traceLines: trace.count,
    virtualMs: clock.nowMs,
    longestOutageMs: null,
    counts: [...statistics.counts],
    lastLines: checks.violation === null ? [] : trace.last,
  };
}
