/**
 * A random life of a cluster of whole raft nodes (driver, log, snapshots, encryption), decided by
 * one seed, with its checks: what was acknowledged stays, what was refused for good never appears,
 * all members agree, reads are not from the past, every caller gets one answer.
 */
import { assert } from '../../common/base/assert.ts';
import { SeededRandom } from '../../common/base/random.ts';
import { ProposalError } from '../../manager/raftnode/proposals.ts';
import { ELECTION_MS, type SimMember, SimRaft, TICK_MS } from './sim-raft.ts';

interface Proposal {
  readonly text: string;
  outcome: 'open' | 'acknowledged' | 'unknown' | 'refused';
  index: number;
}

export interface LifeReport {
  readonly acknowledged: number;
  readonly unknown: number;
  readonly refused: number;
  readonly crashes: number;
  readonly reads: number;
  readonly restores: number;
  readonly members: number;
}

const MEMBERS_MAX = 5;

export class RaftNodeLife {
  readonly #seed: number;
  readonly #random: SeededRandom;
  readonly #sim: SimRaft;
  readonly #proposals: Proposal[] = [];
  readonly #open = new Set<Promise<unknown>>();
  /** What every member must have at an index. */
  readonly #truth = new Map<number, string>();
  readonly #checkedUpTo = new Map<string, number>();
  readonly #left = new Set<number>();
  #nextId = 4;
  #crashes = 0;
  #reads = 0;
  #restores = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = new SeededRandom(seed);
    this.#sim = new SimRaft(this.#random.below(2 ** 40), {
      snapshotIntervalEntries: 20 + this.#random.below(60),
      keepEntries: this.#random.below(20),
      segmentBytes: 16 * 1024,
      smallSegmentBytes: 8 * 1024,
    });
  }

  async run(steps: number): Promise<LifeReport> {
    const sim = this.#sim;
    sim.diskLatencyMs = this.#random.below(3) === 0 ? 0 : 1 + this.#random.below(20);
    await sim.cluster(3);
    for (let step = 0; step < steps; step++) {
      await this.#step();
      this.#check();
    }
    await this.#heal();
    return {
      acknowledged: this.#count('acknowledged'),
      unknown: this.#count('unknown'),
      refused: this.#count('refused'),
      crashes: this.#crashes,
      reads: this.#reads,
      restores: this.#restores,
      members: sim.members.size - this.#left.size,
    };
  }

  #count(outcome: Proposal['outcome']): number {
    return this.#proposals.filter((proposal) => proposal.outcome === outcome).length;
  }

  async #step(): Promise<void> {
    const sim = this.#sim;
    const dice = this.#random.below(100);
    const member = this.#anyMember();
    if (dice < 55) this.#propose(sim.leader() ?? member);
    else if (dice < 63) this.#read(member);
    else if (dice < 69) await this.#crash(member);
    else if (dice < 80) await this.#restartOne();
    else if (dice < 83) sim.network.isolate(member.raftId);
    else if (dice < 86) sim.network.cut(member.raftId, this.#anyMember().raftId);
    else if (dice < 91) sim.network.heal();
    else if (dice < 93) sim.network.lossRate = this.#random.below(3) * 0.1;
    else if (dice < 94) this.#quiet(sim.leader()?.node?.transferLeadership());
    else if (dice < 96) this.#grow();
    else if (dice < 97) this.#shrink();
    await sim.clock.advance(this.#random.below(dice < 55 ? 30 : 300));
  }

  #anyMember(): SimMember {
    const members = [...this.#sim.members.values()].filter(({ raftId }) => !this.#left.has(raftId));
    return members[this.#random.below(members.length)]!;
  }

  #propose(member: SimMember): void {
    if (member.node === null) return;
    const filler = 'f'.repeat(this.#random.below(600));
    const text = `${this.#proposals.length} by ${member.raftId} ${filler}`;
    const proposal: Proposal = { text, outcome: 'open', index: 0 };
    this.#proposals.push(proposal);
    const { life } = member;
    this.#keep(
      member.node.propose(Buffer.from(text)).then(
        (index) => {
          if (member.life !== life) return; // the caller died with the process
          this.#settle(proposal, 'acknowledged');
          proposal.index = index;
          this.#know(index, text, `acknowledged by ${member.raftId}`);
        },
        (err) => {
          if (member.life !== life) return;
          assert(err instanceof ProposalError, `${this.#where()}: rejected with ${err}`);
          this.#settle(proposal, err.mayCommit ? 'unknown' : 'refused');
        },
      ),
    );
  }

  #settle(proposal: Proposal, outcome: Proposal['outcome']): void {
    assert(proposal.outcome === 'open', `${this.#where()}: ${proposal.text} settled twice`);
    proposal.outcome = outcome;
  }

  #read(member: SimMember): void {
    if (member.node === null) return;
    const { node } = member;
    const acknowledged = Math.max(0, ...this.#proposals.map(({ index }) => index));
    this.#keep(
      node.readBarrier().then(
        (index) => {
          this.#reads++;
          assert(
            index >= acknowledged && node.appliedIndex >= index,
            `${this.#where()}: read at ${index} on ${member.raftId}, ${acknowledged} was written`,
          );
        },
        () => {},
      ),
    );
  }

  /** A caller whose process dies gets no answer; the proposals of others go on. */
  async #crash(member: SimMember): Promise<void> {
    if (member.node === null) return;
    const running = [...this.#sim.members.values()].filter(({ node }) => node !== null);
    if (running.length <= 1) return;
    this.#crashes++;
    if (this.#random.below(5) === 0) {
      this.#quiet(member.node.stop().catch((err) => this.#fail(`stop: ${err}`)));
      member.transport?.kill();
    }
    this.#check();
    this.#sim.crash(member.raftId, this.#random.below(3) === 0 ? 'kill' : 'crash');
    for (const proposal of this.#proposals) {
      // A dead process never answers: whoever waited there knows nothing.
      if (proposal.outcome === 'open' && proposal.text.includes(` by ${member.raftId} `)) {
        proposal.outcome = 'unknown';
      }
    }
  }

  async #restartOne(): Promise<void> {
    const dead = [...this.#sim.members.values()].filter(
      ({ node, raftId }) => node === null && !this.#left.has(raftId),
    );
    const member = dead[this.#random.below(Math.max(1, dead.length))];
    if (member !== undefined) await this.#restart(member);
  }

  async #restart(member: SimMember): Promise<void> {
    try {
      await this.#sim.restart(member.raftId);
    } catch (err) {
      // One that died before it had anything on disk never became a member's process.
      if (member.raftId <= 3) this.#fail(`restart of ${member.raftId}: ${err}`);
      this.#left.add(member.raftId);
    }
  }

  #grow(): void {
    const leader = this.#sim.leader();
    if (leader === null || this.#sim.members.size - this.#left.size >= MEMBERS_MAX) return;
    const member = this.#sim.machine(this.#nextId++);
    this.#left.add(member.raftId); // until it runs
    const { raftId, nodeId, address } = member;
    const node = leader.node!;
    this.#keep(
      node.addMember({ raftId, nodeId, address }).then(
        async () => {
          await this.#sim.startJoined(raftId, node.members());
          this.#left.delete(raftId);
        },
        () => {},
      ),
    );
  }

  #shrink(): void {
    const leader = this.#sim.leader();
    const target = this.#anyMember();
    if (leader === null) return;
    this.#quiet(leader.node!.removeMember(target.raftId));
  }

  #keep(work: Promise<unknown>): void {
    this.#open.add(work);
    void work.then(
      () => this.#open.delete(work),
      (err) => this.#fail(String(err)),
    );
  }

  #quiet(work: Promise<unknown> | undefined): void {
    work?.catch(() => {});
  }

  #failure: string | null = null;

  #fail(words: string): void {
    this.#failure ??= words;
  }

  #know(index: number, text: string, by: string): void {
    const known = this.#truth.get(index);
    assert(
      known === undefined || known === text,
      `${this.#where()}: index ${index} is '${known}', '${text}' ${by}`,
    );
    this.#truth.set(index, text);
  }

  #check(): void {
    assert(this.#failure === null, `${this.#where()}: ${this.#failure}`);
    for (const member of this.#sim.members.values()) {
      const { raftId, failures, stateMachine } = member;
      assert(failures.length === 0, `${this.#where()}: ${raftId} failed: ${failures[0]}`);
      const key = `${raftId}/${stateMachine.restored.length}`;
      const from = this.#checkedUpTo.get(key) ?? 0;
      for (const { index, text } of stateMachine.applied.slice(from)) {
        this.#know(index, text, `applied by ${raftId}`);
      }
      this.#checkedUpTo.set(key, member.node === null ? 0 : stateMachine.applied.length);
    }
    const leaders = new Map<number, number>();
    for (const { raftId, node } of this.#sim.members.values()) {
      const status = node?.status();
      if (status?.role !== 'leader') continue;
      assert(!leaders.has(status.term), `${this.#where()}: two leaders in term ${status.term}`);
      leaders.set(status.term, raftId);
    }
  }

  /** All faults end: the cluster elects, agrees, and has everything that was acknowledged. */
  async #heal(): Promise<void> {
    const sim = this.#sim;
    sim.network.heal();
    sim.network.lossRate = 0;
    for (const member of sim.members.values()) {
      if (member.node === null && !this.#left.has(member.raftId)) await this.#restart(member);
    }
    await sim.elected(20 * ELECTION_MS);
    await sim.until(() => this.#open.size === 0 || this.#waitsForDead(), 'answers to all callers');
    await sim.propose(await this.#acceptingLeader(), 'the end');
    await sim.agreed();
    this.#check();
    const leader = await sim.elected();
    const texts = leader.stateMachine.texts;
    const unique = new Set(texts);
    assert(unique.size === texts.length, `${this.#where()}: something was applied twice`);
    for (const { text, outcome } of this.#proposals) {
      const isThere = unique.has(text);
      assert(outcome !== 'acknowledged' || isThere, `${this.#where()}: lost '${text}'`);
      assert(outcome !== 'refused' || !isThere, `${this.#where()}: refused, yet there: '${text}'`);
    }
    for (const { stateMachine, node } of sim.members.values()) {
      if (node === null || node.removed) continue;
      this.#restores += stateMachine.restored.length;
      assert(
        stateMachine.texts.join('\n') === texts.join('\n'),
        `${this.#where()}: members differ in the end`,
      );
    }
  }

  async #acceptingLeader(): Promise<SimMember> {
    const sim = this.#sim;
    for (let attempt = 0; attempt < 50; attempt++) {
      const leader = await sim.elected(20 * ELECTION_MS);
      const done = await sim.run(
        leader.node!.propose(Buffer.from(`probe ${attempt}`)).then(
          () => true,
          () => false,
        ),
      );
      if (done) return sim.elected();
      await sim.clock.advance(TICK_MS);
    }
    throw new Error(
      `${this.#where()}: no leader accepts proposals after healing\n${sim.describe()}`,
    );
  }

  /** Promises of processes that died stay open for ever. */
  #waitsForDead(): boolean {
    return this.#proposals.every(({ outcome }) => outcome !== 'open');
  }

  #where(): string {
    return `seed ${this.#seed} at ${this.#sim.clock.monotonicMs().toFixed(1)} ms`;
  }
}
