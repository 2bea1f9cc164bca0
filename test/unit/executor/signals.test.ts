import { describe, expect, test } from 'vitest';
import { signalNumber } from '../../../worker/executor/signals.ts';

describe('signal', () => {
  test.each([
    ['SIGTERM', 15],
    ['TERM', 15],
    ['sigterm', 15],
    ['15', 15],
    ['SIGQUIT', 3],
    ['WINCH', 28],
    ['1', 1],
    ['64', 64],
    ['RTMIN', 34],
    ['SIGRTMIN+3', 37],
    ['rtmin+30', 64],
    ['RTMAX', 64],
    ['SIGRTMAX-2', 62],
  ])('%s is %i', (text, number) => {
    expect(signalNumber(text)).toBe(number);
  });

  test.each([
    '',
    'SIGFOO',
    '0',
    '65',
    '-1',
    '1.5',
    'RTMIN+31',
    'RTMIN-1',
    'RTMAX+1',
    'RTMAX-31',
    'SIG',
  ])('%j is refused', (text) => {
    expect(() => signalNumber(text)).toThrow(`invalid signal: ${text}`);
  });
});
