/**
 * Waits until a service runs as asked, showing the way: bars on a terminal, plain lines elsewhere.
 * The rules are Docker's: every slot's current task runs, and stays so for the monitor period; every
 * slot of a job completes once.
 */
import type { NodeJson } from '../../common/model/engine-json/node.ts';
import type { ServiceJson } from '../../common/model/engine-json/service.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { Changes } from './changes.ts';
import { type CommandContext, printLine, UsageError } from './context.ts';
import { isJob, isOver, viewJob } from './job-progress.ts';
import { type ProgressView, rank, Screen } from './progress-view.ts';

const MONITOR_DEFAULT_NANOS = 5e9;

export interface ServiceView extends ProgressView {
  readonly wanted: number;
  readonly running: number;
}

/** Per slot (or node) the task that is meant to run: lowest desired state, then lowest state. */
export function viewService(
  service: ServiceJson,
  tasks: readonly TaskJson[],
  nodes: readonly NodeJson[],
): ServiceView {
  const live = new Set(
    nodes.filter((node) => node.Status?.State !== 'down').map((node) => node.ID),
  );
  const replicated = service.Spec.Mode?.Replicated;
  if (!replicated && !service.Spec.Mode?.Global) throw new UsageError('unrecognized service mode');
  const current = new Map<string, TaskJson>();
  for (const task of tasks) {
    if (rank(task.Status.State) < 0 || rank(task.DesiredState) < 0) continue;
    if (task.NodeID && !live.has(task.NodeID)) continue;
    const key = replicated ? String(task.Slot ?? 0) : (task.NodeID ?? '');
    const other = current.get(key);
    if (!other || comesFirst(task, other)) current.set(key, task);
  }
  // A slot whose best task is on its way out is being scaled away.
  const entries = [...current].filter(([, task]) => rank(task.DesiredState) <= rank('complete'));
  const wanted = replicated ? (replicated.Replicas ?? 1) : entries.length;
  const slots = entries
    .sort(([a], [b]) => (replicated ? Number(a) - Number(b) : a < b ? -1 : 1))
    .map(([key, task], index) => ({
      label: replicated ? `${index + 1}/${wanted}` : key,
      state: task.Status.State,
      error: task.Status.Err ?? '',
    }));
  const running = slots.filter((slot) => slot.state === 'running').length;
  const { State: state = '', Message: message = '' } = service.UpdateStatus ?? {};
  const isRollback = state.startsWith('rollback');
  const way = `${isRollback ? 'rolling back update: ' : ''}${running} out of ${wanted} tasks`;
  const heading = [
    ...(isRollback && message !== '' ? [`rollback: ${message}`] : []),
    `overall progress: ${way}`,
  ];
  return { heading, slots, seats: wanted, goal: 'running', wanted, running };
}

function comesFirst(task: TaskJson, other: TaskJson): boolean {
  const desired = rank(task.DesiredState) - rank(other.DesiredState);
  if (desired !== 0) return desired < 0;
  const state = rank(task.Status.State) - rank(other.Status.State);
  return state !== 0 ? state < 0 : task.CreatedAt > other.CreatedAt;
}

export interface WaitOptions {
  readonly quiet?: boolean;
}

/** Prints progress until the service converged. Throws `UsageError` when its update is paused. */
export async function waitForService(
  context: CommandContext,
  serviceId: string,
  options: WaitOptions = {},
): Promise<void> {
  const screen = options.quiet ? null : new Screen(context);
  try {
    await follow(context, serviceId, screen);
  } catch (err) {
    if (!context.signal.aborted) throw err;
    screen?.end(
      `Operation continuing in background.\nUse \`skep service ps ${serviceId}\` to check progress.`,
    );
  }
}

/** Waits for several at once; each line then begins with the service's name, and there are no bars. */
export async function waitForServices(
  context: CommandContext,
  services: readonly (readonly [name: string, id: string])[],
  options: WaitOptions = {},
): Promise<void> {
  const [only] = services;
  if (services.length === 1 && only) {
    await waitForService(context, only[1], options);
    return;
  }
  const waits = services.map(([name, id]) => {
    const screen = options.quiet ? null : new Screen(context, `${name}: `);
    return follow(context, id, screen);
  });
  const results = await Promise.allSettled(waits);
  const failed = results.find((result) => result.status === 'rejected');
  if (!failed) return;
  if (!context.signal.aborted) throw failed.reason;
  printLine(context, 'Operation continuing in background.');
}

async function follow(
  context: CommandContext,
  serviceId: string,
  screen: Screen | null,
): Promise<void> {
  const changes = new Changes(context);
  try {
    await followChanges(context, serviceId, screen, changes);
  } finally {
    changes.close();
  }
}

async function followChanges(
  context: CommandContext,
  serviceId: string,
  screen: Screen | null,
  changes: Changes,
): Promise<void> {
  const { client, clock } = context;
  let stableSinceMs: number | null = null;
  for (;;) {
    const service = await client.service(serviceId);
    const [tasks, nodes] = await Promise.all([
      client.tasks({ service: [service.ID], '_up-to-date': ['true'] }),
      client.nodes(),
    ]);
    checkPaused(service);
    if (isJob(service)) {
      const job = viewJob(service, tasks);
      screen?.show(job, null);
      // Before a global job's tasks are there it is not known how many there will be.
      if (isOver(job) && (job.total > 0 || service.Spec.Mode?.ReplicatedJob)) {
        if (job.failed === 0) return screen?.end('job complete');
        throw new UsageError(`job failed: ${job.failed} of ${job.total} tasks did not complete`);
      }
      await changes.next();
      continue;
    }
    const view = viewService(service, tasks, nodes);
    const monitorMs = (service.Spec.UpdateConfig?.Monitor ?? MONITOR_DEFAULT_NANOS) / 1e6;
    const nowMs = clock.monotonicMs();
    const done = view.running === view.wanted && view.slots.length === view.wanted;
    if (!done) {
      if (stableSinceMs !== null) screen?.note('verify: Detected task failure');
      stableSinceMs = null;
    } else stableSinceMs ??= nowMs;
    const leftMs = stableSinceMs === null ? null : stableSinceMs + monitorMs - nowMs;
    screen?.show(view, leftMs);
    if (leftMs !== null && leftMs <= 0) {
      screen?.end(`verify: Service ${serviceId} converged`);
      return;
    }
    await changes.next(leftMs === null ? undefined : Math.min(leftMs, 1_000));
  }
}

function checkPaused(service: ServiceJson): void {
  const { State: state, Message: message = '' } = service.UpdateStatus ?? {};
  if (state === 'paused') throw new UsageError(`service update paused: ${message}`);
  if (state === 'rollback_paused') throw new UsageError(`service rollback paused: ${message}`);
}
