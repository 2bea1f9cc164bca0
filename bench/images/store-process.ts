/** A process with the daemon's pool of threads that unpack. */
import { UnpackPool } from '../../worker/images/unpack-pool.ts';
import { serve } from '../support/helper-process.ts';

const operations = {
  /** Resolves with the milliseconds that it takes. */
  async unpack(job: { blobPath: string; diffId: string; targetDir: string }): Promise<number> {
    const pool = new UnpackPool();
    const beganMs = performance.now();
    await pool.unpack(job, new AbortController().signal);
    const ms = performance.now() - beganMs;
    await pool.stop();
    return ms;
  },
};

export type StoreOperations = typeof operations;
serve(operations);
