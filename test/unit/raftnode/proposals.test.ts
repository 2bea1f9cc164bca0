import { describe, expect, test } from 'vitest';
import type { Entry } from '../../../manager/raft/types.ts';
import { ProposalError, ProposalWaiters } from '../../../manager/raftnode/proposals.ts';

function entry(index: number, term: number, type: Entry['type'] = 'normal'): Entry {
  return { index, term, type, data: new Uint8Array() };
}

const refusal = () => new ProposalError('unavailable', 'gone', true);

test('a proposal that may yet be committed is never refused with a code on which it is repeated', () => {
  expect(() => new ProposalError('not-leader', 'gone', true)).toThrow('may commit');
  expect(() => new ProposalError('no-leader', 'gone', true)).toThrow('may commit');
});

describe('callers that wait for their entries', () => {
  test('resolve when their own entry is applied', async () => {
    const waiters = new ProposalWaiters();
    const waiting = waiters.wait(7, 2, 'normal');
    waiters.applied(entry(6, 2));
    waiters.applied(entry(7, 2));
    expect(await waiting).toBe(7);
    expect(waiters.size).toBe(0);
  });

  test.each([
    ['of another term', entry(7, 3), 'not-leader'],
    ['of another type', entry(7, 2, 'conf-change'), 'unavailable'],
  ])('are told for certain when an entry %s took the place', async (_name, applied, code) => {
    const waiters = new ProposalWaiters();
    const waiting = waiters.wait(7, 2, 'normal');
    waiters.applied(applied);
    await expect(waiting).rejects.toMatchObject({ code, mayCommit: false });
  });

  test('above the commit index are rejected when leadership is lost, the others are not', async () => {
    const waiters = new ProposalWaiters();
    const committed = waiters.wait(7, 2, 'normal');
    const open = waiters.wait(8, 2, 'normal');
    waiters.rejectAbove(7, refusal);
    await expect(open).rejects.toMatchObject({ mayCommit: true });
    waiters.applied(entry(7, 2));
    expect(await committed).toBe(7);
  });

  test('cannot know their outcome when a snapshot passes them', async () => {
    const waiters = new ProposalWaiters();
    const waiting = waiters.wait(7, 2, 'normal');
    waiters.passed(10);
    await expect(waiting).rejects.toMatchObject({ code: 'unavailable', mayCommit: true });
  });

  test('of earlier terms can be rejected alone', async () => {
    const waiters = new ProposalWaiters();
    const old = waiters.wait(7, 2, 'normal');
    const current = waiters.wait(8, 4, 'normal');
    waiters.rejectBefore(4, refusal);
    await expect(old).rejects.toBeInstanceOf(ProposalError);
    waiters.applied(entry(8, 4));
    expect(await current).toBe(8);
  });

  test('are let go by an abort, and what comes later does not reach them', async () => {
    const waiters = new ProposalWaiters();
    const abort = new AbortController();
    const waiting = waiters.wait(7, 2, 'normal', abort.signal);
    abort.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    waiters.applied(entry(7, 2));
    expect(waiters.size).toBe(0);
  });
});
