/**
 * A cluster of Raft cores in one process under one seed: messages are lost, repeated and reordered,
 * nodes crash and come back with what was durable, links are cut, members change. After every step
 * it checks what must never happen. Nothing here sleeps or touches a disk.
 */
import { assert } from '../../common/base/assert.ts';
import { SeededRandom } from '../../common/base/random.ts';
import { confChange, decodeConfChange } from '../../manager/raft/conf-change.ts';
import type { RaftConfig } from '../../manager/raft/config.ts';
import {
  LocalMessageError,
  ProposalDroppedError,
  UnknownPeerError,
} from '../../manager/raft/errors.ts';
import type { RaftEvent } from '../../manager/raft/events.ts';
import { MemoryStorage } from '../../manager/raft/memory-storage.ts';
import { isLocalTarget, RawNode } from '../../manager/raft/raw-node.ts';
import {
  type ConfChangeType,
  type ConfState,
  EMPTY_CONF_STATE,
  type Entry,
  hardStateOf,
  isEmptySnapshot,
  isMember,
  type Message,
  type NodeId,
  type ReadState,
  type Snapshot,
} from '../../manager/raft/types.ts';

export interface ClusterOptions {
  readonly seed: number;
  readonly size: number;
  readonly asyncStorageWrites?: boolean;
  readonly preVote?: boolean;
  readonly checkQuorum?: boolean;
  /** Small by default, so that limits are met. */
  readonly maxSizePerMessageBytes?: number;
  readonly maxInflightMessages?: number;
}

/** The application: a chain of digests over all that it was told. */
interface AppState {
  readonly index: number;
  readonly digest: number;
  readonly confState: ConfState;
}

interface SimNode {
  readonly id: NodeId;
  readonly storage: MemoryStorage;
  /** Null while down. */
  raw: RawNode | null;
  app: AppState;
  appendWork: Message[];
  applyWork: Message[];
  /** Highest commit seen in this life. */
  commit: number;
  /** The core asked for a snapshot newer than the one in storage. */
  wantsSnapshot: boolean;
  /** Reads asked for here: context -> least index that the answer may have. */
  reads: Map<number, number>;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class RaftCluster {
  readonly #options: ClusterOptions;
  readonly #random: SeededRandom;
  readonly nodes: Map<NodeId, SimNode> = new Map();
  #network: Message[] = [];
  /** Pairs "from>to" that deliver nothing. */
  #cut: Set<string> = new Set();
  readonly #leaders: Map<number, NodeId> = new Map();
  /** What the application was told at each index, by whoever applied it first. */
  readonly #digests: Map<number, number> = new Map();
  /** Per index: the entry's term, and the term of the node that applied it first, at that time. */
  readonly #applied: Map<number, { term: number; appliedIn: number }> = new Map();
  /** "node@term" -> whom it voted for, durably or in a message. */
  readonly #votes: Map<string, NodeId> = new Map();
  #highestCommit = 0;
  #nextProposal = 1;
  #nextRead = 1;
  #nextId: number;
  appliedProposals: Set<string> = new Set();
  answeredReads = 0;
  /** How often each event of the core occurred. */
  readonly seen: Map<RaftEvent['code'], number> = new Map();

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.#nextId = options.size + 1;
    const voters = Array.from({ length: options.size }, (_, i) => i + 1);
    // Index 2, so that a member that joins later needs the snapshot.
    const confState = { ...EMPTY_CONF_STATE, voters };
    const app: AppState = { index: 2, digest: 1, confState };
    for (const id of voters) this.#addNode(id, app);
  }

  // What may be done to the cluster

  chance(percent: number): boolean {
    return this.#random.below(100) < percent;
  }

  tick(id: NodeId): void {
    this.#act(id, (raw) => raw.tick());
  }

  campaign(id: NodeId): void {
    this.#act(id, (raw) => raw.campaign());
  }

  propose(id: NodeId): string {
    const name = `p${this.#nextProposal++}`;
    this.#act(id, (raw) => raw.propose(encoder.encode(name)));
    return name;
  }

  read(id: NodeId): void {
    const number = this.#nextRead++;
    this.node(id).reads.set(number, this.#highestCommit);
    this.#act(id, (raw) => raw.readIndex(encoder.encode(String(number))));
  }

  changeMember(at: NodeId, type: ConfChangeType, id: NodeId): void {
    this.#act(at, (raw) => raw.proposeConfChange(confChange(type, id)));
  }

  transfer(at: NodeId, to: NodeId): void {
    this.#act(at, (raw) => raw.transferLeader(to));
  }

  /** A node with nothing on its disk; not a member until a change adds it. */
  addEmptyNode(): NodeId {
    const id = this.#nextId++;
    this.#addNode(id, { index: 0, digest: 0, confState: EMPTY_CONF_STATE });
    return id;
  }

  /** Writes under way may have reached the disk, in order, up to any point. */
  crash(id: NodeId): void {
    const node = this.node(id);
    if (node.raw === null) return;
    const survived = this.#random.below(node.appendWork.length + 1);
    for (const work of node.appendWork.slice(0, survived)) persist(node.storage, work);
    node.raw = null;
    node.appendWork = [];
    node.applyWork = [];
    node.reads.clear();
  }

  restart(id: NodeId): void {
    const node = this.node(id);
    if (node.raw !== null) return;
    node.app = appOf(node.storage.snapshot());
    node.raw = new RawNode(this.#config(node));
    node.commit = 0;
  }

  /** Keeps `tail` entries before the applied one. */
  compact(id: NodeId, tail: number): void {
    const { storage, app } = this.node(id);
    const data = encoder.encode(JSON.stringify(app));
    if (app.index === 0 || storage.createSnapshot(app.index, app.confState, data) === null) return;
    storage.compact(app.index - tail);
  }

  cutLink(from: NodeId, to: NodeId): void {
    this.#cut.add(`${from}>${to}`);
  }

  isolate(id: NodeId): void {
    for (const other of this.nodes.keys()) {
      this.cutLink(id, other);
      this.cutLink(other, id);
    }
  }

  heal(): void {
    this.#cut.clear();
  }

  // What happens by itself

  /** Takes the Ready of a node and does (or starts to do) what it says. */
  work(id: NodeId): boolean {
    const node = this.node(id);
    const { raw } = node;
    if (raw === null || !raw.hasReady()) return false;
    const ready = raw.ready();
    if (ready.softState?.role === 'leader') this.#checkLeader(node);
    for (const state of ready.readStates) this.#checkRead(node, state);
    const async = this.#options.asyncStorageWrites === true;
    if (!async) {
      if (ready.hardState !== null) node.storage.setHardState(ready.hardState);
      this.#install(node, ready.snapshot);
      node.storage.append(ready.entries);
    }
    for (const one of ready.messages) {
      if (!isLocalTarget(one.to)) this.#send(node, one);
      else if (one.type === 'storage-append') node.appendWork.push(one);
      else node.applyWork.push(one);
    }
    if (!async) {
      this.#apply(node, ready.committedEntries);
      raw.advance();
    }
    if (node.wantsSnapshot) {
      node.wantsSnapshot = false;
      this.compact(id, 3);
    }
    this.#check(node);
    return true;
  }

  finishAppend(id: NodeId): boolean {
    const node = this.node(id);
    const work = node.appendWork.shift();
    if (work === undefined || node.raw === null) return false;
    const snapshot = persist(node.storage, work);
    if (snapshot !== null) node.app = this.#verified(appOf(snapshot));
    this.#respond(node, work);
    return true;
  }

  finishApply(id: NodeId): boolean {
    const node = this.node(id);
    const work = node.applyWork.shift();
    if (work === undefined || node.raw === null) return false;
    this.#apply(node, work.entries);
    this.#respond(node, work);
    return true;
  }

  /** Delivers one message of the network, any; perhaps keeps a copy for later. */
  deliverAny(duplicatePercent = 0): boolean {
    if (this.#network.length === 0) return false;
    const at = this.#random.below(this.#network.length);
    const [one] = this.#network.splice(at, 1) as [Message];
    if (this.chance(duplicatePercent)) this.#network.push(one);
    this.#deliver(one);
    return true;
  }

  /** All that is in the network now, in order. */
  deliverAll(): boolean {
    const messages = this.#network;
    this.#network = [];
    for (const one of messages) this.#deliver(one);
    return messages.length > 0;
  }

  loseAny(): void {
    if (this.#network.length === 0) return;
    const [lost] = this.#network.splice(this.#random.below(this.#network.length), 1);
    if (lost?.type === 'snapshot') {
      this.#act(lost.from, (raw) => raw.reportSnapshot(lost.to, 'failed'));
    }
  }

  /** Until nothing is left to do without time passing. */
  settle(): void {
    for (let round = 0; round < 10_000; round++) {
      let busy = false;
      for (const id of this.nodes.keys()) {
        busy = this.work(id) || busy;
        while (this.finishAppend(id)) busy = true;
        while (this.finishApply(id)) busy = true;
      }
      busy = this.deliverAll() || busy;
      if (!busy) return;
    }
    throw new Error('the cluster does not come to rest');
  }

  /** Time passes for all, with everything done in between. */
  run(ticks: number): void {
    for (let i = 0; i < ticks; i++) {
      for (const id of this.nodes.keys()) this.tick(id);
      this.settle();
    }
  }

  // What can be seen

  node(id: NodeId): SimNode {
    const node = this.nodes.get(id);
    assert(node !== undefined, `no node ${id}`);
    return node;
  }

  anyId(): NodeId {
    const ids = [...this.nodes.keys()];
    return ids[this.#random.below(ids.length)]!;
  }

  /** The leader of the highest term among nodes that are up. */
  leader(): NodeId | null {
    let best: { id: NodeId; term: number } | null = null;
    for (const { id, raw } of this.nodes.values()) {
      const status = raw?.basicStatus();
      if (status?.role !== 'leader' || (best !== null && best.term >= status.term)) continue;
      best = { id, term: status.term };
    }
    return best?.id ?? null;
  }

  /** Nodes that are no members, as far as anybody has applied. */
  removedNodes(): NodeId[] {
    const nodes = [...this.nodes.values()];
    const newest = nodes.reduce((a, b) => (b.app.index > a.app.index ? b : a)).app.confState;
    return nodes.map(({ id }) => id).filter((id) => !isMember(newest, id));
  }

  term(id: NodeId): number {
    return this.node(id).raw?.basicStatus().term ?? 0;
  }

  // Inside

  #addNode(id: NodeId, app: AppState): void {
    const storage = new MemoryStorage();
    const { index, confState } = app;
    if (index > 0) {
      this.#digests.set(index, app.digest);
      const data = encoder.encode(JSON.stringify(app));
      storage.applySnapshot({ data, metadata: { index, term: 1, confState } });
    }
    const node: SimNode = {
      id,
      storage,
      raw: null,
      app,
      appendWork: [],
      applyWork: [],
      commit: 0,
      wantsSnapshot: false,
      reads: new Map(),
    };
    this.nodes.set(id, node);
    this.restart(id);
  }

  #config(node: SimNode): RaftConfig {
    const { asyncStorageWrites = false, preVote = true, checkQuorum = true } = this.#options;
    return {
      id: node.id,
      electionTicks: 10,
      heartbeatTicks: 1,
      storage: node.storage,
      random: this.#random.fork(),
      applied: node.app.index,
      asyncStorageWrites,
      preVote,
      checkQuorum,
      maxSizePerMessageBytes: this.#options.maxSizePerMessageBytes ?? 80,
      maxInflightMessages: this.#options.maxInflightMessages ?? 3,
      // Else a repeated message would be a repeated proposal.
      disableProposalForwarding: true,
      onEvent: ({ code }) => {
        this.seen.set(code, (this.seen.get(code) ?? 0) + 1);
        if (code === 'snapshot-lacks-member') node.wantsSnapshot = true;
      },
    };
  }

  #act(id: NodeId, action: (raw: RawNode) => void): void {
    const node = this.node(id);
    if (node.raw === null) return;
    try {
      action(node.raw);
    } catch (err) {
      const expected =
        err instanceof ProposalDroppedError ||
        err instanceof UnknownPeerError ||
        err instanceof LocalMessageError;
      if (!expected) throw err;
    }
    this.#check(node);
  }

  #deliver(one: Message): void {
    if (this.#cut.has(`${one.from}>${one.to}`) || !this.nodes.has(one.to)) {
      this.#act(one.from, (raw) => raw.reportUnreachable(one.to));
      if (one.type !== 'snapshot') return;
      this.#act(one.from, (raw) => raw.reportSnapshot(one.to, 'failed'));
      return;
    }
    this.#act(one.to, (raw) => raw.step(one));
    if (one.type !== 'snapshot') return;
    const outcome = this.node(one.to).raw === null ? 'failed' : 'delivered';
    this.#act(one.from, (raw) => raw.reportSnapshot(one.to, outcome));
  }

  #respond(node: SimNode, work: Message): void {
    for (const one of work.responses) {
      if (one.to === node.id) this.#act(node.id, (raw) => raw.step(one));
      else this.#send(node, one);
    }
  }

  /** What a message promises must be durable by now. */
  #send(node: SimNode, one: Message): void {
    if (one.type === 'append-response' && !one.reject) {
      const last = node.storage.lastIndex();
      assert(one.index <= last, `node ${node.id} acknowledged ${one.index} with ${last} durable`);
    }
    if (one.type === 'vote-response' && !one.reject) this.#checkVote(node.id, one.term, one.to);
    this.#network.push(one);
  }

  #install(node: SimNode, snapshot: Snapshot | null): void {
    if (snapshot === null || isEmptySnapshot(snapshot)) return;
    if (node.storage.applySnapshot(snapshot)) node.app = this.#verified(appOf(snapshot));
  }

  #apply(node: SimNode, entries: readonly Entry[]): void {
    for (const entry of entries) {
      // A snapshot may have overtaken entries that were handed out before it.
      if (entry.index <= node.app.index) continue;
      assert(entry.index === node.app.index + 1, `node ${node.id}: applied with a gap`);
      let { confState } = node.app;
      if (entry.type !== 'normal') {
        confState = node.raw!.applyConfChange(decodeConfChange(entry));
      }
      const digest = mix(node.app.digest, entry);
      if (!this.#applied.has(entry.index)) {
        const appliedIn = node.raw!.basicStatus().term;
        this.#applied.set(entry.index, { term: entry.term, appliedIn });
      }
      const fresh = !this.#digests.has(entry.index);
      node.app = this.#verified({ index: entry.index, digest, confState });
      if (!fresh || entry.type !== 'normal' || entry.data.length === 0) continue;
      const name = decoder.decode(entry.data);
      assert(!this.appliedProposals.has(name), `${name} was applied twice`);
      this.appliedProposals.add(name);
    }
  }

  /** State machine safety: at one index all applications are the same. */
  #verified(app: AppState): AppState {
    const known = this.#digests.get(app.index) ?? app.digest;
    assert(known === app.digest, `applications differ at index ${app.index}`);
    this.#digests.set(app.index, known);
    return app;
  }

  /** Election safety, and leader completeness: it holds all that was committed in earlier terms. */
  #checkLeader(node: SimNode): void {
    const raw = node.raw!;
    const { term } = raw.basicStatus();
    const known = this.#leaders.get(term);
    assert(known === undefined || known === node.id, `two leaders in term ${term}`);
    if (known !== undefined) return;
    this.#leaders.set(term, node.id);
    for (const [index, entry] of this.#applied) {
      if (entry.appliedIn >= term) continue;
      const own = raw.logTerm(index);
      assert(
        own === entry.term || own === 'compacted',
        `leader ${node.id} of term ${term} lacks entry ${index} of term ${entry.term}`,
      );
    }
  }

  #check(node: SimNode): void {
    if (node.raw === null) return;
    const { commit, applied, term, vote, role } = node.raw.basicStatus();
    assert(commit >= node.commit, `node ${node.id}: commit fell to ${commit}`);
    assert(applied <= commit, `node ${node.id}: applied ${applied} past commit ${commit}`);
    node.commit = commit;
    this.#highestCommit = Math.max(this.#highestCommit, commit);
    if (role === 'leader') this.#checkLeader(node);
    const { hardState } = node.storage.initialState();
    assert(hardState.term <= term, `node ${node.id}: term fell to ${term}`);
    if (hardState.vote === 0) return;
    this.#checkVote(node.id, hardState.term, hardState.vote);
    assert(
      hardState.term < term || vote === hardState.vote,
      `node ${node.id} forgot its vote in term ${term}`,
    );
  }

  #checkVote(id: NodeId, term: number, vote: NodeId): void {
    const key = `${id}@${term}`;
    const before = this.#votes.get(key) ?? vote;
    assert(before === vote, `node ${id} voted for ${before} and ${vote} in term ${term}`);
    this.#votes.set(key, vote);
  }

  /** Linearizable reads: not older than what was committed when the read was asked for. */
  #checkRead(node: SimNode, state: ReadState): void {
    const least = node.reads.get(Number(decoder.decode(state.requestContext)));
    if (least === undefined) return;
    assert(state.index >= least, `stale read on ${node.id}: ${state.index} < ${least}`);
    this.answeredReads++;
  }
}

/** Writes what the message says; returns the snapshot if one was installed. */
function persist(storage: MemoryStorage, work: Message): Snapshot | null {
  const hardState = hardStateOf(work);
  if (hardState !== null) storage.setHardState(hardState);
  const { snapshot } = work;
  const installed =
    snapshot !== null && !isEmptySnapshot(snapshot) && storage.applySnapshot(snapshot);
  storage.append(work.entries);
  return installed ? snapshot : null;
}

function appOf(snapshot: Snapshot): AppState {
  if (isEmptySnapshot(snapshot)) return { index: 0, digest: 0, confState: EMPTY_CONF_STATE };
  return JSON.parse(decoder.decode(snapshot.data)) as AppState;
}

function mix(digest: number, entry: Entry): number {
  let hash = Math.imul(digest ^ entry.term, 0x9e3779b1) ^ entry.index;
  for (const byte of entry.data) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
