/**
 * The worker thread that unpacks layers: one job at a time, blob file -> directory. Everything it
 * touches is synchronous except reading and inflating. Knows nothing of the store.
 */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, mkdirSync, openSync, readSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { parentPort } from 'node:worker_threads';
import { describeError, type ErrorCode, SkepError } from '../../common/base/errors.ts';
import { compressionOf } from './compression.ts';
import { inflate } from './inflate.ts';
import { type LayerSummary, LayerWriter } from './layer-writer.ts';
import { TarReader } from './tar-reader.ts';

export interface UnpackJob {
  readonly blobPath: string;
  /** digest of the uncompressed tar, checked */
  readonly diffId: string;
  /** absolute; made by the job, must not exist */
  readonly targetDir: string;
}

/** To the thread. A `cancel` is of the job under way; there may be none by then. */
export type UnpackOrder =
  | { readonly kind: 'unpack'; readonly job: UnpackJob }
  | { readonly kind: 'cancel' };

export type UnpackReply =
  | { readonly kind: 'done'; readonly summary: LayerSummary }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string };

const READ_BYTES = 256 * 1024;

function readMagic(path: string): Buffer {
  const magic = Buffer.alloc(8);
  const fd = openSync(path, 'r');
  try {
    return magic.subarray(0, readSync(fd, magic, 0, magic.length, 0));
  } finally {
    closeSync(fd);
  }
}

function openLayer(path: string): Readable {
  const file = createReadStream(path, { highWaterMark: READ_BYTES });
  return inflate(file, compressionOf(readMagic(path)));
}

async function unpack(job: UnpackJob, signal: AbortSignal): Promise<LayerSummary> {
  mkdirSync(job.targetDir, { mode: 0o755 });
  const writer = new LayerWriter(job.targetDir);
  const reader = new TarReader(writer);
  const hash = createHash('sha256');
  const input = openLayer(job.blobPath);
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      if (signal.aborted) throw new SkepError('cancelled', `unpack layer ${job.diffId}`);
      hash.update(chunk);
      reader.push(chunk);
    }
    reader.finish();
    const actual = `sha256:${hash.digest('hex')}`;
    if (actual !== job.diffId) {
      throw new SkepError(
        'data-loss',
        `verify layer ${job.diffId}: its content hashes to ${actual}`,
      );
    }
    return writer.finish();
  } finally {
    input.destroy();
    writer.close();
  }
}

async function reply(job: UnpackJob, signal: AbortSignal): Promise<UnpackReply> {
  try {
    return { kind: 'done', summary: await unpack(job, signal) };
  } catch (err) {
    const code = err instanceof SkepError ? err.code : 'internal';
    return { kind: 'failed', code, message: describeError(err) };
  }
}

let running = new AbortController();

parentPort?.on('message', (order: UnpackOrder) => {
  if (order.kind === 'cancel') {
    running.abort();
    return;
  }
  running = new AbortController();
  // `reply` never rejects
  void reply(order.job, running.signal).then((answer) => parentPort?.postMessage(answer));
});
