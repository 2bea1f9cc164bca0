/**
 * Raft nodes with their real driver, log and snapshots in one process, on the disks, the network and the time
 * of `test/sim`: one seed decides all chance. Here a test says what happens, there the seed does.
 */
import { silentLogger } from '../../common/base/log.ts';
import { SeededRandom } from '../../common/base/random.ts';
import type { RaftMember } from '../../manager/raftnode/membership.ts';
import type { RaftNodeOptions, StateMachine } from '../../manager/raftnode/node-options.ts';
import { RaftNode } from '../../manager/raftnode/raft-node.ts';
import { ProcessClock, SimClock } from '../sim/clock.ts';
import { ELECTION_MS, TICK_MS } from '../sim/machine.ts';
import { type NetworkObserver, SimNetwork, SimTransport } from '../sim/network.ts';
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

/** Nobody looks. */
const UNOBSERVED: NetworkObserver = {
  sending: () => {},
  delivering: () => {},
  lost: () => {},
  duplicated: () => {},
  overtaken: () => {},
};

export class SimRaft {
  readonly network: SimNetwork;
  readonly members = new Map<number, SimMember>();
  /** Of every link; may be changed. */
  readonly quality = {
    ...{ delayMinMs: 1, delayMeanMs: 1, delayMaxMs: 4 },
    ...{ loss: 0, duplicate: 0, overtake: 0 },
  };
  readonly #time = new SimClock();
  readonly #random: SeededRandom;
  readonly #overrides: Partial<RaftNodeOptions>;
  /** Longest time of a disk operation on machines made from now on. 0 = they take no time. */
  diskLatencyMs = 0;

  constructor(seed: number, overrides: Partial<RaftNodeOptions> = {}) {
    this.#random = new SeededRandom(seed);
    this.#overrides = overrides;
    this.network = new SimNetwork(this.#time, this.#random.fork(), this.quality, UNOBSERVED);
  }

  get nowMs(): number {
    return this.#time.nowMs;
  }

  /** Moves time on. */
  async advance(forMs: number): Promise<void> {
    await this.#time.run(
      this.nowMs + forMs,
      (event) => event.run(),
      () => false,
    );
  }

  /** Cuts all links of a machine, both ways, until the network heals. */
  isolate(raftId: number): void {
    for (const other of this.members.keys()) {
      this.network.cut(raftId, other);
      this.network.cut(other, raftId);
    }
  }

  /** Its streams end, and the others see that, whether it lives on or not. */
  closeConnections(raftId: number): void {
    const { address } = this.members.get(raftId)!;
    const endpoint = this.network.reach(raftId, { raftId, address });
    if (endpoint !== null) this.network.closeConnections(endpoint);
  }

  /** A machine with an empty disk. */
  machine(raftId: number): SimMember {
    const member: SimMember = {
      raftId,
      nodeId: `node-${raftId}`,
      address: `10.0.0.${raftId}:2377`,
      life: 0,
      disk: this.#disk(raftId),
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
    if (how === 'crash') member.transport?.vanish();
    else member.transport?.kill();
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
    await this.advance(0);
    for (let waitedMs = 0; !test(); waitedMs += 5) {
      if (waitedMs > limitMs) {
        throw new Error(`waited ${limitMs} ms for: ${what}\n${this.describe()}`);
      }
      await this.advance(5);
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

  #disk(raftId: number): SimDisk {
    const random = this.#random.fork();
    if (this.diskLatencyMs === 0) return new SimDisk({ random: random.fork() });
    return new SimDisk({
      random: random.fork(),
      latency: () => this.#time.sleep(random.unit() * this.diskLatencyMs, raftId, 'disk'),
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
      clock: new ProcessClock(this.#time, {
        owner: raftId,
        rate: () => 1,
        isAlive: () => member.life === life,
        ticked: () => {},
      }),
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
