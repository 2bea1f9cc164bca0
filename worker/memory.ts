/** What the native part can do for the memory of the process that it is loaded into. */
export { limitFreed, releaseFreed } from '../native/ffi/memory.ts';
