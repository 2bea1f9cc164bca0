/** One agent's open stream, and the revision of its assignment set that was sent last. */
import { CancelledError } from '../../common/base/lifecycle.ts';
import type { AssignmentChange } from '../../common/model/assignment.ts';
import type { NodeId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import type { AgentMessage, DispatcherMessage } from '../../common/model/session.ts';
import { encodeObject } from '../../common/wire/object.ts';
import type { ReadView } from '../store/types.ts';
import { messageParts } from './message-parts.ts';
import type { NetworkTables, TableChanges } from './network-tables.ts';
import { NodeAssignments, type TaskChange } from './node-assignments.ts';
import type { NodeWords } from './registrations.ts';

/** The transport's side of a session. */
export interface AgentStream {
  /**
   * Queues a message. False = much is queued, wait for `drained`. Throws when the peer is so slow that the queue
   * is full.
   */
  send(message: DispatcherMessage): boolean;
  /** Resolves when the peer has taken most of what is queued. Rejects when the stream broke or `fail` was called. */
  drained(): Promise<void>;
  /** The next message; null when the agent ended the stream. Rejects as `drained` does. */
  receive(): Promise<AgentMessage | null>;
  /** Ends what waits on the stream, now and later; the first reason counts. */
  fail(reason: unknown): void;
}

/**
 * Whether the agent keeps up. `slow`: much is on its way, it gets neither steps nor sets until it has taken that.
 * `outdated`: it has taken that and missed steps meanwhile, it gets no step before the whole set.
 */
type Pace = 'even' | 'slow' | 'outdated';

export class AgentSession {
  readonly nodeId: NodeId;
  /** by which its node is registered; null before that */
  words: NodeWords | null = null;
  /** its node is registered and it got its first messages: it takes part in steps */
  greeted = false;
  /**
   * Its end, when it comes, is no loss of the node: the agent announced it, the dispatcher ends it, or the agent had
   * nothing in force yet, so that it may wait some seconds before it tries again (`Agent`'s back-off).
   */
  returns = true;

  /** when it last got the whole set because it asked for it; monotonic clock */
  resyncedAtMs = Number.NEGATIVE_INFINITY;
  /** it asked for it again so soon that it has to wait */
  awaitsResync = false;

  readonly #stream: AgentStream;
  #end: { readonly reason: unknown } | null = null;
  #assignments: NodeAssignments;
  #sentRevision = 0;
  /** with that revision */
  #sentChecksum = '';
  /** of the first set that this session was sent */
  #firstRevision = Number.POSITIVE_INFINITY;
  #pace: Pace = 'even';
  #missed = false;
  /** of the last statuses that were stored; 0 = the agent was told */
  #storedSequence = 0;
  /** parts of what was sent last that wait until the agent has taken those before */
  #waiting: DispatcherMessage[] = [];

  constructor(nodeId: NodeId, stream: AgentStream) {
    this.nodeId = nodeId;
    this.#stream = stream;
    this.#assignments = new NodeAssignments(nodeId);
  }

  /** The agent has this revision in force. False when it is one of an earlier session. */
  applied(revision: number): boolean {
    if (revision < this.#firstRevision) return false;
    this.returns = false;
    return true;
  }

  /** The statuses that it sent up to `sequence` are stored, batches in their order. It is told when it beats next. */
  stored(sequence: number): void {
    this.#storedSequence = sequence;
  }

  takeStored(): number {
    const sequence = this.#storedSequence;
    this.#storedSequence = 0;
    return sequence;
  }

  /**
   * Ends the session from this side: a pending `receive` rejects with `reason` (null: quietly). Idempotent.
   */
  end(reason: unknown): void {
    if (this.#end) return;
    this.#end = { reason: reason ?? new CancelledError() };
    this.returns = true;
    this.#stream.fail(this.#end.reason);
  }

  async receive(): Promise<AgentMessage | null> {
    const message = await this.#stream.receive();
    if (this.#end) throw this.#end.reason; // what had arrived before is of no use now
    return message;
  }

  /** False when the agent takes its time: see `AgentStream.send`. */
  send(message: DispatcherMessage): boolean {
    if (this.#end) return false;
    try {
      return this.#stream.send(message);
    } catch (err) {
      // Cut off rather than buffered without limit: the agent comes back and gets the whole set.
      this.end(err);
      return false;
    }
  }

  /** It has been sent so much that it gets no more until it has taken that: see `caughtUp`. */
  get behind(): boolean {
    return this.#pace === 'slow';
  }

  /**
   * Sends what waits as the agent takes it. Resolves when it has taken most of that: with true when it missed steps
   * meanwhile, so that it needs the whole set. Rejects when the session ended.
   */
  async caughtUp(): Promise<boolean> {
    do {
      await this.#stream.drained();
    } while (!this.#sendWaiting());
    this.#pace = this.#missed ? 'outdated' : 'even';
    return this.#missed;
  }

  /** When it is behind it gets the set later: see `caughtUp`. */
  sendComplete(view: ReadView, tables: NetworkTables): void {
    if (this.#pace === 'slow') {
      this.#missed = true;
      return;
    }
    this.#pace = 'even';
    this.#missed = false;
    this.#assignments = new NodeAssignments(this.nodeId);
    const set = this.#assignments.complete(view, tables);
    this.#sendSet(true, view, set, this.#assignments.checksum(tables));
  }

  /** True when the agent will say `applied` of this revision or a later one: the step means something to it. */
  sendStep(
    view: ReadView,
    tables: NetworkTables,
    taskChanges: readonly TaskChange[],
    tableChanges: TableChanges,
  ): boolean {
    if (this.#sentRevision === 0) return false;
    if (this.#pace !== 'even') {
      this.#missed = true;
      return true;
    }
    const step = this.#assignments.step(view, tables, taskChanges, tableChanges);
    const checksum = this.#assignments.checksum(tables);
    // One that is empty, and should not be, tells the agent that it lacks something.
    const isNews = step.length > 0 || checksum !== this.#sentChecksum;
    if (isNews) this.#sendSet(false, view, step, checksum);
    return isNews;
  }

  #sendSet(
    complete: boolean,
    view: ReadView,
    changes: readonly AssignmentChange[],
    checksum: string,
  ): void {
    const appliesTo = this.#sentRevision;
    const resultsIn = view.revision;
    const parts = messageParts(changes.map(withEncoding));
    this.#waiting = parts.map((part, i) => {
      const last = i === parts.length - 1;
      return {
        ...{ kind: 'assignments', complete, last, appliesTo, resultsIn, changes: part },
        checksum: last ? checksum : '',
      };
    });
    this.#sendWaiting();
    this.#sentRevision = resultsIn;
    this.#sentChecksum = checksum;
    this.#firstRevision = Math.min(this.#firstRevision, resultsIn);
  }

  /** Part by part, so that a set may be larger than what a stream holds. True when none waits and it takes more. */
  #sendWaiting(): boolean {
    for (;;) {
      const message = this.#waiting.shift();
      if (!message) return true;
      if (this.send(message)) continue;
      this.#pace = 'slow';
      return false;
    }
  }
}

/** A task is encoded here, once: its size decides where the set is cut, and its bytes are what is sent. */
function withEncoding(change: AssignmentChange): AssignmentChange {
  if (change.kind !== 'task' || change.action !== 'set') return change;
  return { ...change, encoded: encodeObject('task', change.item) };
}

/** What every session is told, whatever its node. */
export type SessionNews = Pick<SessionMessage, 'heartbeatPeriodMs' | 'managers' | 'rootCaPem'>;
type SessionMessage = Extract<DispatcherMessage, { kind: 'session' }>;

export function sessionMessage(
  { spec, renewCertificate }: Node,
  news: SessionNews,
): SessionMessage {
  const { desiredRole, availability, labels } = spec;
  const nodeSpec = { desiredRole, availability, labels };
  return { kind: 'session', ...news, nodeSpec, renewCertificate };
}
