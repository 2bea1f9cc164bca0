/** In the end all managers have the same state, which is what the log says. */
import { crc32 } from 'node:zlib';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import type { ClusterWorld } from '../world.ts';

export class SameStores implements ClusterChecker {
  readonly number = 11;
  readonly name = 'all managers have the same state';
  readonly #world: ClusterWorld;

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  ended(): void {
    const expected = checksum(this.#world.truth.snapshot());
    for (const { id, daemon } of this.#world.managers()) {
      const actual = checksum(daemon!.manager!.store.snapshot());
      expect(actual === expected, () => `manager ${id} has another state than the log says`);
    }
  }
}

/** Snapshots list what there is by kind and in the order of its keys, whatever its history. */
function checksum(chunks: Iterable<Uint8Array>): number {
  let sum = 0;
  for (const chunk of chunks) sum = crc32(chunk, sum);
  return sum;
}
