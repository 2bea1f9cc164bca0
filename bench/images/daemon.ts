/** A skepd of its own for images, in no cluster: started, asked by its API, ended. */
import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EngineClient } from '../../cli/client/engine-client.ts';
import type { ProgressJson } from '../../cli/client/image-calls.ts';
import { HelperProcess } from '../support/helper-process.ts';
import { until } from '../support/wait.ts';
import type { Cost } from './cost.ts';
import type { DaemonOperations } from './daemon-process.ts';

const CGROUP_ROOT = '/sys/fs/cgroup';
const CGROUP_PARENT = `skep-bench-${process.pid}`;

export interface TimedCost extends Cost {
  readonly ms: number;
}

export class BenchDaemon {
  readonly client: EngineClient;
  readonly #dir: string;
  readonly #process: HelperProcess<DaemonOperations>;

  private constructor(dir: string) {
    this.#dir = dir;
    const module = fileURLToPath(new URL('./daemon-process.js', import.meta.url));
    this.#process = new HelperProcess<DaemonOperations>(module);
    this.client = new EngineClient(`unix://${join(dir, 'api.sock')}`);
  }

  /** @param dir its own folder, made when missing */
  static async start(dir: string): Promise<BenchDaemon> {
    const daemon = new BenchDaemon(dir);
    await daemon.#process.ask('begin', [
      ...['--data-dir', join(dir, 'data'), '--host', `unix://${join(dir, 'api.sock')}`],
      ...['--cgroup-parent', CGROUP_PARENT, '--log-level', 'error', '--image-gc', 'off'],
    ]);
    await until('skepd answers', async () => {
      await daemon.client.ping();
      return true;
    });
    return daemon;
  }

  /** What `work`, which asks the daemon for something, takes and costs it. */
  async costOf(work: () => Promise<unknown>): Promise<TimedCost> {
    await this.#process.ask('watch');
    const beganMs = performance.now();
    await work();
    const ms = performance.now() - beganMs;
    return { ms, ...(await this.#process.ask('watched')) };
  }

  /** Kills it and removes all that it had. */
  async end(): Promise<void> {
    this.client.close();
    await this.#process.kill();
    rmSync(this.#dir, { recursive: true });
    for (const root of [
      CGROUP_ROOT,
      ...readdirSync(CGROUP_ROOT).map((name) => join(CGROUP_ROOT, name)),
    ]) {
      const group = join(root, CGROUP_PARENT);
      if (existsSync(group)) rmdirSync(group); // it ran nothing
    }
  }
}

/** Reads a stream of progress to its end. Throws what it tells of a failure. */
export async function followed(lines: AsyncIterable<ProgressJson>): Promise<void> {
  for await (const { error } of lines) if (error !== undefined) throw new Error(error);
}
