import { describe, expect, test } from 'vitest';
import { type ErrorCode, SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { Follower } from '../../../manager/store/follower.ts';
import { aNode } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

interface Probe {
  readonly t: TestStore;
  readonly follower: Follower;
  readonly calls: string[];
  readonly failures: unknown[];
  /** thrown by the next reaction */
  next: unknown;
}

function probe(): Probe {
  const t = makeStore();
  const { store, clock, random } = t;
  const calls: string[] = [];
  const failures: unknown[] = [];
  const onFailure = (err: unknown): void => void failures.push(err);
  const act = (name: string): Promise<void> => {
    calls.push(name);
    const err = state.next;
    state.next = null;
    return err === null ? Promise.resolve() : Promise.reject(err);
  };
  const follower = new Follower(
    { store, clock, random, log: silentLogger, onFailure },
    { resync: () => act('resync'), react: (commits) => act(`react ${commits.length}`) },
  );
  const state: Probe = { t, follower, calls, failures, next: null };
  return state;
}

describe('follower', () => {
  test('looks at everything once, then at each batch of commits', async () => {
    const { t, follower, calls } = probe();
    await t.create('node', aNode());
    follower.start();
    await settle();
    await Promise.all([t.create('node', aNode()), t.create('node', aNode())]);
    await settle();
    expect(calls[0]).toBe('resync');
    const seen = calls.slice(1).reduce((sum, call) => sum + Number(call.split(' ')[1]), 0);
    expect(seen).toBe(2);
    await follower.stop();
  });

  test('a wake calls the reaction without commits; several are one', async () => {
    const { follower, calls } = probe();
    follower.start();
    await settle();
    follower.wake();
    follower.wake();
    await settle();
    expect(calls).toEqual(['resync', 'react 0']);
    await follower.stop();
  });

  test('a commit that comes after a wake is not lost', async () => {
    const { t, follower, calls } = probe();
    follower.start();
    await settle();
    follower.wake();
    await settle();
    await t.create('node', aNode());
    await settle();
    expect(calls).toEqual(['resync', 'react 0', 'react 1']);
    await follower.stop();
  });

  test.each<ErrorCode>(['not-leader', 'no-leader'])('%s ends it quietly', async (code) => {
    const state = probe();
    state.next = new SkepError(code, 'gone');
    state.follower.start();
    await settle();
    await state.t.create('node', aNode());
    await state.t.clock.advance(10_000);
    expect(state.calls).toEqual(['resync']);
    expect(state.failures).toEqual([]);
  });

  test.each<ErrorCode>(['unavailable', 'version-conflict', 'deadline-exceeded'])(
    '%s makes it start over after a pause',
    async (code) => {
      const state = probe();
      state.next = new SkepError(code, 'busy');
      state.follower.start();
      await settle();
      expect(state.calls).toEqual(['resync']);
      await state.t.clock.advance(2000);
      expect(state.calls).toEqual(['resync', 'resync']);
      expect(state.failures).toEqual([]);
      await state.follower.stop();
    },
  );

  test('any other error is its death, told once', async () => {
    const state = probe();
    state.next = new Error('bug');
    state.follower.start();
    await settle();
    expect(state.failures).toEqual([new Error('bug')]);
    await state.t.create('node', aNode());
    expect(state.calls).toEqual(['resync']);
  });

  test('a cut watch makes it start over', async () => {
    const { t, follower, calls } = probe();
    follower.start();
    await settle();
    const chunks = [...t.store.snapshot()];
    await t.store.restore(asyncOf(chunks), t.store.revision);
    await settle();
    expect(calls).toEqual(['resync', 'resync']);
    await t.create('node', aNode());
    await settle();
    expect(calls).toEqual(['resync', 'resync', 'react 1']);
    await follower.stop();
  });

  test('nothing runs after stop', async () => {
    const { t, follower, calls } = probe();
    follower.start();
    await settle();
    await follower.stop();
    follower.wake();
    await t.create('node', aNode());
    await settle();
    expect(calls).toEqual(['resync']);
  });
});

async function* asyncOf<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
