/** Runs one health probe as a process in a container; none in one that is paused, where nothing can answer. */
import { abortable, abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { describeError } from '../../common/base/errors.ts';
import type { ExecSession } from '../runtime/native-runtime.ts';
import type { Probe, ProbeResult } from './health.ts';
import type { Runtime } from './ports.ts';
import { SIGKILL } from './signals.ts';

/** Output kept per probe, as by Docker. */
const OUTPUT_BYTES_MAX = 4096;
const NOT_RUN = -1;

export function probeIn(runtime: Runtime, containerId: string, clock: Clock): Probe {
  const begin = async (command: readonly string[], signal: AbortSignal): Promise<ExecSession> => {
    const spec = { args: [...command], env: [], cwd: '', user: null };
    const plain = { tty: false, consoleSize: null, stdin: false, privileged: false };
    const beginning = runtime.exec(containerId, { ...spec, ...plain }, signal);
    try {
      return await abortable(beginning, signal);
    } catch (err) {
      beginning.then((session) => session.close()).catch(() => {}); // nobody waits for it any more
      throw err;
    }
  };
  const isPaused = (): boolean => runtime.get(containerId)?.paused ?? false;
  return async (command, timeoutMs, signal) => {
    if (isPaused()) return null;
    const startedAtMs = clock.wallMs();
    const finish = (exitCode: number, output: string): ProbeResult => ({
      startedAtMs,
      endedAtMs: clock.wallMs(),
      exitCode,
      output,
    });
    const over = abortWith(signal); // which lives as long as the container
    let timedOut = false;
    const timer = clock.setTimer(timeoutMs, () => {
      timedOut = true;
      over.abort();
    });
    try {
      const session = await begin(command, over.signal);
      const output = new OutputHead();
      session.stdout.on('data', (chunk: Buffer) => output.add(chunk));
      session.stderr.on('data', (chunk: Buffer) => output.add(chunk));
      try {
        const { exitCode } = await session.wait(over.signal);
        return finish(exitCode, output.text());
      } catch (err) {
        session.kill(SIGKILL).catch(() => {}); // it may have ended; the answer of a stuck shim is not waited for
        throw err;
      } finally {
        session.close();
      }
    } catch (err) {
      if (signal.aborted) throw signal.reason;
      if (isPaused()) return null; // it was frozen with the container
      return finish(
        NOT_RUN,
        timedOut ? `health check exceeded timeout (${timeoutMs} ms)` : describeError(err),
      );
    } finally {
      timer.cancel();
      over.release();
    }
  };
}

class OutputHead {
  readonly #chunks: Buffer[] = [];
  #size = 0;

  add(chunk: Buffer): void {
    const room = OUTPUT_BYTES_MAX - this.#size;
    if (room <= 0) return;
    const kept = chunk.subarray(0, room);
    this.#chunks.push(kept);
    this.#size += kept.length;
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}
