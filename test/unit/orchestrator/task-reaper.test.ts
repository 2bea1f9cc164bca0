import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_RESTART_POLICY, type ServiceMode } from '../../../common/model/service.ts';
import type { DesiredState, TaskState } from '../../../common/model/task-state.ts';
import {
  historyLimit,
  isDoneForGood,
  surplusTasks,
} from '../../../manager/orchestrator/plan-reaping.ts';
import { seatsBySlot } from '../../../manager/orchestrator/seat.ts';
import {
  aService,
  aServiceSpec,
  aTask,
  aTaskSpec,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';
import { ControlRooms } from '../../support/control-rooms.ts';

describe('reaper', () => {
  test.each<[DesiredState, TaskState, boolean, boolean]>([
    ['remove', 'new', true, true],
    ['remove', 'pending', true, true],
    ['remove', 'assigned', true, false],
    ['remove', 'running', true, false],
    ['remove', 'running', false, true],
    ['remove', 'complete', true, true],
    ['remove', 'shutdown', true, true],
    ['remove', 'orphaned', true, true],
    ['shutdown', 'shutdown', true, false],
    ['running', 'orphaned', true, false],
  ])(
    'desired %s, state %s, node there %s: deleted at once = %s',
    (desiredState, state, there, done) => {
      const task = aTask({ desiredState, status: aTaskStatus({ state }) });
      expect(isDoneForGood(task, there)).toBe(done);
    },
  );

  test('an orphaned task of no service is deleted at once', () => {
    const task = aTask({ serviceId: '' as never, status: aTaskStatus({ state: 'orphaned' }) });
    expect(isDoneForGood(task, true)).toBe(true);
  });

  const limited = (maxAttempts: number, mode: ServiceMode = { kind: 'global' }) =>
    aService({
      spec: aServiceSpec({
        mode,
        task: aTaskSpec({ restart: { ...DEFAULT_RESTART_POLICY, maxAttempts } }),
      }),
    });
  test.each([
    [limited(0), 5, 5],
    [limited(0), 0, 0],
    [limited(0), -1, null],
    [limited(2), 5, 3],
    [limited(2), -1, 3],
    [limited(0, { kind: 'global-job' }), 5, 5],
  ])('limit %#', (service, clusterLimit, expected) => {
    expect(historyLimit(service, clusterLimit)).toBe(expected);
  });

  test('the oldest that ended or never began go first; what may still run stays', () => {
    const at = (createdAtMs: number, state: TaskState, desiredState: DesiredState = 'shutdown') =>
      aTask({
        id: idOf(`t${createdAtMs}`),
        desiredState,
        status: aTaskStatus({ state }),
        meta: { version: 1, createdAtMs, updatedAtMs: 0 },
      });
    const tasks = [
      at(1, 'running'), // told to stop, not stopped yet
      at(2, 'failed'),
      at(3, 'pending'),
      at(4, 'shutdown'),
      at(5, 'running', 'running'),
    ];
    const [seat] = seatsBySlot([...tasks].reverse());
    expect(surplusTasks(seat!, 3, null)).toEqual([tasks[1], tasks[2]]);
    expect(surplusTasks(seat!, 1, null)).toEqual([tasks[1], tasks[2], tasks[3]]);
    expect(surplusTasks(seat!, 5, null)).toEqual([]);
  });

  const ended = (createdAtMs: number, desiredState: DesiredState, jobIteration: number | null) =>
    aTask({
      id: idOf(`t${createdAtMs}`),
      desiredState,
      jobIteration,
      status: aTaskStatus({ state: 'complete' }),
      meta: { version: 1, createdAtMs, updatedAtMs: 0 },
    });

  test('the newest task of a seat stays, whatever the limit: it says that the work is done', () => {
    const tasks = [ended(1, 'shutdown', null), ended(2, 'shutdown', null)];
    expect(surplusTasks(seatsBySlot(tasks)[0]!, 0, null)).toEqual([tasks[0]]);
  });

  test('the task before one that waits for its restart stays: it says how long', () => {
    const waiting = aTask({
      desiredState: 'ready',
      meta: { version: 1, createdAtMs: 9, updatedAtMs: 0 },
    });
    const tasks = [ended(1, 'shutdown', null), ended(2, 'shutdown', null), waiting];
    expect(surplusTasks(seatsBySlot(tasks)[0]!, 0, null)).toEqual([tasks[0]]);
  });

  test('what the present iteration of a job completed stays, what earlier ones did is history', () => {
    const tasks = [ended(1, 'complete', 0), ended(2, 'complete', 1), ended(3, 'complete', 2)];
    const [seat] = seatsBySlot(tasks);
    expect(surplusTasks(seat!, 1, 2)).toEqual([tasks[0], tasks[1]]);
    expect(surplusTasks(seat!, 1, 1)).toEqual([tasks[0]]);
    expect(surplusTasks(seat!, 2, 2)).toEqual([tasks[0]]);
  });
});

describe('reaper at work', () => {
  let rooms: ControlRooms;
  beforeEach(async () => {
    rooms = await ControlRooms.start(1);
    const [cluster] = rooms.test.store.view((view) => view.list('cluster'));
    await rooms.test.store.update((tx) =>
      tx.update('cluster', { ...cluster!, spec: { ...cluster!.spec, taskHistoryLimit: 0 } }),
    );
  });
  afterEach(() => rooms.stop());

  test('keeps no history with limit 0, but the restart delay is waited out', async () => {
    const { id } = await rooms.deploy();
    await rooms.report(rooms.tasks(id)[0]!.id, 'failed');
    await rooms.pass(4900);
    expect(rooms.tasks(id).map(({ desiredState }) => desiredState)).toEqual(['shutdown', 'ready']);
    await rooms.pass(600);
    expect(rooms.tasks(id)).toMatchObject([{ status: { state: 'running' } }]);
  });

  test('with limit 0 work that is done is not done again', async () => {
    rooms.outcome = () => 'complete';
    const restart = { ...DEFAULT_RESTART_POLICY, condition: 'on-failure' as const, delayNanos: 0 };
    const { id } = await rooms.deploy({ task: aTaskSpec({ restart }) });
    const [done] = rooms.tasks(id);
    await rooms.pass(2000);
    expect(rooms.tasks(id).map((task) => task.id)).toEqual([done!.id]);
  });
});
