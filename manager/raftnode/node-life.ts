/**
 * In which stretch of its life a raft node is, and how it ends. Knows nothing of what it does.
 */
import { assert } from '../../common/base/assert.ts';
import { ROLE_LOST } from '../../common/base/errors.ts';
import type { OnFailure } from '../../common/base/lifecycle.ts';
import { ProposalError } from './proposals.ts';

/**
 * - created: nothing runs; - running; - leaving: removed, still votes (see `Leaving`);
 * - stopping: hands leadership over; - removed: no member any more, waits for `stop`;
 * - failed: `onFailure` was told; - stopped.
 */
export type NodeState =
  | 'created'
  | 'running'
  | 'leaving'
  | 'stopping'
  | 'removed'
  | 'failed'
  | 'stopped';

const ACTIVE: ReadonlySet<NodeState> = new Set<NodeState>(['running', 'leaving', 'stopping']);

export interface NodeLifeOptions {
  /** The node takes no part from now on; told before `onFailure`, perhaps more than once. */
  readonly quit: (why: string) => void;
  readonly onFailure: OnFailure;
}

export class NodeLife {
  readonly #options: NodeLifeOptions;
  #state: NodeState = 'created';

  constructor(options: NodeLifeOptions) {
    this.#options = options;
  }

  get state(): NodeState {
    return this.#state;
  }

  /** The core is driven. */
  get isActive(): boolean {
    return ACTIVE.has(this.#state);
  }

  /** A member in good standing, or one that leaves: not yet asked to stop. */
  get isMember(): boolean {
    return this.#state === 'running' || this.#state === 'leaving';
  }

  start(): void {
    assert(this.#state === 'created', `raft node: started while ${this.#state}`);
    this.#state = 'running';
  }

  leave(): void {
    assert(this.#state === 'running', `raft node: left while ${this.#state}`);
    this.#state = 'leaving';
  }

  /** A member that was asked to stop. */
  stopping(): void {
    assert(this.isMember, `raft node: stopped while ${this.#state}`);
    this.#state = 'stopping';
  }

  removed(): void {
    this.#state = 'removed';
    this.#options.quit('removed from the cluster');
  }

  fail(err: unknown): void {
    if (this.#state === 'failed' || this.#state === 'stopped') return;
    this.#state = 'failed';
    this.#options.quit('failed');
    this.#options.onFailure(err);
  }

  stopped(): void {
    this.#state = 'stopped';
    this.#options.quit('stopped');
  }

  /**
   * Does nothing on a node that takes no part. The core's assertions end the process through the
   * owner, not through a stray rejection.
   */
  guarded(act: () => void): void {
    if (!this.isActive) return;
    try {
      act();
    } catch (err) {
      this.fail(err);
    }
  }

  /** Why nothing can be asked of this node; null when it can. */
  refusal(action: string): ProposalError | null {
    if (this.#state === 'running') return null;
    if (this.#state === 'removed' || this.#state === 'leaving') {
      const words = `${action}: this manager was removed from the cluster`;
      return new ProposalError('not-a-manager', words, false, {
        details: { [ROLE_LOST]: 'manager' },
      });
    }
    // On its way out it hands leadership over: the next leader is to be asked.
    const code =
      this.#state === 'stopping' || this.#state === 'stopped' ? 'no-leader' : 'unavailable';
    return new ProposalError(code, `${action}: this manager is ${this.#state}`, false);
  }
}
