import { describe, expect, test } from 'vitest';
import { identityOf, isAlive, parseStat } from '../../../worker/runtime/process-identity.ts';

const REST = '1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21';

describe('process identity', () => {
  test.each([
    ['42 (sleep) S', 'S'],
    ['42 (a) b (c) Z', 'Z'],
    ['42 () 1 R) D', 'D'],
  ])('%s: state and start time are read behind the name', (head, state) => {
    expect(parseStat(`${head} ${REST}\n`)).toEqual({ state, startTicks: 777 });
  });

  test('this process is alive, another with its pid is not', async () => {
    const self = identityOf(process.pid);
    expect(self).not.toBeNull();
    expect(isAlive(self!)).toBe(true);
    expect(isAlive({ pid: process.pid, startTicks: self!.startTicks + 1 })).toBe(false);
  });

  test('pids of nobody', async () => {
    expect(identityOf(0)).toBeNull();
    expect(isAlive({ pid: 2 ** 30, startTicks: 1 })).toBe(false);
  });
});
