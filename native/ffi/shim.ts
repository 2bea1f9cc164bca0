/**
 * Starting skep-shim through libskep (native/src/lib/spawn.c). Knows nothing of specs or containers.
 */
import { closeSync } from 'node:fs';
import { declareAsync, declareSync, nativeBuildPath } from './library.ts';

const sealProgram = declareSync('int skep_seal_program(const char *path, _Out_ uint8_t *err)');
const shimSpawn = declareAsync(
  'int skep_shim_spawn(int program_fd, const char *task_dir, const uint8_t *spec, uint32_t spec_bytes, int timeout_ms, _Out_ uint8_t *err)',
);

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
   * Runs a shim on `taskDir` with an encoded spec; resolves with the pid of the container's init,
   * which is prepared and waits. Rejects with a `NativeError` that names the failing step; with
   * `ETIMEDOUT` something may be left running, to be killed by its cgroup.
   */
  spawn(taskDir: string, spec: Uint8Array, timeoutMs: number): Promise<number> {
    return shimSpawn(this.#fd, taskDir, spec, spec.length, timeoutMs);
  }

  /** Idempotent. Running shims are not concerned. */
  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}
