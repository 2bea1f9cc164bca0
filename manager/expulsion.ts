/**
 * Cuts the connections of nodes that were removed from the cluster, on every manager, and the calls of those that are no
 * managers any more: what they had open would live on otherwise. That they do not come back is for the server, which
 * looks at the block list and at their roles. Writes nothing.
 */
import { Follower, type FollowerOptions } from './store/follower.ts';
import type { Commit } from './store/types.ts';

export interface ExpulsionOptions extends FollowerOptions {
  /** Ends every connection of a node, e.g. `RpcServer.disconnect`. */
  readonly disconnect: (nodeId: string) => void;
  /** Ends its calls, not its links: Raft's group ends those of its members, and its agent's session goes on. */
  readonly disconnectCalls: (nodeId: string) => void;
}

export class Expulsion {
  readonly #options: ExpulsionOptions;
  readonly #follower: Follower;

  constructor(options: ExpulsionOptions) {
    const { store, disconnect } = options;
    this.#options = options;
    this.#follower = new Follower(options, {
      resync: async () => {
        const blocked = store.view((view) => view.list('cluster')[0]?.blockedNodes ?? {});
        for (const nodeId of Object.keys(blocked)) disconnect(nodeId);
      },
      react: async (commits) => this.#react(commits),
    });
  }

  async start(): Promise<void> {
    this.#follower.start();
  }

  /** Idempotent. */
  stop(): Promise<void> {
    return this.#follower.stop();
  }

  #react(commits: readonly Commit[]): void {
    const { disconnect, disconnectCalls } = this.#options;
    for (const { changes } of commits) {
      for (const change of changes) {
        if (change.kind !== 'node') continue;
        const { action, object } = change;
        if (action === 'remove') disconnect(object.id);
        else if (action === 'update' && object.role !== change.previous.role) {
          if (object.role === 'worker') disconnectCalls(object.id);
        }
      }
    }
  }
}
