/**
 * A group of Raft nodes driven by the directives of etcd/raft's interaction scripts: in-memory
 * storage, a pool of messages in the order they were sent, and everything that happens printed.
 */

import { confChange, confChangeV2, decodeConfChange } from '../../manager/raft/conf-change.ts';
import type { RaftConfig } from '../../manager/raft/config.ts';
import {
  LocalMessageError,
  ProposalDroppedError,
  UnknownPeerError,
} from '../../manager/raft/errors.ts';
import { levelOf, type RaftEvent, type RaftEventLevel } from '../../manager/raft/events.ts';
import { MemoryStorage } from '../../manager/raft/memory-storage.ts';
import { isLocalTarget, RawNode } from '../../manager/raft/raw-node.ts';
import {
  type ConfChangeTransition,
  type ConfState,
  EMPTY_CONF_STATE,
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
import { type Directive, valuesOf } from './datadriven.ts';
import {
  formatEntries,
  formatMessage,
  formatProgress,
  formatReady,
  MESSAGE_NAMES,
  parseChanges,
  ROLE_NAMES,
} from './raft-format.ts';
import { wordsFor } from './raft-words.ts';

const LEVELS = ['debug', 'info', 'warn', 'error', 'fatal', 'none'] as const;

/** Trouble that a directive reports in its output. */
class DirectiveError extends Error {}

/** The trace: level by level filtered, silenced wholly at `none`. */
class Trace {
  level: (typeof LEVELS)[number] = 'debug';
  #text = '';

  get silent(): boolean {
    return this.level === 'none';
  }

  write(text: string): void {
    if (!this.silent) this.#text += text;
  }

  log(level: RaftEventLevel, text: string): void {
    if (LEVELS.indexOf(this.level) > LEVELS.indexOf(level)) return;
    this.#text += `${level.toUpperCase()} ${text}\n`;
  }

  /** What `body` prints is moved in by two spaces. */
  indented(body: () => void): void {
    const outer = this.#text;
    this.#text = '';
    try {
      body();
    } finally {
      const lines = this.#text.replace(/\n$/, '').split('\n');
      this.#text = outer + (this.#text === '' ? '' : lines.map((one) => `  ${one}\n`).join(''));
    }
  }

  take(): string {
    const text = this.#text;
    this.#text = '';
    return text;
  }
}

/** Storage whose snapshot is always the newest state of the application. */
class HistoryStorage extends MemoryStorage {
  readonly #newest: () => Snapshot;

  constructor(newest: () => Snapshot) {
    super();
    this.#newest = newest;
  }

  override snapshot(): Snapshot {
    return this.#newest();
  }
}

interface Member {
  readonly id: NodeId;
  readonly raw: RawNode;
  readonly storage: HistoryStorage;
  readonly config: RaftConfig;
  readonly appendWork: Message[];
  readonly applyWork: Message[];
  /** The state of an application that appends all it is told, after each entry. */
  readonly history: Snapshot[];
}

type Handler = (group: RaftInteraction, directive: Directive) => void;

export class RaftInteraction {
  readonly #trace = new Trace();
  readonly #members: Member[] = [];
  #messages: Message[] = [];

  handle(directive: Directive): string {
    const handler = HANDLERS[directive.command];
    try {
      if (handler === undefined) throw new DirectiveError('unknown command');
      handler(this, directive);
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
    const level = LEVELS.find((one) => one === name.toLowerCase());
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

  /** Delivers or drops what waits for `to`; returns how many messages there were. */
  deliver(to: NodeId, drop: boolean, type: MessageType | undefined): number {
    const wanted = this.#messages.filter((one) => isFor(one, to, drop, type));
    this.#messages = this.#messages.filter((one) => !isFor(one, to, drop, type));
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
    while (busy) {
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
  { storage }: Member,
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
  if (err instanceof DirectiveError) return err.message;
  if (err instanceof ProposalDroppedError) return 'raft proposal dropped';
  if (err instanceof LocalMessageError) return 'raft: cannot step raft local message';
  if (err instanceof UnknownPeerError) return 'raft: cannot step as peer not found';
  throw err;
}

function idsOf(directive: Directive): NodeId[] {
  return directive.args.filter(({ values }) => values.length === 0).map(({ key }) => Number(key));
}

function firstId(directive: Directive): NodeId {
  return Number(directive.args[0]!.key);
}

function addNodes(group: RaftInteraction, directive: Directive): void {
  const value = (key: string): string | undefined => valuesOf(directive, key)?.[0];
  const flag = (key: string): boolean => value(key) === 'true';
  const ids = (key: string): NodeId[] => (valuesOf(directive, key) ?? []).map(Number);
  const index = Number(value('index') ?? 0);
  const confState = { ...EMPTY_CONF_STATE, voters: ids('voters'), learners: ids('learners') };
  const snapshot: Snapshot = {
    data: Buffer.from(value('content') ?? ''),
    metadata: { confState, index, term: index > 0 ? 1 : 0 },
  };
  const inflight = value('inflight');
  const committedSize = value('max-committed-size-per-ready');
  const options: Partial<RaftConfig> = {
    applied: index,
    asyncStorageWrites: flag('async-storage-writes'),
    preVote: flag('prevote'),
    checkQuorum: flag('checkquorum'),
    disableConfChangeValidation: flag('disable-conf-change-validation'),
    stepDownOnRemoval: flag('step-down-on-removal'),
    readOnlyMode: value('read-only') === 'lease-based' ? 'lease-based' : 'safe',
    ...(inflight === undefined ? {} : { maxInflightMessages: Number(inflight) }),
    ...(committedSize === undefined
      ? {}
      : { maxCommittedSizePerReadyBytes: Number(committedSize) }),
  };
  for (let i = 0; i < firstId(directive); i++) group.addMember(options, snapshot);
}

function deliverMessages(group: RaftInteraction, directive: Directive): void {
  const name = valuesOf(directive, 'type')?.[0];
  const type = Object.entries(MESSAGE_NAMES).find(([, known]) => known === name)?.[0];
  let handled = 0;
  for (const { key, values } of directive.args) {
    const wanted = type as MessageType | undefined;
    if (values.length === 0) handled += group.deliver(Number(key), false, wanted);
    if (key !== 'drop') continue;
    for (const id of values) handled += group.deliver(Number(id), true, wanted);
  }
  if (handled === 0) group.noMessages();
}

function proposeConfChange(group: RaftInteraction, directive: Directive): void {
  const changes = parseChanges(directive.input);
  const { raw } = group.member(firstId(directive));
  if (valuesOf(directive, 'v1')?.[0] === 'true') {
    const [first] = changes;
    raw.proposeConfChange(confChange(first!.type, first!.nodeId));
    return;
  }
  const transitions: Readonly<Record<string, ConfChangeTransition>> = {
    auto: 'auto',
    implicit: 'joint-implicit',
    explicit: 'joint-explicit',
  };
  const transition = transitions[valuesOf(directive, 'transition')?.[0] ?? 'auto'];
  raw.proposeConfChange(confChangeV2(changes, transition));
}

const HANDLERS: Readonly<Record<string, Handler>> = {
  'add-nodes': addNodes,
  campaign: (group, directive) => group.member(firstId(directive)).raw.campaign(),
  compact: (group, directive) => {
    const id = firstId(directive);
    if (!group.member(id).storage.compact(Number(directive.args[1]!.key))) {
      throw new DirectiveError('requested index is unavailable due to compaction');
    }
    group.printLog(id);
  },
  'deliver-msgs': deliverMessages,
  'forget-leader': (group, directive) => group.member(firstId(directive)).raw.forgetLeader(),
  'log-level': (group, directive) => group.setLogLevel(directive.args[0]!.key),
  'process-append-thread': (group, directive) =>
    group.forEach(idsOf(directive), 'processing append thread', (id) => group.processAppend(id)),
  'process-apply-thread': (group, directive) =>
    group.forEach(idsOf(directive), 'processing apply thread', (id) => group.processApply(id)),
  'process-ready': (group, directive) =>
    group.forEach(idsOf(directive), 'handling Ready', (id) => group.processReady(id)),
  propose: (group, directive) =>
    group.member(firstId(directive)).raw.propose(Buffer.from(directive.args[1]!.key)),
  'propose-conf-change': proposeConfChange,
  'raft-log': (group, directive) => group.printLog(firstId(directive)),
  'raft-state': (group) => group.printStates(),
  'report-unreachable': (group, directive) => {
    const [at, lost] = idsOf(directive);
    group.member(at!).raw.reportUnreachable(lost!);
  },
  'send-snapshot': (group, directive) => {
    const [from, to] = idsOf(directive);
    group.sendSnapshot(from!, to!);
  },
  'set-randomized-election-timeout': (group, directive) => {
    const ticks = Number(valuesOf(directive, 'timeout')![0]);
    group.member(firstId(directive)).raw.overrideElectionTimeout(ticks);
  },
  stabilize: (group, directive) =>
    group.atLevel(valuesOf(directive, 'log-level')?.[0], () => group.stabilize(idsOf(directive))),
  status: (group, directive) => group.printStatus(firstId(directive)),
  'tick-election': (group, directive) => {
    const { raw, config } = group.member(firstId(directive));
    for (let i = 0; i < config.electionTicks; i++) raw.tick();
  },
  'tick-heartbeat': (group, directive) => {
    const { raw, config } = group.member(firstId(directive));
    for (let i = 0; i < config.heartbeatTicks; i++) raw.tick();
  },
  'transfer-leadership': (group, directive) => {
    const from = Number(valuesOf(directive, 'from')![0]);
    group.member(from).raw.transferLeader(Number(valuesOf(directive, 'to')![0]));
  },
};
