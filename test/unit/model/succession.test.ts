import { describe, expect, test } from 'vitest';
import { DEFAULT_UPDATE_CONFIG, type Service } from '../../../common/model/service.ts';
import { endsBefore } from '../../../common/model/succession.ts';
import type { MoveOrder } from '../../../common/model/task.ts';
import type { DesiredState, TaskState } from '../../../common/model/task-state.ts';
import { aService, aServiceSpec, aTask, aTaskStatus } from '../../support/builders.ts';

const serviceOf = (
  order: MoveOrder,
  rollback: MoveOrder = order,
  state: 'updating' | 'rollback_paused' | 'rollback_completed' = 'updating',
): Service =>
  aService({
    spec: aServiceSpec({
      update: { ...DEFAULT_UPDATE_CONFIG, order },
      rollback: { ...DEFAULT_UPDATE_CONFIG, order: rollback },
    }),
    updateStatus: { state, startedAtMs: 0, completedAtMs: null, message: '' },
  });

interface Mates {
  readonly service?: Service;
  readonly mate?: DesiredState;
  readonly moving?: MoveOrder;
  readonly task?: DesiredState;
  readonly state?: TaskState;
}

const STOPS = serviceOf('stop-first');
const STARTS = serviceOf('start-first');

describe('of two tasks of one seat', () => {
  test.each<[string, boolean, Mates]>([
    ['stop-first', true, { service: STOPS }],
    ['start-first', false, { service: STARTS }],
    ['of a service that is gone', true, {}],
    ['start-first, but told to stop', true, { service: STARTS, mate: 'shutdown' }],
    ['start-first, but told to go', true, { service: STARTS, mate: 'remove' }],
    ['start-first while it rolls back', false, serviceCase('start-first', 'rollback_paused')],
    ['start-first when it was rolled back', true, serviceCase('start-first', 'rollback_completed')],
    ['stop-first while it rolls back', true, serviceCase('stop-first', 'rollback_paused', STARTS)],
    ['moved stop-first', true, { service: STARTS, moving: 'stop-first' }],
    ['moved start-first', false, { service: STOPS, moving: 'start-first' }],
    ['and the other does not wait', false, { service: STOPS, task: 'running' }],
    ['and the other has ended', false, { service: STOPS, state: 'failed' }],
    ['and it waits as well', false, { service: STOPS, mate: 'ready' }],
  ])('one that is %s has ended before the other runs: %s', (_, expected, mates) => {
    const { service, mate = 'running', moving = null, task = 'ready', state = 'pending' } = mates;
    const running = aTaskStatus({ state: mate === 'ready' ? 'ready' : 'running' });
    const old = aTask({ desiredState: mate, moving, status: running });
    const successor = aTask({ desiredState: task, status: aTaskStatus({ state }) });
    expect(endsBefore(old, successor, service)).toBe(expected);
  });
});

/** The rollback has an order of its own; the update the other one. */
function serviceCase(
  rollback: MoveOrder,
  state: 'rollback_paused' | 'rollback_completed',
  { spec }: Pick<Service, 'spec'> = STOPS,
): Mates {
  return { service: serviceOf(spec.update!.order, rollback, state) };
}
