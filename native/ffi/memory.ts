/** What the C library holds of this process's memory (native/src/lib/memory.c). */
import { declareSync } from './library.ts';

const releaseFreedNative = declareSync('int skep_release_freed(_Out_ uint8_t *err)');

/** Gives what was freed back to the kernel; a millisecond. */
export function releaseFreed(): void {
  releaseFreedNative();
}

const limitFreedNative = declareSync('int skep_limit_freed(uint32_t bytes, _Out_ uint8_t *err)');

/**
 * At the end of each of the C library's arenas (one for each of some threads) at most so many freed bytes stay
 * with this process, and larger blocks go back when they are freed. Without it the library keeps twice the largest
 * block, of up to 32 MiB, that was ever freed: in each arena.
 * @throws NativeError EINVAL: more than the library takes
 */
export function limitFreed(bytes: number): void {
  limitFreedNative(bytes);
}
