import { Readable } from 'node:stream';
import { beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { TokenRequest } from '../../../common/model/registry-token.ts';
import { IdentityTokens, REPLACED_MAX } from '../../../worker/images/identity-tokens.ts';

const DOMAIN = 'reg.example';
let tokens: IdentityTokens;
/** identity tokens that the registry was shown */
let shown: string[];
/** gives the answer that is waited for, for each */
let waiting: ((body: object, status?: number) => void)[];
let replaced: string[];

beforeEach(() => {
  shown = [];
  waiting = [];
  replaced = [];
  tokens = new IdentityTokens({
    log: silentLogger,
    endpoint: () => ({
      requestToken: (_, options) => {
        const form = new URLSearchParams(String(options.body));
        shown.push(form.get('refresh_token')!);
        return new Promise((resolve) => {
          waiting.push((body, statusCode = 200) => {
            const text = Readable.from([Buffer.from(JSON.stringify(body))]);
            resolve(Object.assign(text, { statusCode, headers: {} }) as never);
          });
        });
      },
    }),
  });
  tokens.onReplaced((domain, token) => replaced.push(`${domain} ${token}`));
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const asked = (identityToken: string): TokenRequest => ({
  ...{ domain: DOMAIN, realm: `https://${DOMAIN}/token`, service: null },
  ...{ scopes: ['repository:app:pull'], identityToken, isLogin: false },
});

/** The registry's answer to what it was asked last. */
async function answered(body: object, status?: number): Promise<void> {
  await turn();
  waiting.at(-1)!(body, status);
  await turn();
}

describe('identity tokens', () => {
  test('are used one at a time, and who has an old one is given what stands for it', async () => {
    const exchanges = ['one', 'one', 'one'].map((token) => tokens.exchange(asked(token)));
    await answered({ access_token: 'a', refresh_token: 'two', expires_in: 60 });
    await answered({ access_token: 'b', refresh_token: 'three' });
    await answered({ access_token: 'c' });
    expect(shown).toEqual(['one', 'two', 'three']);
    expect(await Promise.all(exchanges)).toEqual([
      { accessToken: 'a', lifeMs: 60_000, identityToken: 'two' },
      { accessToken: 'b', lifeMs: 60_000, identityToken: 'three' },
      { accessToken: 'c', lifeMs: 60_000, identityToken: 'three' },
    ]);
    expect(tokens.latest(DOMAIN, 'one')).toBe('three');
    expect(tokens.latest('other.example', 'one')).toBe('one');
    expect(replaced).toEqual([`${DOMAIN} two`, `${DOMAIN} three`]);
  });

  test('that are refused do not stop the others', async () => {
    const exchanges = ['bad', 'good'].map((token) => tokens.exchange(asked(token)));
    const first = expect(exchanges[0]).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining('that token was used'),
    });
    await answered({ details: 'that token was used' }, 401);
    await answered({ token: 'a' });
    await first;
    expect((await exchanges[1]!).accessToken).toBe('a');
  });

  test('whose user went meanwhile are taken even so: the old one may be void', async () => {
    const abort = new AbortController();
    const left = [1, 2].map(() =>
      expect(tokens.exchange(asked('one'), abort.signal)).rejects.toThrow('gone'),
    );
    await turn();
    abort.abort(new Error('gone'));
    await Promise.all(left);
    await answered({ token: 'a', refresh_token: 'two' });
    expect([shown, tokens.latest(DOMAIN, 'one')]).toEqual([['one'], 'two']);
  });

  test('that a registry gives once more lead nobody in a circle', async () => {
    for (const [used, next] of [
      ['one', 'two'],
      ['two', 'one'],
    ] as const) {
      const exchange = tokens.exchange(asked(used));
      await answered({ token: 'a', refresh_token: next });
      await exchange;
    }
    expect([tokens.latest(DOMAIN, 'one'), tokens.latest(DOMAIN, 'two')]).toEqual(['one', 'one']);
  });

  test('are remembered up to a number', async () => {
    for (let i = 0; i <= REPLACED_MAX; i++) {
      const exchange = tokens.exchange(asked(`old${i}`));
      await answered({ token: 'a', refresh_token: `new${i}` });
      await exchange;
    }
    expect(['old0', 'old1'].map((token) => tokens.latest(DOMAIN, token))).toEqual(['old0', 'new1']);
  });

  test('go to the leader where there is one; when nobody is there the node uses them itself', async () => {
    const grant = { accessToken: 'afar', lifeMs: 1, identityToken: 'two' };
    tokens.joined(async () => grant);
    expect(await tokens.exchange(asked('one'))).toBe(grant);
    tokens.joined(() => Promise.reject(new SkepError('unauthenticated', 'its words')));
    await expect(tokens.exchange(asked('one'))).rejects.toThrow('its words');
    expect(shown).toEqual([]);
    tokens.joined(() => Promise.reject(new SkepError('no-leader', 'nobody')));
    const exchange = tokens.exchange(asked('one'));
    await answered({ token: 'a' });
    expect((await exchange).accessToken).toBe('a');
  });
});
