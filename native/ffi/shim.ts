/**
 * Starting skep-shim through libskep (native/src/lib/spawn.c). Knows nothing of specs or containers.
 */
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { declareAsync, declareSync, nativeBuildPath } from './library.ts';

const sealProgram = declareSync('int skep_seal_program(const char *path, _Out_ uint8_t *err)');
const shimSpawn = declareAsync('int skep_shim_spawn(int program_fd, _Out_ uint8_t *err)');

/**
 * The shim's program, as a sealed copy in memory: nothing that runs in a container can change the
 * file on the host through it, and a rebuild does not disturb a running daemon.
 */
export class ShimProgram {
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Throws `not-found` when the native part was not built. */
  static open(): ShimProgram {
    return new ShimProgram(sealProgram(nativeBuildPath('skep-shim')));
  }

  /**
   * Runs a shim that waits on this socket to be told what container it is for (`FRAME.prepare`,
   * `FRAME.create`), and ends when it is closed before. Rejects with a `NativeError`.
   */
  async spawn(): Promise<Socket> {
    return new Socket({ fd: await shimSpawn(this.#fd), readable: true, writable: true });
  }

  /** Idempotent. Running shims are not concerned. */
  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}
