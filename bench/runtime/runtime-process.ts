/** A process with a runtime alone: no agent, no network but an empty namespace for each container. */
import { SystemClock } from '../../common/base/clock.ts';
import { createLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { defaultProcess, defaultSpec } from '../../worker/runtime/defaults.ts';
import { type ExecSpec, NativeRuntime } from '../../worker/runtime/native-runtime.ts';
import type { OciSpec } from '../../worker/runtime/oci.ts';
import { serve } from '../support/helper-process.ts';

interface Place {
  readonly dir: string;
  readonly cgroupParent: string;
  readonly rootfs: string;
}

const EXEC_TRUE: ExecSpec = {
  args: ['/bin/true'],
  ...{
    env: [],
    cwd: '',
    user: null,
    tty: false,
    stdin: false,
    privileged: false,
    consoleSize: null,
  },
};

let runtime: NativeRuntime;
let rootfs = '';
let lastId = 0;

const LOGS = { logMaxBytes: 10 * 1024 * 1024, logMaxFiles: 3 };

function specOf(args: readonly string[]): OciSpec {
  const spec = defaultSpec([rootfs], defaultProcess(args));
  const { linux } = spec;
  return { ...spec, linux: { ...linux, resources: { ...linux.resources, ...LIMITS } } };
}

/** The same that the peers are given (peers.ts). */
export const LIMITS = {
  memory: { limit: 64 * 1024 * 1024, swap: null },
  cpu: { quota: 100_000, period: 100_000, shares: null },
  pids: { limit: 100 },
} as const;

const operations = {
  async open(place: Place): Promise<void> {
    rootfs = place.rootfs;
    runtime = new NativeRuntime({
      random: new SystemRandom(),
      stateDir: place.dir,
      cgroupParent: place.cgroupParent,
      clock: new SystemClock(),
      log: createLogger('error'),
      onFailure: (err) => {
        throw err;
      },
    });
    await runtime.start();
  },

  /** One after the other; of each the times until its end was told, and until nothing is left of it. */
  async startTrue(count: number): Promise<{ reapedMs: number[]; removedMs: number[] }> {
    const reapedMs: number[] = [];
    const removedMs: number[] = [];
    for (let i = 0; i < count; i++) {
      const id = `true-${++lastId}`;
      const beganMs = performance.now();
      await runtime.create(id, { spec: specOf(['/bin/true']), ...LOGS });
      await runtime.startContainer(id);
      await runtime.wait(id);
      reapedMs.push(performance.now() - beganMs);
      await runtime.remove(id);
      removedMs.push(performance.now() - beganMs);
    }
    return { reapedMs, removedMs };
  },

  async run({ id, args }: { id: string; args: readonly string[] }): Promise<void> {
    await runtime.create(id, { spec: specOf(args), ...LOGS });
    await runtime.startContainer(id);
  },

  /** `true` in a container, one after the other; of each the time until its end was told, ms. */
  async execTrue({ id, count }: { id: string; count: number }): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const beganMs = performance.now();
      const session = await runtime.exec(id, EXEC_TRUE);
      session.stdout.resume();
      session.stderr.resume();
      await session.wait();
      times.push(performance.now() - beganMs);
    }
    return times;
  },

  async ended(id: string): Promise<void> {
    await runtime.wait(id);
  },

  /** Follows the log of a container that writes `bytes` and ends; how many came, and how fast. */
  async follow({ id, bytes }: { id: string; bytes: number }) {
    const beganMs = performance.now();
    let seen = 0;
    const query = { follow: true, tail: 'all', sinceNanos: null, untilNanos: null } as const;
    for await (const { data } of runtime.logs(id, { ...query, stdout: true, stderr: true })) {
      seen += data.length;
    }
    return { seen, lost: bytes - seen, seconds: (performance.now() - beganMs) / 1000 };
  },

  async removeAll(): Promise<void> {
    await Promise.all(runtime.list().map(({ id }) => runtime.destroy(id)));
  },
};

export type RuntimeOperations = typeof operations;
serve(operations);
