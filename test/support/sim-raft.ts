/**
 * Raft nodes with their real driver, log and snapshots in one process: the disks, the network and
 * time are simulated, one seed decides all chance.
 */
import { type Clock, sleepOn, type Timer } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SeededRandom } from '../../common/base/random.ts';
import type { Message } from '../../manager/raft/types.ts';
import type { RaftMember } from '../../manager/raftnode/membership.ts';
import type { RaftNodeOptions, StateMachine } from '../../manager/raftnode/node-options.ts';
import {
  type PeerAddress,
  type PeerHandler,
  type PeerTransport,
  RemovedMemberError,
  type SnapshotSource,
} from '../../manager/raftnode/peer-transport.ts';
import { RaftNode } from '../../manager/raftnode/raft-node.ts';
import { FakeClock, settle } from './fake-clock.ts';
import { SimDisk } from './sim-disk.ts';

/** Remembers every payload that was applied, with its index. */
export class RecordingStateMachine implements StateMachine {
  applied: { index: number; text: string }[] = [];
  /** Ends of the restores so far. */
  restored: number[] = [];

  apply(index: number, payload: Uint8Array): void {
    this.applied.push({ index, text: Buffer.from(payload).toString() });
  }

  *snapshot(): Iterable<Uint8Array> {
    const lines = this.applied.map(({ index, text }) => `${index} ${text}\n`);
    for (let i = 0; i < lines.length; i += 10) yield Buffer.from(lines.slice(i, i + 10).join(''));
  }

  async restore(chunks: AsyncIterable<Uint8Array>, appliedIndex: number): Promise<void> {
    let text = '';
    for await (const chunk of chunks) text += Buffer.from(chunk).toString();
    this.applied = text.split('\n').flatMap((line) => {
      const space = line.indexOf(' ');
      if (space < 0) return [];
      return [{ index: Number(line.slice(0, space)), text: line.slice(space + 1) }];
    });
    this.restored.push(appliedIndex);
  }

  get texts(): string[] {
    return this.applied.map(({ text }) => text);
  }
}

interface Endpoint {
  readonly self: PeerAddress;
  readonly handler: PeerHandler;
  /** Resolves when the process is gone: connections to it break. */
  readonly gone: Promise<void>;
}

/** Carries messages between the transports of all nodes, each link in order. */
export class SimNetwork {
  readonly #clock: FakeClock;
  readonly #random: SeededRandom;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #cut = new Set<string>();
  readonly #linkFreeMs = new Map<string, number>();
  latencyMs = { min: 1, max: 4 };
  /** Chance of a batch to be lost. */
  lossRate = 0;
  /** Messages delivered, by type. */
  readonly delivered = new Map<string, number>();

  constructor(clock: FakeClock, random: SeededRandom) {
    this.#clock = clock;
    this.#random = random;
  }

  cut(from: number, to: number): void {
    this.#cut.add(`${from}>${to}`);
  }

  isolate(raftId: number): void {
    this.#cut.add(`${raftId}>*`);
    this.#cut.add(`*>${raftId}`);
  }

  heal(): void {
    this.#cut.clear();
  }

  attach(endpoint: Endpoint): () => void {
    this.#endpoints.set(endpoint.self.address, endpoint);
    return () => {
      if (this.#endpoints.get(endpoint.self.address) === endpoint) {
        this.#endpoints.delete(endpoint.self.address);
      }
    };
  }

  /** Null when nobody answers there, or the way there is cut. */
  reach(from: number, to: PeerAddress): Endpoint | null {
    return this.#isCut(from, to) ? null : (this.#endpoints.get(to.address) ?? null);
  }

  #isCut(from: number, { raftId }: PeerAddress): boolean {
    return [`${from}>${raftId}`, `${from}>*`, `*>${raftId}`].some((link) => this.#cut.has(link));
  }

  /** The process of `raftId` died: its connections are closed, and the others see that. */
  closeConnectionsOf(raftId: number): void {
    for (const { self, handler } of this.#endpoints.values()) {
      if (self.raftId === raftId) continue;
      this.#clock.setTimer(this.latencyMs.max, () => handler.lost(raftId));
    }
  }

  /** Where no process listens, its kernel says so. */
  async isGone(from: number, to: PeerAddress): Promise<boolean> {
    await this.#clock.sleep(2 * this.latencyMs.max);
    return !this.#isCut(from, to) && !this.#endpoints.has(to.address);
  }

  deliver(sender: Endpoint, to: PeerAddress, messages: readonly Message[]): void {
    const from = sender.self.raftId;
    if (this.#random.unit() < this.lossRate) return;
    const link = `${from}>${to.raftId}`;
    const { min, max } = this.latencyMs;
    const now = this.#clock.monotonicMs();
    const dueMs = Math.max(
      now + min + this.#random.unit() * (max - min),
      this.#linkFreeMs.get(link) ?? 0,
    );
    this.#linkFreeMs.set(link, dueMs);
    this.#clock.setTimer(dueMs - now, () => {
      const target = this.reach(from, to);
      if (target === null) {
        sender.handler.unreachable(to.raftId);
        return;
      }
      for (const { type } of messages) {
        this.delivered.set(type, (this.delivered.get(type) ?? 0) + 1);
      }
      try {
        target.handler.receive(sender.self, messages);
      } catch (err) {
        if (err instanceof RemovedMemberError) sender.handler.removed(to.raftId);
        else sender.handler.unreachable(to.raftId);
      }
    });
  }

  async carrySnapshot(
    sender: Endpoint,
    to: PeerAddress,
    message: Message,
    source: SnapshotSource,
    signal: AbortSignal,
  ): Promise<void> {
    const hop = async (): Promise<Endpoint> => {
      await this.#clock.sleep(this.latencyMs.max, signal);
      const target = this.reach(sender.self.raftId, to);
      if (target === null) throw new SkepError('unavailable', 'send snapshot: unreachable');
      return target;
    };
    const { fileId, membership, dataBytes } = source;
    const offer = { message, fileId, membership, dataBytes };
    const receiver = await hop();
    const broken = receiver.gone.then(() => {
      throw new SkepError('unavailable', 'send snapshot: the receiver is gone');
    });
    broken.catch(() => {}); // told by the races
    const sink = await Promise.race([receiver.handler.beginSnapshot(sender.self, offer), broken]);
    for await (const { offset, data } of source.chunks(sink.offset)) {
      await hop();
      await Promise.race([sink.write(offset, data), broken]);
    }
    await hop();
    await Promise.race([sink.finish(), broken]);
  }
}

export class SimTransport implements PeerTransport {
  readonly #network: SimNetwork;
  #endpoint: Endpoint | null = null;
  #detach: (() => void) | null = null;
  #breakConnections: () => void = () => {};
  #peers = new Map<number, PeerAddress>();

  constructor(network: SimNetwork) {
    this.#network = network;
  }

  async start(self: PeerAddress, handler: PeerHandler): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      this.#breakConnections = resolve;
    });
    this.#endpoint = { self, handler, gone };
    this.#detach = this.#network.attach(this.#endpoint);
  }

  async stop(): Promise<void> {
    this.kill();
  }

  /** The process is gone. */
  kill(): void {
    this.#detach?.();
    this.#breakConnections();
    this.#endpoint = null;
  }

  setPeers(peers: readonly PeerAddress[]): void {
    this.#peers = new Map(peers.map((peer) => [peer.raftId, peer]));
  }

  send(messages: readonly Message[]): void {
    if (this.#endpoint === null) return;
    for (const to of new Set(messages.map((message) => message.to))) {
      const peer = this.#peers.get(to);
      const batch = messages.filter((message) => message.to === to);
      if (peer !== undefined) this.#network.deliver(this.#endpoint, peer, batch);
    }
  }

  greet(): void {
    for (const peer of this.#peers.values()) {
      if (this.#endpoint !== null) this.#network.deliver(this.#endpoint, peer, []);
    }
  }

  async isGone(raftId: number): Promise<boolean> {
    const peer = this.#peers.get(raftId);
    const endpoint = this.#endpoint;
    if (endpoint === null || peer === undefined) return false;
    const isGone = await this.#network.isGone(endpoint.self.raftId, peer);
    if (this.#endpoint !== endpoint) return await new Promise(() => {}); // this process is gone
    return isGone;
  }

  async sendSnapshot(message: Message, source: SnapshotSource, signal: AbortSignal): Promise<void> {
    const peer = this.#peers.get(message.to);
    if (this.#endpoint === null || peer === undefined) throw new Error('no such peer');
    await this.#network.carrySnapshot(this.#endpoint, peer, message, source, signal);
  }
}

/** The clock of one life of a process: after its death nothing fires any more. */
class ProcessClock implements Clock {
  readonly #clock: FakeClock;
  readonly #isAlive: () => boolean;

  constructor(clock: FakeClock, isAlive: () => boolean) {
    this.#clock = clock;
    this.#isAlive = isAlive;
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    return this.#clock.setTimer(delayMs, () => {
      if (this.#isAlive()) callback();
    });
  }

  setPeriodic(periodMs: number, callback: () => void): Timer {
    const timer = this.#clock.setPeriodic(periodMs, () => {
      if (this.#isAlive()) callback();
      else timer.cancel();
    });
    return timer;
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }
}

/** One member over all its lives. */
export interface SimMember {
  readonly raftId: number;
  readonly nodeId: string;
  address: string;
  /** Lives so far; the process of an earlier one does nothing any more. */
  life: number;
  readonly disk: SimDisk;
  node: RaftNode | null;
  stateMachine: RecordingStateMachine;
  transport: SimTransport | null;
  failures: unknown[];
  removals: number;
}

export const TICK_MS = 100;
export const ELECTION_MS = 10 * TICK_MS;

export class SimRaft {
  readonly clock = new FakeClock();
  readonly network: SimNetwork;
  readonly members = new Map<number, SimMember>();
  readonly #random: SeededRandom;
  readonly #overrides: Partial<RaftNodeOptions>;
  /** Longest time of a disk operation on machines made from now on. 0 = they take no time. */
  diskLatencyMs = 0;

  constructor(seed: number, overrides: Partial<RaftNodeOptions> = {}) {
    this.#random = new SeededRandom(seed);
    this.#overrides = overrides;
    this.network = new SimNetwork(this.clock, this.#random.fork());
  }

  /** A machine with an empty disk. */
  machine(raftId: number): SimMember {
    const member: SimMember = {
      raftId,
      nodeId: `node-${raftId}`,
      address: `10.0.0.${raftId}:2377`,
      life: 0,
      disk: this.#disk(),
      node: null,
      stateMachine: new RecordingStateMachine(),
      transport: null,
      failures: [],
      removals: 0,
    };
    this.members.set(raftId, member);
    return member;
  }

  async bootstrap(raftId: number): Promise<SimMember> {
    const member = this.machine(raftId);
    return this.#run(member, RaftNode.bootstrap(this.#options(member)));
  }

  /** Adds a new machine to the cluster that `via` leads, and waits for its vote. */
  async join(raftId: number, via: SimMember): Promise<SimMember> {
    const member = this.machine(raftId);
    const { nodeId, address } = member;
    await this.run(via.node!.addMember({ raftId, nodeId, address }));
    await this.#run(member, RaftNode.join(this.#options(member), via.node!.members()));
    await this.until(
      () => via.node!.members().some((m) => m.raftId === raftId && !m.learner),
      `vote of ${raftId}`,
    );
    return member;
  }

  /** Starts an empty node for a machine that `members` know. */
  async startJoined(raftId: number, members: readonly RaftMember[]): Promise<SimMember> {
    const member = this.members.get(raftId)!;
    return this.#run(member, RaftNode.join(this.#options(member), members));
  }

  async restart(raftId: number, extra = { forceNewCluster: false }): Promise<SimMember> {
    const member = this.members.get(raftId)!;
    return this.#run(member, RaftNode.restart(this.#options(member), extra));
  }

  /** `size` voting members 1..size, member 1 leading. */
  async cluster(size: number): Promise<SimMember[]> {
    const first = await this.bootstrap(1);
    await this.until(() => first.node!.appliedIndex > 1, 'first leader');
    const members = [first];
    for (let id = 2; id <= size; id++) members.push(await this.join(id, first));
    return members;
  }

  /** The machine loses power, or (`kill`) the process dies. */
  crash(raftId: number, how: 'crash' | 'kill' = 'crash'): void {
    const member = this.members.get(raftId)!;
    if (how === 'crash') member.disk.crash();
    else member.disk.kill();
    member.transport?.kill();
    if (how === 'kill') this.network.closeConnectionsOf(raftId);
    member.life++;
    member.node = null;
  }

  /** The one node that leads, or null. */
  leader(): SimMember | null {
    const leaders = [...this.members.values()].filter(
      (member) => member.node?.status().role === 'leader',
    );
    leaders.sort((a, b) => b.node!.status().term - a.node!.status().term);
    return leaders[0] ?? null;
  }

  async elected(limitMs = 5 * ELECTION_MS): Promise<SimMember> {
    await this.until(() => this.leader() !== null, 'leader', limitMs);
    return this.leader()!;
  }

  /** Moves time on until `test` holds. */
  async until(test: () => boolean, what: string, limitMs = 20 * ELECTION_MS): Promise<void> {
    await settle();
    for (let waitedMs = 0; !test(); waitedMs += 5) {
      if (waitedMs > limitMs) {
        throw new Error(`waited ${limitMs} ms for: ${what}\n${this.describe()}`);
      }
      await this.clock.advance(5);
    }
  }

  /** Moves time on until `promise` settles. */
  async run<T>(promise: Promise<T>, limitMs = 20 * ELECTION_MS): Promise<T> {
    let settled = false;
    promise.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    await this.until(() => settled, 'promise', limitMs);
    return promise;
  }

  async propose(member: SimMember, text: string): Promise<number> {
    return this.run(member.node!.propose(Buffer.from(text)));
  }

  /** All running members have applied the same. */
  async agreed(limitMs = 20 * ELECTION_MS): Promise<void> {
    const same = (): boolean => {
      const running = [...this.members.values()].filter(
        (member) => member.node !== null && !member.node.removed,
      );
      const indexes = running.map((member) => member.node!.appliedIndex);
      const committed = running.map((member) => member.node!.status().committedIndex);
      return new Set([...indexes, ...committed]).size === 1;
    };
    await this.until(same, 'agreement', limitMs);
  }

  /** For failure messages: what each member thinks. */
  describe(): string {
    return [...this.members.values()]
      .map(({ raftId, node, life, stateMachine, failures }) => {
        const status = JSON.stringify(node?.status() ?? 'down');
        const members = node?.members().map((m) => `${m.raftId}${m.learner ? 'L' : ''}`);
        return `${raftId} life ${life} ${status} ${members} ${stateMachine.restored} ${failures}`;
      })
      .join('\n');
  }

  #disk(): SimDisk {
    const random = this.#random.fork();
    if (this.diskLatencyMs === 0) return new SimDisk({ random: random.fork() });
    return new SimDisk({
      random: random.fork(),
      latency: () => this.clock.sleep(random.unit() * this.diskLatencyMs),
    });
  }

  async #run(member: SimMember, starting: Promise<RaftNode>): Promise<SimMember> {
    member.node = await this.run(starting);
    await this.run(member.node.start());
    return member;
  }

  #options(member: SimMember): RaftNodeOptions {
    const { raftId, nodeId, address, disk } = member;
    const life = ++member.life;
    member.stateMachine = new RecordingStateMachine();
    member.transport = new SimTransport(this.network);
    return {
      dir: '/raft',
      raftId,
      nodeId,
      address,
      clusterId: 'sim',
      dek: new Uint8Array(32).fill(raftId),
      stateMachine: member.stateMachine,
      transport: member.transport,
      disk: disk.mount(),
      clock: new ProcessClock(this.clock, () => member.life === life),
      random: this.#random.fork(),
      log: silentLogger,
      onFailure: (err) => member.failures.push(err),
      onRemoved: () => member.removals++,
      tickMs: TICK_MS,
      segmentBytes: 64 * 1024,
      smallSegmentBytes: 32 * 1024,
      ...this.#overrides,
    };
  }
}
