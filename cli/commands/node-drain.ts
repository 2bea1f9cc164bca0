/** `skep node drain`: no task may stay on a node; with `--wait` until all of them run elsewhere. */
import type { NodeJson } from '../../common/model/engine-json/node.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { type CommandContext, type Configure, ExitError, printLine, warnLine } from './context.ts';
import { resolveNode } from './node.ts';
import { rank } from './progress-view.ts';
import { type ServiceProgress, serviceProgress, stackEnd } from './stack-progress.ts';
import { END_STATUS, PLACEMENT_WAIT_MS, timeoutFlag } from './stack-wait.ts';

const POLL_MS = 250;

interface DrainFlags {
  readonly wait?: boolean;
  readonly timeout: number;
}

export const drain: Configure = (command, context) => {
  command
    .argument('<node>', 'id, name or self')
    .option('-w, --wait', 'until nothing runs here, and what ran here runs elsewhere')
    .addOption(timeoutFlag())
    .action(async (ref: string, flags: DrainFlags) => {
      const node = await resolveNode(context, ref);
      const tasks = await context.client.tasks({ node: [node.ID] });
      const services = [...new Set(tasks.filter(isOnItsWay).map(({ ServiceID }) => ServiceID))];
      if (node.Spec.Availability !== 'drain') {
        const spec = { ...node.Spec, Availability: 'drain' };
        await context.client.nodeUpdate(node.ID, node.Version.Index, spec);
      }
      printLine(context, ref);
      if (flags.wait) await waitUntilDrained(context, node, services, flags.timeout);
    });
};

/** It runs, or will. */
function isOnItsWay({ Status, DesiredState }: TaskJson): boolean {
  return rank(Status.State) < rank('complete') && DesiredState !== 'remove';
}

/** Throws `ExitError` as a deployment that is waited for: 1 failed, 3 timed out, 4 nowhere to run. */
async function waitUntilDrained(
  context: CommandContext,
  node: NodeJson,
  services: readonly string[],
  timeoutMs: number,
): Promise<void> {
  const { client, clock, signal } = context;
  const startMs = clock.monotonicMs();
  let unplacedSinceMs: number | null = null;
  let said = '';
  for (;;) {
    const here = await client.tasks({ node: [node.ID] });
    const left = here.filter(({ Status }) => rank(Status.State) < rank('complete')).length;
    const progress = await progressOf(context, services);
    const open = progress.filter(({ state }) => state !== 'up');
    const line = `${left} tasks left here, ${open.length} of ${progress.length} services not whole`;
    if (line !== said) printLine(context, line);
    said = line;
    const nowMs = clock.monotonicMs();
    const end = stackEnd(progress);
    if (left === 0 && end === 'converged') return;
    unplacedSinceMs = left === 0 && end === 'unplaced' ? (unplacedSinceMs ?? nowMs) : null;
    const isUnplaced = unplacedSinceMs !== null && nowMs - unplacedSinceMs >= PLACEMENT_WAIT_MS;
    const isOver = nowMs - startMs >= timeoutMs;
    if (isUnplaced || isOver || (left === 0 && end === 'failed')) {
      for (const { name, text } of open) warnLine(context, `${name}: ${text}`);
      throw new ExitError(END_STATUS[isUnplaced || end === 'failed' ? end! : 'timed-out']);
    }
    await clock.sleep(POLL_MS, signal);
  }
}

async function progressOf(
  { client }: CommandContext,
  ids: readonly string[],
): Promise<readonly (ServiceProgress & { readonly isStable: true })[]> {
  if (ids.length === 0) return [];
  const [services, tasks, nodes] = await Promise.all([
    client.services({ id: ids }),
    client.tasks({ service: ids, '_up-to-date': ['true'] }),
    client.nodes(),
  ]);
  // A service that was removed meanwhile has nothing that could be missing.
  return services.map(({ Spec }) => ({
    ...serviceProgress(Spec.Name, { services, tasks, nodes }, false),
    isStable: true,
  }));
}
