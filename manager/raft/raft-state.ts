/**
 * The state of one Raft node and the few operations that every part of the protocol uses: sending,
 * telling events, resetting for a new term. The parts (elections, replication, reads, membership)
 * are functions over it in files of their own; only they and `raft.ts` may touch the fields.
 */
import { assert } from '../../common/base/assert.ts';
import { type CompleteRaftConfig, checkTiming, type RaftTiming } from './config.ts';
import type { RaftEvent } from './events.ts';
import { RaftLog } from './log.ts';
import { ReadOnlyQueue } from './read-only.ts';
import { Tracker } from './tracker.ts';
import {
  type HardState,
  type Message,
  type MessageType,
  message,
  NO_NODE,
  type NodeId,
  type ReadState,
  type Role,
} from './types.ts';

/** Fields of a message to send; sender and term are filled in. */
export type Outgoing = Partial<Message> & Pick<Message, 'type' | 'to'>;

export type MessageHandler = (raft: RaftState, message: Message) => void;
/** What a role does with each type; types that are absent are not for it. */
export type MessageHandlers = Readonly<Partial<Record<MessageType, MessageHandler>>>;

/** They promise that something is durable. */
const PROMISES: ReadonlySet<MessageType> = new Set([
  'append-response',
  'vote-response',
  'pre-vote-response',
]);

/** A pre-vote speaks of a term that the node has not reached: their senders decide. */
const ELECTION: ReadonlySet<MessageType> = new Set([
  'vote',
  'vote-response',
  'pre-vote',
  'pre-vote-response',
]);

/** Forwarded to the leader as if local: they must not be dropped for their term. */
const TERMLESS: ReadonlySet<MessageType> = new Set(['propose', 'read-index']);

export class RaftState {
  config: CompleteRaftConfig;
  readonly id: NodeId;
  readonly log: RaftLog;
  /** Replaced by an empty one when a snapshot brings another membership. */
  tracker: Tracker;

  term = 0;
  /** Who got this node's vote in `term`. */
  vote: NodeId = NO_NODE;
  role: Role = 'follower';
  leader: NodeId = NO_NODE;
  /** Leader only: whom leadership is being handed to. */
  leadTransferee: NodeId = NO_NODE;

  /** Leader and candidate: ticks since the last timeout; follower: since word from the leader. */
  electionElapsed = 0;
  /** Leader only. */
  heartbeatElapsed = 0;
  /** Drawn from `electionTicks..2*electionTicks-1` with each reset. */
  randomizedElectionTicks = 0;

  /**
   * No membership change is accepted until this index is applied: at or past the newest change in
   * the log, so that at most one is unapplied.
   */
  pendingConfIndex = 0;
  /** Leader only: payload appended in its term and not applied yet. */
  uncommittedBytes = 0;

  /** May go out at once. */
  messages: Message[] = [];
  /** May go out when all of the unstable state as of now is durable. Some are for this node. */
  messagesAfterAppend: Message[] = [];
  readStates: ReadState[] = [];
  readOnly: ReadOnlyQueue = new ReadOnlyQueue();
  /** Reads that came before this leader committed an entry of its term. */
  readsBeforeFirstCommit: Message[] = [];

  constructor(config: CompleteRaftConfig) {
    this.config = config;
    this.id = config.id;
    this.log = new RaftLog(config.storage, config.maxCommittedSizePerReadyBytes, config.onEvent);
    this.tracker = new Tracker(config);
  }

  get hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.committed };
  }

  /** Not for hot paths: the event is made even when nobody listens. */
  tell(event: RaftEvent): void {
    this.config.onEvent?.(event);
  }

  /**
   * Queues a message. Votes and acknowledgements promise that something is durable: they wait for
   * the disk (thesis 3.8), refusals too, as they may rest on unstable state just as well.
   */
  send(fields: Outgoing): void {
    const complete = message(fields, fields.from || this.id, this.#termToSend(fields));
    if (PROMISES.has(fields.type)) {
      this.messagesAfterAppend.push(complete);
      return;
    }
    assert(fields.to !== this.id, `raft send: ${fields.type} to itself`);
    this.messages.push(complete);
  }

  /** Starts a term (or a role in the same term) with nothing known of the others. */
  reset(term: number): void {
    if (this.term !== term) {
      this.term = term;
      this.vote = NO_NODE;
    }
    this.leader = NO_NODE;
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    this.drawElectionTimeout();
    this.leadTransferee = NO_NODE;
    this.tracker.resetVotes();
    this.tracker.resetProgress(this.id, this.log.lastIndex());
    this.pendingConfIndex = 0;
    this.uncommittedBytes = 0;
    this.readOnly = new ReadOnlyQueue();
    this.readsBeforeFirstCommit = [];
  }

  /** From now on; who waits for a leader waits as long as that says. */
  setTiming({ electionTicks, heartbeatTicks }: RaftTiming): void {
    checkTiming({ electionTicks, heartbeatTicks });
    this.config = { ...this.config, electionTicks, heartbeatTicks };
    this.drawElectionTimeout();
  }

  drawElectionTimeout(): void {
    const { electionTicks, random } = this.config;
    this.randomizedElectionTicks = electionTicks + random.below(electionTicks);
  }

  /** True when this node may lead: a voter without a snapshot still to be installed. */
  get promotable(): boolean {
    const progress = this.tracker.get(this.id);
    return progress !== undefined && !progress.isLearner && this.log.unstable.snapshot === null;
  }

  #termToSend({ type, term }: Outgoing): number {
    if (ELECTION.has(type)) {
      assert(term, `raft send: ${type} without a term`);
      return term;
    }
    return TERMLESS.has(type) ? 0 : this.term;
  }
}
