/** Is everything as it was asked for? An oracle of its own: it reads specs, tasks and machines. */
import { isDeepStrictEqual } from 'node:util';
import type { Node } from '../../../common/model/node.ts';
import type { Service } from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { isBefore, isTerminal } from '../../../common/model/task-state.ts';
import { NetworkTables } from '../../../manager/dispatcher/network-tables.ts';
import { NodeAssignments } from '../../../manager/dispatcher/node-assignments.ts';
import type { ReadView } from '../../../manager/store/types.ts';
import { NETWORK_KINDS } from './containers.ts';
import type { Host } from './host.ts';
import { couldGoTo, isOpen, meets, portKey } from './placement-oracle.ts';
import type { ClusterWorld } from './world.ts';

/** What is not so yet, in words; null = all is. */
export function unmet(world: ClusterWorld): string | null {
  for (const host of world.hosts.values()) {
    if (!host.gone && !host.isUp) return `machine ${host.id} is not up`;
  }
  const leader = world.leader();
  if (leader === null) return 'nobody leads';
  const wrongOffice = world.view((view) => unmetOffices(world, leader, view));
  if (wrongOffice !== null) return wrongOffice;
  for (const host of world.managers()) {
    const { revision } = host.daemon!.manager!.store;
    if (revision < world.truth.revision) return `manager ${host.id} is at ${revision}`;
  }
  const lost = lostNodes(world);
  return world.view((view) => unmetIn(view, lost) ?? unmetOn(world, view));
}

/** They stay down to the end, with whatever was there: nobody can tell how it ended. */
function lostNodes(world: ClusterWorld): ReadonlySet<string> {
  return new Set([...world.hosts.values()].filter(({ lost }) => lost).map(({ nodeId }) => nodeId));
}

/** Who is to be a manager is one, and a member of the group; and nobody else. */
function unmetOffices(world: ClusterWorld, leader: Host, view: ReadView): string | null {
  const members = new Set(leader.daemon!.manager!.members().map(({ nodeId }) => nodeId));
  const lost = lostNodes(world);
  for (const { id, spec, role } of view.list('node')) {
    if (lost.has(id)) continue;
    const host = [...world.hosts.values()].find(({ nodeId, gone }) => nodeId === id && !gone);
    if (host === undefined) return `node ${id} is of no machine`;
    const isManager = spec.desiredRole === 'manager';
    const offices = [role === 'manager', host.role === 'manager', host.daemon?.isManaging];
    if (offices.some((is) => is !== isManager) || members.has(id) !== isManager) {
      return `machine ${host.id} is to be ${spec.desiredRole}: ${offices.join()}, ${members.has(id)}`;
    }
  }
  return null;
}

function unmetIn(view: ReadView, lost: ReadonlySet<string>): string | null {
  for (const { id, status } of view.list('node')) {
    const expected = lost.has(id) ? 'down' : 'ready';
    if (status.state !== expected) return `node ${id} is ${status.state}`;
  }
  for (const task of view.list('task')) {
    if (task.nodeId !== null && lost.has(task.nodeId) && !isWanted(task)) continue;
    const words = `task ${task.id} (${task.status.state}, wanted ${task.desiredState})`;
    if (!view.get('service', task.serviceId)) return `${words} of a service that is gone`;
    if (!isWanted(task) && !hasStopped(task)) return `${words} has not ended`;
  }
  for (const service of view.list('service')) {
    const lacking = unmetService(view, service);
    if (lacking !== null) return `service ${service.spec.name} (${service.id}): ${lacking}`;
  }
  return null;
}

/** Nothing of it is anywhere: it ended, or no node ever had it. */
function hasStopped({ status }: Task): boolean {
  return isTerminal(status.state) || isBefore(status.state, 'assigned');
}

function unmetService(view: ReadView, service: Service): string | null {
  const tasks = view.tasksByService(service.id);
  const wanted = tasks.filter((task) => isWanted(task) && !isTerminal(task.status.state));
  for (const task of wanted) {
    const lacking = unmetTask(view, service, task);
    if (lacking !== null) return `task ${task.id}, ${task.status.state}: ${lacking}`;
  }
  const isWaiting = wanted.some(({ status }) => status.state !== 'running');
  const { mode } = service.spec;
  switch (mode.kind) {
    case 'replicated':
      return (
        unmetSlots(service, tasks, wanted, mode.replicas) ?? unmetWords(service, wanted, isWaiting)
      );
    case 'global':
      // A paused node keeps what it has.
      return (
        unmetNodes(view, service, tasks, wanted) ??
        unmetWords(service, wanted.filter(isOnOpenNode(view)), isWaiting)
      );
    case 'replicated-job': {
      const done = new Set(completed(service, tasks).map(({ slot }) => slot)).size;
      if (done >= mode.totalCompletions || isWaiting) return null;
      return `${done} of ${mode.totalCompletions} are complete`;
    }
    case 'global-job': {
      const done = new Set(completed(service, tasks).map(({ nodeId }) => nodeId));
      const left = eligible(view, service, isOpen).filter(({ id }) => !done.has(id));
      const missing = left.find(({ id }) => !wanted.some(({ nodeId }) => nodeId === id));
      return missing ? `node ${missing.id} has not completed it` : null;
    }
  }
}

/** A task that is wanted runs, or has a reason to wait. */
function unmetTask(view: ReadView, service: Service, task: Task): string | null {
  const { state } = task.status;
  if (state === 'running') {
    const node = view.get('node', task.nodeId!);
    // What an update has not reached yet is where its own spec lets it be.
    const rules = [service.spec.task.placement, task.spec.placement];
    const isFit = node && rules.some(({ constraints }) => meets(node, constraints));
    const mayStay = isFit && node.spec.availability !== 'drain';
    if (!mayStay) return `it runs on ${task.nodeId}, where it may not`;
    return task.desiredState === 'ready' ? 'it runs before it was let' : null;
  }
  if (state === 'new') {
    return hasPortConflict(view, service) ? null : 'it waits for addresses and ports';
  }
  if (state === 'ready' && isHeldByPause(view, service, task)) return null;
  if (state !== 'pending') return 'it is under way';
  const node = view.list('node').find((one) => {
    return (task.nodeId === null || task.nodeId === one.id) && couldGoTo(view, task, one);
  });
  return node ? `it waits (${task.status.err}) and could go to ${node.id}` : null;
}

/** Its node was paused between its making and the end of the one before it, which serves on: a paused node keeps what it has. */
function isHeldByPause(view: ReadView, service: Service, task: Task): boolean {
  const isPaused =
    task.nodeId !== null && view.get('node', task.nodeId)?.spec.availability === 'pause';
  return (
    isPaused &&
    service.spec.mode.kind === 'global' &&
    task.desiredState === 'ready' &&
    view.tasksByService(service.id).some((other) => {
      return other.nodeId === task.nodeId && isWanted(other) && other.status.state === 'running';
    })
  );
}

function hasPortConflict(view: ReadView, service: Service): boolean {
  const wanted = service.spec.endpoint.ports
    .filter(({ publishedPort }) => publishedPort !== 0)
    .map(portKey);
  return view.list('service').some((other) => {
    return (
      other.id !== service.id &&
      other.endpoint?.ports.some((port) => wanted.includes(portKey(port)))
    );
  });
}

function unmetSlots(
  service: Service,
  tasks: readonly Task[],
  wanted: readonly Task[],
  replicas: number,
): string | null {
  const slots = new Set(wanted.map(({ slot }) => slot));
  if (slots.size > replicas) return `${slots.size} slots, ${replicas} are asked for`;
  if (slots.size < replicas && !mayLackTasks(service, tasks)) {
    return `${slots.size} of ${replicas} slots`;
  }
  const isDouble =
    wanted.length > slots.size && !wanted.some(({ status }) => status.state !== 'running');
  return isDouble ? `${wanted.length} tasks in ${slots.size} slots` : null;
}

function unmetNodes(
  view: ReadView,
  service: Service,
  tasks: readonly Task[],
  wanted: readonly Task[],
): string | null {
  const maySome = eligible(view, service, ({ spec }) => spec.availability !== 'drain');
  for (const { nodeId } of wanted) {
    if (!maySome.some(({ id }) => id === nodeId)) return `a task on ${nodeId}, which is not for it`;
  }
  for (const { id } of eligible(view, service, isOpen)) {
    const here = wanted.filter(({ nodeId }) => nodeId === id);
    if (here.length === 0 && !mayLackTasks(service, tasks)) return `no task on ${id}`;
    if (here.length > 1 && here.every(({ status }) => status.state === 'running')) {
      return `${here.length} tasks on ${id}`;
    }
  }
  return null;
}

/** Tasks say what the service says, unless the update waits for its user or for room. */
function unmetWords(service: Service, wanted: readonly Task[], isWaiting: boolean): string | null {
  const state = service.updateStatus?.state;
  if (isWaiting || state === 'paused' || state === 'rollback_paused') return null;
  if (state === 'updating' || state === 'rollback_started') return `its update is ${state}`;
  const old = wanted.find((task) => !saysTheSame(service, task));
  return old
    ? `task ${old.id} is of an older spec, and the update is ${state ?? 'not begun'}`
    : null;
}

function isOnOpenNode(view: ReadView): (task: Task) => boolean {
  return ({ nodeId }) => {
    const node = nodeId === null ? undefined : view.get('node', nodeId);
    return node !== undefined && isOpen(node);
  };
}

function saysTheSame({ spec }: Service, task: Task): boolean {
  const { placement: _, ...words } = spec.task;
  const { placement: __, ...own } = task.spec;
  const isSame = isDeepStrictEqual(plain(words), plain(own));
  return isSame && isDeepStrictEqual(plain(task.endpoint?.spec), plain(spec.endpoint));
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value ?? null));
}

/** By some restart policy a task that ended need not be replaced. */
function mayLackTasks({ spec }: Service, tasks: readonly Task[]): boolean {
  return [spec.task, ...tasks.map((task) => task.spec)].some(({ restart }) => {
    return restart !== null && (restart.maxAttempts > 0 || restart.condition !== 'any');
  });
}

function eligible(view: ReadView, { spec }: Service, test: (node: Node) => boolean): Node[] {
  return view
    .list('node')
    .filter((node) => test(node) && meets(node, spec.task.placement.constraints));
}

function completed({ jobStatus }: Service, tasks: readonly Task[]): Task[] {
  return tasks.filter(({ status, jobIteration }) => {
    return status.state === 'complete' && jobIteration === (jobStatus?.iteration ?? 0);
  });
}

function isWanted({ desiredState }: Task): boolean {
  return desiredState === 'ready' || desiredState === 'running' || desiredState === 'complete';
}

/** What runs is what is stored. */
function unmetOn(world: ClusterWorld, view: ReadView): string | null {
  const tables = new NetworkTables(view);
  for (const host of world.hosts.values()) {
    if (host.gone) continue;
    const lacking =
      unmetContainers(host, view) ?? unmetStatuses(host, view) ?? unmetTables(host, view, tables);
    if (lacking !== null) return `machine ${host.id}: ${lacking}`;
  }
  return null;
}

function unmetContainers({ containers, nodeId }: Host, view: ReadView): string | null {
  for (const { task, state } of containers.all.values()) {
    if (state !== 'running') continue;
    const stored = view.get('task', task.id);
    if (stored?.status.state !== 'running' || !isWanted(stored)) {
      return `${task.id} runs, and is stored as ${stored?.status.state}, wanted ${stored?.desiredState}`;
    }
  }
  for (const { id, status } of view.tasksByNode(nodeId)) {
    if (status.state === 'running' && containers.all.get(id)?.state !== 'running') {
      return `${id} does not run, and is stored as running`;
    }
  }
  return null;
}

function unmetStatuses({ daemon, nodeId }: Host, view: ReadView): string | null {
  for (const { task, status } of daemon?.tasks?.list() ?? []) {
    const stored = view.get('task', task.id);
    if (!stored) return `the agent has task ${task.id}, which is gone`;
    if (stored.nodeId !== nodeId) return `the agent has task ${task.id} of another node`;
    // An end that is stored stays: by a manager (node does not fit any more), or known no more here.
    const isSettled = isTerminal(status.state) && isTerminal(stored.status.state);
    if (stored.status.state !== status.state && !isSettled) {
      return `task ${task.id} is ${status.state}, and stored as ${stored.status.state}`;
    }
  }
  return null;
}

/** Step by step the node came to what one who joins now would be given at once. */
function unmetTables(
  { daemon, nodeId }: Host,
  view: ReadView,
  tables: NetworkTables,
): string | null {
  const wanted = new Map<string, unknown>();
  for (const change of new NodeAssignments(nodeId).complete(view, tables)) {
    if (change.action !== 'set' || !NETWORK_KINDS.includes(change.kind)) continue;
    wanted.set(`${change.kind} ${change.key}`, change.item);
  }
  const actual = daemon?.executor?.tables ?? new Map<string, unknown>();
  for (const [key, item] of wanted) {
    if (!isDeepStrictEqual(plain(actual.get(key)), plain(item))) {
      return `${key} is ${JSON.stringify(actual.get(key))}, not ${JSON.stringify(item)}`;
    }
  }
  const surplus = [...actual.keys()].find((key) => !wanted.has(key));
  return surplus === undefined ? null : `${surplus} is left over`;
}
