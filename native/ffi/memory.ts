/** What the C library holds of this process's memory (native/src/lib/memory.c). */
import { declareSync } from './library.ts';

const releaseFreedNative = declareSync('int skep_release_freed(_Out_ uint8_t *err)');

/** Gives what was freed back to the kernel; a millisecond. */
export function releaseFreed(): void {
  releaseFreedNative();
}
