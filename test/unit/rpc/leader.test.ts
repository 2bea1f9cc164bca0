import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { UNSENT } from '../../../common/rpc/client.ts';
import { LEADER_WAIT_MS, LeaderCaller } from '../../../common/rpc/leader.ts';
import { unary } from '../../../common/rpc/method.ts';
import { anonymousPeer } from '../../../common/rpc/peer.ts';
import { InstantClock } from '../../support/instant-clock.ts';

const text = { encode: () => new Uint8Array(), decode: () => '' };
const method = unary<string, string>({
  path: '/skep.Test/Work',
  request: text,
  response: text,
  roles: ['manager'],
});
const peer = anonymousPeer('10.0.0.9');

type Answer = string | SkepError;

/** A world in which the managers at some addresses answer, in turn, what is listed for them. */
function world(options: {
  leads?: boolean;
  leader?: string | null;
  answers?: Record<string, Answer[]>;
}) {
  const clock = new InstantClock();
  const asked: { address: string; forwardedFor: unknown }[] = [];
  const state = { leads: options.leads ?? false, leader: options.leader ?? null };
  const caller = new LeaderCaller({
    clock,
    self: () => peer,
    locator: { isLeader: () => state.leads, leaderAddress: () => state.leader },
    pool: {
      client: (address) => ({
        unary: async (_method, _request, callOptions) => {
          asked.push({ address, forwardedFor: callOptions?.forwardedFor });
          const answer = options.answers?.[address]?.shift();
          if (answer instanceof Error) throw answer;
          return answer as never;
        },
      }),
    },
  });
  const run = (local: () => Promise<string>, forwarded = false) =>
    caller.run({ method, request: '', local, caller: { peer, forwarded } });
  return { clock, asked, state, run };
}

const notLeader = (leaderAddress?: string) =>
  new SkepError(
    'not-leader',
    'not the leader',
    leaderAddress ? { details: { leaderAddress } } : {},
  );
const local = async (): Promise<string> => 'local';

describe('work of the leader', () => {
  test('is done here when this node leads', async () => {
    expect(await world({ leads: true }).run(local)).toEqual({ response: 'local', remote: false });
  });

  test('is passed to the leader with the caller', async () => {
    const { run, asked } = world({ leader: 'b:1', answers: { 'b:1': ['remote'] } });
    expect(await run(local)).toEqual({ response: 'remote', remote: true });
    expect(asked).toEqual([{ address: 'b:1', forwardedFor: peer }]);
  });

  test('follows a redirect', async () => {
    const { run, asked } = world({
      leader: 'b:1',
      answers: { 'b:1': [notLeader('c:1')], 'c:1': ['remote'] },
    });
    expect((await run(local)).response).toBe('remote');
    expect(asked.map((call) => call.address)).toEqual(['b:1', 'c:1']);
  });

  test('is never passed on a second time', async () => {
    const { run, asked } = world({ leader: 'c:1' });
    await expect(run(local, true)).rejects.toMatchObject({
      code: 'not-leader',
      details: { leaderAddress: 'c:1' },
    });
    expect(asked).toEqual([]);
  });

  test('waits while there is no leader, then says so', async () => {
    const { run, clock } = world({});
    await expect(run(local)).rejects.toMatchObject({ code: 'no-leader' });
    expect(clock.monotonicMs()).toBe(LEADER_WAIT_MS);
  });

  test('is tried again when leadership was lost before anything happened', async () => {
    const { run, state, asked } = world({ leads: true, answers: { 'b:1': ['remote'] } });
    const result = await run(async () => {
      state.leads = false;
      state.leader = 'b:1';
      throw notLeader();
    });
    expect(result.response).toBe('remote');
    expect(asked).toHaveLength(1);
  });

  test('is tried again when it surely did not leave, and only then', async () => {
    const unsent = new SkepError('unavailable', 'refused', { details: { [UNSENT]: 'true' } });
    const first = world({ leader: 'b:1', answers: { 'b:1': [unsent, 'remote'] } });
    expect((await first.run(local)).response).toBe('remote');
    const broken = new SkepError('unavailable', 'connection dropped');
    const second = world({ leader: 'b:1', answers: { 'b:1': [broken, 'remote'] } });
    await expect(second.run(local)).rejects.toBe(broken);
  });
});
