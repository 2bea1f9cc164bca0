/**
 * What an invariant is to the simulator: a number, a name, and what it wants to be told. A checker
 * throws through `broken`; the run ends at the end of the event.
 */
import type { RaftEvent } from '../../manager/raft/events.ts';
import type { BasicStatus, Status } from '../../manager/raft/status.ts';
import type { Entry, Message } from '../../manager/raft/types.ts';
import type { WalRecord } from '../../manager/raftnode/wal-format.ts';
import type { EventKind } from './clock.ts';
import type { Machine } from './machine.ts';
import type { Write } from './registers.ts';
import type { Operation } from './workload.ts';

/** A node after an event of its own. */
export interface NodeView {
  readonly machine: Machine;
  readonly kind: EventKind;
  readonly status: BasicStatus;
  /** Applied to the state machine. */
  readonly appliedIndex: number;
  /** After the event before; null right after a start. */
  readonly before: { readonly status: BasicStatus; readonly appliedIndex: number } | null;
  /** Members and progress; made on the first call. */
  details(): Status;
  /** As anybody asked for them last, in this life. */
  readonly detailsBefore: Status | null;
}

export interface Applied {
  readonly machine: Machine;
  readonly index: number;
  readonly payload: Uint8Array;
  readonly write: Write;
  readonly done: boolean;
  /** Checksum over everything applied so far. */
  readonly chain: number;
}

/** All hooks are told before the node goes on, but `after` and `ended`. */
export interface Checker {
  readonly number: number;
  readonly name: string;
  after?(view: NodeView): void;
  event?(machine: Machine, event: RaftEvent): void;
  sending?(machine: Machine, message: Message): void;
  delivering?(machine: Machine, message: Message): void;
  applied?(applied: Applied): void;
  restored?(machine: Machine, index: number, chain: number): void;
  /** An entry became durable on the machine, after the one of `previousTerm`. */
  durable?(machine: Machine, entry: Entry, previousTerm: number | null): void;
  flushed?(machine: Machine, records: readonly WalRecord[]): void;
  /** The process is back after a crash, with what it found on its disk. */
  restarted?(machine: Machine): void;
  /** A start was refused. */
  refused?(machine: Machine, err: unknown): void;
  operation?(operation: Operation): void;
  /** All faults are over, everybody agrees, nothing is open. */
  ended?(running: readonly Machine[]): void;
}

/** Number 0 is for the product's own assertions. */
export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation';
  readonly number: number;
  readonly invariant: string;

  constructor(number: number, invariant: string, words: string) {
    super(`invariant ${number} (${invariant}): ${words}`);
    this.number = number;
    this.invariant = invariant;
  }
}

export class BrokenInvariant extends Error {}

/** Ends the run with the invariant of the checker that calls it. */
export function broken(words: string): never {
  throw new BrokenInvariant(words);
}

export function expect(condition: boolean, words: () => string): void {
  if (!condition) broken(words());
}

/** What checkers of any world have in common. */
export interface AnyChecker {
  readonly number: number;
  readonly name: string;
}

type HookOf<C> = Exclude<keyof C, keyof AnyChecker>;
type ArgumentsOf<T> = T extends (...args: infer A) => void ? A : never;

/** Calls the checkers, and remembers the first violation rather than throw it into the product. */
export class Checks<C extends AnyChecker = Checker> {
  readonly #byHook = new Map<PropertyKey, C[]>();
  violation: InvariantViolation | null = null;

  constructor(checkers: readonly C[]) {
    for (const checker of checkers) {
      let proto: object | null = checker;
      const hooks = new Set<string>();
      for (; proto !== null; proto = Object.getPrototypeOf(proto)) {
        for (const key of Object.getOwnPropertyNames(proto)) hooks.add(key);
      }
      for (const hook of hooks) {
        const list = this.#byHook.get(hook) ?? [];
        list.push(checker);
        this.#byHook.set(hook, list);
      }
    }
  }

  tell<H extends HookOf<C>>(hook: H, ...args: ArgumentsOf<NonNullable<C[H]>>): void {
    for (const checker of this.#byHook.get(hook) ?? []) {
      try {
        (checker[hook] as (...args: unknown[]) => void)(...args);
      } catch (err) {
        if (!(err instanceof BrokenInvariant)) throw err;
        this.report(checker.number, checker.name, err.message);
      }
    }
  }

  report(number: number, name: string, words: string): void {
    this.violation ??= new InvariantViolation(number, name, words);
  }
}
