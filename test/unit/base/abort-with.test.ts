import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { abortWith } from '../../../common/base/abort-with.ts';

test('an abort follows its source, with the reason, and is aborted alone as well', () => {
  const source = new AbortController();
  const follower = abortWith(source.signal);
  const alone = abortWith(source.signal);
  alone.abort('over');
  expect([source.signal.aborted, follower.signal.aborted]).toEqual([false, false]);
  source.abort('gone');
  expect(follower.signal.reason).toBe('gone');
  expect(alone.signal.reason).toBe('over');
  expect(abortWith(source.signal).signal.reason).toBe('gone');
});

test('an abort that was released has left nothing with its source', () => {
  const source = new AbortController();
  const released = abortWith(source.signal);
  expect(getEventListeners(source.signal, 'abort')).toHaveLength(1);
  released.release();
  expect(getEventListeners(source.signal, 'abort')).toHaveLength(0);
  source.abort();
  expect(released.signal.aborted).toBe(false);
});
