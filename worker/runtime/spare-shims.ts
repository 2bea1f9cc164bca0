/**
 * Shims that wait for their container: a start then need not wait for a process and a network namespace to
 * be made. Knows nothing of containers.
 */
import type { Socket } from 'node:net';
import type { Logger } from '../../common/base/log.ts';
import { ShimProgram } from '../../native/ffi/shim.ts';

/** Held ready once one was needed. Each is a process of 70 KB, and a network namespace of the kernel's. */
const SPARES = 2;

/** Lifecycle: `open`, in service, `close`. A daemon that dies takes its spares along: they see its end. */
export class SpareShims {
  readonly #program: ShimProgram;
  readonly #log: Logger;
  /** with what forgets one that ends */
  readonly #idle = new Map<Socket, () => void>();
  /** on another thread each, which reads the program's descriptor */
  readonly #spawns = new Set<Promise<unknown>>();
  #making = 0;
  #closed = false;

  private constructor(program: ShimProgram, log: Logger) {
    this.#program = program;
    this.#log = log;
  }

  /** Throws `not-found` when the native part was not built. */
  static open(log: Logger): SpareShims {
    return new SpareShims(ShimProgram.open(), log);
  }

  /** A shim that nobody else has, by its socket. Rejects with a `NativeError` when none can be made. */
  async take(): Promise<Socket> {
    for (const [socket, forget] of this.#idle) {
      this.#idle.delete(socket);
      return socket.off('close', forget).pause().ref();
    }
    return this.#spawn();
  }

  /** Makes up for those that were taken. Not before a start is through: it would be in its way. */
  refill(): void {
    while (!this.#closed && this.#idle.size + this.#making < SPARES) {
      this.#making++;
      this.#spawn()
        .then((socket) => this.#keep(socket))
        .catch((err: unknown) => this.#log.debug({ err }, 'no shim can be made ahead'))
        .finally(() => {
          this.#making--;
        });
    }
  }

  /** Resolves when no further shim comes to be. Idempotent. Shims that were taken are not concerned. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const socket of this.#idle.keys()) socket.destroy();
    this.#idle.clear();
    // Its number may be another file's as soon as it is closed.
    await Promise.allSettled(this.#spawns);
    this.#program.close();
  }

  #spawn(): Promise<Socket> {
    const spawn = this.#program.spawn();
    this.#spawns.add(spawn);
    const forget = (): void => void this.#spawns.delete(spawn);
    spawn.then(forget, forget);
    return spawn;
  }

  #keep(socket: Socket): void {
    if (this.#closed) {
      socket.destroy();
      return;
    }
    const forget = (): void => void this.#idle.delete(socket);
    this.#idle.set(socket, forget);
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', forget);
    socket.unref().resume(); // to hear of its end; it says nothing
  }
}
