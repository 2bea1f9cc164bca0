import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { NodeId, ServiceId } from '../../../common/model/ids.ts';
import type { Availability, Node } from '../../../common/model/node.ts';
import { ANYWHERE, DEFAULT_UPDATE_CONFIG } from '../../../common/model/service.ts';
import { aTaskSpec } from '../../support/builders.ts';
import { ControlRooms } from '../../support/control-rooms.ts';

describe('global orchestrator', () => {
  let rooms: ControlRooms;
  let nodes: Node[];
  let id: ServiceId;
  beforeEach(async () => {
    rooms = await ControlRooms.start(3);
    nodes = rooms.nodes();
    ({ id } = await rooms.deploy({ mode: { kind: 'global' } }));
  });
  afterEach(() => rooms.stop());

  const nodesOf = (): (NodeId | null)[] => rooms.running(id).map(({ nodeId }) => nodeId);
  const make = async (node: Node, availability: Availability): Promise<void> => {
    await rooms.setNode(node.id, (it) => ({ ...it, spec: { ...it.spec, availability } }));
    await rooms.rest();
  };
  const image = async (name: string): Promise<void> => {
    await rooms.change(id, (spec) => ({
      ...spec,
      task: { ...spec.task, container: { ...spec.task.container, image: name } },
    }));
    await rooms.pass(30_000, 1000);
  };

  test('a drained node is left and taken again', async () => {
    await make(nodes[0]!, 'drain');
    expect(nodesOf()).not.toContain(nodes[0]!.id);
    await make(nodes[0]!, 'active');
    expect(nodesOf()).toContain(nodes[0]!.id);
  });

  test('a node that is taken again is not let run a task while the old one still stops', async () => {
    const node = nodes[0]!;
    const here = () => rooms.tasks(id).filter(({ nodeId }) => nodeId === node.id);
    const [old] = here();
    rooms.deaf.add(old!.id);
    await make(node, 'drain');
    await make(node, 'active');
    const waiting = here().find((task) => task.id !== old!.id);
    expect(waiting).toMatchObject({ desiredState: 'ready', status: { state: 'ready' } });
    rooms.deaf.clear();
    await rooms.rest();
    expect(here().filter(({ status }) => status.state === 'running')).toMatchObject([
      { id: waiting!.id, desiredState: 'running' },
    ]);
  });

  test('a task that is to replace another is let run on a node that was paused meanwhile', async () => {
    const node = nodes[0]!;
    const here = () => rooms.tasks(id).filter(({ nodeId }) => nodeId === node.id);
    const [old] = here();
    rooms.deaf.add(old!.id);
    await rooms.change(id, (spec) => ({
      ...spec,
      update: { ...DEFAULT_UPDATE_CONFIG, parallelism: 0 },
      task: { ...spec.task, forceUpdate: 1 },
    }));
    await rooms.rest();
    await make(node, 'pause');
    expect(here().map(({ desiredState }) => desiredState)).toEqual(['shutdown', 'ready']);
    rooms.deaf.clear();
    await rooms.rest();
    expect(here().map(({ status }) => status.state)).toEqual(['shutdown', 'running']);
  });

  test('a node that is down gets a new task when it is back', async () => {
    const set = (state: 'down' | 'ready') =>
      rooms.setNode(nodes[0]!.id, (it) => ({ ...it, status: { ...it.status, state } }));
    await set('down');
    await rooms.rest();
    await set('ready');
    await rooms.rest();
    expect(new Set(nodesOf()).size).toBe(3);
    expect(rooms.running(id)).toHaveLength(3);
  });

  test('only nodes that meet the constraints have a task', async () => {
    const placement = { ...ANYWHERE, constraints: ['node.labels.disk == ssd'] };
    const ssd = await rooms.deploy({ mode: { kind: 'global' }, task: aTaskSpec({ placement }) });
    expect(rooms.tasks(ssd.id)).toEqual([]);
    const label = (labels: Record<string, string>) =>
      rooms.setNode(nodes[1]!.id, (it) => ({ ...it, spec: { ...it.spec, labels } }));
    await label({ disk: 'ssd' });
    await rooms.rest();
    expect(rooms.running(ssd.id).map(({ nodeId }) => nodeId)).toEqual([nodes[1]!.id]);
    await label({});
    await rooms.rest();
    expect(rooms.running(ssd.id)).toEqual([]);
  });

  test('a paused node keeps its task, but a failed one is not replaced there', async () => {
    await make(nodes[0]!, 'pause');
    expect(nodesOf()).toContain(nodes[0]!.id);
    const task = rooms.running(id).find(({ nodeId }) => nodeId === nodes[0]!.id)!;
    await rooms.report(task.id, 'failed');
    await rooms.pass(10_000, 1000);
    expect(rooms.test.get('task', task.id).desiredState).toBe('shutdown');
    expect(nodesOf()).not.toContain(nodes[0]!.id);
    await make(nodes[0]!, 'active');
    await rooms.pass(10_000, 1000);
    expect(nodesOf()).toContain(nodes[0]!.id);
  });

  test('a paused node is not updated, and catches up at once when it is active again', async () => {
    await make(nodes[0]!, 'pause');
    await image('new');
    const images = (): string[] => rooms.running(id).map(({ spec }) => spec.container.image);
    expect(images().filter((one) => one === 'new')).toHaveLength(2);
    const { completedAtMs } = rooms.service(id).updateStatus!;
    await make(nodes[0]!, 'active');
    expect(images()).toEqual(['new', 'new', 'new']);
    expect(rooms.service(id).updateStatus).toMatchObject({ state: 'completed', completedAtMs });
  });

  test('a failed task comes back on its node after the delay', async () => {
    const task = rooms.running(id)[0]!;
    await rooms.report(task.id, 'failed');
    await rooms.pass(4900);
    expect(rooms.running(id)).toHaveLength(2);
    await rooms.pass(200);
    expect(nodesOf()).toContain(task.nodeId);
  });

  test('the tasks of a removed node vanish', async () => {
    await rooms.test.store.update((tx) => tx.remove('node', nodes[0]!.id));
    await rooms.rest();
    expect(rooms.tasks(id).map(({ nodeId }) => nodeId)).not.toContain(nodes[0]!.id);
    expect(rooms.running(id)).toHaveLength(2);
  });
});
