import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { BackgroundProof } from '../../../worker/network/background-proof.ts';
import { NOTHING_PROVED, type Proof, type ProofTurn } from '../../../worker/network/self-proof.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const PART: Proof = { ...NOTHING_PROVED, compared: 1, isWhole: false };

describe('the proof in the background', () => {
  function scene(answers: (Proof | null)[]) {
    const clock = new FakeClock();
    const turns: ProofTurn[] = [];
    const told: Proof[] = [];
    /** the queue of orders, which lets a turn begin */
    const waiting: (() => void)[] = [];
    const background = new BackgroundProof({
      clock,
      log: silentLogger,
      prove: async (begin) => {
        await new Promise<void>((resolve) => waiting.push(resolve));
        turns.push(begin());
        return answers.shift() ?? null;
      },
      tell: (proof) => told.push(proof),
    });
    background.start();
    const next = async () => {
      waiting.shift()?.();
      await clock.advance(0);
    };
    return { clock, turns, told, waiting, background, next };
  }

  test('goes in turns of some milliseconds, and is told once, as a whole', async () => {
    const { clock, turns, told, next } = scene([PART, { ...PART, isWhole: true }]);
    await clock.advance(3000);
    await next();
    expect(told).toEqual([]);
    expect(turns[0]?.isOver()).toBe(false);
    await clock.advance(5);
    expect(turns[0]?.isOver()).toBe(true);
    await next();
    expect(turns[1]?.seen).toBe(turns[0]?.seen); // goes on where the first one was
    expect(told).toEqual([{ ...PART, compared: 2, isWhole: true }]);
  });

  test('loses patience with orders that do not end, and begins no second one meanwhile', async () => {
    const { clock, turns, waiting, next } = scene([PART, PART]);
    await clock.advance(3000);
    await next();
    await clock.advance(4000);
    expect(waiting).toHaveLength(1);
    await next();
    await clock.advance(60_000);
    expect(turns[1]?.isOver()).toBe(false); // all the rest
  });

  test('ends when there is nothing to prove any more', async () => {
    const { clock, told, turns, next, background } = scene([null]);
    await clock.advance(3000);
    await next();
    expect(told).toEqual([NOTHING_PROVED]);
    background.stop();
    await clock.advance(30_000);
    expect(turns).toHaveLength(1);
  });
});
