import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { EFFECT, SkepError } from '../../../common/base/errors.ts';
import { LEADER_WAIT_MS, LeaderCaller } from '../../../common/rpc/leader.ts';
import { unary } from '../../../common/rpc/method.ts';
import { anonymousPeer } from '../../../common/rpc/peer.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const text = { encode: () => new Uint8Array(), decode: () => '' };
const method = unary<string, string>({
  path: '/skep.Test/Work',
  request: text,
  response: text,
  roles: ['manager'],
});
const peer = anonymousPeer('10.0.0.9');

/** A promise is an answer that takes its time; it is cut short by the call's signal. */
type Answer = string | SkepError | Promise<string>;

/** A world in which the managers at some addresses answer, in turn, what is listed for them. */
function world(options: {
  leads?: boolean;
  leader?: string | null;
  answers?: Record<string, Answer[]>;
}) {
  const clock = new FakeClock();
  const listeners = new Set<() => void>();
  const asked: { address: string; forwardedFor: unknown }[] = [];
  const state = { leads: options.leads ?? false, leader: options.leader ?? null };
  const caller = new LeaderCaller({
    clock,
    self: () => peer,
    locator: {
      isLeader: () => state.leads,
      leaderAddress: () => state.leader,
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    pool: {
      client: (address) => ({
        unary: async (_method, _request, callOptions) => {
          asked.push({ address, forwardedFor: callOptions?.forwardedFor });
          const answer = options.answers?.[address]?.shift();
          if (answer instanceof Error) throw answer;
          const aborted = new Promise<never>((_, reject) => {
            const signal = callOptions?.signal;
            signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
          });
          return Promise.race([answer, aborted]) as never;
        },
      }),
    },
  });
  const begin = (local: () => Promise<string>, forwarded = false, signal?: AbortSignal) =>
    caller.run({ method, request: '', local, caller: { peer, forwarded }, signal });
  /** `begin`, and as much time as it takes. */
  const run: typeof begin = async (...args) => {
    const result = begin(...args);
    result.catch(() => {}); // told below
    await clock.advance(2 * LEADER_WAIT_MS);
    return result;
  };
  /** Another manager leads from now on, and this one is told. */
  const follow = (leader: string | null): void => {
    state.leader = leader;
    for (const listener of [...listeners]) listener();
  };
  return { clock, asked, state, listeners, begin, run, follow };
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

  test('listens to the caller while the leader is asked, and no longer', async () => {
    let answer = (_: string): void => {};
    const slow = new Promise<string>((resolve) => {
      answer = resolve;
    });
    const { begin } = world({ leader: 'b:1', answers: { 'b:1': [slow, 'at once'] } });
    const { signal } = new AbortController();
    const asked = begin(local, false, signal);
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    answer('remote');
    expect((await asked).response).toBe('remote');
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    await begin(local, false, signal);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  test('is called off with the caller, who hears his own reason', async () => {
    const { begin } = world({ leader: 'b:1', answers: { 'b:1': [new Promise(() => {})] } });
    const gone = new AbortController();
    const asked = begin(local, false, gone.signal);
    gone.abort(new Error('gone'));
    await expect(asked).rejects.toThrow('gone');
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
    const { begin, clock } = world({});
    const refused = expect(begin(local)).rejects.toMatchObject({ code: 'no-leader' });
    await clock.advance(LEADER_WAIT_MS - 1);
    expect(clock.pending).toBe(1);
    await clock.advance(1);
    expect(clock.pending).toBe(0);
    await refused;
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

  test('goes on at once when a leader is found', async () => {
    const { begin, clock, follow, listeners } = world({ answers: { 'b:1': ['remote'] } });
    const result = begin(local);
    await clock.advance(1);
    follow('b:1');
    expect((await result).response).toBe('remote');
    expect(clock.monotonicMs()).toBe(1);
    expect([clock.pending, listeners.size]).toEqual([0, 0]);
  });

  test('lets go of a leader that was replaced and does not answer', async () => {
    const never = new Promise<string>(() => {});
    const { begin, clock, follow, listeners } = world({
      leader: 'b:1',
      answers: { 'b:1': [never] },
    });
    const result = begin(local);
    const refused = expect(result).rejects.toMatchObject({
      code: 'unavailable',
      details: { [EFFECT]: 'unknown' },
    });
    await clock.advance(1_000);
    follow(null); // an election
    await clock.advance(1_000);
    expect(clock.pending).toBe(0);
    follow('c:1');
    await clock.advance(299);
    expect(clock.pending).toBe(1);
    await clock.advance(1);
    await refused;
    expect([clock.pending, listeners.size]).toEqual([0, 0]);
  });

  test('goes on waiting for a leader that leads again', async () => {
    let answer = (_: string): void => {};
    const slow = new Promise<string>((resolve) => {
      answer = resolve;
    });
    const { begin, clock, follow } = world({ leader: 'b:1', answers: { 'b:1': [slow] } });
    const result = begin(local);
    await clock.advance(1);
    follow('c:1');
    await clock.advance(299);
    follow('b:1');
    await clock.advance(1_000);
    answer('remote');
    expect((await result).response).toBe('remote');
  });

  test('waits for a leader that others point to, whatever this node knows', async () => {
    let answer = (_: string): void => {};
    const slow = new Promise<string>((resolve) => {
      answer = resolve;
    });
    const { begin, clock } = world({
      leader: 'b:1',
      answers: { 'b:1': [notLeader('c:1')], 'c:1': [slow] },
    });
    const result = begin(local);
    await clock.advance(2_000);
    answer('remote');
    expect((await result).response).toBe('remote');
  });

  test('says why nothing could be done when that is no lack of a leader', async () => {
    const full = new SkepError('unavailable', 'no space', { details: { [EFFECT]: 'none' } });
    const { run } = world({ leads: true });
    await expect(run(() => Promise.reject(full))).rejects.toBe(full);
  });

  test('is not tried again when leadership was lost with the write under way', async () => {
    const lost = new SkepError('no-leader', 'propose: lost', { details: { [EFFECT]: 'unknown' } });
    const here = world({ leads: true });
    await expect(here.run(() => Promise.reject(lost))).rejects.toBe(lost);
    const there = world({ leader: 'b:1', answers: { 'b:1': [lost, 'remote'] } });
    await expect(there.run(local)).rejects.toBe(lost);
  });

  test('is tried again when it surely did not leave, and only then', async () => {
    const unsent = new SkepError('unavailable', 'refused', { details: { [EFFECT]: 'none' } });
    const first = world({ leader: 'b:1', answers: { 'b:1': [unsent, 'remote'] } });
    expect((await first.run(local)).response).toBe('remote');
    const broken = new SkepError('unavailable', 'connection dropped');
    const second = world({ leader: 'b:1', answers: { 'b:1': [broken, 'remote'] } });
    await expect(second.run(local)).rejects.toBe(broken);
  });
});
