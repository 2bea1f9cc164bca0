/**
 * The core alone: no disk, no network, no clock. What a driver does with a Ready is done at once, in
 * the same turn; proposals come in batches of 64, as they gather during a flush.
 */
import { SeededRandom } from '../../common/base/random.ts';
import { MemoryStorage } from '../../manager/raft/memory-storage.ts';
import { RawNode } from '../../manager/raft/raw-node.ts';
import {
  EMPTY_CONF_STATE,
  hardStateOf,
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
} from '../../manager/raft/types.ts';
import { figure } from '../support/report.ts';
import { median } from '../support/statistics.ts';

const BATCH = 64;
const PAYLOAD = Buffer.alloc(1_000, 'v');
const ROUNDS = 3;
const ROUND_MS = 1_500;
/** The log is cut as after a snapshot, so that memory stays the same. */
const COMPACT_EVERY = 10_000;

class Member {
  readonly id: number;
  readonly raw: RawNode;
  readonly #storage = new MemoryStorage();
  readonly #network: Map<number, Member>;
  applied = 0;
  inbox: Message[] = [];

  constructor(id: number, voters: readonly number[], network: Map<number, Member>) {
    this.id = id;
    this.#network = network;
    const confState = { ...EMPTY_CONF_STATE, voters };
    const start = { confState, index: 1, term: 1 };
    this.#storage.applySnapshot({ data: new Uint8Array(0), metadata: start });
    this.#storage.setHardState({ term: 1, vote: 0, commit: 1 });
    this.applied = 1;
    this.raw = new RawNode({
      id,
      electionTicks: 10,
      heartbeatTicks: 1,
      storage: this.#storage,
      random: new SeededRandom(id),
      applied: 1,
      asyncStorageWrites: true,
      maxSizePerMessageBytes: 256 * 1024,
      maxCommittedSizePerReadyBytes: 4 * 1024 * 1024,
      maxInflightMessages: 256,
    });
    network.set(id, this);
  }

  work(): void {
    const received = this.inbox;
    this.inbox = [];
    for (const message of received) this.raw.step(message);
    while (this.raw.hasReady())
      for (const message of this.raw.ready().messages) this.#take(message);
    if (this.applied - this.#storage.firstIndex() > 2 * COMPACT_EVERY) {
      this.#storage.compact(this.applied - COMPACT_EVERY);
    }
  }

  #take(message: Message): void {
    if (message.to === LOCAL_APPEND_THREAD) {
      this.#storage.append(message.entries);
      const hardState = hardStateOf(message);
      if (hardState !== null) this.#storage.setHardState(hardState);
    } else if (message.to === LOCAL_APPLY_THREAD) {
      this.applied = message.entries.at(-1)!.index;
    } else {
      this.#network.get(message.to)!.inbox.push(message);
      return;
    }
    for (const response of message.responses) {
      if (response.to === this.id) this.raw.step(response);
      else this.#network.get(response.to)!.inbox.push(response);
    }
  }
}

/** Proposals per second that a group of `size` commits and applies on the leader. */
function measure(size: number): number {
  const network = new Map<number, Member>();
  const ids = Array.from({ length: size }, (_, i) => i + 1);
  const members = ids.map((id) => new Member(id, ids, network));
  const leader = members[0]!;
  const settle = (): void => {
    do for (const member of members) member.work();
    while (members.some(({ inbox }) => inbox.length > 0));
  };
  leader.raw.campaign();
  settle();
  const batch = Array.from({ length: BATCH }, () => PAYLOAD);
  const startMs = performance.now();
  const first = leader.applied;
  while (performance.now() - startMs < ROUND_MS) {
    leader.raw.proposeAll(batch);
    settle();
  }
  return ((leader.applied - first) * 1000) / (performance.now() - startMs);
}

export async function core(): Promise<void> {
  for (const [size, key] of [
    [1, 'core_proposals_per_s'],
    [3, 'core_three_voters_proposals_per_s'],
  ] as const) {
    measure(size); // warm-up
    figure(key, median(Array.from({ length: ROUNDS }, () => measure(size))));
  }
}
