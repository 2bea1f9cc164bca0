/**
 * The group of managers as others see it: answers who belongs to it, adds and removes members on the
 * leader. Knows who may ask, not how membership is agreed upon, nor who has to hear of it.
 */
import { SkepError } from '../common/base/errors.ts';
import { Scope } from '../common/base/lifecycle.ts';
import { asId, type NodeId } from '../common/model/ids.ts';
import { addMember, listMembers, removeMember } from '../common/rpc/membership-methods.ts';
import type { RpcService } from '../common/rpc/server.ts';
import type { RaftMember } from './raftnode/membership.ts';
import type { RaftNode } from './raftnode/raft-node.ts';
import type { RaftGroup } from './role-manager.ts';
import type { Store } from './store/types.ts';

export interface GroupServiceOptions {
  readonly raft: RaftNode;
  readonly store: Store;
  readonly isLeader: () => boolean;
  readonly notLeader: (action: string) => SkepError;
}

export class GroupService implements RaftGroup {
  readonly #options: GroupServiceOptions;

  constructor(options: GroupServiceOptions) {
    this.#options = options;
  }

  /** Returns the release. */
  register(server: RpcService): () => Promise<void> {
    const { raft, isLeader, notLeader } = this.#options;
    const scope = new Scope();
    scope.defer(
      server.handleUnary(listMembers, async () => raft.members().map((member) => ({ ...member }))),
    );
    scope.defer(
      server.handleUnary(addMember, async (request, { peer, signal }) => {
        if (!isLeader()) throw notLeader('add manager');
        if (peer.nodeId !== request.nodeId) {
          throw new SkepError('permission-denied', 'add manager: a node may only add itself');
        }
        this.#requireWanted(request.nodeId);
        await this.#dropFormer(request.nodeId, request.raftId, signal);
        await raft.addMember(request, signal);
        return null;
      }),
    );
    scope.defer(
      server.handleUnary(removeMember, async ({ raftId }, { peer, signal }) => {
        if (!isLeader()) throw notLeader('remove manager');
        const member = raft.members().find((it) => it.raftId === raftId);
        if (!member) return null;
        if (peer.nodeId !== member.nodeId) {
          throw new SkepError('permission-denied', 'remove manager: a node may only remove itself');
        }
        await raft.removeMember(member.raftId, signal);
        return null;
      }),
    );
    return () => scope.close();
  }

  has(nodeId: NodeId): boolean {
    return this.#memberOf(nodeId) !== undefined;
  }

  /** Of all members. */
  nodeIds(): ReadonlySet<string> {
    return new Set(this.#options.raft.members().map(({ nodeId }) => nodeId));
  }

  async remove(nodeId: NodeId, signal: AbortSignal): Promise<void> {
    const member = this.#memberOf(nodeId);
    if (member) await this.#options.raft.removeMember(member.raftId, signal);
  }

  /** A node on its way to worker must not come back by a request that it sent before it knew. */
  #requireWanted(nodeId: string): void {
    const node = this.#options.store.view((view) => view.get('node', asId<NodeId>(nodeId)));
    if (node?.spec.desiredRole === 'manager') return;
    throw new SkepError('conflict', `add manager: node ${nodeId} is not to be a manager`);
  }

  /** A node that lost its manager's state joins again under a new id; its old member is dead. */
  async #dropFormer(nodeId: string, raftId: number, signal: AbortSignal): Promise<void> {
    const { raft } = this.#options;
    const former = raft.members().find((it) => it.nodeId === nodeId && it.raftId !== raftId);
    if (former) await raft.removeMember(former.raftId, signal);
  }

  #memberOf(nodeId: NodeId): RaftMember | undefined {
    return this.#options.raft.members().find((member) => member.nodeId === nodeId);
  }
}
