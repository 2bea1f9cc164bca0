import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SystemRandom } from '../../../common/base/random.ts';
import { isTransient, isUnreached, responseError } from '../../../worker/images/registry-errors.ts';
import { ATTEMPTS_MAX, retrying } from '../../../worker/images/retrying.ts';
import { InstantClock } from '../../support/instant-clock.ts';

const never = new AbortController().signal;

/** How often it was tried, how long was waited, and what came of it. */
async function attempt(...failures: readonly unknown[]) {
  const clock = new InstantClock();
  const left = [...failures];
  let attempts = 0;
  const outcome = await retrying(
    { clock, random: new SystemRandom(), log: silentLogger },
    never,
    async () => {
      attempts++;
      if (left.length > 0) throw left.shift();
      return 'done';
    },
  ).catch((err: unknown) => err);
  return { attempts, waitedMs: clock.monotonicMs(), outcome };
}

describe('retrying', () => {
  test('waits at least as long as the registry asks', async () => {
    const { attempts, waitedMs, outcome } = await attempt(responseError(429, '', '20'));
    expect([attempts, outcome]).toEqual([2, 'done']);
    expect(waitedMs).toBeGreaterThanOrEqual(20_000);
  });

  test('quotes a registry that asks for more patience than there is', async () => {
    const failure = responseError(429, '', '31');
    expect(await attempt(failure)).toMatchObject({ attempts: 1, waitedMs: 0, outcome: failure });
  });

  test('gives up on what another attempt cannot cure, and after its last one', async () => {
    const denied = responseError(403, '');
    expect(await attempt(denied)).toMatchObject({ attempts: 1, outcome: denied });
    const broken = Array.from({ length: ATTEMPTS_MAX + 1 }, () => responseError(500, ''));
    const { attempts, outcome } = await attempt(...broken);
    expect(attempts).toBe(ATTEMPTS_MAX);
    expect(outcome).toBe(broken[ATTEMPTS_MAX - 1]);
  });

  test.each([
    ['a name that nobody knows just now', { code: 'EAI_AGAIN' }, true],
    ['a connection that is not there in time', { code: 'ETIMEDOUT' }, true],
    ['a connection that broke', { code: 'ECONNRESET' }, false],
    ['a registry that has trouble', responseError(503, ''), false],
  ])('knows by what nobody was reached: %s', (_what, failure, unreached) => {
    const err = failure instanceof Error ? failure : Object.assign(new Error('x'), failure);
    const wrapped = new SkepError('unavailable', 'connect to registry', { cause: err });
    expect([isTransient(wrapped), isUnreached(wrapped)]).toEqual([true, unreached]);
  });
});
