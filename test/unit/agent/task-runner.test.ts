import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { Task, TaskStatus } from '../../../common/model/task.ts';
import type { DesiredState, TaskState } from '../../../common/model/task-state.ts';
import { TaskRunner } from '../../../worker/agent/task-runner.ts';
import { TaskExitError, TemporaryError } from '../../../worker/executor/executor.ts';
import { aPort, aTask, aTaskStatus } from '../../support/builders.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { FakeController } from '../../support/fake-executor.ts';

const NO_DEPENDENCIES = { secret: () => undefined, config: () => undefined };

interface Scene {
  readonly task: Task;
  readonly runner: TaskRunner;
  readonly controller: FakeController;
  readonly clock: FakeClock;
  readonly statuses: TaskStatus[];
  /** the states reported so far */
  states(): TaskState[];
  want(desiredState: DesiredState): void;
}

function scene(
  state: TaskState = 'assigned',
  desiredState: DesiredState = 'running',
  prepare: (controller: FakeController) => void = () => {},
): Scene {
  const task = aTask({ desiredState });
  const controller = new FakeController(task, NO_DEPENDENCIES);
  prepare(controller);
  const clock = new FakeClock();
  const statuses: TaskStatus[] = [];
  const runner = new TaskRunner({
    task,
    status: aTaskStatus({ state }),
    controller,
    clock,
    log: silentLogger,
    onStatus: (_task, status) => statuses.push(status),
  });
  runner.start();
  return {
    task,
    runner,
    controller,
    clock,
    statuses,
    states: () => statuses.map((status) => status.state),
    want: (wanted) => runner.update({ ...task, desiredState: wanted }),
  };
}

describe('task runner', () => {
  test('makes the moves in order and reports each', async () => {
    const it = scene();
    await settle();
    expect(it.controller.calls).toEqual(['prepare', 'start', 'wait']);
    expect(it.states()).toEqual(['accepted', 'preparing', 'ready', 'starting', 'running']);
    it.controller.finish('wait');
    await settle();
    expect(it.states().at(-1)).toBe('complete');
    expect(it.statuses.map(({ message }) => message)).toEqual([
      'accepted',
      'preparing',
      'prepared',
      'starting',
      'started',
      'finished',
    ]);
    expect(it.statuses.every(({ err, appliedAtMs }) => err === '' && appliedAtMs === 0)).toBe(true);
  });

  test('a status carries the time, the container and the host ports', async () => {
    const it = scene('assigned', 'running', (controller) => {
      controller.seen = {
        container: { containerId: 'c', pid: 7, exitCode: 0, oomKilled: false },
        localAddresses: [],
        hostPorts: [aPort({ publishedPort: 80, publishMode: 'host' })],
      };
    });
    await settle();
    expect(it.runner.status).toMatchObject({
      state: 'running',
      timestampMs: it.clock.wallMs(),
      container: { containerId: 'c', pid: 7 },
      hostPorts: [{ publishedPort: 80 }],
    });
  });

  test('rests in ready until running is wanted', async () => {
    const it = scene('assigned', 'ready');
    await settle();
    expect(it.states().at(-1)).toBe('ready');
    expect(it.controller.calls).toEqual(['prepare']);
    it.want('running');
    await settle();
    expect(it.states().at(-1)).toBe('running');
  });

  test.each(['prepare', 'start', 'wait'] as const)(
    'aborts %s when the task is to be shut down',
    async (move) => {
      const it = scene('assigned', 'running', (controller) => controller.hold(move));
      await settle();
      it.want('shutdown');
      await settle();
      expect(it.controller.calls.slice(-3)).toEqual([move, `${move}!`, 'shutdown']);
      expect(it.states().at(-1)).toBe('shutdown');
      expect(it.statuses.at(-1)?.err).toBe('');
    },
  );

  test('a move that was broken off breaks off no other', async () => {
    const it = scene('assigned', 'running', (controller) => {
      controller.hold('start');
      controller.hold('shutdown');
    });
    await settle();
    it.want('shutdown');
    await settle();
    expect(it.controller.calls).toEqual(['prepare', 'start', 'start!', 'shutdown']);
    it.controller.finish('shutdown');
    await settle();
    expect(it.states().at(-1)).toBe('shutdown');
  });

  test('does not abort a shutdown when removal is wanted on top of it', async () => {
    const it = scene('running', 'running', (controller) => controller.hold('shutdown'));
    await settle();
    it.want('shutdown');
    await settle();
    it.want('remove');
    await settle();
    expect(it.controller.calls).toEqual(['wait', 'wait!', 'shutdown']);
    it.controller.finish('shutdown');
    await settle();
    expect(it.states()).toEqual(['shutdown']);
  });

  test('does not abort a prepare when ready becomes running', async () => {
    const it = scene('assigned', 'ready', (controller) => controller.hold('prepare'));
    await settle();
    it.want('running');
    await settle();
    expect(it.controller.calls).toEqual(['prepare']);
    it.controller.finish('prepare');
    await settle();
    expect(it.states().at(-1)).toBe('running');
  });

  test('ignores a lower desired state', async () => {
    const it = scene();
    await settle();
    it.want('shutdown');
    it.want('running');
    await settle();
    expect(it.runner.task.desiredState).toBe('shutdown');
    expect(it.states().at(-1)).toBe('shutdown');
  });

  test('takes a new version with the same desired state without a move', async () => {
    const it = scene();
    await settle();
    it.runner.update({ ...it.task, specVersion: 9 });
    await settle();
    expect(it.runner.task.specVersion).toBe(9);
    expect(it.controller.calls).toEqual(['prepare', 'start', 'wait']);
  });

  test('tries a move again 1 s after a temporary error, in the same state', async () => {
    const it = scene('assigned', 'running', (controller) =>
      controller.failNext('prepare', new TemporaryError('busy'), new TemporaryError('busy')),
    );
    await settle();
    expect(it.controller.calls).toEqual(['prepare']);
    await it.clock.advance(999);
    expect(it.controller.calls).toEqual(['prepare']);
    await it.clock.advance(1);
    expect(it.controller.calls).toEqual(['prepare', 'prepare']);
    expect(it.states()).toEqual(['accepted', 'preparing']);
    await it.clock.advance(1_000);
    expect(it.states().at(-1)).toBe('running');
  });

  test('does not sit out the delay after a temporary error when the task is to be shut down', async () => {
    const it = scene('assigned', 'running', (controller) =>
      controller.failNext('prepare', new TemporaryError('busy')),
    );
    await settle();
    it.want('shutdown');
    await settle();
    expect(it.states().at(-1)).toBe('shutdown');
  });

  test('an error before the process runs rejects the task', async () => {
    const cause = new SkepError('not-found', 'manifest unknown');
    const it = scene('assigned', 'running', (controller) =>
      controller.failNext('prepare', new SkepError('not-found', 'pull nginx:9', { cause })),
    );
    await settle();
    expect(it.runner.status).toMatchObject({
      state: 'rejected',
      message: 'task rejected',
      err: 'pull nginx:9: manifest unknown',
    });
    expect(it.controller.calls).toEqual(['prepare']);
  });

  test.each(['start', 'wait'] as const)('an error of %s fails the task', async (move) => {
    const it = scene('assigned', 'running', (controller) =>
      controller.failNext(move, new TaskExitError('task: non-zero exit (3)')),
    );
    await settle();
    expect(it.runner.status).toMatchObject({ state: 'failed', err: 'task: non-zero exit (3)' });
  });

  test('a shutdown that fails is tried again until it succeeds', async () => {
    const it = scene('running', 'shutdown', (controller) =>
      controller.failNext('shutdown', new Error('stuck'), new Error('stuck')),
    );
    await it.clock.advance(1_000);
    expect(it.states()).toEqual([]);
    await it.clock.advance(1_000);
    expect(it.controller.calls).toEqual(['shutdown', 'shutdown', 'shutdown']);
    expect(it.states()).toEqual(['shutdown']);
  });

  test('stop leaves the task as it is and lets go of it', async () => {
    const it = scene();
    await settle();
    await it.runner.stop();
    expect(it.controller.calls).toEqual(['prepare', 'start', 'wait', 'wait!']);
    expect(it.states().at(-1)).toBe('running');
    it.want('shutdown');
    await settle();
    expect(it.controller.calls).not.toContain('shutdown');
  });

  test('stop wakes one that rests', async () => {
    const it = scene('ready', 'ready');
    await settle();
    await it.runner.stop();
    expect(it.controller.calls).toEqual([]);
  });

  test('remove ends a running task and then removes it', async () => {
    const it = scene();
    await settle();
    await it.runner.remove(new AbortController().signal);
    expect(it.controller.calls.slice(2)).toEqual(['wait', 'wait!', 'shutdown', 'remove']);
    expect(it.states().at(-1)).toBe('running');
  });

  test('remove does not shut down a task that has ended', async () => {
    const it = scene('failed');
    await it.runner.remove(new AbortController().signal);
    expect(it.controller.calls).toEqual(['remove']);
  });

  test('remove tries again after 1 s until it succeeds', async () => {
    const it = scene('running', 'running', (controller) => {
      controller.failNext('shutdown', new Error('stuck'));
      controller.failNext('remove', new Error('busy'));
    });
    let removed = false;
    void it.runner.remove(new AbortController().signal).then(() => {
      removed = true;
    });
    await it.clock.advance(1_000);
    expect(removed).toBe(false);
    await it.clock.advance(1_000);
    expect(removed).toBe(true);
    expect(it.controller.calls.filter((call) => call === 'remove')).toHaveLength(2);
  });

  test('remove ends with the reason of its signal', async () => {
    const it = scene('failed', 'running', (controller) => controller.hold('remove'));
    const abort = new AbortController();
    const removal = it.runner.remove(abort.signal);
    const refused = expect(removal).rejects.toThrow('daemon stops');
    await settle();
    abort.abort(new Error('daemon stops'));
    await refused;
  });
});
