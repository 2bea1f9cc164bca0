/**
 * Clients that read, write, compare-and-swap and remove, each through a manager of its own, and record
 * what they called and learned. Values are unique, so that every lost or doubled write shows.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import type { Call, Operation, Outcome } from '../support/linearizability/history.ts';
import { classifyWriteFailure, type Found, Registers, type WriteFailure } from './registers.ts';

/** Keys in use at a time: few, so that clients meet. */
const KEYS_AT_ONCE = 6;
/** Operations of a key until another takes its place: what a check of one key bears easily. */
const KEY_OPERATIONS_MAX = 500;
/** An operation without an answer counts as unknown after this; above every limit of the daemon. */
const OPERATION_LIMIT_MS = 20_000;
/** Attempts of a write whose version was overtaken. */
const WRITE_ATTEMPTS_MAX = 5;
/** Pause after an operation, at most; and after a failed one, at least. */
const THINK_MS_MAX = 60;
const FAILURE_PAUSE_MS = 50;

/** The keys that are in use, and all that ever were. */
export class KeyRing {
  readonly all: string[] = [];
  readonly #active: { readonly key: string; operations: number }[] = [];

  constructor() {
    while (this.#active.length < KEYS_AT_ONCE) this.#active.push(this.#fresh());
  }

  choose(random: Random): string {
    const at = random.below(KEYS_AT_ONCE);
    const entry = this.#active[at]!;
    if (++entry.operations >= KEY_OPERATIONS_MAX) this.#active[at] = this.#fresh();
    return entry.key;
  }

  #fresh(): { key: string; operations: number } {
    const key = `register-${this.all.length}`;
    this.all.push(key);
    return { key, operations: 0 };
  }
}

/** What the clients of a run did: their operations, and how often which failure came. */
export class Book {
  readonly operations: Operation[] = [];
  readonly #failures = new Map<string, number>();

  record(operation: Operation): void {
    this.operations.push(operation);
  }

  /** How a failure was taken, and its words. */
  failed(failure: WriteFailure | 'read', err: unknown): void {
    const line = `${failure}: ${describeError(err).replace(/register-\d+/g, 'KEY')}`;
    this.#failures.set(line, (this.#failures.get(line) ?? 0) + 1);
  }

  /** The most frequent ones first. */
  failureLines(): string[] {
    const sorted = [...this.#failures].sort(([, a], [, b]) => b - a);
    return sorted.map(([line, times]) => `${times} x ${line}`);
  }
}

export interface ClientOptions {
  readonly name: string;
  /** of its manager */
  readonly socket: string;
  readonly keys: KeyRing;
  readonly random: Random;
  /** On the clock of the run. */
  readonly nowMs: () => number;
  readonly book: Book;
}

type Settled = { readonly kind: 'done' } | { readonly kind: WriteFailure };

export class Client {
  readonly #options: ClientOptions;
  readonly #registers: Registers;
  /** What this client saw last, by key: where its compare-and-swaps start from, stale or not. */
  readonly #seen = new Map<string, Found | null>();
  #values = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#registers = new Registers(options.socket);
  }

  /** Goes on until `signal`; an operation under way then is waited for. */
  async run(signal: AbortSignal): Promise<void> {
    const { random, keys } = this.#options;
    while (!signal.aborted) {
      const key = keys.choose(random);
      const dice = random.unit();
      const works =
        dice < 0.4
          ? (await this.#read(key)) !== undefined
          : dice < 0.65
            ? await this.#write(key)
            : dice < 0.96
              ? await this.#swap(key)
              : await this.#remove(key);
      await sleep(random.unit() * THINK_MS_MAX + (works ? 0 : FAILURE_PAUSE_MS));
    }
    this.#registers.close();
  }

  /** undefined = it failed. */
  async #read(key: string): Promise<Found | null | undefined> {
    const begin = this.#options.nowMs();
    try {
      const found = await this.#registers.read(key, limit());
      this.#seen.set(key, found);
      this.#record(key, { kind: 'read' }, begin, { kind: 'saw', value: found?.value ?? null });
      return found;
    } catch (err) {
      this.#options.book.failed('read', err);
      this.#record(key, { kind: 'read' }, begin, { kind: 'failed' });
      return undefined;
    }
  }

  /** From what was seen last, or from a new read: both happen. */
  async #swap(key: string): Promise<boolean> {
    const { random, nowMs } = this.#options;
    const known = random.unit() < 0.3 ? this.#seen.get(key) : undefined;
    const found = known === undefined ? await this.#read(key) : known;
    if (found === undefined) return false;
    const value = this.#newValue();
    const call: Call = { kind: 'cas', expected: found?.value ?? null, value };
    const begin = nowMs();
    return this.#settle(key, call, begin, await this.#put(key, found, value));
  }

  /** Whatever is there is overwritten: read and swapped until that holds. */
  async #write(key: string): Promise<boolean> {
    const value = this.#newValue();
    const begin = this.#options.nowMs();
    const call: Call = { kind: 'write', value };
    for (let attempt = 1; ; attempt++) {
      const found = await this.#read(key);
      if (found === undefined) return this.#settle(key, call, begin, { kind: 'refused' });
      const settled = await this.#put(key, found, value);
      const again = settled.kind === 'conflict' && attempt < WRITE_ATTEMPTS_MAX;
      if (!again) return this.#settle(key, call, begin, settled);
    }
  }

  async #remove(key: string): Promise<boolean> {
    const begin = this.#options.nowMs();
    const settled = await this.#attempt(() => this.#registers.remove(key, limit()));
    return this.#settle(key, { kind: 'write', value: null }, begin, settled);
  }

  #put(key: string, found: Found | null, value: string): Promise<Settled> {
    return this.#attempt(() =>
      found === null
        ? this.#registers.create(key, value, limit())
        : this.#registers.update(key, found.version, value, limit()),
    );
  }

  async #attempt(act: () => Promise<void>): Promise<Settled> {
    try {
      await act();
      return { kind: 'done' };
    } catch (err) {
      const kind = classifyWriteFailure(err);
      this.#options.book.failed(kind, err);
      return { kind };
    }
  }

  #settle(key: string, call: Call, begin: number, { kind }: Settled): boolean {
    const outcome = kind === 'done' || kind === 'unknown' ? { kind } : { kind: 'failed' as const };
    this.#record(key, call, begin, outcome);
    return kind === 'done' || kind === 'conflict';
  }

  #record(key: string, call: Call, invokedMs: number, outcome: WithoutTime<Outcome>): void {
    const { name, nowMs, book } = this.#options;
    const timed = outcome.kind === 'unknown' ? outcome : { ...outcome, atMs: nowMs() };
    book.record({ client: name, key, call, invokedMs, outcome: timed });
  }

  #newValue(): string {
    return `${this.#options.name}.${this.#values++}`;
  }
}

type WithoutTime<T> = T extends unknown ? Omit<T, 'atMs'> : never;

function limit(): AbortSignal {
  return AbortSignal.timeout(OPERATION_LIMIT_MS);
}
