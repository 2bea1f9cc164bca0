/**
 * How a manager takes its place when its Raft node has started, by what it was before: the first of a new
 * cluster, one that joins others, or one that goes on. Knows no rooms.
 */
import { withDeadline } from '../common/base/deadline.ts';
import { describeError, SkepError } from '../common/base/errors.ts';
import type { TaskSet } from '../common/base/lifecycle.ts';
import type { Peer } from '../common/rpc/peer.ts';
import { ENTRY_TIMEOUT_MS, GroupEntry } from './group-entry.ts';
import type { ManagerOptions, ManagerOrigin } from './manager-options.ts';
import type { RaftNode } from './raftnode/raft-node.ts';
import type { MemoryStore } from './store/store.ts';

export interface ManagerPlaceOptions {
  readonly manager: ManagerOptions;
  readonly store: MemoryStore;
  readonly raft: RaftNode;
  readonly raftId: number;
  /** For what goes on after the start. */
  readonly background: TaskSet;
  /** This manager as a caller of others. */
  readonly self: () => Peer;
  readonly isLeading: () => boolean;
  /** Resolves when the leader's rooms run, or do not. */
  readonly roomsSettled: () => Promise<void>;
  /** The others removed this manager before it knew that it had been added. */
  readonly expelled: () => void;
}

export class ManagerPlace {
  readonly #options: ManagerPlaceOptions;

  constructor(options: ManagerPlaceOptions) {
    this.#options = options;
  }

  /** The first objects, or entering an existing group. See `Manager.start`. */
  async take(origin: ManagerOrigin, signal?: AbortSignal): Promise<void> {
    const { raft, raftId, store, background, expelled } = this.#options;
    const members = raft.members();
    if (origin.kind === 'bootstrap') {
      const { cluster, node } = origin.cluster;
      await this.#whenLeading();
      await store.update((tx) => {
        tx.create('cluster', cluster);
        tx.create('node', node);
      });
    } else if (origin.kind === 'join') {
      await this.#groupEntry(origin.managerAddresses).enter(signal);
    } else if (members.length === 0 && origin.managerAddresses.length === 0) {
      throw interruptedInit(); // who joins knows at least the manager that it asked
    } else if (!members.some((member) => member.raftId === raftId)) {
      const entry = this.#groupEntry(origin.managerAddresses);
      background.run(async (ending) => {
        if (!(await entry.resume(ending))) expelled();
      });
    } else if (members.length === 1) {
      await this.#requireCluster();
    }
  }

  /** Between the first log and the first objects of a new cluster the process may have ended. */
  async #requireCluster(): Promise<void> {
    const { manager, store } = this.#options;
    try {
      await this.#whenLeading();
    } catch (err) {
      manager.log.warn({ reason: describeError(err) }, 'the only manager does not lead yet');
      return;
    }
    if (store.view((view) => view.list('cluster').length) > 0) return;
    throw interruptedInit();
  }

  #groupEntry(managerAddresses: readonly string[]): GroupEntry {
    const { raft, raftId, self } = this.#options;
    const { nodeId, address, pool, clock, random, log } = this.#options.manager;
    return new GroupEntry({
      member: { raftId, nodeId, address, learner: true },
      ...{ raft, managerAddresses, pool, self, clock, random },
      log: log.child({ component: 'raft' }),
    });
  }

  async #whenLeading(): Promise<void> {
    const { raft, manager, isLeading, roomsSettled } = this.#options;
    const { clock } = manager;
    const action = 'take up leadership of a single manager';
    await withDeadline({ clock, limitMs: ENTRY_TIMEOUT_MS, action }, async (signal) => {
      while (!isLeading()) {
        await raft.readBarrier(signal);
        await roomsSettled();
      }
    });
  }
}

function interruptedInit(): SkepError {
  return new SkepError(
    'not-in-swarm',
    "start manager: 'swarm init' was interrupted on this node before the cluster was made: run it again",
  );
}
