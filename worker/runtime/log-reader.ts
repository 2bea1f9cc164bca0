/**
 * Reads a task's log files, rotated ones included, and follows the current one. Knows the files that
 * the shim writes (native/src/shim/log.c), not containers.
 */
import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { decodeLogHeader, LOG_HEADER_BYTES, LOG_LINE_MAX } from '../../native/ffi/shim-protocol.ts';

export interface LogRecord {
  /** since 1970 */
  readonly timeNanos: bigint;
  readonly stream: 'stdout' | 'stderr';
  /** one line including its newline, or a part of a line longer than 16 KiB */
  readonly data: Uint8Array;
}

export interface LogQuery {
  /** after the end of the file wait for more, until the container ends */
  readonly follow: boolean;
  /** the last so many records that match, or all */
  readonly tail: number | 'all';
  readonly sinceNanos: bigint | null;
  readonly untilNanos: bigint | null;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** Tells the reader about the writer's end. */
export interface LogSource {
  readonly taskDir: string;
  /** true once nothing will be appended any more */
  ended(): boolean;
  /** resolves at that moment */
  readonly whenEnded: Promise<unknown>;
}

const READ_BYTES = 65536;

interface OpenFile {
  readonly handle: FileHandle;
  readonly inode: number;
  position: number;
}

/** `log`, `log.1`, ...: the higher the number, the older. */
async function logNames(taskDir: string): Promise<string[]> {
  const names = (await readdir(taskDir)).filter((name) => /^log(\.\d+)?$/.test(name));
  const age = (name: string): number => (name === 'log' ? 0 : Number(name.slice(4)));
  return names.sort((a, b) => age(a) - age(b));
}

async function openLog(path: string): Promise<OpenFile | null> {
  try {
    const handle = await open(path, 'r');
    return { handle, inode: (await handle.stat()).ino, position: 0 };
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'ENOENT') return null;
    throw err;
  }
}

/** The chain of log files from the oldest on. Rotation while it is read neither loses nor repeats. */
class LogChain {
  readonly #taskDir: string;
  /** oldest first; the last one is read until a newer file exists */
  #files: OpenFile[] = [];

  constructor(taskDir: string) {
    this.#taskDir = taskDir;
  }

  /** Newest first while opening: a rotation meanwhile shows the same inode again, which is skipped. */
  async open(): Promise<void> {
    const inodes = new Set<number>();
    for (const name of await logNames(this.#taskDir)) {
      const file = await openLog(`${this.#taskDir}/${name}`);
      if (file === null) continue;
      if (inodes.has(file.inode)) await file.handle.close();
      else this.#files.unshift(file);
      inodes.add(file.inode);
    }
  }

  async close(): Promise<void> {
    for (const file of this.#files) await file.handle.close();
    this.#files = [];
  }

  /** The next records; empty at the present end. */
  async read(): Promise<LogRecord[]> {
    for (;;) {
      const file = this.#files[0];
      if (file === undefined) return [];
      const records = await readRecords(file);
      if (records.length > 0) return records;
      if (!(await this.#advance(file))) return [];
    }
  }

  /** Moves on from a file that was read to its end; false when it is still the newest. */
  async #advance(file: OpenFile): Promise<boolean> {
    if (this.#files.length === 1) {
      const newer = await this.#newerThan(file);
      if (newer.length === 0) return false;
      // It may have grown between our last read and its rotation.
      const rest = await hasMore(file);
      this.#files.push(...newer);
      if (rest) return true;
    }
    this.#files.shift();
    await file.handle.close();
    return true;
  }

  async #newerThan(file: OpenFile): Promise<OpenFile[]> {
    const current = await stat(`${this.#taskDir}/log`).catch(() => null);
    if (current === null || current.ino === file.inode) return [];
    const newer: OpenFile[] = [];
    for (const name of await logNames(this.#taskDir)) {
      const next = await openLog(`${this.#taskDir}/${name}`);
      if (next === null) continue;
      if (next.inode === file.inode) {
        await next.handle.close();
        break;
      }
      newer.unshift(next);
    }
    return newer;
  }
}

async function hasMore(file: OpenFile): Promise<boolean> {
  return (await file.handle.stat()).size > file.position;
}

/** Whole records at the file's position. A damaged file ends at the damage. */
async function readRecords(file: OpenFile): Promise<LogRecord[]> {
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  const { bytesRead } = await file.handle.read(buffer, 0, READ_BYTES, file.position);
  const records: LogRecord[] = [];
  let at = 0;
  while (bytesRead - at >= LOG_HEADER_BYTES) {
    const header = decodeLogHeader(buffer, at);
    if (header === null) {
      file.position = (await file.handle.stat()).size;
      return records;
    }
    const end = at + LOG_HEADER_BYTES + header.length;
    if (end > bytesRead) break;
    const data = buffer.subarray(at + LOG_HEADER_BYTES, end);
    records.push({ timeNanos: header.timeNanos, stream: header.stream, data });
    at = end;
  }
  file.position += at;
  return records;
}

/** Wakes the follower when the directory changes, the container ends or the caller aborts. */
class ChangeWaiter {
  readonly #watcher: FSWatcher;
  readonly #release: () => void;
  #changed = false;
  #wake: () => void = () => {};

  constructor(source: LogSource, signal: AbortSignal | undefined) {
    const notify = (): void => {
      this.#changed = true;
      this.#wake();
    };
    this.#watcher = watch(source.taskDir, { persistent: false }, notify);
    this.#watcher.on('error', notify); // the directory is gone: the next read tells
    void source.whenEnded.then(notify, notify);
    signal?.addEventListener('abort', notify, { once: true });
    this.#release = () => signal?.removeEventListener('abort', notify);
  }

  async next(): Promise<void> {
    if (!this.#changed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#changed = false;
  }

  close(): void {
    this.#release();
    this.#watcher.close();
  }
}

function matches(record: LogRecord, query: LogQuery): boolean {
  if (record.stream === 'stdout' ? !query.stdout : !query.stderr) return false;
  return query.sinceNanos === null || record.timeNanos >= query.sinceNanos;
}

function isAfter(record: LogRecord, query: LogQuery): boolean {
  return query.untilNanos !== null && record.timeNanos > query.untilNanos;
}

/**
 * The records that `query` asks for, oldest first. Without `follow` it ends at the present end. An
 * aborted one rejects with `signal.reason`. To be read by one reader, one record after the other.
 */
export function readLog(
  source: LogSource,
  query: LogQuery,
  signal?: AbortSignal,
): AsyncIterableIterator<LogRecord, void, undefined> {
  return new OneByOne(readBatches(source, query, signal));
}

/**
 * Hands out what came together one by one. An async generator would do it in the same words, and takes several turns of the
 * microtask queue for each record, which for short lines is most of what following a log costs.
 */
class OneByOne<T> implements AsyncIterableIterator<T, void, undefined> {
  readonly #batches: AsyncGenerator<readonly T[], void, undefined>;
  #batch: readonly T[] = [];
  #at = 0;

  constructor(batches: AsyncGenerator<readonly T[], void, undefined>) {
    this.#batches = batches;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, void>> {
    if (this.#at === this.#batch.length) return this.#fetch();
    return Promise.resolve({ done: false, value: this.#batch[this.#at++] as T });
  }

  async return(): Promise<IteratorResult<T, void>> {
    this.#batch = [];
    this.#at = 0;
    await this.#batches.return();
    return { done: true, value: undefined };
  }

  async #fetch(): Promise<IteratorResult<T, void>> {
    for (;;) {
      const { done, value } = await this.#batches.next();
      if (done) return { done: true, value: undefined };
      this.#batch = value;
      this.#at = 0;
      if (value.length > 0) return { done: false, value: value[this.#at++] as T };
    }
  }
}

async function* readBatches(
  source: LogSource,
  query: LogQuery,
  signal?: AbortSignal,
): AsyncGenerator<readonly LogRecord[], void, undefined> {
  const chain = new LogChain(source.taskDir);
  const changes = query.follow ? new ChangeWaiter(source, signal) : null;
  try {
    await chain.open();
    if (query.tail !== 'all') yield await readTail(chain, query);
    for (;;) {
      signal?.throwIfAborted();
      const ended = source.ended(); // before reading: what came before the end is then read, too
      const batch = await chain.read();
      const wanted = batch.filter((record) => matches(record, query));
      const over = wanted.findIndex((record) => isAfter(record, query));
      if (over !== -1) {
        yield wanted.slice(0, over);
        return;
      }
      yield wanted;
      if (batch.length > 0) continue;
      if (changes === null || ended) return;
      await changes.next();
    }
  } finally {
    changes?.close();
    await chain.close();
  }
}

/** Reads to the present end, keeping the last records only. Bounded by the size of the log files. */
async function readTail(chain: LogChain, query: LogQuery): Promise<LogRecord[]> {
  const tail = Math.max(0, Number(query.tail));
  let kept: LogRecord[] = [];
  for (;;) {
    const batch = await chain.read();
    if (batch.length === 0) return tail === 0 ? [] : kept.slice(-tail);
    for (const record of batch) {
      if (!matches(record, query) || isAfter(record, query)) continue;
      const { timeNanos, stream, data } = record;
      kept.push({ timeNanos, stream, data: Uint8Array.from(data) }); // of a buffer of its own
    }
    if (kept.length > 2 * tail + LOG_LINE_MAX) kept = tail === 0 ? [] : kept.slice(-tail);
  }
}
