/** Waiting for what other processes do. */

export function sleepMs(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

/** Asks every `periodMs` until it is so; a rejection counts as "not yet". */
export async function until(
  what: string,
  test: () => Promise<boolean>,
  { limitMs = 30_000, periodMs = 20 }: { limitMs?: number; periodMs?: number } = {},
): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  while (!(await test().catch(() => false))) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${limitMs} ms for: ${what}`);
    await sleepMs(periodMs);
  }
}
