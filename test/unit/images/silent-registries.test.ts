import { beforeEach, describe, expect, test } from 'vitest';
import {
  RESOLVE_LIMIT_MS,
  SILENCE_MS,
  SILENT_LIMIT_MS,
  SilentRegistries,
} from '../../../worker/images/silent-registries.ts';
import { FakeClock } from '../../support/fake-clock.ts';

let clock: FakeClock;
let registries: SilentRegistries;
beforeEach(() => {
  clock = new FakeClock();
  registries = new SilentRegistries(clock);
});

describe('a registry', () => {
  test('has 5 s, and half a second in the minute after it was silent', async () => {
    expect(registries.limitMs('a')).toBe(RESOLVE_LIMIT_MS);
    registries.silent('a');
    expect([registries.limitMs('a'), registries.limitMs('b')]).toEqual([
      SILENT_LIMIT_MS,
      RESOLVE_LIMIT_MS,
    ]);
    await clock.advance(SILENCE_MS - 1);
    registries.silent('a'); // for half a second: that says nothing of the next minute
    expect(registries.limitMs('a')).toBe(SILENT_LIMIT_MS);
    await clock.advance(1);
    expect(registries.limitMs('a')).toBe(RESOLVE_LIMIT_MS);
  });

  test('that answers has its time again', () => {
    registries.silent('a');
    registries.answered('a');
    expect(registries.limitMs('a')).toBe(RESOLVE_LIMIT_MS);
  });
});
