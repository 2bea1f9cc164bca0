import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { Departure } from '../../../manager/raftnode/departure.ts';
import type { Leadership } from '../../../manager/raftnode/leadership.ts';
import { Leaving } from '../../../manager/raftnode/leaving.ts';
import type { MemberView } from '../../../manager/raftnode/member-view.ts';
import { NodeLife } from '../../../manager/raftnode/node-life.ts';

/** Of three, of which two cannot tell it of its removal both. */
function leavingNode(electionTicks: () => number): { leaving: Leaving; ended: () => boolean } {
  let isOver = false;
  const life = new NodeLife({ quit: () => {}, onFailure: () => {} });
  life.start();
  const leaving = new Leaving({
    ...{ electionTicks, life, log: silentLogger, greet: () => {}, left: () => {} },
    view: { others: [2, 3], isReachable: () => true } as unknown as MemberView,
    leadership: { soft: { leader: 2 } } as unknown as Leadership,
    removed: () => {
      isOver = true;
    },
  });
  return { leaving, ended: () => isOver };
}

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
    const departure = new Departure({ patienceTicks: () => 50 });
    for (const teller of tellers) departure.tell(teller, 10);
    expect(departure.isOver(others, 20)).toBe(over);
    expect(departure.isTold).toBe(tellers.length > 0);
  });

  test('one teller is enough after a while, none never is', () => {
    const departure = new Departure({ patienceTicks: () => 50 });
    expect(departure.isOver([2, 3], 1000)).toBe(false);
    departure.tell(2, 1000);
    departure.tell(2, 1040);
    expect(departure.isOver([2, 3], 1049)).toBe(false);
    expect(departure.isOver([2, 3], 1050)).toBe(true);
  });

  test('what a while is may be said later', () => {
    let electionTicks = 10;
    const { leaving, ended } = leavingNode(() => electionTicks);
    leaving.told(2);
    electionTicks = 20; // setTiming
    for (let tick = 0; tick < 99; tick++) leaving.tick();
    expect(ended()).toBe(false);
    leaving.tick();
    expect(ended()).toBe(true);
  });
});
