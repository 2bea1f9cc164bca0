/**
 * Tasks of other services on this node whose namespaces a task has: found while they run, and watched, for their end is
 * its own as well. A task whose companion is not here fails after a while, so that another one goes where it is.
 */
import type { Clock } from '../../common/base/clock.ts';
import type { CompanionNamespace } from '../../common/model/companions.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { TaskExitError } from './executor.ts';
import { type NamespaceOf, namespaceOfProcess } from './joined-namespaces.ts';
import type { NameFiles } from './task-files.ts';

/** How long a companion is waited for: its node may be starting it. */
const WAIT_MS = 30_000;
const LOOK_EVERY_MS = 200;

/** A task of this node, as others that share something of it see it. */
export interface Companion {
  readonly taskId: TaskId;
  readonly slot: number | null;
  readonly createdAtMs: number;
  /** of its first process, on the host; 0 = it does not run */
  readonly pid: number;
  readonly names: () => NameFiles;
}

export interface CompanionParts {
  readonly clock: Clock;
  /** all of this node that belong to the service with this name */
  readonly tasksOf: (service: string) => readonly Companion[];
  /** absent = as the kernel says */
  readonly namespaceOf?: NamespaceOf;
}

type Wanted = ReadonlyMap<CompanionNamespace, string>;
type Found = ReadonlyMap<CompanionNamespace, Companion>;

/** One that runs for each namespace: of the same slot if there is one, else the newest. Throws `TaskExitError` when none comes. */
export async function awaitCompanions(
  wanted: Wanted,
  slot: number | null,
  parts: CompanionParts,
  signal: AbortSignal,
): Promise<Found> {
  return look(wanted, parts, signal, (service) => {
    const running = parts.tasksOf(service).filter(({ pid }) => pid > 0);
    const newest = running.sort((a, b) => b.createdAtMs - a.createdAtMs);
    return newest.find((one) => one.slot === slot) ?? newest[0];
  });
}

/** Those whose namespaces the process has already. Throws `TaskExitError` for one that has ended. */
export async function knownCompanions(
  wanted: Wanted,
  pid: number,
  parts: CompanionParts,
  signal: AbortSignal,
): Promise<Found> {
  const namespaceOf = parts.namespaceOf ?? namespaceOfProcess;
  return look(wanted, parts, signal, (service, kind) => {
    const own = namespaceOf(pid, kind);
    return parts
      .tasksOf(service)
      .find((one) => one.pid > 0 && own !== null && namespaceOf(one.pid, kind) === own);
  });
}

async function look(
  wanted: Wanted,
  { clock }: CompanionParts,
  signal: AbortSignal,
  choose: (service: string, kind: CompanionNamespace) => Companion | undefined,
): Promise<Found> {
  const untilMs = clock.monotonicMs() + WAIT_MS;
  for (;;) {
    const found = new Map<CompanionNamespace, Companion>();
    for (const [kind, service] of wanted) {
      const one = choose(service, kind);
      if (one) found.set(kind, one);
    }
    if (found.size === wanted.size) return found;
    if (clock.monotonicMs() >= untilMs) {
      const [kind, service] = [...wanted].find(([one]) => !found.has(one))!;
      throw new TaskExitError(
        `task: no task of ${service} runs here, whose ${kind} namespace it shares`,
      );
    }
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
}
