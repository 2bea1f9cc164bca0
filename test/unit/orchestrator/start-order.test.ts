import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ServiceId } from '../../../common/model/ids.ts';
import type { NodeStatus } from '../../../common/model/node.ts';
import { DEFAULT_UPDATE_CONFIG, type ServiceSpec } from '../../../common/model/service.ts';
import {
  DEPENDS_ON_LABEL,
  type DependencyCondition,
  dependsOnLabel,
} from '../../../common/model/start-order.ts';
import type { Task } from '../../../common/model/task.ts';
import type { TaskState } from '../../../common/model/task-state.ts';
import { aTaskSpec } from '../../support/builders.ts';
import { ControlRooms } from '../../support/control-rooms.ts';

const waitsFor = (service: string, condition: DependencyCondition) => ({
  [DEPENDS_ON_LABEL]: dependsOnLabel([{ service, condition }]),
});
const replicas = (count: number) => ({ mode: { kind: 'replicated' as const, replicas: count } });
const image = (name: string) => (spec: ServiceSpec) => ({
  ...spec,
  task: { ...spec.task, container: { ...spec.task.container, image: name } },
});
const oneShot = {
  task: aTaskSpec({
    restart: { condition: 'none' as const, delayNanos: 0, maxAttempts: 0, windowNanos: 0 },
  }),
};
const replicatedJob = {
  mode: { kind: 'replicated-job' as const, maxConcurrent: 1, totalCompletions: 1 },
};

describe('a service that waits for another', () => {
  let rooms: ControlRooms;
  /** what the tasks of `db` come to; those of others run */
  let db: TaskState;
  beforeEach(async () => {
    rooms = await ControlRooms.start(2);
    db = 'starting';
    rooms.outcome = ({ serviceAnnotations }) => (serviceAnnotations.name === 'db' ? db : 'running');
  });
  afterEach(() => rooms.stop());

  const desired = (id: ServiceId): string[] => rooms.tasks(id).map((task) => task.desiredState);
  const states = (id: ServiceId): string[] => rooms.tasks(id).map(({ status }) => status.state);
  const isNew = ({ spec }: Task): boolean => spec.container.image === 'new';
  const web = (condition: DependencyCondition, more: Partial<ServiceSpec> = {}) =>
    rooms.deploy({ name: 'web', labels: waitsFor('db', condition), ...replicas(2), ...more });
  /** What `db` comes to from now on, as its agent would tell. */
  async function dbComesTo(id: ServiceId, state: TaskState): Promise<void> {
    db = state;
    for (const task of rooms.tasks(id)) await rooms.report(task.id, state);
    await rooms.rest();
  }

  test('has its tasks prepared, and let run when all of the other runs', async () => {
    const other = await rooms.deploy({ name: 'db', ...replicas(2) });
    const { id } = await web('service_healthy');
    expect(states(id)).toEqual(['ready', 'ready']);
    const [first, second] = rooms.tasks(other.id);
    await rooms.report(first!.id, 'running');
    await rooms.rest();
    expect(desired(id)).toEqual(['ready', 'ready']);
    await rooms.report(second!.id, 'running');
    await rooms.rest();
    expect(states(id)).toEqual(['running', 'running']);
  });

  test('that is to be started only waits no longer than for that', async () => {
    await rooms.deploy({ name: 'db' });
    const { id } = await web('service_started');
    expect(states(id)).toEqual(['running', 'running']);
  });

  test('waits for the start, too', async () => {
    rooms.outcome = ({ serviceAnnotations }) =>
      serviceAnnotations.name === 'db' ? 'assigned' : 'running';
    const other = await rooms.deploy({ name: 'db' });
    const { id } = await web('service_started');
    expect(desired(id)).toEqual(['ready', 'ready']);
    await dbComesTo(other.id, 'starting');
    expect(desired(id)).toEqual(['running', 'running']);
  });

  test.each([
    ['a job', replicatedJob],
    ['a service that ends', oneShot],
  ])('starts after %s has completed', async (_, spec) => {
    const other = await rooms.deploy({ name: 'db', ...spec });
    const { id } = await web('service_completed_successfully');
    await dbComesTo(other.id, 'running');
    expect(desired(id)).toEqual(['ready', 'ready']);
    await dbComesTo(other.id, 'complete');
    expect(states(id)).toEqual(['running', 'running']);
  });

  test('does not start when what it waits for failed for good', async () => {
    db = 'failed';
    await rooms.deploy({ name: 'db', ...oneShot });
    const { id } = await web('service_completed_successfully');
    await rooms.pass(60_000, 10_000);
    expect(states(id)).toEqual(['ready', 'ready']);
  });

  test('goes on at once when nothing of that name is there, or it is wanted nowhere', async () => {
    const { id } = await web('service_healthy');
    expect(states(id)).toEqual(['running', 'running']);
    await rooms.deploy({ name: 'db', ...replicas(0) });
    const third = await rooms.deploy({ labels: waitsFor('db', 'service_healthy') });
    expect(states(third.id)).toEqual(['running']);
  });

  test('waits as a job, and as a global service', async () => {
    const other = await rooms.deploy({ name: 'db' });
    const labels = waitsFor('db', 'service_healthy');
    const job = await rooms.deploy({ labels, ...replicatedJob });
    const everywhere = await rooms.deploy({ labels, mode: { kind: 'global' } });
    expect([states(job.id), states(everywhere.id)]).toEqual([['ready'], ['ready', 'ready']]);
    await dbComesTo(other.id, 'running');
    expect([states(job.id), states(everywhere.id)]).toEqual([['running'], ['running', 'running']]);
  });

  test('waits for a global service on each of its nodes', async () => {
    const other = await rooms.deploy({ name: 'db', mode: { kind: 'global' } });
    const { id } = await web('service_healthy');
    await rooms.report(rooms.tasks(other.id)[0]!.id, 'running');
    await rooms.rest();
    expect(desired(id)).toEqual(['ready', 'ready']);
    await rooms.report(rooms.tasks(other.id)[1]!.id, 'running');
    await rooms.rest();
    expect(desired(id)).toEqual(['running', 'running']);
  });

  test('replaces a part that failed without waiting, and waits when all of it is down', async () => {
    const other = await rooms.deploy({ name: 'db' });
    const { id } = await web('service_healthy');
    await dbComesTo(other.id, 'running');
    db = 'starting';
    await rooms.report(rooms.tasks(other.id)[0]!.id, 'failed');
    await rooms.pass(6000, 1000);
    const [first] = rooms.running(id);
    await rooms.report(first!.id, 'failed');
    await rooms.pass(6000, 1000);
    expect(rooms.running(id)).toHaveLength(2);
    // As after a power cut: nothing runs any more.
    for (const task of rooms.running(id)) await rooms.report(task.id, 'failed');
    await rooms.pass(20_000, 1000);
    expect(rooms.running(id)).toHaveLength(0);
    await dbComesTo(other.id, 'running');
    expect(rooms.running(id)).toHaveLength(2);
  });

  test('is updated after the other', async () => {
    const other = await rooms.deploy({ name: 'db' });
    const { id } = await web('service_healthy', {
      update: { ...DEFAULT_UPDATE_CONFIG, parallelism: 0 },
    });
    await dbComesTo(other.id, 'running');
    db = 'starting';
    await rooms.change(other.id, image('new'));
    await rooms.change(id, image('new'));
    await rooms.rest();
    expect(rooms.tasks(other.id).filter(isNew)).toHaveLength(1);
    expect(rooms.tasks(id).filter(isNew)).toHaveLength(0);
    expect(rooms.running(id)).toHaveLength(2);
    await dbComesTo(other.id, 'running');
    expect(rooms.running(id).filter(isNew)).toHaveLength(2);
    await rooms.pass(6000, 1000);
    expect(rooms.service(id).updateStatus?.state).toBe('completed');
  });

  test('is rolled back without waiting', async () => {
    const other = await rooms.deploy({ name: 'db' });
    const { id } = await web('service_healthy');
    await dbComesTo(other.id, 'running');
    db = 'starting';
    await rooms.change(other.id, image('new'));
    await rooms.rest();
    await rooms.test.store.update((tx) => {
      const service = tx.require('service', id);
      const startedAtMs = rooms.test.clock.wallMs();
      tx.update('service', {
        ...service,
        spec: image('new')(service.spec),
        specVersion: service.meta.version,
        updateStatus: { state: 'rollback_started', startedAtMs, completedAtMs: null, message: '' },
      });
    });
    await rooms.pass(12_000, 1000);
    expect(rooms.running(id).filter(isNew)).toHaveLength(2);
  });

  test('takes a new spec while it still waits, and starts with that', async () => {
    const other = await rooms.deploy({ name: 'db' });
    for (const order of ['stop-first', 'start-first'] as const) {
      const update = { ...DEFAULT_UPDATE_CONFIG, parallelism: 0, order };
      const { id } = await rooms.deploy({
        labels: waitsFor('db', 'service_healthy'),
        ...replicas(2),
        update,
      });
      await rooms.change(id, image('new'));
      await rooms.rest();
      const held = rooms.tasks(id).filter((task) => task.desiredState === 'ready');
      expect(held.filter(isNew), order).toHaveLength(2);
      expect(rooms.running(id)).toHaveLength(0);
    }
    await dbComesTo(other.id, 'running');
    await rooms.pass(6000, 1000);
    expect(rooms.running(other.id)).toHaveLength(1);
  });

  test('waits on under a new leader', async () => {
    const other = await rooms.deploy({ name: 'db' });
    const { id } = await web('service_healthy');
    await rooms.stop();
    await rooms.lead();
    await rooms.rest();
    expect(states(id)).toEqual(['ready', 'ready']);
    await dbComesTo(other.id, 'running');
    expect(states(id)).toEqual(['running', 'running']);
  });

  test('waits until the node of what runs is there to say so', async () => {
    const other = await rooms.deploy({ name: 'db' });
    const [database] = rooms.tasks(other.id);
    const becomes = (state: NodeStatus['state']) =>
      rooms.setNode(database!.nodeId!, (node) => ({ ...node, status: { ...node.status, state } }));
    await rooms.report(database!.id, 'running');
    await becomes('unknown');
    const { id } = await web('service_healthy', replicas(1));
    expect(states(id)).toEqual(['ready']);
    await becomes('ready');
    await rooms.rest();
    expect(states(id)).toEqual(['running']);
  });

  test('whose order nobody can read waits for nothing', async () => {
    await rooms.deploy({ name: 'db' });
    for (const label of ['', 'db', '{"db":"service_happy"}', 'null', '[1]']) {
      const { id } = await rooms.deploy({ labels: { [DEPENDS_ON_LABEL]: label } });
      expect(states(id), label).toEqual(['running']);
    }
  });
});
