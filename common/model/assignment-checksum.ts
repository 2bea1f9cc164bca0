/**
 * What a node holds as one number, by which it knows that it has all that it was to be told: 64 bits over kind, key and
 * version of each item, whatever the order in which they came.
 */
import type { AssignmentChange, AssignmentKind } from './assignment.ts';

/** Part of the sums: a kind keeps its number. */
const KIND_NUMBERS: Readonly<Record<AssignmentKind, number>> = {
  task: 1,
  secret: 2,
  config: 3,
  network: 4,
  endpoint: 5,
  serviceEntry: 6,
  port: 7,
  peer: 8,
};

/** A sum that items are added to and taken from, in two halves of 32 bits. */
export class AssignmentChecksum {
  #low = 0;
  #high = 0;

  /** 16 hexadecimal digits; those of nothing are 0. */
  get value(): string {
    return hexadecimal(this.#high) + hexadecimal(this.#low);
  }

  add(kind: AssignmentKind, key: string, version: number): void {
    this.#mix(kind, key, version, 1);
  }

  /** What was added before, with the same version. */
  subtract(kind: AssignmentKind, key: string, version: number): void {
    this.#mix(kind, key, version, -1);
  }

  /** All that was added to another one. */
  include(other: AssignmentChecksum): void {
    this.#low = (this.#low + other.#low) | 0;
    this.#high = (this.#high + other.#high) | 0;
  }

  /** `cyrb53` (bryc, public domain) with both halves whole: quick, and good enough against chance. Not against enemies. */
  #mix(kind: AssignmentKind, key: string, version: number, sign: 1 | -1): void {
    const number = KIND_NUMBERS[kind];
    let low = 0xdeadbeef ^ number;
    let high = 0x41c6ce57 ^ number;
    for (let at = 0; at < key.length; at++) {
      const code = key.charCodeAt(at);
      low = Math.imul(low ^ code, 0x9e3779b1);
      high = Math.imul(high ^ code, 0x5f356495);
    }
    for (const half of [version | 0, Math.floor(version / 2 ** 32)]) {
      low = Math.imul(low ^ half, 0x9e3779b1);
      high = Math.imul(high ^ half, 0x5f356495);
    }
    low = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2ae35);
    high = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
    this.#low = (this.#low + sign * low) | 0;
    this.#high = (this.#high + sign * high) | 0;
  }
}

function hexadecimal(half: number): string {
  return (half >>> 0).toString(16).padStart(8, '0');
}

/** As the manager counts it. Tasks have versions; what has none, and never changes under its id, is of version 0. */
export function versionOf(change: Extract<AssignmentChange, { action: 'set' }>): number {
  return change.kind === 'task' ? change.item.meta.version : (change.version ?? 0);
}

/** What a node holds, by the changes that came: which versions, and the sum of them. */
export class AssignmentLedger {
  #versions = new Map<AssignmentKind, Map<string, number>>();
  #sum = new AssignmentChecksum();

  get checksum(): string {
    return this.#sum.value;
  }

  /** A whole set follows. */
  clear(): void {
    this.#versions = new Map();
    this.#sum = new AssignmentChecksum();
  }

  apply(change: AssignmentChange): void {
    const { kind, key } = change;
    const versions = this.#of(kind);
    const known = versions.get(key);
    if (known !== undefined) this.#sum.subtract(kind, key, known);
    if (change.action === 'remove') {
      versions.delete(key);
      return;
    }
    const version = versionOf(change);
    versions.set(key, version);
    this.#sum.add(kind, key, version);
  }

  #of(kind: AssignmentKind): Map<string, number> {
    const known = this.#versions.get(kind);
    if (known) return known;
    const versions = new Map<string, number>();
    this.#versions.set(kind, versions);
    return versions;
  }
}
