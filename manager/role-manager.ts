/**
 * Makes a node's role follow what is wanted of it. A promoted node gets the right to a manager's
 * certificate; a demoted one leaves the Raft group first. Leader only; writes `node.role`, nothing else.
 */
import type { Clock } from '../common/base/clock.ts';
import { describeError, hasCode } from '../common/base/errors.ts';
import type { OnFailure } from '../common/base/lifecycle.ts';
import type { Logger } from '../common/base/log.ts';
import type { Random } from '../common/base/random.ts';
import type { NodeId } from '../common/model/ids.ts';
import type { Node } from '../common/model/node.ts';
import { Follower } from './store/follower.ts';
import type { Commit, Store } from './store/types.ts';

/** The Raft group, by node. */
export interface RaftGroup {
  /** True when the node is a member, learner or voter. */
  has(nodeId: NodeId): boolean;
  /** Of all members. */
  nodeIds(): ReadonlySet<string>;
  /** Rejects with `failed-precondition` while quorum would be lost. */
  remove(nodeId: NodeId, signal: AbortSignal): Promise<void>;
}

export interface RoleManagerOptions {
  readonly store: Store;
  readonly group: RaftGroup;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

/** A removal that would lose quorum is tried again after this long. */
const RETRY_MS = 5_000;

export class RoleManager {
  readonly #options: RoleManagerOptions;
  readonly #follower: Follower;
  #retry: { cancel(): void } | null = null;

  constructor(options: RoleManagerOptions) {
    this.#options = options;
    this.#follower = new Follower(options, {
      resync: (signal) => this.#reconcile(this.#allNodes(), signal),
      react: (commits, signal) => {
        // What makes a demotion wait may be another node.
        const all = commits.length === 0 || this.#retry !== null;
        return this.#reconcile(all ? this.#allNodes() : changedNodes(commits), signal);
      },
    });
  }

  async start(): Promise<void> {
    this.#follower.start();
  }

  async stop(): Promise<void> {
    await this.#follower.stop();
    this.#retry?.cancel(); // not before: what runs until then sets it
  }

  #allNodes(): readonly Node[] {
    return this.#options.store.view((view) => view.list('node'));
  }

  async #reconcile(nodes: readonly Node[], signal: AbortSignal): Promise<void> {
    if (nodes.length === 0) return;
    const { group } = this.#options;
    const members = group.nodeIds(); // once: nodes come by the thousand
    for (const node of nodes) {
      const { desiredRole } = node.spec;
      if (desiredRole === 'manager' && node.role === 'worker') await this.#setRole(node);
      else if (desiredRole === 'worker' && (node.role === 'manager' || members.has(node.id))) {
        await this.#demote(node, signal);
      }
    }
  }

  async #demote(node: Node, signal: AbortSignal): Promise<void> {
    const { group, log, clock } = this.#options;
    try {
      if (group.has(node.id)) await group.remove(node.id, signal);
      if (node.role === 'manager') await this.#setRole(node);
    } catch (err) {
      if (!hasCode(err, 'failed-precondition', 'unavailable', 'conflict')) throw err;
      log.warn({ nodeId: node.id, reason: describeError(err) }, 'demotion waits');
      this.#retry ??= clock.setTimer(RETRY_MS, () => {
        this.#retry = null;
        this.#follower.wake();
      });
    }
  }

  async #setRole({ id }: Node): Promise<void> {
    await this.#options.store.update((tx) => {
      const node = tx.get('node', id);
      if (!node || node.role === node.spec.desiredRole) return;
      tx.update('node', { ...node, role: node.spec.desiredRole });
    });
    this.#options.log.info({ nodeId: id }, 'node role changed');
  }
}

/** As the last change has them: nodes register by the thousand, and all of them would be looked at for each. */
function changedNodes(commits: readonly Commit[]): readonly Node[] {
  const nodes = new Map<NodeId, Node>();
  for (const { changes } of commits) {
    for (const change of changes) {
      if (change.kind !== 'node') continue;
      if (change.action === 'remove') nodes.delete(change.object.id);
      else nodes.set(change.object.id, change.object);
    }
  }
  return [...nodes.values()];
}
