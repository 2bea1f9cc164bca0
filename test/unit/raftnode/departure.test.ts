import { describe, expect, test } from 'vitest';
import { Departure } from '../../../manager/raftnode/departure.ts';

describe('departure of a removed member', () => {
  test.each([
    { others: [2, 3], tellers: [], over: false },
    { others: [2, 3], tellers: [2], over: false },
    { others: [2, 3], tellers: [2, 3], over: true },
    { others: [2, 3, 4], tellers: [2, 4], over: true },
    { others: [2], tellers: [2], over: true },
    { others: [2, 3], tellers: [7, 8], over: false },
    { others: [], tellers: [2], over: false },
  ])('with $others left, told by $tellers: over = $over', ({ others, tellers, over }) => {
    const departure = new Departure({ patienceTicks: 50 });
    for (const teller of tellers) departure.tell(teller, 10);
    expect(departure.isOver(others, 20)).toBe(over);
    expect(departure.isTold).toBe(tellers.length > 0);
  });

  test('one teller is enough after a while, none never is', () => {
    const departure = new Departure({ patienceTicks: 50 });
    expect(departure.isOver([2, 3], 1000)).toBe(false);
    departure.tell(2, 1000);
    departure.tell(2, 1040);
    expect(departure.isOver([2, 3], 1049)).toBe(false);
    expect(departure.isOver([2, 3], 1050)).toBe(true);
  });
});
