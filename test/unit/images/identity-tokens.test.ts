import { Readable } from 'node:stream';
import { beforeEach, describe, expect, test } from 'vitest';
import { EFFECT, type ErrorCode, SkepError } from '../../../common/base/errors.ts';
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
/** of the registry, at its front door */
let challenge: string;

beforeEach(() => {
  shown = [];
  waiting = [];
  replaced = [];
  challenge = `Bearer realm="https://auth.example/token",service="${DOMAIN}"`;
  tokens = new IdentityTokens({
    log: silentLogger,
    endpoint: () => ({
      baseUrl: async () => `https://${DOMAIN}`,
      request: async (url) => {
        expect(url).toBe(`https://${DOMAIN}/v2/`);
        const headers = { 'www-authenticate': challenge };
        return Object.assign(Readable.from([]), { statusCode: 401, headers }) as never;
      },
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

  test('go to the leader where there is one; which has the last word', async () => {
    const grant = { accessToken: 'afar', lifeMs: 1, identityToken: 'two' };
    tokens.joined(async () => grant);
    expect(await tokens.exchange(asked('one'))).toBe(grant);
    tokens.joined(() => Promise.reject(new SkepError('unauthenticated', 'its words')));
    await expect(tokens.exchange(asked('one'))).rejects.toThrow('its words');
    expect(shown).toEqual([]);
  });

  test.each<[ErrorCode, string | null, boolean]>([
    ['no-leader', null, true],
    ['no-leader', 'unknown', false],
    ['unimplemented', null, true],
    ['unavailable', 'none', true],
    ['unavailable', 'unknown', false],
    ['unavailable', null, false],
    ['deadline-exceeded', null, false],
  ])(
    'when the leader is %s, its effect %s: used by the node itself is %s',
    async (code, effect, isUsed) => {
      const details: Record<string, string> = effect === null ? {} : { [EFFECT]: effect };
      tokens.joined(() => Promise.reject(new SkepError(code, 'nobody', { details })));
      const exchange = tokens.exchange(asked('one'));
      if (isUsed) {
        await answered({ token: 'a' });
        expect((await exchange).accessToken).toBe('a');
      } else {
        await expect(exchange).rejects.toThrow('nobody');
        expect(shown).toEqual([]);
      }
    },
  );

  test.each([
    ['https://auth.example/token', true],
    ['https://auth.example/other', true],
    [`https://${DOMAIN}/token`, true],
    ['https://thief.example/token', false],
    ['http://auth.example/token', false],
    ['https://auth.example:444/token', false],
    ['no URL', false],
  ])('for others go to whom the registry names: %s is %s', async (realm, isNamed) => {
    const exchange = tokens.exchangeForOthers({ ...asked('one'), realm });
    if (isNamed) {
      await turn();
      await answered({ token: 'a', refresh_token: 'two' });
      expect((await exchange).identityToken).toBe('two');
    } else {
      await expect(exchange).rejects.toMatchObject({ code: 'permission-denied' });
      expect([shown, tokens.latest(DOMAIN, 'one')]).toEqual([[], 'one']);
    }
  });

  test('for others go nowhere else when the registry names nobody', async () => {
    challenge = 'Basic realm="https://auth.example/token"';
    const realm = 'https://auth.example/token';
    await expect(tokens.exchangeForOthers({ ...asked('one'), realm })).rejects.toThrow(
      `exchange a token of ${DOMAIN}: ${realm} is not where it sends its users`,
    );
    expect(shown).toEqual([]);
  });
});
