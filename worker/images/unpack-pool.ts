/**
 * At most two worker threads that unpack layers; made when there is work, ended when there is none.
 * Two because the layers of one image compete for the same disk and the host has its own work.
 */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { abortWith, type LinkedAbort } from '../../common/base/abort-with.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { LayerSummary } from './layer-writer.ts';
import type { UnpackJob, UnpackOrder, UnpackReply } from './unpack-worker.ts';

const THREADS_MAX = 2;

interface QueuedJob {
  readonly job: UnpackJob;
  readonly signal: AbortSignal;
  readonly resolve: (summary: LayerSummary) => void;
  readonly reject: (err: unknown) => void;
}

/** What the pool has of a thread. */
export type UnpackThread = Pick<Worker, 'on' | 'off' | 'postMessage' | 'terminate'>;

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

const stopping = (): SkepError => new SkepError('cancelled', 'unpack layer: stopping');

export class UnpackPool {
  readonly #startThread: () => UnpackThread;
  #queue: QueuedJob[] = [];
  /** threads that will look at the queue again */
  #working = 0;
  /** those that are about to be gone included */
  readonly #threads = new Set<Promise<void>>();
  /** of what waits and of what runs */
  readonly #jobs = new Set<LinkedAbort>();
  #isStopped = false;

  constructor(startThread: () => UnpackThread = startWorker) {
    this.#startThread = startThread;
  }

  /**
   * Resolves when `job.targetDir` holds the layer. Rejects with SkepError or with the signal's reason; the folder may
   * remain, and nobody writes there any more.
   */
  async unpack(job: UnpackJob, signal: AbortSignal): Promise<LayerSummary> {
    if (this.#isStopped) throw stopping();
    const link = abortWith(signal);
    this.#jobs.add(link);
    try {
      return await new Promise((resolve, reject) => {
        this.#queue.push({ job, signal: link.signal, resolve, reject });
        if (this.#working >= THREADS_MAX) return;
        this.#working++;
        const thread = this.#runThread();
        this.#threads.add(thread);
        void thread.finally(() => this.#threads.delete(thread)); // #runThread never rejects
      });
    } finally {
      this.#jobs.delete(link);
      link.release();
    }
  }

  /** Aborts what waits and what runs. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const link of this.#jobs) link.abort(stopping());
    await Promise.all(this.#threads);
  }

  async #runThread(): Promise<void> {
    let worker: UnpackThread | null = null;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const { job, signal, resolve, reject } = next;
      if (signal.aborted) {
        reject(signal.reason);
        continue;
      }
      try {
        worker ??= this.#startThread();
        resolve(await runJob(worker, job, signal));
      } catch (err) {
        if (!(err instanceof SkepError)) {
          await worker?.terminate();
          worker = null; // it crashed: the next job gets a new one
        }
        reject(signal.aborted ? signal.reason : err);
      }
    }
    this.#working--; // before any wait: who comes from now on needs another thread
    await worker?.terminate();
  }
}

/**
 * An abort is told to the thread, which looks between two pieces: to end it in the middle of a native call would end the
 * whole process.
 */
function runJob(worker: UnpackThread, job: UnpackJob, signal: AbortSignal): Promise<LayerSummary> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      worker.off('message', onMessage);
      worker.off('error', onError);
      worker.off('exit', onExit);
      signal.removeEventListener('abort', onAbort);
      act();
    };
    const onMessage = (reply: UnpackReply): void => {
      if (reply.kind === 'done') settle(() => resolve(reply.summary));
      else settle(() => reject(new SkepError(reply.code, reply.message)));
    };
    const onError = (err: Error): void => settle(() => reject(err));
    const onExit = (code: number): void =>
      settle(() => reject(new Error(`unpack thread ended with code ${code}`)));
    const send = (order: UnpackOrder): void => worker.postMessage(order);
    const onAbort = (): void => send({ kind: 'cancel' }); // a reply follows
    worker.on('message', onMessage);
    worker.on('error', onError);
    worker.on('exit', onExit);
    signal.addEventListener('abort', onAbort, { once: true });
    send({ kind: 'unpack', job });
  });
}
