/** Three members of ours, each a process: started, joined, all with a vote. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Identity } from '../../common/pki/identity.ts';
import type { MemberRecord } from '../../manager/raftnode/membership.ts';
import { BenchAuthority } from '../support/bench-authority.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { HelperProcess } from '../support/helper-process.ts';
import type { MemberOperations } from './member-process.ts';

const MEMBERS = 3;
const MODULE = fileURLToPath(new URL('./member-process.js', import.meta.url));

export interface RaftGroup {
  readonly leader: HelperProcess<MemberOperations>;
  readonly leaderAddress: string;
  /** For a client of the group. */
  readonly clientIdentity: Identity;
}

/** The group ends with this process. */
export async function startRaftGroup(nodeOptions: readonly string[] = []): Promise<RaftGroup> {
  const dir = temporaryDirectory('raft');
  const authority = await BenchAuthority.create();
  const records: MemberRecord[] = [];
  const processes: HelperProcess<MemberOperations>[] = [];
  for (let i = 0; i < MEMBERS; i++) {
    const member = new HelperProcess<MemberOperations>(MODULE, i === 0 ? nodeOptions : []);
    const identity = i === 0 ? authority.cluster.identity : await authority.manager();
    const record = await member.ask('start', {
      ...{ identity, members: records, raftId: 1 + i, dir: join(dir, `m${i}`) },
    });
    if (i > 0) await addVoter(processes[0]!, record);
    else
      await until(async () => (await member.ask('status', undefined as never)).role === 'leader');
    processes.push(member);
    records.push(record);
  }
  return {
    leader: processes[0]!,
    leaderAddress: records[0]!.address,
    clientIdentity: await authority.manager(),
  };
}

async function addVoter(
  leader: HelperProcess<MemberOperations>,
  record: MemberRecord,
): Promise<void> {
  await until(async () => {
    try {
      await leader.ask('add', record);
      return true;
    } catch {
      return false; // it leads, but has not applied all of earlier terms yet
    }
  });
  await until(async () => (await leader.ask('voters', undefined as never)).includes(record.raftId));
}

async function until(test: () => Promise<boolean>, limitMs = 20_000): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  while (!(await test())) {
    if (performance.now() > deadlineMs) throw new Error('the group did not come together');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
