import { describe, expect, test } from 'vitest';
import { DirtyTest } from '../../../common/model/dirty-task.ts';
import type { TaskId } from '../../../common/model/ids.ts';
import type { RestartPolicy, Service } from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import type { DesiredState, TaskState } from '../../../common/model/task-state.ts';
import { planReplicatedSeats } from '../../../manager/orchestrator/plan-replicated.ts';
import { planSeat, type SeatPlan } from '../../../manager/orchestrator/plan-seat.ts';
import { planRemovedService } from '../../../manager/orchestrator/plan-service.ts';
import { seatsBySlot } from '../../../manager/orchestrator/seat.ts';
import {
  CREATES_MAX,
  type OrchestratorChange,
  REMOVALS_MAX,
} from '../../../manager/orchestrator/world.ts';
import {
  aNode,
  aService,
  aServiceSpec,
  aTaskOf,
  aTaskSpec,
  aTaskStatus,
  freshId,
} from '../../support/builders.ts';

const node = aNode();

function service(policy: Partial<RestartPolicy> = {}): Service {
  const restart = { condition: 'any' as const, delayNanos: 0, maxAttempts: 0, windowNanos: 0 };
  const task = aTaskSpec({ restart: { ...restart, ...policy } });
  return aService({ specVersion: 1, spec: aServiceSpec({ task }) });
}

let age = 0;
function task(of: Service, desiredState: DesiredState, state: TaskState, old = false): Task {
  return aTaskOf(of, {
    nodeId: node.id,
    desiredState,
    status: aTaskStatus({ state, timestampMs: age }),
    meta: { version: 1, createdAtMs: age++, updatedAtMs: 0 },
    ...(old && { specVersion: 0, spec: { ...of.spec.task, forceUpdate: 9 } }),
  });
}

function plan(
  of: Service,
  tasks: Task[],
  rules = { startFirst: false, rollingBack: false },
): SeatPlan {
  const world = {
    service: of,
    tasks,
    node: () => node,
    nodes: [node],
    nowMs: 1_000_000,
    newTaskId: () => freshId<TaskId>('new'),
    mustWait: false,
    holdsStarts: false,
  };
  const [seat] = seatsBySlot(tasks);
  return planSeat(seat!, world, {
    ...rules,
    hasPossibleNode: () => true,
    dirtyTest: new DirtyTest(of, () => node),
  });
}

describe('a seat', () => {
  test.each<[string, Partial<RestartPolicy>, DesiredState, TaskState, SeatPlan['state']]>([
    ['a task that runs', {}, 'running', 'running', 'live'],
    ['work that is done', { condition: 'on-failure' }, 'shutdown', 'complete', 'settled'],
    ['a task that may not come back', { condition: 'none' }, 'shutdown', 'failed', 'settled'],
    ['a task that is missing', {}, 'shutdown', 'failed', 'dead'],
    ['a slot that was given up', { condition: 'none' }, 'remove', 'shutdown', 'dead'],
  ])('with %s: %s %s %s is %s', (_, policy, desiredState, state, expected) => {
    const web = service(policy);
    expect(plan(web, [task(web, desiredState, state)]).state).toBe(expected);
  });

  test('settled work counts for nothing while rolling back', () => {
    const web = service({ condition: 'none' });
    const tasks = [task(web, 'shutdown', 'failed')];
    expect(plan(web, tasks, { startFirst: false, rollingBack: true }).state).toBe('dead');
  });

  test('an ended task and its successor are one write', () => {
    const web = service();
    const ended = task(web, 'running', 'failed');
    expect(plan(web, [ended]).changes).toMatchObject([
      { kind: 'create', desiredState: 'ready', stops: [ended.id] },
    ]);
  });

  test('an ended old task beside a running new one is only told to stop', () => {
    const web = service();
    const [old, fresh] = [task(web, 'running', 'failed', true), task(web, 'running', 'running')];
    const { changes, dirty } = plan(web, [old, fresh]);
    expect(changes).toEqual([{ kind: 'desire', taskId: old.id, desiredState: 'shutdown' }]);
    expect(dirty).toBe(false);
  });

  test('start-first: the old one stays until the new one runs', () => {
    const web = service();
    const tasks = (state: TaskState) => [
      task(web, 'running', 'running', true),
      task(web, 'running', state),
    ];
    const rules = { startFirst: true, rollingBack: false };
    expect(plan(web, tasks('starting'), rules).changes).toEqual([]);
    expect(plan(web, tasks('running'), rules).changes).toHaveLength(1);
    expect(plan(web, tasks('starting')).changes).toHaveLength(1); // stop-first
  });

  test('start-first: a new one that has the place of the old one, which stopped first when it was placed, waits for its end', () => {
    const web = service();
    const rules = { startFirst: true, rollingBack: false };
    const old = task(web, 'running', 'running', true);
    const lent = { ...task(web, 'ready', 'preparing'), hasForerunnersPlace: true };
    expect(plan(web, [old, lent], rules).changes).toEqual([]);
    const prepared = { ...lent, status: { ...lent.status, state: 'ready' as const } };
    const stop = { kind: 'desire', taskId: old.id, desiredState: 'shutdown' };
    expect(plan(web, [old, prepared], rules).changes).toEqual([stop]);
    // One with a place of its own is let run beside it.
    const own = { ...prepared, hasForerunnersPlace: false };
    const run = { kind: 'desire', taskId: own.id, desiredState: 'running' };
    expect(plan(web, [old, own], rules).changes).toEqual([run]);
  });

  describe('is dirty', () => {
    const web = service({ condition: 'none' });
    const startFirst = { startFirst: true, rollingBack: false };
    const dirtyBesideOld = (newest: Task): boolean =>
      plan(web, [{ ...task(web, 'running', 'running', true), ...older }, newest], startFirst).dirty;
    const older = { meta: { version: 1, createdAtMs: -1, updatedAtMs: 0 } };

    test('when it lives by an old task alone', () => {
      expect(plan(web, [task(web, 'running', 'running', true)]).dirty).toBe(true);
      expect(plan(web, [task(web, 'running', 'running')]).dirty).toBe(false);
      expect(dirtyBesideOld(task(web, 'running', 'starting'))).toBe(false);
    });

    test('not after an attempt that failed and may not be repeated', () => {
      expect(dirtyBesideOld(task(web, 'running', 'failed'))).toBe(false);
      expect(dirtyBesideOld(task(web, 'shutdown', 'failed'))).toBe(false);
    });

    test('when the newer task was called off, whose words are the present ones again', () => {
      const before = { specVersion: 0 };
      expect(dirtyBesideOld({ ...task(web, 'shutdown', 'shutdown'), ...before })).toBe(true);
      expect(dirtyBesideOld({ ...task(web, 'shutdown', 'starting'), ...before })).toBe(true);
      expect(dirtyBesideOld({ ...task(web, 'shutdown', 'failed'), ...before })).toBe(true);
      // A second rollback to the same version: the first was called off here.
      expect(dirtyBesideOld(task(web, 'shutdown', 'shutdown'))).toBe(true);
    });
  });

  test('max attempts do not count tasks of another spec in between', () => {
    const web = service({ maxAttempts: 1 });
    const tasks = [
      task(web, 'shutdown', 'failed'),
      task(web, 'shutdown', 'failed', true),
      task(web, 'running', 'failed'),
    ];
    expect(plan(web, tasks).changes[0]!.kind).toBe('create');
    expect(plan(web, tasks.toSpliced(1, 1)).changes[0]!.kind).toBe('desire');
  });
});

function seatsOf(web: Service, tasks: readonly Task[], replicas: number) {
  const world = {
    service: web,
    tasks,
    node: () => node,
    nodes: [node],
    nowMs: 0,
    newTaskId: () => freshId<TaskId>(),
    mustWait: false,
    holdsStarts: false,
  };
  const dirtyTest = new DirtyTest(web, () => node);
  const hasPossibleNode = () => true;
  const rules = { dirtyTest, startFirst: false, rollingBack: false, hasPossibleNode };
  return planReplicatedSeats(world, replicas, rules).changes;
}

test('a service with very many replicas is filled in parts', () => {
  expect(seatsOf(service(), [], 100_000)).toHaveLength(CREATES_MAX);
});

describe('what a service of very many replicas leaves is told to go in parts', () => {
  const web = service();
  const count = REMOVALS_MAX + 500;
  const all = Array.from({ length: count }, (_, index) => ({
    ...task(web, 'running', 'running'),
    slot: index + 1,
  }));
  const told = (tasks: readonly Task[], changes: readonly OrchestratorChange[]): Task[] => {
    const going = new Set(changes.map((one) => (one.kind === 'desire' ? one.taskId : null)));
    return tasks.map((one) => (going.has(one.id) ? { ...one, desiredState: 'remove' } : one));
  };
  const staying = (tasks: readonly Task[]): number =>
    tasks.filter(({ desiredState }) => desiredState !== 'remove').length;

  test.each([
    ['scaled down', (tasks: readonly Task[]) => seatsOf(web, tasks, 3), 3],
    ['removed', planRemovedService, 0],
  ] as const)('%s', (_, changesOf, stay) => {
    const first = changesOf(all);
    expect(first).toHaveLength(REMOVALS_MAX);
    const rest = told(all, first);
    expect(changesOf(rest)).toHaveLength(count - REMOVALS_MAX - stay);
    const end = told(rest, changesOf(rest));
    expect(staying(end)).toBe(stay);
    expect(changesOf(end)).toEqual([]);
  });
});
