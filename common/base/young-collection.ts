/**
 * Byte arrays lie outside of V8's heap and go with the next collection of the young. Work that makes many of them and little
 * else comes to none for long; V8 then sees outside memory grow, and after 64 MiB (`kExternalAllocationSoftLimit`) marks the whole
 * heap for that reason alone: with 400 MB of objects, turns of the event loop of 10 to 20 ms. A collection of the young
 * when there is nothing to keep takes 0.1 ms.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What may pass between two collections, bytes; of some five arrays for each byte (read, opened, framed, sent) less than the limit. */
const PASSED_MAX = 4 * 1024 * 1024;

type Collect = (options: { readonly type: 'minor' }) => void;

let collect: Collect | null = null;
let passed = 0;

/** @param bytes of data that have gone through arrays of their own, all of which are done with or soon will be */
export function bytesPassed(bytes: number): void {
  passed += bytes;
  if (passed < PASSED_MAX) return;
  passed = 0;
  collect ??= collector();
  collect({ type: 'minor' });
}

/** V8's own word for it, which only a context made after the flag has. */
function collector(): Collect {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc');
}
