import { EventEmitter } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sha256Digest } from '../../../worker/images/content-store.ts';
import { UnpackPool, type UnpackThread } from '../../../worker/images/unpack-pool.ts';
import type { UnpackJob, UnpackReply } from '../../../worker/images/unpack-worker.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const newFolder = temporaryFolders();
const never = new AbortController().signal;
const EMPTY_TAR = Buffer.alloc(1024);
const DONE = {
  kind: 'done',
  summary: {
    entries: 0,
    sizeBytes: 0,
    opaqueRoot: false,
    implicitDirectories: [],
    foreignLinks: [],
  },
} as const satisfies UnpackReply;

let dir: string;
let pool: UnpackPool;
let made = 0;

beforeEach(async () => {
  dir = await newFolder();
  pool = new UnpackPool();
  await writeFile(join(dir, 'layer'), EMPTY_TAR);
});

afterEach(() => pool.stop());

const job = (blobPath = join(dir, 'layer')): UnpackJob => ({
  blobPath,
  diffId: sha256Digest(EMPTY_TAR),
  targetDir: join(dir, `target${made++}`),
});

/** The zeros after a tar's end do not end. */
const endless = (): UnpackJob => job('/dev/zero');

describe('unpacking', () => {
  test('goes on when a layer comes while all threads are ending', async () => {
    const ending: (() => void)[] = [];
    const slow = new UnpackPool(() => {
      const thread = new EventEmitter();
      return Object.assign(thread, {
        postMessage: () => setImmediate(() => thread.emit('message', DONE)),
        terminate: () => new Promise<number>((resolve) => ending.push(() => resolve(0))),
      }) as unknown as UnpackThread;
    });
    await Promise.all([slow.unpack(job(), never), slow.unpack(job(), never)]);
    expect(ending).toHaveLength(2);
    expect(await slow.unpack(job(), never)).toBe(DONE.summary);
    const stopped = slow.stop();
    for (const end of ending) end();
    await stopped;
  });

  test('a layer is unpacked, also by a thread that had one before', async () => {
    const summaries = await Promise.all([1, 2, 3].map(() => pool.unpack(job(), never)));
    expect(summaries.map(({ entries }) => entries)).toEqual([0, 0, 0]);
  });

  test('ends with its signal, the others go on', async () => {
    const [own, other] = [new AbortController(), new AbortController()];
    const ended = pool.unpack(endless(), own.signal);
    const running = pool.unpack(endless(), other.signal).catch((err: Error) => err.message);
    const waiting = pool.unpack(job(), never);
    own.abort(new Error('not wanted'));
    await expect(ended).rejects.toThrow('not wanted');
    expect(await waiting).toMatchObject({ entries: 0 });
    other.abort(new Error('not wanted either'));
    expect(await running).toBe('not wanted either');
  });

  test('ends with the pool, what runs and what waits', async () => {
    const jobs = [endless(), endless(), endless()].map((one) => pool.unpack(one, never));
    const outcomes = Promise.allSettled(jobs);
    await pool.stop();
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'cancelled' } });
    }
    await expect(pool.unpack(job(), never)).rejects.toMatchObject({ code: 'cancelled' });
  });

  test('a layer with other content is told', async () => {
    await writeFile(join(dir, 'other'), Buffer.alloc(2048));
    const failure = pool.unpack(job(join(dir, 'other')), never);
    await expect(failure).rejects.toMatchObject({ code: 'data-loss' });
  });
});
