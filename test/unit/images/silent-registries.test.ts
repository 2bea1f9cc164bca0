import { beforeEach, describe, expect, test } from 'vitest';
import {
  DIAL_LIMIT_MS,
  RESOLVE_LIMIT_MS,
  SILENCE_MS,
  SILENT_LIMIT_MS,
  SilentRegistries,
} from '../../../worker/images/silent-registries.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

let clock: FakeClock;
let registries: SilentRegistries;
beforeEach(() => {
  clock = new FakeClock();
  registries = new SilentRegistries(clock);
});

/** How long one is waited for that never answers. @param connectsAfterMs null = nobody is there */
async function patience(domain: string, connectsAfterMs: number | null = 0): Promise<number> {
  const endpoint = { connectedAtMs: Number.NEGATIVE_INFINITY };
  const beganMs = clock.monotonicMs();
  const asked = registries.bounded(
    domain,
    [{ connectedAtMs: Number.NEGATIVE_INFINITY }, endpoint],
    new AbortController().signal,
    (signal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  );
  let said = '';
  asked.catch((err: Error) => {
    said = err.message;
  });
  if (connectsAfterMs !== null) {
    clock.setTimer(connectsAfterMs, () => {
      endpoint.connectedAtMs = clock.monotonicMs();
    });
  }
  while (said === '' && clock.monotonicMs() - beganMs < 2 * RESOLVE_LIMIT_MS) {
    await clock.advance(100);
    await settle();
  }
  const waitedMs = clock.monotonicMs() - beganMs;
  expect(said).toBe(`no answer in ${waitedMs} ms`);
  return waitedMs;
}
const answered = (domain: string) =>
  registries.bounded(domain, [], new AbortController().signal, async () => 'digest');

describe('a registry', () => {
  test('has 5 s, and half a second in the minute after it was silent', async () => {
    expect(await patience('a')).toBe(RESOLVE_LIMIT_MS);
    expect(await patience('a')).toBe(SILENT_LIMIT_MS);
    expect(await patience('b')).toBe(RESOLVE_LIMIT_MS);
    await clock.advance(SILENCE_MS - RESOLVE_LIMIT_MS - 3 * SILENT_LIMIT_MS);
    // For half a second: that says nothing of the next minute.
    expect(await patience('a')).toBe(SILENT_LIMIT_MS);
    await clock.advance(SILENT_LIMIT_MS);
    expect(await patience('a')).toBe(RESOLVE_LIMIT_MS);
  });

  test('that cannot be reached is given up sooner', async () => {
    expect(await patience('a', null)).toBe(DIAL_LIMIT_MS);
    expect(await patience('a', null)).toBe(SILENT_LIMIT_MS);
    expect(await patience('b', DIAL_LIMIT_MS - 100)).toBe(RESOLVE_LIMIT_MS);
  });

  test('that answers has its time again', async () => {
    await patience('a');
    expect(await answered('a')).toBe('digest');
    expect(await patience('a')).toBe(RESOLVE_LIMIT_MS);
    expect(clock.pending).toBe(0);
  });
});
