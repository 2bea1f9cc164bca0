/**
 * How far each service of a stack is, and whether there is anything left to wait for. Pure: from what the
 * API tells at one moment.
 */
import type { NodeJson } from '../../common/model/engine-json/node.ts';
import type { ServiceJson } from '../../common/model/engine-json/service.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { STOPPED_LABEL } from '../../common/model/stack.ts';
import {
  CONDITION_WORDS,
  type StartDependency,
  startDependencies,
} from '../../common/model/start-order.ts';
import { isJob, isOver, viewJob } from './job-progress.ts';
import { hasFailed, isUnplaced, isWanted } from './task-life.ts';

/**
 * `up`: every seat runs, or has done its work. `moving`: something is under way. `held`: prepared, and waits
 * for another service. `unplaced`: only what no node takes is missing. `failed`: nothing more will come by
 * itself. `rolled-back`: as it was before.
 */
export type ServiceState = 'up' | 'moving' | 'held' | 'unplaced' | 'failed' | 'rolled-back';

export interface ServiceProgress {
  readonly name: string;
  readonly state: ServiceState;
  /** seats that run, or have done their work */
  readonly ready: number;
  readonly wanted: number;
  /** what it does, waits for, or died of */
  readonly text: string;
  /** nothing of it has to be watched any longer for failures */
  readonly isSettled: boolean;
  /** its update goes on: what runs now is not all that is to come */
  readonly isUpdating: boolean;
}

export interface StackMoment {
  /** with their counts of tasks */
  readonly services: readonly ServiceJson[];
  /** those that say what their services say now */
  readonly tasks: readonly TaskJson[];
  readonly nodes: readonly NodeJson[];
}

/** @param changed whether this command changed it; if not, a rollback is one of an earlier update */
export function serviceProgress(
  name: string,
  { services, tasks, nodes }: StackMoment,
  changed: boolean,
): ServiceProgress {
  const service = services.find(({ Spec }) => Spec.Name === name);
  if (!service) return progress(name, 'failed', 0, 0, 'was removed');
  const own = tasks.filter(({ ServiceID }) => ServiceID === service.ID);
  const seats = seatsOf(service, own, nodes);
  const update = updateText(service, changed);
  if (update) return { ...progress(name, update.state, seats.ready, seats.wanted, update.text) };
  if (seats.failed > 0) return progress(name, 'failed', seats.ready, seats.wanted, seats.text);
  if (isAllThere(seats)) {
    const { State } = service.UpdateStatus ?? {};
    const isSettled = seats.isOver || State === 'completed';
    const up = progress(name, 'up', seats.ready, seats.wanted, seats.text);
    return { ...up, isSettled, isUpdating: State === 'updating' };
  }
  const waitsFor = heldText(service, own, seats, { services, tasks, nodes });
  if (waitsFor !== null) return progress(name, 'held', seats.ready, seats.wanted, waitsFor);
  const state = seats.unplaced > 0 && seats.moving === 0 ? 'unplaced' : 'moving';
  return progress(name, state, seats.ready, seats.wanted, seats.text);
}

function seatsOf(
  service: ServiceJson,
  own: readonly TaskJson[],
  nodes: readonly NodeJson[],
): Seats {
  return isJob(service) ? jobSeats(service, own) : keptSeats(service, own, nodes);
}

const isAllThere = ({ ready, wanted, surplus }: Seats): boolean => ready >= wanted && surplus === 0;

function progress(
  name: string,
  state: ServiceState,
  ready: number,
  wanted: number,
  text: string,
): ServiceProgress {
  return { name, state, ready, wanted, text, isSettled: state !== 'up', isUpdating: false };
}

function updateText(
  { UpdateStatus }: ServiceJson,
  changed: boolean,
): { readonly state: ServiceState; readonly text: string } | null {
  const { State = '', Message = '' } = UpdateStatus ?? {};
  if (State === 'paused' || State === 'rollback_paused') {
    return { state: 'failed', text: Message || 'update paused' };
  }
  if (State === 'rollback_started') return { state: 'moving', text: `rolls back: ${Message}` };
  if (State === 'rollback_completed' && changed) {
    return { state: 'rolled-back', text: 'rolled back to what it was' };
  }
  return null;
}

/** True of a service that the managers have not looked at yet, too. */
const NOWHERE_TEXT = 'no node has taken a task of it';

interface Seats {
  readonly ready: number;
  readonly wanted: number;
  /** seats beyond those that are wanted, on their way out */
  readonly surplus: number;
  readonly moving: number;
  readonly unplaced: number;
  /** prepared, and not told to run */
  readonly prepared: number;
  /** nothing will come into them by itself */
  readonly failed: number;
  /** nothing runs any more, and all is done */
  readonly isOver: boolean;
  readonly text: string;
}

function jobSeats(service: ServiceJson, tasks: readonly TaskJson[]): Seats {
  const job = viewJob(service, tasks);
  const wanted = tasks.filter(isWanted);
  const unplaced = wanted.filter(isUnplaced).length;
  const prepared = wanted.filter(({ DesiredState }) => DesiredState === 'ready').length;
  const errors = job.slots.map(({ error }) => error).filter((text) => text !== '');
  // Before the tasks of a global job are there it is not known how many there will be.
  const known = job.total > 0 || service.Spec.Mode?.ReplicatedJob !== undefined;
  const text = job.completed === job.total ? 'complete' : (errors[0] ?? 'at work');
  return {
    ready: job.completed,
    wanted: known ? job.total : 1,
    surplus: 0,
    moving: wanted.length - unplaced,
    unplaced: known ? unplaced : 1,
    prepared,
    failed: isOver(job) && known ? job.failed : 0,
    isOver: true,
    text: known ? text : NOWHERE_TEXT,
  };
}

function keptSeats(
  service: ServiceJson,
  tasks: readonly TaskJson[],
  nodes: readonly NodeJson[],
): Seats {
  const down = new Set(nodes.filter(({ Status }) => Status?.State === 'down').map(({ ID }) => ID));
  const replicated = service.Spec.Mode?.Replicated;
  const bySeat = new Map<string, TaskJson[]>();
  for (const task of tasks) {
    if (task.NodeID && down.has(task.NodeID)) continue;
    const key = replicated ? String(task.Slot ?? 0) : (task.NodeID ?? '');
    bySeat.set(key, [...(bySeat.get(key) ?? []), task]);
  }
  const seats = [...bySeat.values()]
    .map((members) => seatOf(service, members))
    .filter((seat) => seat !== null);
  const count = (kind: Seat['kind']): number => seats.filter((seat) => seat.kind === kind).length;
  const ready = count('running') + count('done');
  if (seats.length === 0 && service.Spec.Mode?.Global && !isStopped(service)) {
    return unknownSeats(service);
  }
  const wanted = replicated ? (replicated.Replicas ?? 1) : seats.length;
  return {
    ready,
    wanted,
    surplus: Math.max(0, seats.length - wanted),
    moving: count('moving'),
    unplaced: count('unplaced'),
    prepared: count('prepared'),
    failed: count('failed'),
    isOver: ready > 0 && count('done') === ready,
    text: seatsText(seats, ready >= wanted),
  };
}

/** Told to stop, and kept. */
export const isStopped = ({ Spec }: Pick<ServiceJson, 'Spec'>): boolean =>
  Object.hasOwn(Spec.Labels ?? {}, STOPPED_LABEL);

/** Of a global service without a task of its present words: how many there will be is not known. */
function unknownSeats({ ServiceStatus, UpdateStatus }: ServiceJson): Seats {
  const none = { ready: 0, wanted: 1, surplus: 0, failed: 0, isOver: false };
  // Those of its words before stand: the update has yet to come to the first node.
  const isChanging = UpdateStatus?.State === 'updating' || (ServiceStatus?.DesiredTasks ?? 0) > 0;
  if (!isChanging) return { ...none, moving: 0, unplaced: 1, prepared: 0, text: NOWHERE_TEXT };
  return { ...none, moving: 1, unplaced: 0, prepared: 0, text: 'waits for tasks' };
}

interface Seat {
  readonly kind: 'running' | 'done' | 'moving' | 'prepared' | 'unplaced' | 'failed';
  readonly state: string;
  readonly error: string;
}

/** null for a seat that nobody wants. */
function seatOf(service: ServiceJson, tasks: readonly TaskJson[]): Seat | null {
  const byAge = [...tasks].sort((a, b) => (a.CreatedAt < b.CreatedAt ? 1 : -1));
  const newest = byAge[0]!;
  const wanted = byAge.find(isWanted);
  const lastError = byAge.find(({ Status }) => Status.Err)?.Status.Err ?? '';
  if (!wanted) {
    if (newest.DesiredState === 'remove') return null;
    const { State: state } = newest.Status;
    if (state === 'complete') return { kind: 'done', state, error: '' };
    const gaveUp = hasFailed(newest) && givesUp(service);
    // What was stopped, or failed without a successor, stands where nobody wants anything: a drained node.
    return gaveUp ? { kind: 'failed', state, error: lastError } : null;
  }
  const { State: state } = wanted.Status;
  if (state === 'running' && wanted.DesiredState !== 'ready') {
    return { kind: 'running', state, error: '' };
  }
  if (isUnplaced(wanted)) return { kind: 'unplaced', state, error: wanted.Status.Err ?? '' };
  // A replacement waits out its delay as well: only one without predecessors waits for another service.
  const isFirst = byAge.length === 1;
  const kind = wanted.DesiredState === 'ready' && isFirst ? 'prepared' : 'moving';
  return { kind, state, error: lastError };
}

function givesUp({ Spec }: ServiceJson): boolean {
  const { Condition = 'any', MaxAttempts = 0 } = Spec.TaskTemplate.RestartPolicy ?? {};
  return Condition === 'none' || MaxAttempts > 0;
}

function seatsText(seats: readonly Seat[], isUp: boolean): string {
  if (isUp)
    return seats.length > 0 && seats.every(({ kind }) => kind === 'done') ? 'complete' : 'running';
  const error = seats.find((seat) => seat.error !== '')?.error;
  const counts = new Map<string, number>();
  for (const { state, kind } of seats) {
    if (kind !== 'running' && kind !== 'done') counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  const states = [...counts].map(([state, count]) => `${count} ${state}`).join(', ');
  return [states || 'waits for tasks', ...(error === undefined ? [] : [error])].join(': ');
}

/** null when it does not wait for others. */
function heldText(
  service: ServiceJson,
  tasks: readonly TaskJson[],
  seats: Seats,
  moment: StackMoment,
): string | null {
  const all = startDependencies(service.Spec.Labels ?? {});
  if (all.length === 0) return null;
  const unmet = all.filter((dependency) => !isMet(dependency, moment));
  // An update that waits for others has made no task yet, and the manager has not begun to follow it.
  const isUpdateHeld = tasks.length === 0 && !service.UpdateStatus && unmet.length > 0;
  const isStartHeld = seats.prepared > 0 && (seats.ready + seats.moving === 0 || isJob(service));
  if (!isStartHeld && !isUpdateHeld) return null;
  if (seats.unplaced > 0 && !isJob(service)) return null;
  // Managers say which of these it is, once a task is prepared.
  const told = tasks.find(
    ({ DesiredState, Status }) =>
      DesiredState === 'ready' && Status.State === 'ready' && Status.Err,
  );
  if (told?.Status.Err) return told.Status.Err;
  const names = (unmet.length > 0 ? unmet : all).map(({ service: name, condition }) => {
    return `${name} ${CONDITION_WORDS[condition]}`;
  });
  return `waits for ${names.join(', ')}`;
}

/** As far as the API tells. What is not there is not waited for. */
function isMet(
  { service: name }: StartDependency,
  { services, tasks, nodes }: StackMoment,
): boolean {
  const service = services.find(({ Spec }) => Spec.Name === name);
  if (!service) return true;
  const own = tasks.filter(({ ServiceID }) => ServiceID === service.ID);
  return updateText(service, false) === null && isAllThere(seatsOf(service, own, nodes));
}

// ---- the stack ---------------------------------------------------------------------------------

export type StackEnd = 'converged' | 'failed' | 'rolled-back' | 'unplaced';

/**
 * How the waiting ends, null while there is something to wait for. `unplaced` only says that nothing else
 * is awaited: the caller gives nodes some time.
 */
export function stackEnd(
  all: readonly (ServiceProgress & { readonly isStable: boolean })[],
): StackEnd | null {
  const open = all.filter(({ state, isStable }) => {
    return (
      state === 'moving' ||
      state === 'held' ||
      state === 'unplaced' ||
      (state === 'up' && !isStable)
    );
  });
  const hasFailed = all.some(({ state }) => state === 'failed');
  if (open.length === 0) {
    if (hasFailed) return 'failed';
    return all.some(({ state }) => state === 'rolled-back') ? 'rolled-back' : 'converged';
  }
  if (open.some(({ state }) => state === 'moving' || state === 'up')) return null;
  if (open.some(({ state }) => state === 'unplaced')) return 'unplaced';
  // All that is left waits for others. If one of those has failed, it waits for ever.
  return hasFailed ? 'failed' : null;
}
