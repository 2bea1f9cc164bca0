import { expect, test } from 'vitest';
import { InstantExecutor } from '../../../../../cli/dev/agents/instant-executor.ts';
import { MemoryRecords } from '../../../../../cli/dev/agents/memory-records.ts';
import { silentLogger } from '../../../../../common/base/log.ts';
import type { TaskState } from '../../../../../common/model/task-state.ts';
import { StatusReporter } from '../../../../../worker/agent/status-reporter.ts';
import { TaskManager } from '../../../../../worker/agent/task-manager.ts';
import { aNodeDescription, aTask, aTaskStatus } from '../../../../support/builders.ts';
import { FakeClock, settle } from '../../../../support/fake-clock.ts';

test('tasks of an instant executor run at once, and until they are told to stop', async () => {
  const failures: unknown[] = [];
  const reporter = new StatusReporter();
  const tasks = new TaskManager({
    executor: new InstantExecutor(aNodeDescription()),
    database: new MemoryRecords(),
    reporter,
    clock: new FakeClock(),
    log: silentLogger,
    onFailure: (err) => failures.push(err),
  });
  const seen: TaskState[] = [];
  reporter.setListener(() => {
    for (const { status } of reporter.take()?.updates ?? []) seen.push(status.state);
  });
  await tasks.start();
  const task = aTask({ status: aTaskStatus({ state: 'assigned' }) });
  await tasks.apply([{ action: 'set', kind: 'task', key: task.id, item: task }], true);
  await settle();
  expect(seen).toEqual(['accepted', 'preparing', 'ready', 'starting', 'running']);
  expect(tasks.list()[0]?.status.container?.containerId).toHaveLength(64);
  const stopped = { ...task, desiredState: 'shutdown' as const };
  await tasks.apply([{ action: 'set', kind: 'task', key: task.id, item: stopped }], false);
  await settle();
  expect(seen.at(-1)).toBe('shutdown');
  await tasks.apply([{ action: 'remove', kind: 'task', key: task.id }], false);
  await settle();
  expect(tasks.list()).toEqual([]);
  await tasks.stop();
  expect(failures).toEqual([]);
});
