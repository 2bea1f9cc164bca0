/** A task gets no node that does not take it: constraints, platforms, availability, room. */
import type { NodeId } from '../../../../common/model/ids.ts';
import type { Node } from '../../../../common/model/node.ts';
import type { Task } from '../../../../common/model/task.ts';
import { isTerminal } from '../../../../common/model/task-state.ts';
import type { Commit, ReadView } from '../../../../manager/store/types.ts';
import { broken, expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import { comesAfter, isOpen, meets, portKey, suits, unitsOf } from '../placement-oracle.ts';
import type { ClusterWorld } from '../world.ts';

/** A decision is made on what a leader knows, and is committed later: after an election at worst. */
const DECISION_MS = 10_000;

interface Known {
  readonly node: Node;
  /** Infinity = it is so still. */
  untilMs: number;
}

export class AllowedNodes implements ClusterChecker {
  readonly number = 4;
  readonly name = 'no task on a node that a hard constraint forbids, nor without room';
  readonly #world: ClusterWorld;
  readonly #known = new Map<NodeId, Known[]>();

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  committed({ changes }: Commit, view: ReadView): void {
    for (const change of changes) {
      if (change.kind === 'node') this.#learn(change.object, change.action === 'remove');
    }
    for (const change of changes) {
      if (change.kind !== 'task' || change.action === 'remove') continue;
      const task = change.object;
      const before = change.action === 'update' ? change.previous.status.state : 'new';
      if (task.status.state !== 'assigned' || before === 'assigned') continue;
      this.#judge(task, view);
    }
  }

  #learn(node: Node, isRemoved: boolean): void {
    const nowMs = this.#world.clock.nowMs;
    const all = (this.#known.get(node.id) ?? []).filter(
      ({ untilMs }) => untilMs > nowMs - DECISION_MS,
    );
    const last = all.at(-1);
    if (last) last.untilMs = Math.min(last.untilMs, nowMs);
    if (!isRemoved) all.push({ node, untilMs: Number.POSITIVE_INFINITY });
    this.#known.set(node.id, all);
  }

  #judge(task: Task, view: ReadView): void {
    const { nodeId, spec, id } = task;
    if (nodeId === null) broken(`task ${id} is assigned to nobody`);
    const sinceMs = this.#world.clock.nowMs - DECISION_MS;
    const versions = (this.#known.get(nodeId) ?? []).filter(({ untilMs }) => untilMs >= sinceMs);
    const isAllowed = versions.some(
      ({ node }) =>
        isOpen(node) &&
        meets(node, spec.placement.constraints) &&
        suits(node, spec.placement.platforms),
    );
    expect(isAllowed, () => {
      const { constraints, platforms } = spec.placement;
      const rules = [...constraints, ...platforms.map(({ architecture }) => architecture)];
      return `task ${id} was given to ${nodeId}, against ${rules.join()}`;
    });
    const there = view.tasksByNode(nodeId).filter((one) => isThere(one));
    const atOnce = there.filter((one) => !there.some((other) => comesAfter(view, other, one)));
    const nanoCpus = atOnce.reduce((sum, one) => sum + one.spec.resources.reservations.nanoCpus, 0);
    // What asks for none has room beside successors that waited for their places until they were told to stop, too.
    const asksForNone = spec.resources.reservations.nanoCpus === 0;
    expect(
      asksForNone || nanoCpus <= 4e9,
      () => `${nodeId} has given ${nanoCpus / 1e9} CPUs of 4 away, last to ${id}`,
    );
    // An older spec may have allowed more, or as many as there is room for.
    const copies = atOnce.filter((one) => {
      return one.serviceId === task.serviceId && one.specVersion === task.specVersion;
    });
    const { maxReplicas } = spec.placement;
    const wanted = copies.filter(
      ({ desiredState }) => desiredState !== 'shutdown' && desiredState !== 'remove',
    );
    expect(maxReplicas === 0 || wanted.length <= Math.max(maxReplicas, 1), () => {
      return `${wanted.length} tasks of ${task.serviceId} on ${nodeId}, ${maxReplicas} are allowed`;
    });
    this.#judgePorts(task, atOnce);
    this.#judgeGeneric(task, atOnce);
  }

  /** What it asked for, and no more of it than the machine has; of what has names each to one. */
  #judgeGeneric(task: Task, there: readonly Task[]): void {
    const { id, nodeId, assignedGenericResources: given } = task;
    const own = this.#known.get(nodeId!)?.at(-1)?.node.description?.generic ?? [];
    for (const { kind, value: asked } of task.spec.resources.reservations.generic) {
      const value = Number(asked);
      expect(unitsOf(kind, given) === value, () => {
        return `${id} has ${unitsOf(kind, given)} ${kind} on ${nodeId}, it asked for ${value}`;
      });
      const others = there
        .filter((one) => one.id !== id)
        .flatMap((one) => one.assignedGenericResources);
      // Two that were told to stop, one of which waited for the other, may have one name.
      const names = new Set(others.flatMap((one) => (one.kind === kind ? [one.value] : [])));
      const isNamed = given.some((one) => typeof one.value === 'string');
      const taken = value + (isNamed ? names.size : unitsOf(kind, others));
      const units = unitsOf(kind, own);
      expect(taken <= units, () => `${nodeId} has given ${taken} ${kind} of ${units} away`);
      const twice = given.find((one) => isNamed && names.has(one.value));
      expect(!twice, () => `${nodeId} has given ${twice!.value} twice, last to ${id}`);
    }
  }

  #judgePorts(task: Task, there: readonly Task[]): void {
    const wanted = fixedPorts(task);
    const other = there.find(
      (one) => one.id !== task.id && fixedPorts(one).some((port) => wanted.includes(port)),
    );
    expect(other === undefined, () => {
      return `${task.id} and ${other!.id} on ${task.nodeId} both publish ${wanted.join()}`;
    });
  }
}

function isThere({ status, nodeId }: Task): boolean {
  const { state } = status;
  return nodeId !== null && !isTerminal(state) && state !== 'new' && state !== 'pending';
}

function fixedPorts({ endpoint }: Task): string[] {
  return (endpoint?.ports ?? [])
    .filter(({ publishMode, publishedPort }) => publishMode === 'host' && publishedPort !== 0)
    .map(portKey);
}
