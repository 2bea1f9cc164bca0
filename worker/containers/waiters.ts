/** Those who wait for a container: for its next end, for its removal, for streams to attach to. */
import type { AttachSession } from '../runtime/native-runtime.ts';

export type WaitCondition = 'not-running' | 'next-exit' | 'removed';

export interface WaitResult {
  readonly exitCode: number;
  /** why it is not gone, though it was to be removed. Absent = nothing failed */
  readonly error?: string;
}

/** Promises that are settled together. One whose signal is aborted rejects with its reason and is forgotten. */
class Waiting<T> {
  readonly #waiting = new Set<(value: T | Promise<T>) => void>();

  next(signal: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        this.#waiting.delete(settle);
        reject(signal.reason);
      };
      const settle = (value: T | Promise<T>): void => {
        signal.removeEventListener('abort', onAbort);
        resolve(value);
      };
      this.#waiting.add(settle);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  settle(value: () => T | Promise<T>): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const settle of waiting) settle(value());
  }

  get size(): number {
    return this.#waiting.size;
  }
}

export class ContainerWaiters {
  readonly #exit = new Waiting<WaitResult>();
  readonly #removed = new Waiting<WaitResult>();
  readonly #attach = new Waiting<AttachSession>();

  forExit(signal: AbortSignal): Promise<WaitResult> {
    return this.#exit.next(signal);
  }

  forRemoval(signal: AbortSignal): Promise<WaitResult> {
    return this.#removed.next(signal);
  }

  forStreams(signal: AbortSignal): Promise<AttachSession> {
    return this.#attach.next(signal);
  }

  exited(result: WaitResult): void {
    this.#exit.settle(() => result);
  }

  /** Whoever waited for an end or for streams waits no longer. */
  removed(result: WaitResult, why: Error): void {
    this.exited(result);
    this.#removed.settle(() => result);
    this.#attach.settle(() => Promise.reject(why));
  }

  /** It is there still, and maybe for long. */
  notRemoved(result: WaitResult): void {
    this.exited(result);
    this.#removed.settle(() => result);
  }

  /** Before the container runs, so that nothing of its output is missed. Rejects as `open` does. */
  async opened(open: () => Promise<AttachSession>): Promise<void> {
    const sessions: Promise<AttachSession>[] = [];
    this.#attach.settle(() => {
      const session = open();
      sessions.push(session);
      return session;
    });
    await Promise.all(sessions);
  }
}
