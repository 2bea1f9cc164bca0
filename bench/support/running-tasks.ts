/** When tasks run, as a watcher of a manager's store sees it. */
import type { Task } from '../../common/model/task.ts';
import type { Manager } from '../../manager/manager.ts';
import type { Store } from '../../manager/store/types.ts';
import { aServiceSpec } from '../../test/support/builders.ts';

export function isRunning({ status, desiredState }: Task): boolean {
  return status.state === 'running' && desiredState === 'running';
}

/** Resolves with the time that it took until so many run, ms. */
export async function untilRunning(store: Store, count: number): Promise<number> {
  const startMs = performance.now();
  const watch = store.watch();
  let now = store.view((view) => view.list('task').filter(isRunning).length);
  try {
    while (now < count) {
      for (const { changes } of (await watch.next()) ?? []) {
        for (const change of changes) {
          if (change.kind !== 'task') continue;
          const was =
            change.action === 'update'
              ? isRunning(change.previous)
              : change.action === 'remove' && isRunning(change.object);
          const is = change.action !== 'remove' && isRunning(change.object);
          now += Number(is) - Number(was);
        }
      }
    }
  } finally {
    watch.close();
  }
  return performance.now() - startMs;
}

/** A service of one task: from the call that creates it until the task runs, ms. */
export async function submit({ control, store }: Manager, name: string): Promise<number> {
  const watch = store.watch();
  const startMs = performance.now();
  try {
    const mode = { kind: 'replicated' as const, replicas: 1 };
    const { id } = await control.createService(aServiceSpec({ name, mode }));
    for (;;) {
      for (const { changes } of (await watch.next()) ?? []) {
        for (const { kind, object } of changes) {
          if (kind === 'task' && object.serviceId === id && isRunning(object)) {
            return performance.now() - startMs;
          }
        }
      }
    }
  } finally {
    watch.close();
  }
}
