/**
 * The way of a Ready: what the core wants is taken out of it once per turn and carried to the two
 * loops and to the peers, and what they answer goes back in. Knows what kinds of work there are,
 * not what any of it means.
 *
 *   step/tick/propose -> core -> Ready: messages to peers (leave at once, also while our own write of
 *   the same entries is under way), `storage-append` -> append loop, `storage-apply` -> apply loop
 *   -> their responses -> step, or on to peers
 */
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import { LocalMessageError, ProposalDroppedError, UnknownPeerError } from '../raft/errors.ts';
import type { RawNode } from '../raft/raw-node.ts';
import {
  LOCAL_APPEND_THREAD,
  LOCAL_APPLY_THREAD,
  type Message,
  type SoftState,
} from '../raft/types.ts';
import type { AppendLoop } from './append-loop.ts';
import type { ApplyLoop } from './apply-loop.ts';
import type { NodeLife } from './node-life.ts';

export interface CoreDriverOptions {
  readonly raftId: number;
  readonly raw: RawNode;
  readonly appends: AppendLoop;
  readonly applies: ApplyLoop;
  readonly life: NodeLife;
  readonly log: Logger;
  readonly hooks: CoreDriverHooks;
}

export interface CoreDriverHooks {
  /** With every Ready, before its messages leave; null = as before. */
  roles(soft: SoftState | null): void;
  /** To other nodes; never of type `snapshot`. */
  send(messages: readonly Message[]): void;
  /** A snapshot has to get to a follower. */
  sendSnapshot(message: Message): void;
  /** Comes before the append loop gets the message. */
  storageAppend(message: Message): void;
  /** A read may be answered once `index` is applied. */
  readState(context: Uint8Array, index: number): void;
  /** Nothing is left in the core. */
  pumped(): void;
}

export class CoreDriver {
  readonly #options: CoreDriverOptions;
  #wakeScheduled = false;

  constructor(options: CoreDriverOptions) {
    this.#options = options;
  }

  /** The core may want something: takes it out at the end of this turn. */
  wake(): void {
    if (this.#wakeScheduled) return;
    this.#wakeScheduled = true;
    queueMicrotask(() => {
      this.#wakeScheduled = false;
      this.#options.life.guarded(() => this.pump());
    });
  }

  /** Takes out everything that the core wants. */
  pump(): void {
    const { raw, life, hooks } = this.#options;
    while (life.isActive && raw.hasReady()) {
      const { softState, messages, readStates } = raw.ready();
      hooks.roles(softState);
      this.#route(messages);
      for (const { requestContext, index } of readStates) hooks.readState(requestContext, index);
    }
    hooks.pumped();
  }

  /** Delivers what waited for a write or for entries to be applied. */
  respond(responses: readonly Message[]): void {
    const { raftId, life } = this.#options;
    if (!life.isActive) return;
    // One of its own may come when it is no member any more.
    for (const response of responses) if (response.to === raftId) this.step(response);
    this.#route(responses.filter(({ to }) => to !== raftId));
    this.wake();
  }

  /** Messages from a peer, in their order. Throws when they are meant for another node. */
  receive(from: number, messages: readonly Message[]): void {
    const { raftId, life } = this.#options;
    for (const message of messages) {
      if (message.to !== raftId || message.from !== from) {
        throw new SkepError(
          'failed-precondition',
          `accept raft message for ${message.to.toString(16)}: this is ${raftId.toString(16)}`,
        );
      }
      if (message.type === 'propose' || message.type === 'snapshot') continue; // have their own ways
      life.guarded(() => this.step(message));
    }
    this.wake();
  }

  /** What the core refuses of a peer's is dropped, as the network might have done. */
  step(message: Message): void {
    const { raw, log } = this.#options;
    try {
      raw.step(message);
    } catch (err) {
      const expected = [LocalMessageError, UnknownPeerError, ProposalDroppedError];
      if (!expected.some((type) => err instanceof type)) throw err;
      log.debug({ err, from: message.from }, 'dropped a raft message');
    }
  }

  #route(messages: readonly Message[]): void {
    const { appends, applies, hooks } = this.#options;
    const outgoing: Message[] = [];
    for (const message of messages) {
      if (message.to === LOCAL_APPEND_THREAD) {
        hooks.storageAppend(message);
        appends.push(message);
      } else if (message.to === LOCAL_APPLY_THREAD) applies.push(message);
      else if (message.type === 'snapshot') hooks.sendSnapshot(message);
      else outgoing.push(message);
    }
    if (outgoing.length > 0) hooks.send(outgoing);
  }
}
