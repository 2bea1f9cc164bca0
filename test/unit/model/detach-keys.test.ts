import { describe, expect, test } from 'vitest';
import { DetachKeys, parseDetachKeys } from '../../../common/model/detach-keys.ts';

describe('detach keys', () => {
  test.each([
    ['ctrl-p,ctrl-q', [16, 17]],
    ['ctrl-@', [0]],
    ['a', [97]],
    ['ctrl-A,b', [1, 98]],
  ])('%s are bytes', (text, bytes) => {
    expect([...parseDetachKeys(text)]).toEqual(bytes);
  });

  test.each(['', 'ctrl-', 'ctrl-1', 'ab', 'a,,b'])('%j are none', (text) => {
    expect(() => parseDetachKeys(text)).toThrow(`invalid detach keys '${text}'`);
  });

  test('leave when all of them came, also in several pieces', () => {
    const keys = new DetachKeys(parseDetachKeys('ctrl-p,ctrl-q'));
    expect(keys.push(Buffer.from('ab\x10'))).toEqual({
      passed: Buffer.from('ab'),
      isDetached: false,
    });
    expect(keys.push(Buffer.from('\x11more'))).toEqual({
      passed: Buffer.from(''),
      isDetached: true,
    });
  });

  test('pass what only begins like them', () => {
    const keys = new DetachKeys(parseDetachKeys('ctrl-p,ctrl-q'));
    expect(keys.push(Buffer.from('\x10x\x10')).passed).toEqual(Buffer.from('\x10x'));
    expect(keys.push(Buffer.from('\x10')).passed).toEqual(Buffer.from('\x10'));
    expect(keys.push(Buffer.from('\x11')).isDetached).toBe(true);
  });
});
