import { describe, expect, test } from 'vitest';
import { type ErrorCode, SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { asId, type NodeId } from '../../../common/model/ids.ts';
import type { RpcClient } from '../../../common/rpc/client.ts';
import { addMember, removeMember } from '../../../common/rpc/membership-methods.ts';
import { GroupEntry } from '../../../manager/group-entry.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const OWN = '10.0.0.9:2377';

type Respond = (address: string) => Promise<null>;

function refuse(code: ErrorCode, details: Record<string, string> = {}): Promise<never> {
  return Promise.reject(new SkepError(code, `refused: ${code}`, { details }));
}

/** A joiner that knows one manager from its log and one from elsewhere. */
function scene(respond: { add: Respond; barrier?: () => Promise<void>; others?: string[] }) {
  const clock = new FakeClock();
  const calls: string[] = [];
  const members = [{ raftId: 1, address: '10.0.0.1:2377', leader: false }];
  const client = (address: string): Pick<RpcClient, 'unary'> => ({
    unary: async (method, request, { signal } = {}) => {
      const name = method.path.split('/').at(-1);
      calls.push(`${name} ${address}`);
      const aborted = new Promise<never>((_, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
      if (method.path === addMember.path) await Promise.race([respond.add(address), aborted]);
      else expect(request).toEqual({ raftId: 9 });
      return null as never;
    },
  });
  const entry = new GroupEntry({
    member: { raftId: 9, nodeId: 'joiner', address: OWN, learner: true },
    raft: { members: () => members, readBarrier: respond.barrier ?? (async () => {}) },
    managerAddresses: ['10.0.0.2:2377', ...(respond.others ?? []), OWN],
    pool: { client },
    self: () => ({ nodeId: asId<NodeId>('joiner'), role: 'manager', clusterId: 'c', address: OWN }),
    clock,
    random: new SeededRandom(1),
    log: silentLogger,
  });
  return { clock, calls, members, entry };
}

async function finish<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  const settled = work.catch(() => {}); // seen by the caller
  await clock.advance(60_000);
  await settled;
  return work;
}

const accepted: Respond = async () => null;

describe('group entry', () => {
  test('asks the manager that it knows, then the leader that this one names', async () => {
    const { entry, calls, clock } = scene({
      add: (address) =>
        address === '10.0.0.5:2377'
          ? accepted(address)
          : refuse('not-leader', { leaderAddress: '10.0.0.5:2377' }),
    });
    await finish(clock, entry.enter());
    expect(calls).toEqual(['AddMember 10.0.0.1:2377', 'AddMember 10.0.0.5:2377']);
  });

  test('asks all managers in turn, never itself', async () => {
    const { entry, calls, clock } = scene({
      add: (address) => (address === '10.0.0.2:2377' ? accepted(address) : refuse('no-leader')),
    });
    await finish(clock, entry.enter());
    expect(calls).toEqual(['AddMember 10.0.0.1:2377', 'AddMember 10.0.0.2:2377']);
  });

  test.each([3, 4, 5, 7])('asks each of %i managers before it asks one again', async (size) => {
    const others = Array.from({ length: size - 2 }, (_, i) => `10.0.0.${i + 3}:2377`);
    let asked = 0;
    const { entry, calls, clock } = scene({
      others,
      add: () => (++asked > size ? accepted('') : refuse('no-leader')),
    });
    await finish(clock, entry.enter());
    const known = ['10.0.0.1:2377', '10.0.0.2:2377', ...others, '10.0.0.1:2377'];
    expect(calls).toEqual(known.map((address) => `AddMember ${address}`));
  });

  test('waits for the one that it asked, however many it knows', async () => {
    const others = ['10.0.0.3:2377', '10.0.0.4:2377', '10.0.0.5:2377', '10.0.0.6:2377'];
    const { entry, calls, clock } = scene({
      others,
      add: () => clock.sleep(4_000).then(() => null),
    });
    await finish(clock, entry.enter());
    expect(calls).toEqual(['AddMember 10.0.0.1:2377']);
  });

  test('takes back a request whose fate is unknown', async () => {
    const { entry, calls, clock } = scene({ add: () => refuse('deadline-exceeded') });
    await expect(finish(clock, entry.enter())).rejects.toThrow('refused: deadline-exceeded');
    expect(calls).toEqual(['AddMember 10.0.0.1:2377', 'RemoveMember 10.0.0.2:2377']);
    expect(calls.at(-1)).toContain(removeMember.path.split('/').at(-1));
  });

  test('a plain refusal leaves nothing to take back', async () => {
    const { entry, calls, clock } = scene({ add: () => refuse('conflict') });
    await expect(finish(clock, entry.enter())).rejects.toThrow('refused: conflict');
    expect(calls).toEqual(['AddMember 10.0.0.1:2377']);
  });

  test('waits through an election before it has caught up', async () => {
    let waits = 0;
    const { entry, clock } = scene({
      add: accepted,
      barrier: () => (++waits < 3 ? refuse('no-leader') : Promise.resolve()),
    });
    await finish(clock, entry.enter());
    expect(waits).toBe(3);
  });

  test('a member that is slow to catch up has entered all the same', async () => {
    const { entry, clock, calls } = scene({ add: accepted, barrier: () => refuse('no-leader') });
    await finish(clock, entry.enter());
    expect(calls).toEqual(['AddMember 10.0.0.1:2377']);
  });

  test('an abort takes nothing back: the next start goes on', async () => {
    const abort = new AbortController();
    const { entry, clock, calls } = scene({
      add: () => {
        abort.abort(new Error('stopping'));
        return refuse('cancelled');
      },
    });
    await expect(finish(clock, entry.enter(abort.signal))).rejects.toThrow('stopping');
    expect(calls).toEqual(['AddMember 10.0.0.1:2377']);
  });

  describe('resumed', () => {
    const never = new AbortController().signal;

    test('goes on until it is added', async () => {
      let tries = 0;
      const { entry, clock } = scene({
        add: (address) => (++tries < 4 ? refuse('unavailable') : accepted(address)),
      });
      expect(await finish(clock, entry.resume(never))).toBe(true);
      expect(tries).toBe(4);
    });

    test('has nothing to do when the log says that it was added', async () => {
      const { entry, members, calls } = scene({ add: accepted });
      members.push({ raftId: 9, address: OWN, leader: false });
      expect(await entry.resume(never)).toBe(true);
      expect(calls).toEqual([]);
    });

    test('ends when this member was removed meanwhile', async () => {
      const { entry, clock } = scene({ add: () => refuse('failed-precondition') });
      expect(await finish(clock, entry.resume(never))).toBe(false);
    });
  });
});
