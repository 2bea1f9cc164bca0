import { describe, expect, test } from 'vitest';
import { SharedWork } from '../../../worker/images/shared-work.ts';

const DIGEST = `sha256:${'7'.repeat(64)}`;

/** Downloads that end when they are told to, or are aborted; and pulls that wait for them. */
function scene() {
  const downloads = new SharedWork();
  const fetched: { end: (err?: Error) => void; signal: AbortSignal }[] = [];
  let isHere = false;
  const fetch = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const end = (err?: Error): void => {
        isHere = err === undefined;
        if (err) reject(err);
        else resolve();
      };
      fetched.push({ end, signal });
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  const pull = () => {
    const own = new AbortController();
    const outcome = downloads
      .ensure(DIGEST, () => isHere, own.signal, fetch)
      .then(
        (isNew) => (isNew ? 'fetched' : 'here'),
        (err: Error) => err.message,
      );
    return { outcome, cancel: () => own.abort(new Error('cancelled')) };
  };
  return { downloads, fetched, pull };
}

describe('a download that several pulls want', () => {
  test('is done once', async () => {
    const { fetched, pull } = scene();
    const pulls = [pull(), pull(), pull()];
    fetched[0]!.end();
    expect(await Promise.all(pulls.map((one) => one.outcome))).toEqual(['fetched', 'here', 'here']);
    expect(fetched).toHaveLength(1);
  });

  test('goes on for the others when the pull that began it is cancelled', async () => {
    const { fetched, pull } = scene();
    const [first, second] = [pull(), pull()];
    first.cancel();
    expect(await first.outcome).toBe('cancelled');
    expect(fetched[0]!.signal.aborted).toBe(false);
    fetched[0]!.end();
    expect(await second.outcome).toBe('here');
  });

  test('lets a pull that only waits go at once when that is cancelled', async () => {
    const { fetched, pull } = scene();
    const [first, second] = [pull(), pull()];
    second.cancel();
    expect(await second.outcome).toBe('cancelled');
    fetched[0]!.end();
    expect(await first.outcome).toBe('fetched');
  });

  test('is aborted with the last that waits, and nobody joins it then', async () => {
    const { downloads, fetched, pull } = scene();
    const [first, second] = [pull(), pull()];
    first.cancel();
    second.cancel();
    await Promise.all([first.outcome, second.outcome]);
    expect(fetched[0]!.signal.aborted).toBe(true);
    const third = pull();
    expect(fetched).toHaveLength(2);
    fetched[1]!.end();
    expect(await third.outcome).toBe('fetched');
    await downloads.ended();
  });

  test('that failed is begun anew by the first that still wants it, and the others wait again', async () => {
    const { fetched, pull } = scene();
    const [first, second, third] = [pull(), pull(), pull()];
    fetched[0]!.end(new Error('503'));
    expect(await first.outcome).toBe('503');
    await settled();
    fetched[1]!.end();
    expect(await Promise.all([second.outcome, third.outcome])).toEqual(['fetched', 'here']);
    expect(fetched).toHaveLength(2);
  });
});

/** What has been resolved has been seen by all. */
function settled(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
