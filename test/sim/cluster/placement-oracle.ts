/**
 * Where a task may stand, worked out afresh from what is stored: shares nothing with the scheduler. Knows
 * what the users of this world ask for, no more.
 */
import type { Node } from '../../../common/model/node.ts';
import type {
  GenericResource,
  Platform,
  PortConfig,
  Service,
} from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { isTerminal } from '../../../common/model/task-state.ts';
import type { ReadView } from '../../../manager/store/types.ts';

const CONSTRAINT = /^(\S+) (==|!=) (\S+)$/;

export function meets(node: Node, constraints: readonly string[]): boolean {
  return constraints.every((text) => {
    const [, key, operator, value] = CONSTRAINT.exec(text)!;
    return (attributeOf(node, key!) === value) === (operator === '==');
  });
}

function attributeOf({ role, spec, description }: Node, key: string): string {
  if (key === 'node.role') return role;
  if (key === 'node.hostname') return description?.hostname ?? '';
  if (key.startsWith('node.labels.')) return spec.labels[key.slice('node.labels.'.length)] ?? '';
  const label = key.slice('engine.labels.'.length);
  return description?.engineLabels[label] ?? '';
}

const ARCHITECTURES: Readonly<Record<string, string>> = { amd64: 'x86_64', arm64: 'aarch64' };

/** Its program is for such machines, or for any. */
export function suits({ description }: Node, platforms: readonly Platform[]): boolean {
  const own = description?.platform;
  return (
    platforms.length === 0 ||
    platforms.some(({ architecture, os }) => {
      return own?.os === os && own.architecture === (ARCHITECTURES[architecture] ?? architecture);
    })
  );
}

/** Of one kind: how many there are, named or counted. */
export function unitsOf(kind: string, resources: readonly GenericResource[]): number {
  return resources
    .filter((one) => one.kind === kind)
    .reduce((sum, { value }) => sum + (typeof value === 'number' ? value : 1), 0);
}

/** Takes new tasks. */
export function isOpen({ spec, status }: Node): boolean {
  return status.state === 'ready' && spec.availability === 'active';
}

/** `task` does not run before `other` has ended: it may have its place. Of those that serve on only where the old stops first. */
export function comesAfter(view: ReadView, task: Task, other: Task): boolean {
  if (task.desiredState !== 'ready' || isTerminal(task.status.state)) return false;
  if (other.id === task.id || other.desiredState === 'ready' || other.moving !== null) return false;
  if (task.serviceId !== other.serviceId || task.slot !== other.slot) return false;
  if (task.slot === null && task.nodeId !== other.nodeId) return false;
  const isToStop = other.desiredState === 'shutdown' || other.desiredState === 'remove';
  return isToStop || !startsFirst(view.get('service', task.serviceId));
}

function startsFirst(service: Service | undefined): boolean {
  if (!service) return false;
  const { spec, updateStatus } = service;
  const isBackwards = updateStatus?.state.startsWith('rollback_') ?? false;
  const isOver = updateStatus?.state === 'rollback_completed';
  const config = isBackwards && !isOver ? spec.rollback : spec.update;
  return config?.order === 'start-first';
}

/** `task`, which waits, could go to `node` at once. */
export function couldGoTo(view: ReadView, task: Task, node: Node): boolean {
  const { placement, resources } = task.spec;
  if (!isOpen(node) || !meets(node, placement.constraints)) return false;
  if (!suits(node, placement.platforms)) return false;
  const there = view
    .tasksByNode(node.id)
    .filter((one) => one.id !== task.id && !isTerminal(one.status.state))
    .filter((one) => !comesAfter(view, task, one));
  const taken = there.reduce((sum, { spec }) => sum + spec.resources.reservations.nanoCpus, 0);
  if (taken + resources.reservations.nanoCpus > (node.description?.nanoCpus ?? 0)) return false;
  const lacksUnits = resources.reservations.generic.some(({ kind, value }) => {
    const held = there.flatMap(({ assignedGenericResources }) => assignedGenericResources);
    const free = unitsOf(kind, node.description?.generic ?? []) - unitsOf(kind, held);
    return Number(value) > free;
  });
  if (lacksUnits) return false;
  const copies = there.filter(({ serviceId }) => serviceId === task.serviceId).length;
  if (placement.maxReplicas > 0 && copies >= placement.maxReplicas) return false;
  const wanted = hostPorts(task);
  return !there.some((other) => hostPorts(other).some((port) => wanted.includes(port)));
}

function hostPorts({ endpoint }: Task): string[] {
  return (endpoint?.ports ?? []).filter(isFixedHostPort).map(portKey);
}

function isFixedHostPort({ publishMode, publishedPort }: PortConfig): boolean {
  return publishMode === 'host' && publishedPort !== 0;
}

export function portKey({ protocol, publishedPort }: PortConfig): string {
  return `${protocol}/${publishedPort}`;
}
