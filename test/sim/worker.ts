/** A process that runs seeds for `main.ts`, which asks by messages: one seed, or the coverage so far. */
import { runClusterSeed } from './cluster/life.ts';
import { CoverageRecorder } from './coverage-recorder.ts';
import { runSeed } from './life.ts';
import type { WorkerAnswer, WorkerRequest } from './workers.ts';

const recorder = new CoverageRecorder();

async function answer(request: WorkerRequest): Promise<WorkerAnswer> {
  switch (request.kind) {
    case 'run': {
      const { world, seed, traceLines } = request;
      const run = world === 'raft' ? runSeed : runClusterSeed;
      const { violation, ...report } = await run(seed, traceLines);
      const broken =
        violation === null
          ? null
          : { number: violation.number, name: violation.invariant, words: violation.message };
      return { kind: 'report', report: { ...report, broken } };
    }
    case 'record-coverage':
      await recorder.start();
      return { kind: 'done' };
    case 'take-coverage':
      return { kind: 'coverage', files: await recorder.take() };
  }
}

process.on('message', (request: WorkerRequest) => {
  void answer(request).then((result) => process.send?.(result));
});
process.on('disconnect', () => process.exit(0));
