import { describe, expect, test } from 'vitest';
import type { ServiceId } from '../../../common/model/ids.ts';
import type { Node } from '../../../common/model/node.ts';
import { ANYWHERE, NO_RESOURCES } from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { NodeTable } from '../../../manager/scheduler/node-table.ts';
import { planGroup } from '../../../manager/scheduler/plan-placement.ts';
import { versionKey } from '../../../manager/scheduler/task-groups.ts';
import {
  aNode,
  aNodeDescription,
  aNodeSpec,
  aTask,
  aTaskSpec,
  aTaskStatus,
  freshId,
  idOf,
} from '../../support/builders.ts';

const pending = (overrides: Partial<Task> = {}): Task =>
  aTask({ status: aTaskStatus({ state: 'pending' }), ...overrides });
const many = (count: number, overrides: Partial<Task> = {}): Task[] =>
  Array.from({ length: count }, () => pending(overrides));
const runningOn = (node: Node, overrides: Partial<Task> = {}): Task =>
  aTask({ nodeId: node.id, status: aTaskStatus({ state: 'running' }), ...overrides });

function tableOf(nodes: readonly Node[], tasks: readonly Task[] = []): NodeTable {
  const table = new NodeTable();
  for (const node of nodes) table.putNode(node);
  for (const task of tasks) table.putTask(task);
  return table;
}

/** How many of the group's tasks each node got. */
function shares(table: NodeTable, nodes: readonly Node[], tasks: readonly Task[]): number[] {
  const { decisions } = planGroup(table, tasks, 0);
  return nodes.map(
    ({ id }) => decisions.filter((one) => one.kind === 'place' && one.nodeId === id).length,
  );
}

describe('spread', () => {
  test('gives every node its share', () => {
    const nodes = [aNode(), aNode(), aNode()];
    expect(shares(tableOf(nodes), nodes, many(7))).toEqual([3, 2, 2]);
  });

  test('levels out the tasks of the service before all tasks', () => {
    const nodes = [aNode(), aNode()];
    const other = idOf<ServiceId>('other');
    const there = [
      ...Array.from({ length: 5 }, () =>
        runningOn(nodes[0]!, { id: freshId('t'), serviceId: other }),
      ),
      runningOn(nodes[1]!),
    ];
    expect(shares(tableOf(nodes, there), nodes, many(3))).toEqual([2, 1]);
  });

  test('takes the emptier node when the service is even', () => {
    const nodes = [aNode(), aNode()];
    const there = [runningOn(nodes[0]!, { serviceId: idOf<ServiceId>('other') })];
    expect(shares(tableOf(nodes, there), nodes, many(1))).toEqual([0, 1]);
  });

  test('tasks that are told to stop do not count', () => {
    const nodes = [aNode(), aNode()];
    const there = [runningOn(nodes[0]!, { desiredState: 'shutdown' }), runningOn(nodes[1]!)];
    expect(shares(tableOf(nodes, there), nodes, many(1))).toEqual([1, 0]);
  });

  test('5 failures within 5 minutes make a node second choice, fewer do not', () => {
    const nodes = [aNode(), aNode()];
    const table = tableOf(nodes, [runningOn(nodes[1]!)]);
    const first = table.indexOf(nodes[0]!.id)!;
    const task = pending();
    const choice = (nowMs: number): string => {
      const [decision] = planGroup(table, [task], nowMs).decisions;
      table.removeTask(task.id);
      return decision!.kind === 'place' ? decision!.nodeId : '';
    };
    const fail = (nowMs: number): void => table.failures.note(versionKey(task), first, nowMs);
    for (let i = 0; i < 4; i++) fail(i);
    expect(choice(10)).toBe(nodes[0]!.id);
    fail(4);
    expect(choice(10)).toBe(nodes[1]!.id);
    expect(choice(5 * 60_000 + 1)).toBe(nodes[0]!.id);
  });

  test('nothing is booked beyond what a node has', () => {
    const nodes = [aNode(), aNode()]; // 4 CPUs each
    const reservations = { nanoCpus: 1.5e9, memoryBytes: 0, generic: [] };
    const spec = aTaskSpec({ resources: { ...NO_RESOURCES, reservations } });
    expect(shares(tableOf(nodes), nodes, many(10, { spec }))).toEqual([2, 2]);
  });
});

describe('placement preferences', () => {
  const inZone = (zone: string, rack = ''): Node =>
    aNode({ spec: aNodeSpec({ labels: { ...(zone && { zone }), ...(rack && { rack }) } }) });
  const spreading = (...labels: string[]) => ({
    spec: aTaskSpec({
      placement: { ...ANYWHERE, preferences: labels.map((it) => ({ spreadOver: it })) },
    }),
  });

  test('fill zones evenly, whatever their size', () => {
    const nodes = [inZone('a'), inZone('b'), inZone('b'), inZone('b')];
    const tasks = many(6, spreading('node.labels.zone'));
    expect(shares(tableOf(nodes), nodes, tasks)).toEqual([3, 1, 1, 1]);
  });

  test('count the tasks that are there, also on nodes that get none', () => {
    const nodes = [inZone('a'), inZone('b'), inZone('b')];
    const paused = { ...nodes[0]!, spec: { ...nodes[0]!.spec, availability: 'pause' as const } };
    const zoneA = inZone('a');
    const all = [paused, zoneA, nodes[1]!, nodes[2]!];
    const there = [
      runningOn(paused, { id: freshId('t') }),
      runningOn(paused, { id: freshId('t') }),
    ];
    const tasks = many(4, spreading('node.labels.zone'));
    expect(shares(tableOf(all, there), all, tasks)).toEqual([0, 1, 2, 1]);
  });

  test('are best effort: a full zone passes its share on', () => {
    const small = { ...inZone('a'), description: aNodeDescription({ nanoCpus: 1e9 }) };
    const nodes = [small, inZone('b')];
    const reservations = { nanoCpus: 1e9, memoryBytes: 0, generic: [] };
    const { spec } = spreading('node.labels.zone');
    const tasks = many(5, { spec: { ...spec, resources: { ...NO_RESOURCES, reservations } } });
    expect(shares(tableOf(nodes), nodes, tasks)).toEqual([1, 4]);
  });

  test('nest: zones first, racks within', () => {
    const nodes = [inZone('a', '1'), inZone('a', '1'), inZone('a', '2'), inZone('b', '1')];
    const tasks = many(8, spreading('node.labels.zone', 'NODE.LABELS.rack'));
    expect(shares(tableOf(nodes), nodes, tasks)).toEqual([1, 1, 2, 4]);
  });

  test('nodes without the label are a zone of their own; other descriptors are left out', () => {
    const nodes = [inZone('a'), inZone('')];
    const tasks = many(4, spreading('node.labels.zone', 'nonsense'));
    expect(shares(tableOf(nodes), nodes, tasks)).toEqual([2, 2]);
  });
});
