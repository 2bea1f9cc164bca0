/** Members of ours, each a process: started, joined, all with a vote. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Identity } from '../../common/pki/identity.ts';
import type { MemberRecord } from '../../manager/raftnode/membership.ts';
import { BenchAuthority } from '../support/bench-authority.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { HelperProcess } from '../support/helper-process.ts';
import { until } from '../support/wait.ts';
import type { MachineKind, MemberOperations, StartMember } from './member-process.ts';

const MODULE = fileURLToPath(new URL('./member-process.js', import.meta.url));

export type MemberProcess = HelperProcess<MemberOperations>;

interface Member {
  readonly process: MemberProcess;
  readonly record: MemberRecord;
  readonly start: StartMember;
}

/** Its members end with this process. The first one leads. */
export class RaftGroup {
  readonly #dir = temporaryDirectory('raft');
  readonly #authority: BenchAuthority;
  readonly #machine: MachineKind;
  readonly #members: Member[] = [];

  private constructor(authority: BenchAuthority, machine: MachineKind) {
    this.#authority = authority;
    this.#machine = machine;
  }

  static async start(size: number, machine: MachineKind): Promise<RaftGroup> {
    const group = new RaftGroup(await BenchAuthority.create(), machine);
    await group.#begin(group.#authority.cluster.identity, 'found');
    await until('a leader', async () => (await group.leader.ask('status')).role === 'leader');
    while (group.#members.length < size) await group.grow();
    return group;
  }

  get leader(): MemberProcess {
    return this.#members[0]!.process;
  }

  get leaderAddress(): string {
    return this.#members[0]!.record.address;
  }

  get processes(): readonly MemberProcess[] {
    return this.#members.map((member) => member.process);
  }

  /** For a client of the group. */
  clientIdentity(): Promise<Identity> {
    return this.#authority.manager();
  }

  /** One more; resolves when it has a vote. `watched` is told of its process before it joins. */
  async grow(watched: (member: MemberProcess) => Promise<unknown> = async () => {}): Promise<void> {
    const known = this.#members.map((member) => member.record);
    const { process, record } = await this.#begin(await this.#authority.manager(), { join: known });
    await watched(process);
    await until('the leader to add a member', async () => {
      await this.leader.ask('add', record); // refused until it has applied all of earlier terms
      return true;
    });
    const hasVote = async (): Promise<boolean> =>
      (await this.leader.ask('voters')).includes(record.raftId);
    await until('a vote', hasVote, { limitMs: 120_000 });
  }

  /** Kills the last member and starts it again from its directory; how long it took to open. */
  async restartLast(): Promise<{ readonly process: MemberProcess; readonly elapsedMs: number }> {
    const last = this.#members.at(-1)!;
    await last.process.kill();
    const process: MemberProcess = new HelperProcess(MODULE);
    const { elapsedMs } = await process.ask('start', { ...last.start, how: 'restart' });
    return { process, elapsedMs };
  }

  async stop(): Promise<void> {
    for (const { process } of this.#members) await process.kill();
  }

  async #begin(identity: Identity, how: StartMember['how']): Promise<Member> {
    const number = this.#members.length;
    const process: MemberProcess = new HelperProcess(MODULE);
    const start: StartMember = {
      ...{ identity, how, machine: this.#machine, raftId: 1 + number },
      dir: join(this.#dir, `m${number}`),
      dek: randomBytes(32),
    };
    const { raftId, nodeId, address } = await process.ask('start', start);
    const member = { process, start, record: { raftId, nodeId, address } };
    this.#members.push(member);
    return member;
  }
}
