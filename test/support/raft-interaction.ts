/**
 * A group of Raft nodes driven by the directives of etcd/raft's interaction scripts: in-memory
 * storage, a pool of messages in the order they were sent, and everything that happens printed.
 */

import { AssertionError } from '../../common/base/assert.ts';
import { decodeConfChange } from '../../manager/raft/conf-change.ts';
import type { RaftConfig } from '../../manager/raft/config.ts';
import {
  LocalMessageError,
  ProposalDroppedError,
  UnknownPeerError,
} from '../../manager/raft/errors.ts';
import { levelOf, type RaftEvent } from '../../manager/raft/events.ts';
import { MemoryStorage } from '../../manager/raft/memory-storage.ts';
import { isLocalTarget, RawNode } from '../../manager/raft/raw-node.ts';
import {
  type ConfState,
  type Entry,
  type HardState,
  hardStateOf,
  isEmptySnapshot,
  type Message,
  type MessageType,
  message,
  NO_BYTES,
  type NodeId,
  type Snapshot,
} from '../../manager/raft/types.ts';
import {
  formatEntries,
  formatHardState,
  formatMessage,
  formatProgress,
  formatReady,
  ROLE_NAMES,
} from './raft-format.ts';
import { LOG_LEVELS, Trace } from './raft-trace.ts';
import { wordsFor } from './raft-words.ts';

/** Trouble that a directive reports in its output. */
export class DirectiveError extends Error {}

/** Storage whose snapshot, and membership at start, are always the newest of the application. */
class HistoryStorage extends MemoryStorage {
  readonly #newest: () => Snapshot;

  constructor(newest: () => Snapshot) {
    super();
    this.#newest = newest;
  }

  override initialState(): { hardState: HardState; confState: ConfState } {
    return { ...super.initialState(), confState: this.#newest().metadata.confState };
  }

  override snapshot(): Snapshot {
    return this.#newest();
  }
}

/** Scenarios become quiet within tens of rounds; a core that never does is told so. */
const ROUNDS_MAX = 500;

interface Member {
  readonly id: NodeId;
  /** Another one after each restart. */
  raw: RawNode;
  readonly storage: HistoryStorage;
  readonly config: RaftConfig;
  readonly appendWork: Message[];
  readonly applyWork: Message[];
  /** The state of an application that appends all it is told, after each entry. */
  readonly history: Snapshot[];
}

export class RaftInteraction {
  readonly #trace = new Trace();
  readonly #members: Member[] = [];
  #messages: Message[] = [];

  /** What `body` prints, its trouble included; `ok` for nothing. */
  perform(body: () => void): string {
    try {
      body();
    } catch (err) {
      const text = errorText(err);
      if (this.#trace.silent) return text;
      this.#trace.write(text);
    }
    return this.#trace.take() || 'ok';
  }

  member(id: NodeId): Member {
    const member = this.#members[id - 1];
    if (member === undefined) throw new DirectiveError(`no node ${id}`);
    return member;
  }

  setLogLevel(name: string): void {
    const level = LOG_LEVELS.find((one) => one === name.toLowerCase());
    if (level === undefined) throw new DirectiveError(`unknown log level ${name}`);
    this.#trace.level = level;
  }

  addMember(options: Partial<RaftConfig>, snapshot: Snapshot): void {
    const id = this.#members.length + 1;
    const history = [snapshot];
    const storage = new HistoryStorage(() => history.at(-1)!);
    if (snapshot.metadata.index > 0) storage.applySnapshot(snapshot);
    const config: RaftConfig = {
      id,
      electionTicks: 3,
      heartbeatTicks: 1,
      maxSizePerMessageBytes: Number.POSITIVE_INFINITY,
      maxInflightMessages: 2 ** 31 - 1,
      checkQuorum: false,
      preVote: false,
      stepDownOnRemoval: false,
      ...options,
      storage,
      // The scripts set timeouts where they matter.
      random: { bytes: () => NO_BYTES, below: (bound) => bound - 1, unit: () => 0 },
      onEvent: (event: RaftEvent) => {
        this.#trace.log(levelOf(event.code), wordsFor(event, id));
      },
    };
    const raw = new RawNode(config);
    this.#members.push({ id, raw, storage, config, appendWork: [], applyWork: [], history });
  }

  /** A crash and a start: what was persisted and applied is there, all else is gone. */
  restart(id: NodeId): void {
    const member = this.member(id);
    member.appendWork.length = 0;
    member.applyWork.length = 0;
    member.raw = new RawNode({
      ...member.config,
      applied: member.history.at(-1)!.metadata.index,
    });
  }

  /** Gives a node the log of another life: entries with these terms after what it holds. */
  loadLog(id: NodeId, terms: readonly number[], hardState: HardState): void {
    const { storage } = this.member(id);
    const first = storage.lastIndex() + 1;
    storage.append(
      terms.map((term, i): Entry => ({ index: first + i, term, type: 'normal', data: NO_BYTES })),
    );
    storage.setHardState(hardState);
    this.restart(id);
  }

  printHardState(id: NodeId): void {
    const { hardState } = this.member(id).storage.initialState();
    this.#trace.write(formatHardState(hardState));
  }

  /** What the application made of the entries that it was told to apply. */
  printApplication(id: NodeId): void {
    const { data, metadata } = this.member(id).history.at(-1)!;
    this.#trace.write(
      `applied=${metadata.index} data=${JSON.stringify(Buffer.from(data).toString())}`,
    );
  }

  printLog(id: NodeId): void {
    const { storage } = this.member(id);
    const first = storage.firstIndex();
    const last = storage.lastIndex();
    if (last < first) {
      this.#trace.write(`log is empty: first index=${first}, last index=${last}`);
      return;
    }
    const entries = storage.entries(first, last + 1, Number.POSITIVE_INFINITY);
    this.#trace.write(formatEntries(entries as readonly Entry[]));
  }

  printStates(): void {
    for (const { raw } of this.#members) {
      const { id, role, term, leader, confState } = raw.status();
      const voters = [...confState.voters, ...confState.votersOutgoing];
      const kind = voters.includes(id) ? '(Voter)' : '(Non-Voter)';
      this.#trace.write(`${id}: ${ROLE_NAMES[role]} ${kind} Term:${term} Lead:${leader}\n`);
    }
  }

  printStatus(id: NodeId): void {
    for (const [peer, progress] of this.member(id).raw.status().progress) {
      this.#trace.write(`${peer}: ${formatProgress(progress)}\n`);
    }
  }

  sendSnapshot(from: NodeId, to: NodeId): void {
    const { raw, storage } = this.member(from);
    const { term } = raw.basicStatus();
    const sent = message({ type: 'snapshot', from, to, term, snapshot: storage.snapshot() });
    this.#messages.push(sent);
    this.#trace.write(formatMessage(sent));
  }

  /**
   * Delivers or drops what waits for `to`; returns how many messages there were. With `keep` they
   * stay, to be delivered again: the network duplicates.
   */
  deliver(to: NodeId, drop: boolean, type: MessageType | undefined, keep = false): number {
    const wanted = this.#messages.filter((one) => isFor(one, to, drop, type));
    if (!keep) this.#messages = this.#messages.filter((one) => !wanted.includes(one));
    for (const one of wanted) {
      this.#trace.write(`${drop ? 'dropped: ' : ''}${formatMessage(one)}\n`);
      if (drop) continue;
      try {
        this.member(to).raw.step(one);
      } catch (err) {
        this.#trace.write(`${errorText(err)}\n`);
      }
    }
    return wanted.length;
  }

  noMessages(): void {
    this.#trace.write('no messages\n');
  }

  /** Runs `work` per node; with a headline each when there are several. */
  forEach(ids: readonly NodeId[], headline: string, work: (id: NodeId) => void): void {
    for (const id of ids) {
      if (ids.length === 1) {
        work(id);
      } else {
        this.#headline(id, headline);
        this.#trace.indented(() => work(id));
      }
    }
  }

  processReady(id: NodeId): void {
    const member = this.member(id);
    const async = member.config.asyncStorageWrites === true;
    const ready = member.raw.ready();
    this.#trace.write(formatReady(ready));
    if (!async) {
      persist(member, ready.hardState, ready.entries, ready.snapshot);
      apply(member, ready.committedEntries);
    }
    for (const one of ready.messages) {
      if (!isLocalTarget(one.to)) this.#messages.push(one);
      else if (one.type === 'storage-append') member.appendWork.push(one);
      else member.applyWork.push(one);
    }
    if (!async) member.raw.advance();
  }

  processAppend(id: NodeId): void {
    const member = this.member(id);
    const work = member.appendWork.shift();
    if (work === undefined) {
      this.#trace.write('no append work to perform');
      return;
    }
    this.#printWork(work);
    persist(member, hardStateOf(work), work.entries, work.snapshot);
    this.#respond(work);
  }

  processApply(id: NodeId): void {
    const member = this.member(id);
    const work = member.applyWork.shift();
    if (work === undefined) {
      this.#trace.write('no apply work to perform');
      return;
    }
    this.#printWork(work);
    apply(member, work.entries);
    this.#respond(work);
  }

  /** Everything that can happen among `ids` (all when empty) happens, in a fixed order. */
  stabilize(ids: readonly NodeId[]): void {
    const members = ids.length === 0 ? this.#members : ids.map((id) => this.member(id));
    let busy = true;
    for (let round = 0; busy; round++) {
      if (round === ROUNDS_MAX) throw new DirectiveError(`not quiet after ${round} rounds`);
      busy = false;
      for (const { id, raw } of members) {
        if (!raw.hasReady()) continue;
        busy = true;
        this.#headline(id, 'handling Ready');
        this.#trace.indented(() => this.processReady(id));
      }
      for (const { id } of members) {
        if (!this.#messages.some((one) => one.to === id)) continue;
        busy = true;
        this.#headline(id, 'receiving messages');
        this.#trace.indented(() => this.deliver(id, false, undefined));
      }
      for (const { id, appendWork } of members) {
        if (appendWork.length === 0) continue;
        busy = true;
        this.#headline(id, 'processing append thread');
        while (appendWork.length > 0) this.#trace.indented(() => this.processAppend(id));
      }
      for (const { id, applyWork } of members) {
        if (applyWork.length === 0) continue;
        busy = true;
        this.#headline(id, 'processing apply thread');
        while (applyWork.length > 0) this.#trace.indented(() => this.processApply(id));
      }
    }
  }

  /** `body` with another log level. */
  atLevel(name: string | undefined, body: () => void): void {
    const { level } = this.#trace;
    if (name !== undefined) this.setLogLevel(name);
    try {
      body();
    } finally {
      this.#trace.level = level;
    }
  }

  #headline(id: NodeId, text: string): void {
    this.#trace.write(`> ${id} ${text}\n`);
  }

  #printWork(work: Message): void {
    this.#trace.write(`Processing:\n${formatMessage({ ...work, responses: [] })}\n`);
  }

  #respond(work: Message): void {
    this.#trace.write('Responses:\n');
    for (const one of work.responses) {
      this.#trace.write(`${formatMessage(one)}\n`);
      this.#messages.push(one);
    }
  }
}

function isFor(one: Message, to: NodeId, drop: boolean, type: MessageType | undefined): boolean {
  // What a node tells itself cannot get lost.
  const local = one.from === one.to || isLocalTarget(one.from) || isLocalTarget(one.to);
  return one.to === to && !(drop && local) && (type === undefined || one.type === type);
}

function persist(
  { storage, history }: Member,
  hardState: HardState | null,
  entries: readonly Entry[],
  snapshot: Snapshot | null,
): void {
  if (hardState !== null) storage.setHardState(hardState);
  if (snapshot === null || isEmptySnapshot(snapshot)) {
    storage.append(entries);
    return;
  }
  if (entries.length > 0) {
    throw new DirectiveError("can't apply snapshot and entries at the same time");
  }
  if (!storage.applySnapshot(snapshot)) {
    throw new DirectiveError('requested index is older than the existing snapshot');
  }
  history.push(snapshot);
}

function apply({ raw, history }: Member, entries: readonly Entry[]): void {
  for (const entry of entries) {
    const before = history.at(-1)!;
    let confState: ConfState = before.metadata.confState;
    let update = entry.data;
    if (entry.type !== 'normal') {
      const change = decodeConfChange(entry);
      update = change.context;
      confState = raw.applyConfChange(change);
    }
    const { index, term } = entry;
    const data = Buffer.concat([before.data, update]);
    history.push({ data, metadata: { confState, index, term } });
  }
}

function errorText(err: unknown): string {
  if (err instanceof AssertionError) return `panic: ${err.message}`;
  if (err instanceof DirectiveError) return err.message;
  if (err instanceof ProposalDroppedError) return 'raft proposal dropped';
  if (err instanceof LocalMessageError) return 'raft: cannot step raft local message';
  if (err instanceof UnknownPeerError) return 'raft: cannot step as peer not found';
  throw err;
}
