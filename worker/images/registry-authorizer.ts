/**
 * The Authorization header of one repository's requests: basic, or bearer tokens that are fetched for
 * what was asked of the repository so far, and again before they expire. Knows nothing of images.
 */
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { RegistryEndpoint } from './registry-endpoint.ts';
import { responseError } from './registry-errors.ts';
import { readText } from './response-body.ts';

export interface RegistryAuth {
  readonly username: string;
  readonly password: string;
  /** a refresh token that stands for the user (`docker login` with an identity provider) */
  readonly identityToken?: string;
}

/** What `WWW-Authenticate` asks for. */
export type Challenge =
  | { readonly kind: 'basic' }
  | {
      readonly kind: 'bearer';
      readonly realm: string;
      readonly service: string | null;
      readonly scope: string | null;
    };

type BearerChallenge = Extract<Challenge, { kind: 'bearer' }>;

const CLIENT_ID = 'skep';
/** A token that says nothing of its life lives so long (the token specification's default). */
const TOKEN_LIFE_DEFAULT_MS = 60_000;
/** A token is not used for a new request so shortly before its end. */
const TOKEN_RESERVE_MS = 5_000;

/** The strongest challenge understood; null = none. */
export function parseChallenge(header: string): Challenge | null {
  const bearer = /\bBearer\s+(.*)$/i.exec(header);
  if (bearer) {
    const fields = new Map<string, string>();
    for (const match of bearer[1]!.matchAll(/([a-z_]+)=(?:"([^"]*)"|([^\s,]+))/gi)) {
      fields.set(match[1]!.toLowerCase(), match[2] ?? match[3]!);
    }
    const realm = fields.get('realm');
    if (realm !== undefined) {
      const [service, scope] = [fields.get('service') ?? null, fields.get('scope') ?? null];
      return { kind: 'bearer', realm, service, scope };
    }
  }
  return /\bBasic\b/i.test(header) ? { kind: 'basic' } : null;
}

/** One that was answered with 401. */
export interface RefusedRequest {
  /** its Authorization header; null = it had none, for others learned of the need while it was under way */
  readonly sent: string | null;
  /** of the answer */
  readonly body: string;
}

interface BearerToken {
  readonly token: string;
  readonly challenge: BearerChallenge;
  /** on the monotonic clock */
  readonly expiresAtMs: number;
}

export class RegistryAuthorizer {
  readonly #endpoint: RegistryEndpoint;
  readonly #clock: Clock;
  readonly #auth: RegistryAuth | null;
  /** what tokens are asked for when the challenge does not say */
  readonly #defaultScope: string | null;
  readonly #asksIdentity: boolean;
  #identityToken: string | null;
  /** all that was challenged for, so that a token for pushing does not take the one for a mount away */
  readonly #scopes = new Set<string>();
  #basicHeader: string | null = null;
  #bearer: BearerToken | null = null;
  #authorizing: Promise<void> | null = null;

  constructor(options: {
    readonly endpoint: RegistryEndpoint;
    readonly clock: Clock;
    readonly auth: RegistryAuth | null;
    readonly defaultScope: string | null;
    /** ask for an identity token, with which the user logs in without the password; default false */
    readonly asksIdentity?: boolean;
  }) {
    this.#endpoint = options.endpoint;
    this.#clock = options.clock;
    this.#auth = options.auth;
    this.#defaultScope = options.defaultScope;
    this.#asksIdentity = options.asksIdentity ?? false;
    this.#identityToken = options.auth?.identityToken || null;
  }

  /** To log in with from now on: the user's, or what the registry gave instead. null = there is none. */
  get identityToken(): string | null {
    return this.#identityToken;
  }

  /** For the next request; null = none is known to be needed. Renews a token that is about to end. */
  async header(signal?: AbortSignal): Promise<string | null> {
    const bearer = this.#bearer;
    if (bearer === null) return this.#basicHeader;
    if (this.#clock.monotonicMs() >= bearer.expiresAtMs - TOKEN_RESERVE_MS) {
      await this.#once(() => this.#fetchToken(bearer.challenge, signal));
    }
    return `Bearer ${this.#bearer?.token}`;
  }

  /**
   * After a 401 with this challenge: the next `header` answers it. Rejects with the registry's words
   * when nothing can. One at a time: parallel requests that meet an expired token fetch one new token.
   */
  async answer(
    challenge: Challenge,
    { sent, body }: RefusedRequest,
    signal?: AbortSignal,
  ): Promise<void> {
    if (challenge.kind === 'basic') {
      const basic = this.#basic();
      // Without credentials, or after they were refused, asking again cannot help.
      if (basic === null || sent === basic) throw responseError(401, body);
      this.#basicHeader = basic;
      return;
    }
    const scopes = (challenge.scope ?? this.#defaultScope ?? '').split(' ').filter((s) => s !== '');
    const isKnown = scopes.every((scope) => this.#scopes.has(scope));
    for (const scope of scopes) this.#scopes.add(scope);
    // A fetch that began before we knew of this scope does not cover it.
    if (!isKnown) await this.#authorizing?.catch(() => {});
    await this.#once(() => this.#fetchToken(challenge, signal));
  }

  async #once(work: () => Promise<void>): Promise<void> {
    this.#authorizing ??= work().finally(() => {
      this.#authorizing = null;
    });
    await this.#authorizing;
  }

  #basic(): string | null {
    if (this.#auth === null || this.#auth.username === '') return null;
    const { username, password } = this.#auth;
    return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }

  async #fetchToken(challenge: BearerChallenge, signal?: AbortSignal): Promise<void> {
    const askedMs = this.#clock.monotonicMs();
    const response = await this.#requestToken(challenge, [...this.#scopes], signal);
    const text = await readText(response);
    const status = response.statusCode ?? 0;
    if (status !== 200) {
      throw responseError(status, text, response.headers['retry-after'] ?? null);
    }
    const { token, lifeMs, refreshToken } = parseToken(text, challenge.realm);
    const mayChange = this.#identityToken !== null || this.#asksIdentity;
    if (refreshToken !== null && mayChange) this.#identityToken = refreshToken;
    this.#bearer = { token, challenge, expiresAtMs: askedMs + lifeMs };
  }

  #requestToken(
    { realm, service }: BearerChallenge,
    scopes: readonly string[],
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const common = signal ? { signal } : {};
    const identityToken = this.#identityToken;
    if (identityToken !== null) {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: identityToken,
        client_id: CLIENT_ID,
        scope: scopes.join(' '),
        ...(this.#asksIdentity && { access_type: 'offline' }),
        ...(service !== null && { service }),
      });
      const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
      return this.#endpoint.request(realm, {
        method: 'POST',
        headers,
        body: form.toString(),
        ...common,
      });
    }
    const url = new URL(realm);
    if (service !== null) url.searchParams.set('service', service);
    for (const scope of scopes) url.searchParams.append('scope', scope);
    if (this.#asksIdentity) {
      url.searchParams.set('offline_token', 'true');
      url.searchParams.set('client_id', CLIENT_ID);
    }
    const basic = this.#basic();
    if (basic !== null) url.searchParams.set('account', this.#auth!.username);
    const headers: Record<string, string> = basic === null ? {} : { Authorization: basic };
    return this.#endpoint.request(url.href, { headers, ...common });
  }
}

function parseToken(
  text: string,
  realm: string,
): { token: string; lifeMs: number; refreshToken: string | null } {
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
