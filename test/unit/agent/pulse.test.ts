import { describe, expect, test } from 'vitest';
import type { Random } from '../../../common/base/random.ts';
import { Pulse } from '../../../worker/agent/pulse.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function scene(unit = 0.5) {
  const clock = new FakeClock();
  const random: Random = { bytes: (n) => new Uint8Array(n), below: () => 0, unit: () => unit };
  const it = { clock, beatsMs: [] as number[], answersMs: [] as number[], silences: 0 };
  const pulse = new Pulse({
    clock,
    random,
    beat: () => it.beatsMs.push(clock.monotonicMs()),
    onAnswer: (elapsedMs) => it.answersMs.push(elapsedMs),
    onSilence: () => it.silences++,
  });
  return { ...it, pulse, silences: () => it.silences };
}

describe('a pulse', () => {
  test.each([
    [0, 1_800],
    [0.5, 2_000],
    [1, 2_200],
  ])('beats after the period, a tenth more or less (chance %d: %i ms)', async (unit, afterMs) => {
    const { clock, beatsMs, pulse } = scene(unit);
    pulse.setPeriod(2_000);
    await clock.advance(afterMs);
    expect(beatsMs).toEqual([afterMs]);
    pulse.stop();
    await clock.advance(60_000);
    expect(beatsMs).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  test.each([0, -1, Number.NaN])(
    'keeps its period when it is told one of %d ms',
    async (periodMs) => {
      const { clock, beatsMs, pulse } = scene();
      pulse.setPeriod(periodMs);
      expect(clock.pending).toBe(0);
      pulse.setPeriod(2_000);
      pulse.setPeriod(periodMs);
      await clock.advance(2_000);
      expect(beatsMs).toEqual([2_000]);
    },
  );

  test('tells how long each answer took', async () => {
    const { clock, answersMs, pulse } = scene();
    pulse.answered(); // to nothing
    pulse.setPeriod(2_000);
    await clock.advance(2_030);
    pulse.answered();
    await clock.advance(2_000);
    pulse.answered();
    expect(answersMs).toEqual([30, 30]);
  });

  test('gives up with the second beat after which nobody answered', async () => {
    const { clock, beatsMs, silences, pulse } = scene();
    pulse.setPeriod(2_000);
    await clock.advance(4_000);
    expect(silences()).toBe(0);
    await clock.advance(2_000);
    expect(silences()).toBe(1);
    await clock.advance(60_000);
    expect(silences()).toBe(1);
    expect(beatsMs).toEqual([2_000, 4_000]);
  });

  test('does not with answers that come late, nor soon when it beats very often', async () => {
    const late = scene();
    late.pulse.setPeriod(2_000);
    for (let i = 0; i < 20; i++) {
      await late.clock.advance(2_000);
      if (i > 0) late.pulse.answered();
    }
    expect(late.silences()).toBe(0);
    const often = scene();
    often.pulse.setPeriod(100);
    await often.clock.advance(3_500);
    expect(often.silences()).toBe(0);
    await often.clock.advance(200);
    expect(often.silences()).toBe(1);
  });
});
