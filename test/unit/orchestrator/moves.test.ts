import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ServiceId, TaskId } from '../../../common/model/ids.ts';
import { ANYWHERE, NO_RESOURCES } from '../../../common/model/service.ts';
import type { MoveOrder, Task } from '../../../common/model/task.ts';
import { planMoves } from '../../../manager/orchestrator/plan-moves.ts';
import type { SeatPlan } from '../../../manager/orchestrator/plan-seat.ts';
import type { Seat } from '../../../manager/orchestrator/seat.ts';
import type { ServiceWorld } from '../../../manager/orchestrator/world.ts';
import {
  aNetworkTarget,
  aService,
  aTaskOf,
  aTaskSpec,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';
import { ControlRooms } from '../../support/control-rooms.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeStore } from '../../support/store.ts';

/** Of another leader. */
class OtherClock extends FakeClock {
  offsetMs = 0;

  override wallMs(): number {
    return super.wallMs() + this.offsetMs;
  }
}

describe('a task that is to move', () => {
  let rooms: ControlRooms;
  let id: ServiceId;
  let clock: OtherClock;
  beforeEach(async () => {
    clock = new OtherClock();
    rooms = await ControlRooms.start(2, makeStore({ clock }));
    ({ id } = await rooms.deploy({ mode: { kind: 'replicated', replicas: 1 } }));
  });
  afterEach(() => rooms.stop());

  const only = (): Task => {
    const [task, ...others] = rooms.running(id);
    expect(others).toEqual([]);
    return task!;
  };
  /** As the control API does it. */
  const order = async (taskId: TaskId, moving: MoveOrder | null): Promise<void> => {
    await rooms.test.store.update((tx) => {
      tx.update('task', { ...tx.require('task', taskId), moving });
    });
    await rooms.rest();
  };
  /** Nothing of the service can be placed any more. */
  const pauseAll = async (): Promise<void> => {
    for (const node of rooms.nodes()) {
      await rooms.setNode(node.id, (it) => ({
        ...it,
        spec: { ...it.spec, availability: 'pause' },
      }));
    }
    await rooms.rest();
  };

  test('stops first where it has an address of its own, whatever the move says', async () => {
    const networks = [aNetworkTarget({ target: 'host', addresses: ['10.9.0.7'] })];
    ({ id } = await rooms.deploy({
      ...{ name: 'db', task: aTaskSpec({ networks }) },
      mode: { kind: 'replicated', replicas: 1 },
    }));
    const before = only();
    rooms.deaf.add(before.id);
    await order(before.id, 'start-first');
    expect(rooms.test.get('task', before.id).desiredState).toBe('shutdown');
    expect(rooms.running(id)).toEqual([]);
    await rooms.report(before.id, 'shutdown');
    await rooms.rest();
    expect(only().nodeId).not.toBe(before.nodeId);
  });

  test('goes once another runs in its place', async () => {
    const before = only();
    await order(before.id, 'start-first');
    const after = only();
    expect(after.id).not.toBe(before.id);
    expect(after.nodeId).not.toBe(before.nodeId);
  });

  test('does not wait for a replica that no node has room for, but for one that is to take its place', async () => {
    const task = aTaskSpec({
      placement: { ...ANYWHERE, maxReplicas: 1 },
    });
    const mode = { kind: 'replicated' as const, replicas: 3 };
    ({ id } = await rooms.deploy({ name: 'crowd', task, mode }));
    expect(rooms.running(id)).toHaveLength(2); // and the third has no room
    const [first, second] = rooms.running(id);
    // Nor is there room for another beside these.
    await order(first!.id, 'stop-first');
    await order(second!.id, 'stop-first');
    await rooms.pass(10_000, 1_000);
    expect(rooms.running(id)).toHaveLength(2);
    const followers = rooms.tasks(id).filter(({ desiredState }) => desiredState === 'ready');
    expect(followers.map(({ slot }) => slot)).toEqual([first!.slot]);
  });

  test.each([5, 0])(
    'has no others follow it while nothing takes its place (history of %i)',
    async (taskHistoryLimit) => {
      await rooms.test.store.update((tx) => {
        const [cluster] = tx.list('cluster');
        tx.update('cluster', { ...cluster!, spec: { ...cluster!.spec, taskHistoryLimit } });
      });
      const mode = { kind: 'replicated' as const, replicas: 4 };
      ({ id } = await rooms.deploy({ name: 'four', mode }));
      const tasks = rooms.running(id);
      await pauseAll();
      for (const task of tasks) await order(task.id, 'stop-first');
      await rooms.pass(60_000, 1_000);
      expect(rooms.running(id)).toHaveLength(4);
      const followers = rooms.tasks(id).filter(({ desiredState }) => desiredState === 'ready');
      expect(followers).toHaveLength(1);
    },
  );

  test.each([
    ['moved', true, 0],
    ['was never there', false, 1],
  ])('waits for one without room whose forerunner %s', async (_, moved, begun) => {
    const waiting = aTaskStatus({ state: 'pending', err: 'no suitable node' });
    const service = aService();
    const task = (slot: number, words: Partial<Task>) =>
      aTaskOf(service, { slot, specVersion: service.specVersion, ...words });
    const seatOf = (tasks: readonly Task[]): Seat => {
      const { slot } = tasks[0]!;
      return { key: String(slot), place: { slot, nodeId: null }, tasks };
    };
    const gone = { desiredState: 'shutdown', status: aTaskStatus({ state: 'shutdown' }) } as const;
    const long = task(1, { ...gone, moving: 'start-first' });
    const then = moved ? [] : [task(1, gone)];
    const now = task(1, { desiredState: 'ready', status: waiting });
    const running = aTaskStatus({ state: 'running' });
    const leaving = task(2, { moving: 'start-first', status: running });
    const plan = (tasks: readonly Task[], wanted: Task): SeatPlan => ({
      ...{ seat: seatOf(tasks), wanted: [wanted], changes: [], wakeAtMs: null, successor: null },
      ...{ state: 'live', dirty: false },
    });
    const seats = [plan([long, ...then, now], now), plan([leaving], leaving)];
    const world: ServiceWorld = {
      ...{ service, tasks: [], nodes: [], nowMs: 0, mustWait: false, holdsStarts: false },
      ...{ node: () => undefined, newTaskId: () => idOf<TaskId>('new') },
    };
    expect(planMoves(world, seats)).toHaveLength(begun);
  });

  test('stop-first: serves until another is prepared elsewhere, and has ended before that runs', async () => {
    const before = only();
    rooms.preparation = () => 'preparing';
    await order(before.id, 'stop-first');
    expect(only().id).toBe(before.id);
    rooms.deaf.add(before.id);
    rooms.preparation = () => 'ready';
    await rooms.rest();
    expect(rooms.test.get('task', before.id).desiredState).toBe('shutdown');
    expect(rooms.running(id)).toEqual([]);
    await rooms.report(before.id, 'shutdown');
    await rooms.rest();
    expect(only().nodeId).not.toBe(before.nodeId);
  });

  test('stop-first: is not followed on its own node, where it would stay', async () => {
    const reservations = { ...NO_RESOURCES.reservations, nanoCpus: 2.5e9 };
    const task = aTaskSpec({ resources: { ...NO_RESOURCES, reservations } });
    const mode = { kind: 'replicated' as const, replicas: 2 };
    ({ id } = await rooms.deploy({ name: 'wide', task, mode }));
    const [before] = rooms.running(id);
    await order(before!.id, 'stop-first');
    await rooms.pass(10_000, 1_000);
    expect(rooms.running(id).map((one) => one.id)).toContain(before!.id);
    const waiting = rooms.tasks(id).find(({ desiredState }) => desiredState === 'ready');
    expect(waiting!.status).toMatchObject({
      state: 'pending',
      err: expect.stringMatching(/^no suitable node/),
    });
  });

  test('stays when it is called off, and the one that was to take its place ends', async () => {
    const before = only();
    await pauseAll();
    await order(before.id, 'start-first');
    const waiting = rooms.tasks(id).filter((task) => task.desiredState === 'running');
    expect(waiting.map(({ status }) => status.state).sort()).toEqual(['pending', 'running']);
    await order(before.id, null);
    expect(only().id).toBe(before.id);
    const wanted = rooms.tasks(id).filter((task) => task.desiredState === 'running');
    expect(wanted.map((task) => task.id)).toEqual([before.id]);
  });

  test('moves again after it was called off once', async () => {
    const before = only();
    await pauseAll();
    await order(before.id, 'start-first');
    await order(before.id, null);
    for (const node of rooms.nodes().filter(({ id: own }) => own !== before.nodeId)) {
      await rooms.setNode(node.id, (it) => ({
        ...it,
        spec: { ...it.spec, availability: 'active' },
      }));
    }
    await order(before.id, 'start-first');
    await rooms.pass(10_000, 1_000);
    expect(only().nodeId).not.toBe(before.nodeId);
  });

  test('stays when what was to take its place fails for good', async () => {
    const task = aTaskSpec({
      restart: { condition: 'none', delayNanos: 0, maxAttempts: 0, windowNanos: 0 },
    });
    const mode = { kind: 'replicated' as const, replicas: 1 };
    ({ id } = await rooms.deploy({ name: 'once', task, mode }));
    const before = only();
    rooms.outcome = () => 'failed';
    await order(before.id, 'start-first');
    await rooms.pass(10_000, 1_000);
    expect(only().id).toBe(before.id);
    expect(rooms.tasks(id)).toHaveLength(2);
  });

  test('moves under a leader whose clock is behind, although an older one ended there', async () => {
    const first = only();
    clock.offsetMs = -60_000;
    await rooms.report(first.id, 'failed');
    await rooms.pass(10_000, 1_000);
    const second = only();
    expect(second.meta.createdAtMs).toBeLessThan(first.meta.createdAtMs);
    await order(second.id, 'start-first');
    await rooms.pass(10_000, 1_000);
    expect(only().id).not.toBe(second.id);
  });
});
