import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TaskSet } from '../../../common/base/lifecycle.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { NodeRole } from '../../../common/model/node.ts';
import { RoleFollower } from '../../../daemon/role-follower.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

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
  readonly follower: RoleFollower;

  constructor(role: NodeRole) {
    this.granted = role;
    this.plays = role;
    this.follower = new RoleFollower({
      plays: () => this.plays,
      renew: async () => {
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
