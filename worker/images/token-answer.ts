/** What a registry's token service answers: an access token, and perhaps a refresh token. */
import type { IncomingMessage } from 'node:http';
import { SkepError } from '../../common/base/errors.ts';
import { responseError } from './registry-errors.ts';
import { readText } from './response-body.ts';

/** A token that says nothing of its life lives so long (the token specification's default). */
const TOKEN_LIFE_DEFAULT_MS = 60_000;

export interface TokenAnswer {
  readonly token: string;
  readonly lifeMs: number;
  readonly refreshToken: string | null;
}

/** Rejects with the service's words when it gives none. @param realm its URL */
export async function readTokenAnswer(
  response: IncomingMessage,
  realm: string,
): Promise<TokenAnswer> {
  const text = await readText(response);
  const status = response.statusCode ?? 0;
  if (status !== 200) {
    throw responseError(status, text, response.headers['retry-after'] ?? null);
  }
  return parseToken(text, realm);
}

function parseToken(text: string, realm: string): TokenAnswer {
  let answer: {
    token?: unknown;
    access_token?: unknown;
    expires_in?: unknown;
    refresh_token?: unknown;
  };
  try {
    answer = JSON.parse(text) as typeof answer;
  } catch (err) {
    throw new SkepError('unavailable', `read token from ${realm}`, { cause: err });
  }
  const token = answer.token ?? answer.access_token;
  if (typeof token !== 'string' || token === '') {
    throw new SkepError('unavailable', `read token from ${realm}: none in the answer`);
  }
  const seconds = answer.expires_in;
  const lifeMs =
    typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : TOKEN_LIFE_DEFAULT_MS;
  const refresh = answer.refresh_token;
  return {
    token,
    lifeMs,
    refreshToken: typeof refresh === 'string' && refresh !== '' ? refresh : null,
  };
}
