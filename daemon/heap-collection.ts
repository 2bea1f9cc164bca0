/**
 * Has V8 collect as on a machine that is short of memory. `gc()` (--expose-gc) leaves the space for young
 * objects as large as the busiest time needed, 32 MiB, until little was allocated for some seconds, and does not
 * compact; the inspector's word goes to `v8::Isolate::LowMemoryNotification`, which does both, in two collections.
 */

/** @throws Error of node: built without its inspector */
export async function collectHeap(): Promise<void> {
  const { Session } = await import('node:inspector/promises');
  const session = new Session();
  session.connect();
  try {
    await session.post('HeapProfiler.collectGarbage');
  } finally {
    session.disconnect();
  }
}
