import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ServiceId, TaskId } from '../../../common/model/ids.ts';
import type { RestartPolicy, ServiceSpec } from '../../../common/model/service.ts';
import { aTaskSpec, idOf } from '../../support/builders.ts';
import { ControlRooms } from '../../support/control-rooms.ts';

const replicas = (count: number) => ({ mode: { kind: 'replicated' as const, replicas: count } });
const restart = (policy: Partial<RestartPolicy>) => ({
  task: aTaskSpec({
    restart: { condition: 'any', delayNanos: 5e9, maxAttempts: 0, windowNanos: 0, ...policy },
  }),
});
const scaledTo = (count: number) => (spec: ServiceSpec) => ({ ...spec, ...replicas(count) });

describe('replicated orchestrator', () => {
  let rooms: ControlRooms;
  beforeEach(async () => {
    rooms = await ControlRooms.start(3);
  });
  afterEach(() => rooms.stop());

  const runningSlots = (id: ServiceId): (number | null)[] =>
    rooms.running(id).map(({ slot }) => slot);

  test('scaling up fills the lowest free slots', async () => {
    const { id } = await rooms.deploy(replicas(2));
    await rooms.change(id, scaledTo(4));
    await rooms.rest();
    expect(runningSlots(id)).toEqual([1, 2, 3, 4]);
    expect(rooms.service(id).updateStatus).toBeNull();
  });

  test('new tasks log as the cluster says, unless their service says it', async () => {
    const { store } = rooms.test;
    const taskLogDriver = { name: 'syslog', options: {} };
    const before = await rooms.deploy({ name: 'before', ...replicas(1) });
    await store.update((tx) => {
      const [cluster] = tx.list('cluster');
      tx.update('cluster', { ...cluster!, spec: { ...cluster!.spec, taskLogDriver } });
    });
    const silent = await rooms.deploy({ name: 'silent', ...replicas(1) });
    const own = { name: 'json-file', options: {} };
    const spoken = aTaskSpec({ logDriver: own });
    const told = await rooms.deploy({ name: 'told', task: spoken, ...replicas(1) });
    const driverOf = ({ id }: { id: ServiceId }) => rooms.running(id)[0]!.logDriver;
    expect([before, silent, told].map(driverOf)).toEqual([null, taskLogDriver, own]);
    // The words of services are as they were: no task is out of date.
    await rooms.pass(1_000);
    expect(driverOf(before)).toBeNull();
  });

  test('scaling down takes from the most crowded nodes first, then the highest slots', async () => {
    const { id } = await rooms.deploy(replicas(7));
    await rooms.change(id, scaledTo(3));
    await rooms.rest();
    const left = rooms.running(id);
    expect(left).toHaveLength(3);
    expect(new Set(left.map(({ nodeId }) => nodeId)).size).toBe(3);
  });

  test('scaling down keeps the first copy on each node, not the lowest slots', async () => {
    const [, ...others] = rooms.nodes();
    const make = async (availability: 'active' | 'pause'): Promise<void> => {
      for (const { id } of others) {
        await rooms.setNode(id, (node) => ({ ...node, spec: { ...node.spec, availability } }));
      }
      await rooms.rest();
    };
    await make('pause');
    const { id } = await rooms.deploy(replicas(3));
    await make('active');
    await rooms.change(id, scaledTo(5));
    await rooms.rest();
    await rooms.change(id, scaledTo(3));
    await rooms.rest();
    expect(runningSlots(id)).toEqual([1, 4, 5]);
  });

  test('scaled-down tasks are deleted once they have stopped', async () => {
    const { id } = await rooms.deploy(replicas(3));
    await rooms.change(id, scaledTo(1));
    await rooms.rest();
    expect(rooms.tasks(id)).toHaveLength(1);
  });

  test('scaling to 0 and back up starts from slot 1', async () => {
    const { id } = await rooms.deploy(replicas(2));
    await rooms.change(id, scaledTo(0));
    await rooms.rest();
    expect(rooms.tasks(id)).toEqual([]);
    await rooms.change(id, scaledTo(1));
    await rooms.rest();
    expect(runningSlots(id)).toEqual([1]);
  });

  test('a slot that is asked for again is not let run while its old task still stops', async () => {
    const { id } = await rooms.deploy(replicas(1));
    const [old] = rooms.tasks(id);
    rooms.deaf.add(old!.id);
    await rooms.change(id, scaledTo(0));
    await rooms.rest();
    await rooms.change(id, scaledTo(1));
    await rooms.rest();
    const waiting = rooms.tasks(id).find((task) => task.id !== old!.id);
    expect(waiting).toMatchObject({ slot: 1, desiredState: 'ready', status: { state: 'ready' } });
    rooms.deaf.clear();
    await rooms.rest();
    expect(rooms.running(id).map((task) => task.id)).toEqual([waiting!.id]);
  });

  test('the tasks of a removed service stop and vanish', async () => {
    const { id } = await rooms.deploy(replicas(3));
    await rooms.test.store.update((tx) => tx.remove('service', id));
    await rooms.rest();
    expect(rooms.tasks(id)).toEqual([]);
  });

  test('a failed task is replaced in its slot after the restart delay', async () => {
    const { id } = await rooms.deploy(replicas(2));
    const failed = rooms.tasks(id)[0]!;
    await rooms.report(failed.id, 'failed', { err: 'task: non-zero exit (1)' });
    await rooms.rest();
    expect(rooms.test.get('task', failed.id).desiredState).toBe('shutdown');
    const replacement = rooms.tasks(id).filter(({ slot }) => slot === 1)[1]!;
    expect(replacement.desiredState).toBe('ready');
    expect(replacement.status.state).toBe('ready');

    await rooms.pass(4900);
    expect(rooms.test.get('task', replacement.id).desiredState).toBe('ready');
    await rooms.pass(200);
    expect(rooms.test.get('task', replacement.id).status.state).toBe('running');
  });

  test('a new leader waits out the rest of the delay, no more', async () => {
    const { id } = await rooms.deploy();
    await rooms.report(rooms.tasks(id)[0]!.id, 'failed');
    await rooms.pass(3000);
    await rooms.stop();
    await rooms.lead();
    await rooms.pass(1900);
    expect(rooms.running(id)).toEqual([]);
    await rooms.pass(200);
    expect(rooms.running(id)).toHaveLength(1);
  });

  test.each([
    ['any', 'complete', true],
    ['any', 'failed', true],
    ['on-failure', 'failed', true],
    ['on-failure', 'rejected', true],
    ['on-failure', 'complete', false],
    ['none', 'failed', false],
    ['none', 'complete', false],
  ] as const)('condition %s, task %s: restarted = %s', async (condition, state, restarted) => {
    const { id } = await rooms.deploy(restart({ condition }));
    await rooms.report(rooms.tasks(id)[0]!.id, state);
    await rooms.pass(6000, 1000);
    expect(rooms.running(id)).toHaveLength(restarted ? 1 : 0);
    expect(rooms.tasks(id)).toHaveLength(restarted ? 2 : 1);
  });

  test('max attempts are counted per slot and spec version', async () => {
    rooms.outcome = () => 'failed';
    const { id } = await rooms.deploy(restart({ maxAttempts: 2, delayNanos: 0 }));
    await rooms.pass(1000);
    expect(rooms.tasks(id)).toHaveLength(3); // the first and two restarts
    expect(rooms.tasks(id).every(({ desiredState }) => desiredState === 'shutdown')).toBe(true);

    await rooms.change(id, (spec) => ({ ...spec, task: { ...spec.task, forceUpdate: 1 } }));
    await rooms.pass(1000);
    const { specVersion } = rooms.service(id);
    expect(rooms.tasks(id).filter((task) => task.specVersion === specVersion)).toHaveLength(3);
  });

  test('with a window only recent restarts count', async () => {
    const policy = { maxAttempts: 1, delayNanos: 0, windowNanos: 10e9 };
    const { id } = await rooms.deploy(restart(policy));
    const fail = () => rooms.report(rooms.running(id)[0]!.id, 'failed');
    await fail();
    await rooms.pass(11_000, 1000);
    await fail(); // the restart before is 11 s old
    await rooms.rest();
    expect(rooms.running(id)).toHaveLength(1);
    await fail(); // and this one is fresh
    await rooms.rest();
    expect(rooms.running(id)).toHaveLength(0);
  });

  test('a task that fails while it waits for its delay is not retried before the delay is over', async () => {
    const { id } = await rooms.deploy();
    await rooms.report(rooms.tasks(id)[0]!.id, 'failed');
    await rooms.rest();
    await rooms.report(rooms.tasks(id)[1]!.id, 'rejected');
    await rooms.pass(4900);
    expect(rooms.tasks(id)).toHaveLength(2);
    await rooms.pass(200);
    expect(rooms.tasks(id)).toHaveLength(3);
    expect(rooms.tasks(id)[2]!.desiredState).toBe('ready');
  });

  test('a drained node loses its tasks without delay, each after its predecessor stopped', async () => {
    const { id } = await rooms.deploy(replicas(3));
    const victim = rooms.running(id)[0]!;
    await rooms.setNode(victim.nodeId!, (node) => ({
      ...node,
      spec: { ...node.spec, availability: 'drain' },
    }));
    await rooms.rest();
    expect(rooms.running(id)).toHaveLength(3);
    expect(rooms.running(id).some(({ nodeId }) => nodeId === victim.nodeId)).toBe(false);
    expect(rooms.test.get('task', victim.id).status.state).toBe('shutdown');
  });

  test('a drain long after a failure asks for no delay', async () => {
    const { id } = await rooms.deploy();
    await rooms.report(rooms.running(id)[0]!.id, 'failed');
    await rooms.pass(60_000, 1000);
    const { nodeId } = rooms.running(id)[0]!;
    await rooms.setNode(nodeId!, (node) => ({
      ...node,
      spec: { ...node.spec, availability: 'drain' },
    }));
    await rooms.rest();
    expect(rooms.running(id)).toHaveLength(1);
    expect(rooms.running(id)[0]!.nodeId).not.toBe(nodeId);
  });

  test('tasks that a lost node never stopped vanish with the node', async () => {
    const { id } = await rooms.deploy(replicas(3));
    const nodeId = rooms.running(id)[0]!.nodeId!;
    rooms.silent.add(nodeId);
    await rooms.test.store.update((tx) => tx.remove('service', id));
    await rooms.rest();
    expect(rooms.tasks(id).map((task) => task.nodeId)).toEqual([nodeId]);
    await rooms.test.store.update((tx) => tx.remove('node', nodeId));
    await rooms.rest();
    expect(rooms.tasks(id)).toEqual([]);
  });

  test('the tasks of a lost node are replaced at once, without delay', async () => {
    const { id } = await rooms.deploy(replicas(3));
    const victim = rooms.running(id)[0]!;
    rooms.silent.add(victim.nodeId!);
    await rooms.setNode(victim.nodeId!, (node) => ({
      ...node,
      status: { ...node.status, state: 'down' },
    }));
    await rooms.rest();
    expect(rooms.running(id).filter(({ nodeId }) => nodeId !== victim.nodeId)).toHaveLength(3);
    const old = rooms.test.get('task', victim.id);
    expect([old.status.state, old.desiredState]).toEqual(['running', 'shutdown']);
  });

  test('a paused node keeps its tasks', async () => {
    const { id } = await rooms.deploy(replicas(3));
    const before = rooms.running(id).map((task) => task.id);
    await rooms.setNode(rooms.nodes()[0]!.id, (node) => ({
      ...node,
      spec: { ...node.spec, availability: 'pause' },
    }));
    await rooms.rest();
    expect(rooms.running(id).map((task) => task.id)).toEqual(before);
  });

  test('a replacement starts after 60 s even if the old task will not stop', async () => {
    const { id } = await rooms.deploy();
    rooms.deaf.add(rooms.running(id)[0]!.id);
    await rooms.change(id, (spec) => ({ ...spec, task: { ...spec.task, forceUpdate: 1 } }));
    await rooms.pass(59_000, 1000);
    const replacement = rooms.tasks(id)[1]!;
    expect(replacement.desiredState).toBe('ready');
    await rooms.pass(2000, 1000);
    expect(rooms.test.get('task', replacement.id).desiredState).toBe('running');
  });

  test('two wanted tasks in one slot are thinned out to the running one', async () => {
    const { id } = await rooms.deploy();
    const task = rooms.running(id)[0]!;
    const status = { ...task.status, state: 'new' as const };
    await rooms.test.create('task', { ...task, id: idOf<TaskId>('twin'), nodeId: null, status });
    await rooms.rest();
    expect(rooms.running(id).map((one) => one.id)).toEqual([task.id]);
  });

  test('5 tasks of a slot are kept, the live one included', async () => {
    rooms.outcome = () => 'failed';
    const { id } = await rooms.deploy(restart({ delayNanos: 1e9 }));
    await rooms.pass(20_400);
    expect(rooms.tasks(id)).toHaveLength(5);
    expect(rooms.tasks(id).filter(({ desiredState }) => desiredState !== 'shutdown')).toHaveLength(
      1,
    );
  });
});
