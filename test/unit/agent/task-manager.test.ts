import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import type { AssignmentChange } from '../../../common/model/assignment.ts';
import type { ConfigId, SecretId } from '../../../common/model/ids.ts';
import type { Task } from '../../../common/model/task.ts';
import type { TaskState } from '../../../common/model/task-state.ts';
import { StatusReporter } from '../../../worker/agent/status-reporter.ts';
import { TaskDatabase } from '../../../worker/agent/task-database.ts';
import { TaskManager } from '../../../worker/agent/task-manager.ts';
import {
  aContainerSpec,
  aPort,
  aTask,
  aTaskSpec,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { FakeExecutor } from '../../support/fake-executor.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();

class Scene {
  readonly dir: string;
  readonly clock = new FakeClock();
  readonly executor = new FakeExecutor();
  readonly reporter = new StatusReporter();
  readonly failures: unknown[] = [];
  readonly database: TaskDatabase;
  readonly manager: TaskManager;

  constructor(dir: string) {
    this.dir = dir;
    this.database = new TaskDatabase(dir, silentLogger);
    this.manager = new TaskManager({
      executor: this.executor,
      database: this.database,
      reporter: this.reporter,
      clock: this.clock,
      log: silentLogger,
      onFailure: (err) => this.failures.push(err),
    });
  }

  state(task: Task): TaskState | undefined {
    return this.manager.list().find((it) => it.task.id === task.id)?.status.state;
  }

  /** The same node after its daemon stopped and started. */
  async restarted(): Promise<Scene> {
    await this.manager.stop();
    const next = new Scene(this.dir);
    await next.manager.start();
    return next;
  }

  async records(): Promise<{ id: string; state: TaskState }[]> {
    await this.database.flushed();
    const records = await new TaskDatabase(this.dir, silentLogger).load();
    return records.map(({ task, status }) => ({ id: task.id, state: status.state }));
  }
}

async function started(): Promise<Scene> {
  const scene = new Scene(await folder());
  await scene.manager.start();
  return scene;
}

function assigned(overrides: Partial<Task> = {}): Task {
  return aTask({ status: aTaskStatus({ state: 'assigned' }), ...overrides });
}

function set(item: Task): AssignmentChange {
  return { action: 'set', kind: 'task', key: item.id, item };
}

function removal(item: Task): AssignmentChange {
  return { action: 'remove', kind: 'task', key: item.id };
}

describe('task manager', () => {
  test('programs the network before it runs the tasks of a set', async () => {
    const it = await started();
    const task = assigned();
    await it.manager.apply([set(task)], true);
    expect(it.executor.events).toEqual(['sweep', 'network', `controller ${task.id}`]);
    await settle();
    expect(it.state(task)).toBe('running');
    await it.manager.stop();
  });

  test('a network that could not be programmed is told, and holds up no order to stop', async () => {
    const it = await started();
    const [gone, fresh] = [assigned(), assigned()];
    await it.manager.apply([set(gone)], true);
    await settle();
    it.executor.networkFailure = new Error('netlink: EBUSY');
    await expect(it.manager.apply([set(fresh)], true)).rejects.toThrow('EBUSY');
    await eventually(() => it.executor.require(gone.id).closed);
    expect(it.manager.list().map(({ task }) => task.id)).toEqual([fresh.id]);
    await it.manager.stop();
  });

  test('a complete set removes the tasks that it does not name', async () => {
    const it = await started();
    const [kept, gone] = [assigned(), assigned()];
    await it.manager.apply([set(kept), set(gone)], true);
    await settle();
    await it.manager.apply([set(kept)], true);
    await eventually(() => it.executor.require(gone.id).closed);
    expect(it.executor.require(gone.id).calls.slice(-2)).toEqual(['shutdown', 'remove']);
    expect(it.executor.require(kept.id).calls).not.toContain('shutdown');
    expect(it.manager.list().map(({ task }) => task.id)).toEqual([kept.id]);
    await it.manager.stop();
  });

  test('a step leaves the tasks that it does not name alone', async () => {
    const it = await started();
    const [first, second, third] = [assigned(), assigned(), assigned()];
    await it.manager.apply([set(first), set(second)], true);
    await settle();
    await it.manager.apply([set(third), removal(first)], false);
    await settle();
    expect(it.manager.list().map(({ task }) => task.id)).toEqual([second.id, third.id]);
    await it.manager.stop();
  });

  test('a removed task leaves neither record nor status', async () => {
    const it = await started();
    const task = assigned();
    await it.manager.apply([set(task)], true);
    await settle();
    await it.manager.apply([removal(task)], false);
    await eventually(() => it.executor.require(task.id).closed);
    await eventually(() => it.reporter.take() === null);
    expect(await it.records()).toEqual([]);
    await it.manager.stop();
  });

  test('the id of a task is taken until its removal is done', async () => {
    const it = await started();
    it.executor.onController = (controller) => controller.hold('remove');
    const task = assigned();
    await it.manager.apply([set(task)], true);
    await settle();
    await it.manager.apply([removal(task)], false);
    await settle();
    await it.manager.apply([set(task)], false);
    expect(it.manager.list()).toEqual([]);
    expect(it.executor.events.filter((event) => event.startsWith('controller'))).toHaveLength(1);
    await it.manager.stop();
  });

  test('hands secrets and configs to tasks, as the newest set has them', async () => {
    const it = await started();
    const secretId = idOf<SecretId>('sec');
    const configId = idOf<ConfigId>('cfg');
    const secret = { id: secretId, name: 's', data: new Uint8Array([1]), templateDriver: '' };
    const config = { id: configId, name: 'c', data: new Uint8Array([2]), templateDriver: '' };
    const task = assigned();
    await it.manager.apply(
      [
        set(task),
        { action: 'set', kind: 'secret', key: secretId, item: secret },
        { action: 'set', kind: 'config', key: configId, item: config },
      ],
      true,
    );
    const { dependencies } = it.executor.require(task.id);
    expect(dependencies.secret(secretId)).toBe(secret);
    expect(dependencies.config(configId)).toBe(config);
    await it.manager.apply([{ action: 'remove', kind: 'secret', key: secretId }], false);
    expect(dependencies.secret(secretId)).toBeUndefined();
    expect(dependencies.config(configId)).toBe(config);
    await it.manager.apply([set(task)], true);
    expect(dependencies.config(configId)).toBeUndefined();
    await it.manager.stop();
  });

  test('reports each status, and all of them again for a new session', async () => {
    const it = await started();
    const task = assigned();
    await it.manager.apply([set(task)], true);
    await settle();
    const batch = it.reporter.take()!;
    expect(batch.updates).toMatchObject([{ taskId: task.id, status: { state: 'running' } }]);
    it.reporter.stored(batch.sequence);
    expect(it.reporter.take()).toBeNull();
    it.manager.reportAll();
    expect(it.reporter.take()?.updates).toEqual(batch.updates);
    await it.manager.stop();
  });

  test('resumes after a restart from its database, without a manager', async () => {
    const before = await started();
    const [running, ready] = [assigned(), assigned({ desiredState: 'ready' })];
    await before.manager.apply([set(running), set(ready)], true);
    await settle();
    const after = await before.restarted();
    await settle();
    const spared = [running.id, ready.id, assigned().id].map(after.executor.spared);
    expect(spared).toEqual([true, true, false]);
    expect(after.executor.require(running.id).calls).toEqual(['wait']);
    expect(after.executor.require(ready.id).calls).toEqual([]);
    expect(after.state(ready)).toBe('ready');
    await after.manager.stop();
  });

  test('sweeps before it resumes anything', async () => {
    const before = await started();
    const task = assigned();
    await before.manager.apply([set(task)], true);
    await settle();
    const after = await before.restarted();
    expect(after.executor.events.slice(0, 2)).toEqual(['sweep', `controller ${task.id}`]);
    await after.manager.stop();
  });

  test('sweeps in service too, and spares what is assigned or just going', async () => {
    const it = await started();
    const [running, leaving] = [assigned(), assigned()];
    await it.manager.apply([set(running), set(leaving)], true);
    it.executor.require(leaving.id).hold('remove');
    await settle();
    await it.manager.apply([removal(leaving)], false);
    await settle();
    await it.manager.sweep();
    expect(it.executor.events.filter((event) => event === 'sweep')).toHaveLength(2);
    const late = assigned();
    await it.manager.apply([set(late)], false);
    const of = () => [running, leaving, late, assigned()].map(({ id }) => it.executor.spared(id));
    expect(of()).toEqual([true, true, true, false]);
    it.executor.require(leaving.id).finish('remove');
    await settle();
    await expect.poll(of).toEqual([true, false, true, false]);
    await it.manager.stop();
    await it.manager.sweep(); // nobody is there to say whose things are
    expect(it.executor.events.filter((event) => event === 'sweep')).toHaveLength(2);
  });

  test('a status of the assignment does not set a resumed task back', async () => {
    const before = await started();
    const task = assigned();
    await before.manager.apply([set(task)], true);
    await settle();
    const after = await before.restarted();
    await after.manager.apply([set(task)], true);
    await settle();
    expect(after.state(task)).toBe('running');
    expect(after.executor.require(task.id).calls).toEqual(['wait']);
    await after.manager.stop();
  });

  test('a resumed task knows the host ports that it has', async () => {
    const before = await started();
    const hostPorts = [aPort({ publishedPort: 80, publishMode: 'host' })];
    before.executor.onController = (controller) => {
      controller.seen = { container: null, localAddresses: [], hostPorts };
    };
    const task = assigned();
    await before.manager.apply([set(task)], true);
    await settle();
    const after = await before.restarted();
    expect(after.executor.require(task.id).task.status.hostPorts).toEqual(hostPorts);
    await after.manager.stop();
  });

  describe('a task that was not prepared when the daemon stopped', () => {
    const container = aContainerSpec({ registryAuth: 'c2VjcmV0' });

    async function interrupted() {
      const before = await started();
      before.executor.onController = (controller) => controller.hold('prepare');
      const task = assigned({ spec: aTaskSpec({ container }) });
      await before.manager.apply([set(task)], true);
      await settle();
      const after = await before.restarted();
      await settle();
      return { task, after };
    }

    test('waits for the manager, who has its credentials and secrets', async () => {
      const { task, after } = await interrupted();
      expect(after.executor.require(task.id).calls).toEqual([]);
      expect(after.state(task)).toBe('preparing');
      expect(after.executor.spared(task.id)).toBe(true);
      await after.manager.apply([set(task)], true);
      await settle();
      const controller = after.executor.require(task.id);
      expect(controller.task.spec.container.registryAuth).toBe('c2VjcmV0');
      expect(controller.calls).toEqual(['prepare', 'start', 'wait']);
      await after.manager.stop();
    });

    test('does not run again when the manager knows that it has ended', async () => {
      const { task, after } = await interrupted();
      const status = aTaskStatus({ state: 'complete' });
      await after.manager.apply([set({ ...task, status })], true);
      await settle();
      expect(after.state(task)).toBe('complete');
      expect(after.executor.require(task.id).calls).toEqual([]);
      await after.manager.stop();
    });

    test('is removed when the manager does not name it any more', async () => {
      const { task, after } = await interrupted();
      await after.manager.apply([], true);
      await eventually(() => after.executor.require(task.id).closed);
      expect(after.executor.require(task.id).calls).toEqual(['shutdown', 'remove']);
      expect(await after.records()).toEqual([]);
      await after.manager.stop();
    });

    test('is removed with all others', async () => {
      const { task, after } = await interrupted();
      await after.manager.removeAll();
      expect(after.executor.require(task.id).calls).toContain('remove');
      await after.manager.stop();
    });
  });

  test('removeAll resolves when every task is gone', async () => {
    const it = await started();
    it.executor.onController = (controller) => controller.failNext('remove', new Error('busy'));
    await it.manager.apply([set(assigned()), set(assigned())], true);
    await settle();
    let done = false;
    const removing = it.manager.removeAll().then(() => {
      done = true;
    });
    await settle();
    expect(done).toBe(false);
    await it.clock.advance(1_000);
    await removing;
    expect(await it.records()).toEqual([]);
    await it.manager.stop();
  });

  test('stop leaves every task as it is, on disk too', async () => {
    const it = await started();
    const task = assigned();
    await it.manager.apply([set(task)], true);
    await settle();
    await it.manager.stop();
    const controller = it.executor.require(task.id);
    expect(controller.calls).toEqual(['prepare', 'start', 'wait', 'wait!']);
    expect(controller.closed).toBe(true);
    expect(await it.records()).toEqual([{ id: task.id, state: 'running' }]);
  });

  test('a removal that a stop interrupts goes on after the restart', async () => {
    const before = await started();
    before.executor.onController = (controller) => controller.hold('remove');
    const task = assigned();
    await before.manager.apply([set(task)], true);
    await settle();
    await before.manager.apply([removal(task)], false);
    await settle();
    const after = await before.restarted();
    expect(after.state(task)).toBe('running');
    await after.manager.apply([], true);
    await eventually(() => after.executor.require(task.id).closed);
    expect(before.failures).toEqual([]);
    await after.manager.stop();
  });
});
