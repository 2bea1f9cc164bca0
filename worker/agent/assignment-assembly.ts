/**
 * Sets of assignments as they come: put together of their parts, held against the revision that they follow, and
 * against the manager's checksum. Knows nothing of what is in them.
 */
import type { Clock, Timer } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { AssignmentChange } from '../../common/model/assignment.ts';
import { AssignmentLedger } from '../../common/model/assignment-checksum.ts';
import type { DispatcherMessage } from '../../common/model/session.ts';

type Assignments = Extract<DispatcherMessage, { kind: 'assignments' }>;

/** Checksums of what a node holds after a set, where they are not the same. */
export interface Difference {
  readonly expected: string;
  readonly actual: string;
}

export interface AssembledSet {
  readonly changes: readonly AssignmentChange[];
  readonly complete: boolean;
  readonly revision: number;
  readonly difference: Difference | null;
}

/** Of one session. */
export class AssignmentAssembly {
  #revision: number | null = null;
  #parts: AssignmentChange[] = [];
  readonly #ledger = new AssignmentLedger();

  /** The whole step when its last part came, else null. A gap in the sequence ends the session. */
  add(message: Assignments): AssembledSet | null {
    if (!message.complete && message.appliesTo !== this.#revision) {
      throw new SkepError(
        'unavailable',
        `apply assignments: step from ${message.appliesTo}, but this node is at ${this.#revision}`,
      );
    }
    this.#parts.push(...message.changes);
    if (!message.last) return null;
    const changes = this.#parts;
    this.#parts = [];
    const { complete, resultsIn: revision, checksum: expected } = message;
    this.#revision = revision;
    if (complete) this.#ledger.clear();
    for (const change of changes) this.#ledger.apply(change);
    const actual = this.#ledger.checksum;
    const agrees = expected === '' || expected === actual; // managers of before do not tell
    return { changes, complete, revision, difference: agrees ? null : { expected, actual } };
  }
}

/** After a whole set that differs the next one is asked for so late, and twice as late each time. */
const AGAIN = { firstMs: 1_000, maxMs: 300_000 };

/**
 * What follows from differences: the whole set is asked for at once, and nothing is used before it is there, for what lacks may be what
 * a task needs. When that differs as well it is used all the same, or a fault of the counting would stop this node, and asked for
 * again later.
 */
export class Resync {
  readonly #clock: Clock;
  readonly #ask: () => void;
  #state: 'agrees' | 'asked' | 'differs' = 'agrees';
  #againMs = AGAIN.firstMs;
  #again: Timer | null = null;

  constructor(clock: Clock, ask: () => void) {
    this.#clock = clock;
    this.#ask = ask;
  }

  /** Whether the set is to be put in force. */
  isUsable({ complete, difference }: Pick<AssembledSet, 'complete' | 'difference'>): boolean {
    // A step agrees again only together with those before it, which were not put in force.
    if (this.#state === 'asked' && !complete) return false;
    if (difference === null) {
      this.stop();
      this.#state = 'agrees';
      this.#againMs = AGAIN.firstMs;
      return true;
    }
    if (this.#state === 'agrees') {
      this.#state = 'asked';
      this.#ask();
      return false;
    }
    if (complete) this.#askLater();
    return this.#state === 'differs';
  }

  /** Idempotent. */
  stop(): void {
    this.#again?.cancel();
    this.#again = null;
  }

  #askLater(): void {
    this.#state = 'differs';
    this.stop();
    this.#again = this.#clock.setTimer(this.#againMs, this.#ask);
    this.#againMs = Math.min(2 * this.#againMs, AGAIN.maxMs);
  }
}
