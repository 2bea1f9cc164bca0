/**
 * A map of very many strings, or whole numbers, without long turns: many small maps in place of one. The engine moves a
 * map when it grows or shrinks, all of it at once: 5 to 10 ms for 100,000 keys, and several maps do so in the same turn
 * when they hold the same things.
 */

/** Entries in one map before they are spread: to move so many takes 0.3 ms. Their order is that of insertion till then. */
const WHOLE_MAX = 4_096;
/** A power of two. With a million entries each map has 16,000. */
const SHARDS = 64;
/** Last characters that a shard is chosen by: ids are random there, numbers count there. */
const HASHED = 4;

export class ShardedMap<K extends string | number, V> {
  /** one, or SHARDS */
  #shards: Map<K, V>[] = [new Map()];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The entries in parts, in the order of insertion within each; one part as long as they are few. */
  get shards(): readonly ReadonlyMap<K, V>[] {
    return this.#shards;
  }

  get(key: K): V | undefined {
    return this.#shardOf(key).get(key);
  }

  has(key: K): boolean {
    return this.#shardOf(key).has(key);
  }

  set(key: K, value: V): void {
    const shard = this.#shardOf(key);
    const before = shard.size;
    shard.set(key, value);
    if (shard.size === before) return;
    this.#size++;
    if (this.#size > WHOLE_MAX && this.#shards.length === 1) this.#spread();
  }

  /** True when it was there. */
  delete(key: K): boolean {
    const wasThere = this.#shardOf(key).delete(key);
    if (wasThere) this.#size--;
    return wasThere;
  }

  *entries(): Generator<[K, V]> {
    for (const shard of this.#shards) yield* shard;
  }

  #spread(): void {
    const [whole] = this.#shards;
    this.#shards = Array.from({ length: SHARDS }, () => new Map<K, V>());
    for (const [key, value] of whole!) this.#shardOf(key).set(key, value);
  }

  #shardOf(key: K): Map<K, V> {
    const shards = this.#shards;
    if (shards.length === 1) return shards[0]!;
    return shards[(typeof key === 'number' ? key : hashOf(key)) & (SHARDS - 1)]!;
  }
}

function hashOf(key: string): number {
  let hash = 0;
  for (let at = Math.max(0, key.length - HASHED); at < key.length; at++) {
    hash = Math.imul(hash, 31) + key.charCodeAt(at);
  }
  return hash;
}
