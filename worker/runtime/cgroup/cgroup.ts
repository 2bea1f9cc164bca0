/**
 * The one interface over cgroup v1, hybrid and v2, and what both implementations share. Every group
 * is `<hierarchy>/<parent>/<task id>`; nothing else is ever touched.
 */
import { closeSync, mkdirSync, openSync, readdirSync, readSync, writeFileSync } from 'node:fs';
import { readFile, rmdir, writeFile } from 'node:fs/promises';
import type { Clock } from '../../../common/base/clock.ts';
import { SkepError } from '../../../common/base/errors.ts';
import type { OciResources } from '../oci.ts';
import type { CgroupPlacement } from '../spec-binary.ts';
import type { CgroupStats } from './stats.ts';

/** The hierarchies of a machine. */
export interface CgroupMounts {
  /** v1 controller -> mount point */
  readonly v1: ReadonlyMap<string, string>;
  /** mount points of all v1 hierarchies, those without a controller of ours too */
  readonly v1Hierarchies: readonly string[];
  /** mount point of the v2 hierarchy, null = not mounted */
  readonly v2: string | null;
}

/** The group (on v1: the groups) of one task. */
export interface TaskCgroup {
  /** What the shim needs to put the init there. */
  readonly placement: CgroupPlacement;
  /** Makes the groups with their limits; all or nothing. */
  create(resources: OciResources): Promise<void>;
  /** Changes limits of existing groups, all or nothing; what is not named stays. */
  update(resources: OciResources): Promise<void>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** as `freeze` and `thaw` left it; false without a group */
  frozen(): boolean;
  /** Host pids of every process in it. */
  pids(): number[];
  /** SIGKILL to every process, frozen ones too; resolves when none is left. No groups: at once. */
  killAll(): Promise<void>;
  /** Swap is limited here, too, once the groups are there. */
  countsSwap(): boolean;
  /** Throws `not-found` when the group is gone. */
  stats(): CgroupStats;
  /** The groups must be empty of processes. Idempotent. */
  remove(): Promise<void>;
}

export interface CgroupDriver {
  readonly version: 'v1' | 'hybrid' | 'v2';
  /** @param everywhere on v1: in each hierarchy, as another OCI runtime has it */
  group(taskId: string, everywhere?: boolean): TaskCgroup;
  /** Ids of the tasks that have a group under our parent. */
  list(): Promise<string[]>;
  /** Removes the parent groups where they are empty. */
  removeParent(): Promise<void>;
}

/** A group that stays non-empty this long after SIGKILL holds a process stuck in the kernel. */
const EMPTY_WAIT_MS = 10_000;
const POLL_FIRST_MS = 1;
const POLL_MAX_MS = 50;

function errnoOf(err: unknown): string {
  return err instanceof Error && 'code' in err ? String(err.code) : '';
}

/** Writes one control file; the error names file and value. */
export async function writeControl(file: string, value: string): Promise<void> {
  try {
    await writeFile(file, value);
  } catch (err) {
    throw new SkepError('internal', `write cgroup ${file} = ${value}: ${errnoOf(err)}`, {
      cause: err,
    });
  }
}

/**
 * As `writeControl`, on the calling thread: for groups without processes, where no write waits for
 * anything (lowering a limit of a running task reclaims memory first).
 */
export function writeControlNow(file: string, value: string): void {
  try {
    writeFileSync(file, value);
  } catch (err) {
    throw new SkepError('internal', `write cgroup ${file} = ${value}: ${errnoOf(err)}`, {
      cause: err,
    });
  }
}

/** One of the two. */
export type WriteControl = (file: string, value: string) => Promise<void> | void;

/** The content without its last newline; null when the file does not exist. */
export async function readControl(file: string): Promise<string | null> {
  try {
    return (await readFile(file, 'utf8')).trimEnd();
  } catch (err) {
    // ENODEV: the group is being removed
    if (['ENOENT', 'ENODEV'].includes(errnoOf(err))) return null;
    throw err;
  }
}

/** Larger than any of the files. */
const buffer = Buffer.alloc(65_536);

/** The content without its last newline; null when the file does not exist. */
export function readControlNow(file: string): string | null {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (err) {
    if (errnoOf(err) === 'ENOENT') return null;
    throw err;
  }
  try {
    let length = 0;
    for (let n = -1; n !== 0 && length < buffer.length; length += n) {
      n = readSync(fd, buffer, length, buffer.length - length, null);
    }
    return buffer.toString('latin1', 0, length).trimEnd();
  } catch (err) {
    if (errnoOf(err) === 'ENODEV') return null; // the group is being removed
    throw err;
  } finally {
    closeSync(fd);
  }
}

/** `key value` lines. */
export function parseKeyed(text: string | null): Map<string, bigint> {
  const values = new Map<string, bigint>();
  for (const line of (text ?? '').split('\n')) {
    const [key, value] = line.split(' ');
    if (key && value && /^\d+$/.test(value)) values.set(key, BigInt(value));
  }
  return values;
}

/** Synchronous: about 50 us each, and a start makes eight. */
export function makeGroup(dir: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o755 });
}

/** Every process of `dir` and of the groups below it. */
export function listPids(dir: string): number[] {
  const own = readControlNow(`${dir}/cgroup.procs`);
  const pids = (own ?? '').split('\n').filter((line) => line !== '');
  return [...pids.map(Number), ...childGroups(dir).flatMap(listPids)];
}

export function childGroups(dir: string): string[] {
  try {
    const entries = readdirSync(dir, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => `${dir}/${entry.name}`);
  } catch (err) {
    if (errnoOf(err) === 'ENOENT') return [];
    throw err;
  }
}

/** Removes `dir` and the groups that the task made below it. A just emptied one may still be busy. */
export async function removeGroup(dir: string, clock: Clock): Promise<void> {
  const deadlineMs = clock.monotonicMs() + EMPTY_WAIT_MS;
  for (let delayMs = POLL_FIRST_MS; ; delayMs = Math.min(delayMs * 2, POLL_MAX_MS)) {
    try {
      await rmdir(dir);
      return;
    } catch (err) {
      if (errnoOf(err) === 'ENOENT') return;
      if (errnoOf(err) !== 'EBUSY' || clock.monotonicMs() > deadlineMs) {
        throw new SkepError('internal', `remove cgroup ${dir}: ${errnoOf(err)}`, { cause: err });
      }
    }
    const children = childGroups(dir);
    for (const child of children) await removeGroup(child, clock);
    if (children.length === 0) await clock.sleep(delayMs);
  }
}

/** Removes `dir` if no group is left in it. Where the hierarchy is mounted read-only nothing is ours. */
export async function removeIfEmpty(dir: string): Promise<void> {
  try {
    await rmdir(dir);
  } catch (err) {
    if (!['ENOENT', 'EBUSY', 'ENOTEMPTY', 'EROFS'].includes(errnoOf(err))) throw err;
  }
}

/** Waits until no process is left in `dir`; rejects with `deadline-exceeded`. */
export async function waitEmpty(dir: string, clock: Clock, again: () => Promise<void>) {
  const deadlineMs = clock.monotonicMs() + EMPTY_WAIT_MS;
  for (let delayMs = POLL_FIRST_MS; ; delayMs = Math.min(delayMs * 2, POLL_MAX_MS)) {
    const pids = listPids(dir);
    if (pids.length === 0) return;
    if (clock.monotonicMs() > deadlineMs) {
      throw new SkepError(
        'deadline-exceeded',
        `kill processes of cgroup ${dir}: ${pids.join(', ')} do not end`,
      );
    }
    await again();
    await clock.sleep(delayMs);
  }
}

/** SIGKILL; a process that is gone already is fine. */
export function killPids(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (err) {
      if (errnoOf(err) !== 'ESRCH') throw err;
    }
  }
}

/** A memory limit as the kernel writes it; null = unlimited (v1 writes a huge number, v2 `max`). */
export function parseLimit(text: string | null): number | null {
  if (text === null || text === 'max' || text === '') return null;
  const value = Number(text);
  return value >= 2 ** 62 ? null : value;
}
