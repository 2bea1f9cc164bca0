/**
 * Waits until a service runs as asked, showing the way: bars on a terminal, plain lines elsewhere.
 * The rules are Docker's: every slot's current task runs, and stays so for the monitor period.
 */
import type { NodeJson, ServiceJson, TaskJson } from '../../common/model/engine-json.ts';
import { ellipsis } from '../output/table.ts';
import { type CommandContext, printLine, UsageError } from './context.ts';

const POLL_MS = 200;
const MONITOR_DEFAULT_NANOS = 5e9;
const BARS_MAX = 20;
const ERROR_CHARS_MAX = 75;
const STATE_WIDTH = 9;

const STATE_ORDER = [
  'new',
  'allocated',
  'pending',
  'assigned',
  'accepted',
  'preparing',
  'ready',
  'starting',
  'running',
  'complete',
  'shutdown',
  'failed',
  'rejected',
];

const rank = (state: string): number => STATE_ORDER.indexOf(state);

export interface SlotView {
  readonly label: string;
  readonly state: string;
  readonly error: string;
}

export interface ServiceView {
  readonly slots: readonly SlotView[];
  readonly wanted: number;
  readonly running: number;
  readonly rollingBack: boolean;
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
  const updateState = service.UpdateStatus?.State ?? '';
  return {
    slots,
    wanted,
    running: slots.filter((slot) => slot.state === 'running').length,
    rollingBack: updateState.startsWith('rollback'),
  };
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
  const { client, clock, signal } = context;
  let stableSinceMs: number | null = null;
  let sawRollback = false;
  for (;;) {
    const service = await client.service(serviceId);
    const [tasks, nodes] = await Promise.all([
      client.tasks({ service: [service.ID], '_up-to-date': ['true'] }),
      client.nodes(),
    ]);
    checkPaused(service);
    if (isJob(service)) {
      screen?.end(`${service.Spec.Name}: job created; its progress is not followed yet`);
      return;
    }
    const view = viewService(service, tasks, nodes);
    sawRollback ||= service.UpdateStatus?.State === 'rollback_completed';
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
      if (sawRollback) screen?.end(`rollback: ${service.UpdateStatus?.Message ?? ''}`);
      screen?.end(`verify: Service ${serviceId} converged`);
      return;
    }
    await clock.sleep(POLL_MS, signal);
  }
}

const isJob = ({ Spec }: ServiceJson): boolean =>
  Spec.Mode?.ReplicatedJob !== undefined || Spec.Mode?.GlobalJob !== undefined;

function checkPaused(service: ServiceJson): void {
  const { State: state, Message: message = '' } = service.UpdateStatus ?? {};
  if (state === 'paused') throw new UsageError(`service update paused: ${message}`);
  if (state === 'rollback_paused') throw new UsageError(`service rollback paused: ${message}`);
}

/** Bars that are drawn over on a terminal; elsewhere one line for each change. */
class Screen {
  readonly #context: CommandContext;
  readonly #tty: boolean;
  readonly #prefix: string;
  #drawn = 0;
  #last = '';
  #verifying = false;
  readonly #told = new Set<string>();

  /** @param prefix of every line; with one there are no bars */
  constructor(context: CommandContext, prefix = '') {
    this.#context = context;
    this.#prefix = prefix;
    this.#tty = prefix === '' && (context.stdout.isTTY ?? false);
  }

  show(view: ServiceView, verifyLeftMs: number | null): void {
    const title = view.rollingBack ? 'rolling back update' : 'overall progress';
    const overall = `${title}: ${view.running} out of ${view.wanted} tasks`;
    if (this.#tty) {
      const seconds = Math.ceil((verifyLeftMs ?? 0) / 1000);
      const verify = `verify: Waiting ${Math.max(1, seconds)} seconds to verify that tasks are stable...`;
      const bars = view.wanted <= BARS_MAX ? view.slots.map(bar) : [];
      this.#draw([overall, ...bars, ...(verifyLeftMs === null ? [] : [verify])]);
      return;
    }
    // A task that fails again and again says the same each time: once is enough.
    const errors = view.slots.map((slot) => slot.error).filter((text) => text !== '');
    const fresh = [...new Set(errors)].filter((text) => !this.#told.has(text));
    for (const text of fresh) this.#told.add(text);
    if (overall !== this.#last || fresh.length > 0) this.#say([overall, ...fresh].join('; '));
    this.#last = overall;
    if (verifyLeftMs !== null && !this.#verifying) {
      const seconds = Math.max(1, Math.round(verifyLeftMs / 1000));
      this.#say(`verify: Waiting ${seconds} seconds to verify that tasks are stable...`);
    }
    this.#verifying = verifyLeftMs !== null;
  }

  note(text: string): void {
    this.#drawn = 0;
    this.#say(text);
  }

  end(text: string): void {
    this.#drawn = 0;
    if (text !== '') this.#say(text);
  }

  #say(text: string): void {
    printLine(this.#context, `${this.#prefix}${text}`);
  }

  #draw(lines: readonly string[]): void {
    const { stdout } = this.#context;
    const width = stdout.columns ?? 80;
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    const body = lines.map((line) => `\x1b[2K${line.slice(0, width - 1)}\n`).join('');
    stdout.write(`${up}\x1b[J${body}`);
    this.#drawn = lines.length;
  }
}

function bar({ label, state, error }: SlotView): string {
  if (error !== '') return `${label}: ${ellipsis(error, ERROR_CHARS_MAX)}`;
  const steps = Math.max(0, rank(state));
  const full = Math.round((Math.min(steps, rank('running')) / rank('running')) * 50);
  const drawn = full >= 50 ? '='.repeat(50) : `${'='.repeat(full)}>${' '.repeat(49 - full)}`;
  return `${label}: ${state.padEnd(STATE_WIDTH)} [${drawn}]`;
}
