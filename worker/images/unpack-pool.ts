/**
 * At most two worker threads that unpack layers; made when there is work, ended when there is none.
 * Two because the layers of one image compete for the same disk and the host has its own work.
 */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { SkepError } from '../../common/base/errors.ts';
import type { LayerSummary } from './layer-writer.ts';
import type { UnpackJob, UnpackReply } from './unpack-worker.ts';

const THREADS_MAX = 2;

interface QueuedJob {
  readonly job: UnpackJob;
  readonly resolve: (summary: LayerSummary) => void;
  readonly reject: (err: unknown) => void;
}

function startWorker(): Worker {
  if (!import.meta.url.endsWith('.ts')) {
    return new Worker(new URL('./unpack-worker.js', import.meta.url), { execArgv: [] });
  }
  // From source: Node 20 cannot read TypeScript, and a thread does not inherit tsx from us.
  const tsx = pathToFileURL(
    createRequire(import.meta.url)
      .resolve('tsx/esm/api')
      .replace(/cjs$/, 'mjs'),
  ).href;
  const entry = new URL('./unpack-worker.ts', import.meta.url).href;
  const script = `import(${JSON.stringify(tsx)}).then((tsx) => tsx.tsImport(${JSON.stringify(entry)}, ${JSON.stringify(import.meta.url)}));`;
  return new Worker(script, { eval: true, execArgv: [] });
}

export class UnpackPool {
  #queue: QueuedJob[] = [];
  #threads = new Set<Promise<void>>();
  #stopped = false;

  /** Resolves when `job.targetDir` holds the layer. Rejects with SkepError; the folder may remain. */
  unpack(job: UnpackJob): Promise<LayerSummary> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) {
        reject(new SkepError('cancelled', `unpack layer ${job.diffId}: stopping`));
        return;
      }
      this.#queue.push({ job, resolve, reject });
      if (this.#threads.size >= THREADS_MAX) return;
      const thread = this.#runThread();
      this.#threads.add(thread);
      void thread.finally(() => this.#threads.delete(thread)); // #runThread never rejects
    });
  }

  /** Fails what waits, lets running jobs end. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const { job, reject } of this.#queue.splice(0)) {
      reject(new SkepError('cancelled', `unpack layer ${job.diffId}: stopping`));
    }
    await Promise.all(this.#threads);
  }

  async #runThread(): Promise<void> {
    let worker: Worker | null = null;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      try {
        worker ??= startWorker();
        next.resolve(await runJob(worker, next.job));
      } catch (err) {
        next.reject(err);
        if (!(err instanceof SkepError)) {
          await worker?.terminate();
          worker = null; // it crashed: the next job gets a new one
        }
      }
    }
    await worker?.terminate();
  }
}

function runJob(worker: Worker, job: UnpackJob): Promise<LayerSummary> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      worker.off('message', onMessage);
      worker.off('error', onError);
      worker.off('exit', onExit);
      act();
    };
    const onMessage = (reply: UnpackReply): void => {
      if (reply.kind === 'done') settle(() => resolve(reply.summary));
      else settle(() => reject(new SkepError(reply.code, reply.message)));
    };
    const onError = (err: Error): void => settle(() => reject(err));
    const onExit = (code: number): void =>
      settle(() => reject(new Error(`unpack thread ended with code ${code}`)));
    worker.on('message', onMessage);
    worker.on('error', onError);
    worker.on('exit', onExit);
    worker.postMessage(job);
  });
}
