/** Processes that run seeds, and the handing out of seeds to them. Knows nothing of what a run is. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { FileCoverage } from './coverage-recorder.ts';
import type { RunReport } from './life.ts';
import type { Mutant } from './mutants/mutant.ts';
import type { WorldName } from './options.ts';

export type WorkerRequest =
  | {
      readonly kind: 'run';
      readonly world: WorldName;
      readonly seed: number;
      readonly traceLines: number;
    }
  | { readonly kind: 'record-coverage' }
  | { readonly kind: 'take-coverage' };

export type WorkerAnswer =
  | { readonly kind: 'report'; readonly report: SeedReport }
  | { readonly kind: 'coverage'; readonly files: readonly FileCoverage[] }
  | { readonly kind: 'done' };

export interface Broken {
  readonly number: number;
  readonly name: string;
  readonly words: string;
}

/** `RunReport` as it goes between processes. */
export type SeedReport = Omit<RunReport, 'violation'> & { readonly broken: Broken | null };

const WORKER = fileURLToPath(new URL('worker.ts', import.meta.url));
const PLANT = fileURLToPath(new URL('mutants/plant.mjs', import.meta.url));

/** One request at a time. */
export class SimWorker {
  readonly #world: WorldName;
  readonly #process: ChildProcess;
  #failure: Error | null = null;
  #reject: ((err: Error) => void) | null = null;

  /** @param mutant a bug to plant into the product, for this process only */
  constructor(world: WorldName, mutant: Mutant | null = null) {
    this.#world = world;
    const { SKEP_SIM_MUTANT: _, ...env } = process.env;
    this.#process = fork(WORKER, [], {
      execArgv: ['--import', PLANT, '--import', 'tsx'],
      env: mutant === null ? env : { ...env, SKEP_SIM_MUTANT: JSON.stringify(mutant) },
    });
    this.#process.on('exit', (code, signal) => {
      this.#failure = new Error(`simulation process ended: ${code ?? signal}`);
      this.#reject?.(this.#failure);
    });
  }

  ask(request: WorkerRequest): Promise<WorkerAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) {
        reject(this.#failure);
        return;
      }
      this.#reject = reject;
      this.#process.once('message', (answer) => resolve(answer as WorkerAnswer));
      this.#process.send(request);
    });
  }

  async run(seed: number, traceLines: number): Promise<SeedReport> {
    const answer = await this.ask({ kind: 'run', world: this.#world, seed, traceLines });
    if (answer.kind !== 'report') throw new Error(`simulation process answered ${answer.kind}`);
    return answer.report;
  }

  stop(): void {
    this.#process.removeAllListeners('exit');
    this.#process.kill();
  }
}

/** Hands out the seeds one by one until `take` says that it is enough. */
export async function runSeeds(
  workers: readonly SimWorker[],
  seeds: Iterator<number>,
  traceLines: number,
  take: (report: SeedReport) => boolean,
): Promise<void> {
  let isEnough = false;
  const serve = async (worker: SimWorker): Promise<void> => {
    while (!isEnough) {
      const next = seeds.next();
      if (next.done === true) return;
      const report = await worker.run(next.value, traceLines);
      isEnough ||= take(report);
    }
  };
  await Promise.all(workers.map(serve));
}
