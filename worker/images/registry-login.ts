/** Whether a registry lets somebody in, without asking it for any image. */
import type { Clock } from '../../common/base/clock.ts';
import { type ErrorCode, SkepError } from '../../common/base/errors.ts';
import type { ExchangeToken } from '../../common/model/registry-token.ts';
import { type RegistryAuth, RegistryAuthorizer } from './registry-authorizer.ts';
import { parseChallenge } from './registry-challenge.ts';
import type { RegistryEndpoint } from './registry-endpoint.ts';
import { connectionError, responseError } from './registry-errors.ts';
import { readText } from './response-body.ts';

/** The tokens' realm is asked once for each; a registry that challenges on and on is not believed. */
const CHALLENGES_MAX = 2;

/**
 * The identity token to log in with from now on; null = the registry gives none, so that it is the password.
 * Rejects with the registry's words; `unauthenticated` when it does not know the user, password or token.
 */
export async function checkLogin(
  registry: {
    readonly endpoint: RegistryEndpoint;
    /** as in image names */
    readonly domain: string;
    readonly exchange: ExchangeToken;
    readonly clock: Clock;
  },
  auth: RegistryAuth,
  signal?: AbortSignal,
): Promise<string | null> {
  const { endpoint } = registry;
  const authorizer = new RegistryAuthorizer({
    ...registry,
    auth,
    defaultScope: null,
    asksIdentity: true,
  });
  const options = signal ? { signal } : {};
  try {
    const url = `${await endpoint.baseUrl(signal)}/v2/`;
    for (let challenges = 0; ; challenges++) {
      const authorization = await authorizer.header(signal);
      const headers: Record<string, string> =
        authorization === null ? {} : { Authorization: authorization };
      const response = await endpoint.request(url, { ...options, headers });
      const body = await readText(response);
      const status = response.statusCode ?? 0;
      if (status === 200) return authorizer.identityToken;
      const challenge = parseChallenge(response.headers['www-authenticate'] ?? '');
      if (status !== 401 || challenge === null || challenges === CHALLENGES_MAX) {
        throw responseError(status, body);
      }
      await authorizer.answer(challenge, { sent: authorization, body }, signal);
    }
  } catch (err) {
    signal?.throwIfAborted();
    const cause = connectionError(err);
    const code: ErrorCode = cause instanceof SkepError ? cause.code : 'internal';
    throw new SkepError(code, `log in to ${endpoint.host}`, { cause });
  }
}
