/**
 * A process with a runtime that dies as by kill -9 so many milliseconds into an operation. Run by
 * test/native/runtime-fault-points.test.ts; argv: place as JSON.
 */
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { defaultProcess, defaultSpec } from '../../worker/runtime/defaults.ts';
import { NativeRuntime } from '../../worker/runtime/native-runtime.ts';

export type Operation = 'create' | 'start' | 'stop' | 'remove';

export interface DyingPlace {
  readonly stateDir: string;
  readonly cgroupParent: string;
  readonly lower: string;
  readonly operation: Operation;
  readonly diesAfterMs: number;
}

/** The one container. */
export const ID = 'task';
/** Leaves a line in its root for each time that it is run. */
export const COMMAND = ['sh', '-c', 'echo run >> /ran; exec sleep 1000'];

const place = JSON.parse(process.argv[2] ?? '{}') as DyingPlace;
const runtime = new NativeRuntime({
  stateDir: place.stateDir,
  cgroupParent: place.cgroupParent,
  clock: new SystemClock(),
  random: new SystemRandom(),
  log: silentLogger,
  onFailure: () => {},
});
const spec = defaultSpec([place.lower], defaultProcess(COMMAND));
const steps: Readonly<Record<Operation, () => Promise<unknown>>> = {
  create: () => runtime.create(ID, { spec, logMaxBytes: 1_000_000, logMaxFiles: 2 }),
  start: () => runtime.startContainer(ID),
  stop: () => runtime.killAll(ID),
  remove: () => runtime.remove(ID),
};

setInterval(() => {}, 1000); // timers of the clock do not keep a process
await runtime.start();
for (const [name, step] of Object.entries(steps)) {
  if (name !== place.operation) {
    await step();
    continue;
  }
  const endMs = performance.now() + place.diesAfterMs;
  void step().catch(() => {});
  while (performance.now() < endMs) await new Promise((resolve) => setImmediate(resolve));
  process.kill(process.pid, 'SIGKILL');
}
