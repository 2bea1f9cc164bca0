/**
 * Cuts the connections of nodes that were removed from the cluster, on every manager: what they had
 * open would live on otherwise. That they do not come back is the server's block list. Writes nothing.
 */
import { Follower, type FollowerOptions } from './store/follower.ts';
import type { Commit } from './store/types.ts';

export interface ExpulsionOptions extends FollowerOptions {
  /** Ends every connection of a node, e.g. `RpcServer.disconnect`. */
  readonly disconnect: (nodeId: string) => void;
}

export class Expulsion {
  readonly #disconnect: ExpulsionOptions['disconnect'];
  readonly #follower: Follower;

  constructor(options: ExpulsionOptions) {
    const { store, disconnect } = options;
    this.#disconnect = disconnect;
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
    for (const { changes } of commits) {
      for (const { kind, action, object } of changes) {
        if (kind === 'node' && action === 'remove') this.#disconnect(object.id);
      }
    }
  }
}
