import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { TaskSet } from '../../../common/base/lifecycle.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { Random } from '../../../common/base/random.ts';
import type { NodeRole } from '../../../common/model/node.ts';
import { RoleFollower } from '../../../daemon/role-follower.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

/** Half of every bound: back-off delays are half their limit. */
const MIDDLE: Random = {
  bytes: (length) => new Uint8Array(length),
  below: (bound) => Math.floor(bound / 2),
  unit: () => 0.5,
};

/** A node whose managers grant `granted`, and what it did. */
class Scene {
  readonly clock = new FakeClock();
  readonly tasks = new TaskSet((err) => {
    throw err;
  });
  readonly steps: string[] = [];
  granted: NodeRole;
  plays: NodeRole;
  failures: Error[] = [];
  refusal: SkepError | null = null;
  renewals = 0;
  readonly follower: RoleFollower;

  constructor(role: NodeRole) {
    this.granted = role;
    this.plays = role;
    this.follower = new RoleFollower({
      plays: () => this.plays,
      renew: async () => {
        this.renewals++;
        if (this.refusal) throw this.refusal;
        this.steps.push(`renewed as ${this.granted}`);
        return this.granted;
      },
      become: async (wanted) => {
        const failure = this.failures.shift();
        if (failure) throw failure;
        this.steps.push(`became ${wanted}`);
        this.plays = wanted;
      },
      tasks: this.tasks,
      clock: this.clock,
      random: MIDDLE,
      log: silentLogger,
    });
  }
}

let scene: Scene;
beforeEach(() => {
  scene = new Scene('worker');
});
afterEach(() => scene.tasks.stop());

describe('role follower', () => {
  test('does nothing when the node is what it shall be', async () => {
    scene.follower.follow('worker');
    await scene.clock.advance(10_000);
    expect(scene.steps).toEqual([]);
  });

  test('waits until the managers grant the role, then changes', async () => {
    scene.follower.follow('manager');
    await settle();
    expect(scene.steps).toEqual(['renewed as worker']);
    scene.granted = 'manager';
    await scene.clock.advance(1_000);
    expect(scene.steps).toEqual(['renewed as worker', 'renewed as manager', 'became manager']);
  });

  test('a change that failed is tried again', async () => {
    scene.granted = 'manager';
    scene.failures = [new Error('no leader'), new Error('no leader')];
    scene.follower.follow('manager');
    await scene.clock.advance(2_000);
    expect(scene.plays).toBe('manager');
    expect(scene.steps.filter((step) => step.startsWith('became'))).toHaveLength(1);
  });

  test('the last wish wins while an earlier one is still being tried', async () => {
    scene.follower.follow('manager');
    await settle();
    scene.follower.follow('worker');
    await scene.clock.advance(5_000);
    expect(scene.steps.at(-1)).toBe('became worker');
    expect(scene.clock.pending).toBe(0);
  });

  test('a removed manager becomes a worker', async () => {
    scene = new Scene('manager');
    scene.granted = 'worker';
    scene.follower.removed();
    await settle();
    expect(scene.steps).toEqual(['renewed as worker', 'became worker']);
  });

  test('a removed manager that is to be one joins again', async () => {
    scene = new Scene('manager');
    scene.follower.follow('manager');
    scene.plays = 'worker';
    scene.follower.removed();
    await settle();
    expect(scene.steps).toEqual(['renewed as manager', 'became manager']);
  });

  test.each<NodeRole>(['worker', 'manager'])(
    'a manager removed from the swarm while it is to be %s ends as no manager, and asks no more',
    async (told) => {
      scene = new Scene('manager');
      scene.refusal = new SkepError('permission-denied', 'node was removed from swarm');
      scene.follower.follow(told);
      scene.follower.removed();
      await scene.clock.advance(60_000);
      expect(scene.steps).toEqual(['became worker']);
      expect(scene.renewals).toBe(1);
      expect(scene.clock.pending).toBe(0);
    },
  );

  test('doubles its back-off up to 30 s while the managers cannot be reached', async () => {
    scene.refusal = new SkepError('unavailable', 'no manager is known');
    scene.follower.follow('manager');
    await settle();
    const gapsMs: number[] = [];
    for (let attempt = 1; attempt < 8; attempt++) {
      const fromMs = scene.clock.monotonicMs();
      while (scene.renewals === attempt) await scene.clock.advance(100);
      gapsMs.push(scene.clock.monotonicMs() - fromMs);
    }
    expect(gapsMs).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
  });

  test('stops trying with the membership, and never starts after it', async () => {
    scene.follower.follow('manager');
    await settle();
    await scene.tasks.stop();
    scene.granted = 'manager';
    scene.follower.removed();
    await scene.clock.advance(10_000);
    expect(scene.steps).toEqual(['renewed as worker']);
  });
});
