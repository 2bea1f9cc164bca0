/**
 * `node:fs/promises` in which the process kills itself (SIGKILL) before, in the midst of, or after one operation that changes
 * files. Takes its place in `small-files.ts` when `dying-agent.ts` is bundled.
 */
import { writeSync } from 'node:fs';
import * as real from 'node:fs/promises';

export interface FatalMoment {
  /** of operations that change files, from 1; 0 = never */
  readonly ordinal: number;
  /** `amid`: a file is written in part; of other operations the kernel makes one step, so that it is as `after` */
  readonly moment: 'before' | 'amid' | 'after';
}

export { mkdir, readdir, readFile } from 'node:fs/promises';

let fatal: FatalMoment = { ordinal: 0, moment: 'before' };
let count = 0;

export function setFatal(moment: FatalMoment): void {
  fatal = moment;
}

export function writeFile(path: string, text: string, options: { mode: number }): Promise<void> {
  const half = (): Promise<void> =>
    real.writeFile(path, text.slice(0, Math.floor(text.length / 2)), options);
  return around(`write ${path}`, () => real.writeFile(path, text, options), half);
}

export function rename(from: string, to: string): Promise<void> {
  return around(`rename ${from}`, () => real.rename(from, to));
}

export function unlink(path: string): Promise<void> {
  return around(`remove ${path}`, () => real.unlink(path));
}

async function around(
  what: string,
  act: () => Promise<void>,
  amid: () => Promise<void> = act,
): Promise<void> {
  const isFatal = ++count === fatal.ordinal;
  if (isFatal && fatal.moment === 'before') die(what);
  await (isFatal && fatal.moment === 'amid' ? amid() : act());
  if (isFatal) die(what);
}

/** Synchronous: what was told is told, and nothing else is done. */
function die(what: string): never {
  writeSync(1, `${JSON.stringify({ kind: 'dying', what })}\n`);
  process.kill(process.pid, 'SIGKILL');
  for (;;); // the signal is on its way
}
