/** What this machine allows so many agents. */
import { SkepError } from '../../../common/base/errors.ts';

/** Descriptors of a process besides its connections. */
const DESCRIPTORS_BESIDES = 100;

/** Hard limit of open files in the text of `/proc/self/limits` (Node raises its own to that); null = none. */
export function openFilesMax(limits: string): number | null {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1];
  return hard === undefined || hard === 'unlimited' ? null : Number(hard);
}

/** Throws `failed-precondition` with the remedy. */
export function checkOpenFiles(perProcess: number, limit: number | null): void {
  const needed = perProcess + DESCRIPTORS_BESIDES;
  if (limit === null || needed <= limit) return;
  throw new SkepError(
    'failed-precondition',
    `run ${perProcess} agents in one process: it may open ${limit} files and needs ${needed}; raise the limit (ulimit -n ${needed}) or set --processes`,
  );
}
