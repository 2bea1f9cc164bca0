/**
 * `skep node drain`: no task may stay on a node. With `--wait` tasks of replicated services end there only when others
 * run in their places; then the rest goes, and it waits until all is whole elsewhere.
 */
import { Option } from 'commander';
import type { NodeJson } from '../../common/model/engine-json/node.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { isOutOfSequence } from '../client/transport.ts';
import { Changes } from './changes.ts';
import { type CommandContext, type Configure, ExitError, printLine, warnLine } from './context.ts';
import { NO_TROUBLE, type Progress, progressSince, troubleOf } from './drain-progress.ts';
import { resolveNode } from './node.ts';
import { type StackMoment, stackEnd } from './stack-progress.ts';
import { END_STATUS, PLACEMENT_WAIT_MS, timeoutFlag } from './stack-wait.ts';
import { hasEnded } from './task-life.ts';
import { callOffMoves, type MoveOrder, moveTask } from './task-moves.ts';

interface DrainFlags {
  readonly wait?: boolean;
  readonly now?: boolean;
  readonly order: MoveOrder;
  readonly timeout: number;
}

export const drain: Configure = (command, context) => {
  command
    .argument('<node>', 'id, name or self')
    .option('-w, --wait', 'task by task, and until what ran here runs elsewhere')
    .option('--now', 'with --wait: all at once, before others run')
    .addOption(
      new Option('--order <order>', 'with --wait: of a task and the one that takes its place')
        .choices(['start-first', 'stop-first'])
        .default('start-first'),
    )
    .addOption(timeoutFlag())
    .action(async (ref: string, flags: DrainFlags) => {
      const node = await resolveNode(context, ref);
      const tasks = await context.client.tasks({ node: [node.ID] });
      const services = [
        ...new Set(
          tasks
            .filter((task) => !hasEnded(task) && task.DesiredState !== 'remove')
            .map(({ ServiceID }) => ServiceID),
        ),
      ];
      printLine(context, ref);
      if (!flags.wait) {
        await setAvailability(context, node.ID, 'drain');
        return;
      }
      const wait = new Wait(context, node, services, flags.timeout);
      try {
        await wait.begin();
        const isBusy = services.length > 0 && node.Spec.Availability !== 'drain';
        if (isBusy && !flags.now) {
          await setAvailability(context, node.ID, 'pause');
          await wait.untilMoved(flags.order);
        }
        await setAvailability(context, node.ID, 'drain');
        await wait.untilEmpty();
      } finally {
        wait.close();
      }
    });
};

/** Agents write nodes, too: one that they wrote in between is read again. */
const WRITES_MAX = 10;

async function setAvailability(
  { client }: CommandContext,
  id: string,
  Availability: 'pause' | 'drain',
): Promise<void> {
  for (let write = 1; ; write++) {
    const { Spec, Version } = await client.node(id);
    if (Spec.Availability === Availability) return;
    try {
      await client.nodeUpdate(id, Version.Index, { ...Spec, Availability });
      return;
    } catch (err) {
      if (write === WRITES_MAX || !isOutOfSequence(err)) throw err;
    }
  }
}

/** Each wait throws `ExitError` as a deployment that is waited for: 1 failed, 3 timed out, 4 nowhere to run. */
class Wait {
  readonly #context: CommandContext;
  readonly #node: NodeJson;
  readonly #services: readonly string[];
  readonly #changes: Changes;
  readonly #overMs: number;
  #before = NO_TROUBLE;
  #unplacedSinceMs: number | null = null;
  #said = '';

  constructor(
    context: CommandContext,
    node: NodeJson,
    services: readonly string[],
    timeoutMs: number,
  ) {
    this.#context = context;
    this.#node = node;
    this.#services = services;
    this.#changes = new Changes(context);
    this.#overMs = context.clock.monotonicMs() + timeoutMs;
  }

  close(): void {
    this.#changes.close();
  }

  /** Looks at what is amiss already. */
  async begin(): Promise<void> {
    this.#before = troubleOf(await this.#moment());
  }

  /** Until other tasks have taken the places of those here that have another place. */
  async untilMoved(order: MoveOrder): Promise<void> {
    const asked = new Set<string>();
    for (;;) {
      const movable = await this.#movable();
      for (const { ID } of movable.filter((task) => !asked.has(task.ID))) {
        asked.add(ID);
        // One that is refused ended meanwhile, and needs no move.
        await moveTask(this.#context, ID, order);
      }
      if (movable.length === 0) return;
      const progress = await this.#progress();
      this.#say(`${movable.length} tasks to move: ${wordsOf(progress)}`);
      const trouble = this.#trouble(progress, true);
      if (trouble !== null) {
        const ids = movable.map(({ ID }) => ID);
        await callOffMoves(
          this.#context,
          ids.filter((id) => asked.has(id)),
        );
        const name = this.#node.Description?.Hostname ?? this.#node.ID;
        warnLine(
          this.#context,
          `${name} is paused, and what could not be moved stays; skep node drain --wait --now ends it first`,
        );
        throw trouble;
      }
      await this.#changes.next();
    }
  }

  /** Until nothing is here any more, and the services are whole. */
  async untilEmpty(): Promise<void> {
    this.#unplacedSinceMs = null;
    for (;;) {
      const here = await this.#context.client.tasks({ node: [this.#node.ID] });
      const left = here.filter((task) => !hasEnded(task)).length;
      const progress = await this.#progress();
      this.#say(`${left} tasks left here, ${wordsOf(progress)}`);
      if (left === 0 && stackEnd(progress) === 'converged') return;
      const trouble = this.#trouble(progress, left === 0);
      if (trouble !== null) throw trouble;
      await this.#changes.next();
    }
  }

  /** Tasks of replicated services that run here and are wanted. */
  async #movable(): Promise<readonly TaskJson[]> {
    const { client } = this.#context;
    const [tasks, services] = await Promise.all([
      client.tasks({ node: [this.#node.ID], 'desired-state': ['running'] }),
      client.services(),
    ]);
    const replicated = new Set(
      services.filter(({ Spec }) => Spec.Mode?.Replicated).map(({ ID }) => ID),
    );
    return tasks.filter(
      ({ ServiceID, Status }) => replicated.has(ServiceID) && Status.State === 'running',
    );
  }

  async #moment(): Promise<StackMoment> {
    const { client } = this.#context;
    if (this.#services.length === 0) return { services: [], tasks: [], nodes: [] };
    const [services, tasks, nodes] = await Promise.all([
      client.services({ id: this.#services }, true),
      client.tasks({ service: this.#services, '_up-to-date': ['true'] }),
      client.nodes(),
    ]);
    return { services, tasks, nodes };
  }

  /** A service that was removed meanwhile has nothing that could be missing. */
  async #progress(): Promise<Progress> {
    return progressSince(this.#before, await this.#moment());
  }

  #say(line: string): void {
    if (line !== this.#said) printLine(this.#context, line);
    this.#said = line;
  }

  /** What ends the wait, told. @param counts whether what services say of themselves counts yet */
  #trouble(progress: Progress, counts: boolean): ExitError | null {
    const nowMs = this.#context.clock.monotonicMs();
    const end = counts ? stackEnd(progress) : null;
    this.#unplacedSinceMs = end === 'unplaced' ? (this.#unplacedSinceMs ?? nowMs) : null;
    const isUnplaced =
      this.#unplacedSinceMs !== null && nowMs - this.#unplacedSinceMs >= PLACEMENT_WAIT_MS;
    const isOver = nowMs >= this.#overMs;
    if (!isUnplaced && !isOver && end !== 'failed') return null;
    for (const { name, state, text } of progress) {
      if (state !== 'up') warnLine(this.#context, `${name}: ${text}`);
    }
    return new ExitError(END_STATUS[isUnplaced || end === 'failed' ? end! : 'timed-out']);
  }
}

function wordsOf(progress: Progress): string {
  const open = progress.filter(({ state }) => state !== 'up').length;
  return `${open} of ${progress.length} services not whole`;
}
