/**
 * The Authorization header of one repository's requests: basic, or bearer tokens that are fetched for
 * what was asked of the repository so far, and again before they expire. Knows nothing of images.
 */
import type { Clock } from '../../common/base/clock.ts';
import type { ExchangeToken, TokenGrant } from '../../common/model/registry-token.ts';
import { CLIENT_ID } from './identity-tokens.ts';
import type { BearerChallenge, Challenge } from './registry-challenge.ts';
import type { RegistryEndpoint } from './registry-endpoint.ts';
import { responseError } from './registry-errors.ts';
import { readTokenAnswer } from './token-answer.ts';

export interface RegistryAuth {
  readonly username: string;
  readonly password: string;
  /** a refresh token that stands for the user (`docker login` with an identity provider) */
  readonly identityToken?: string;
}

/** A token is not used for a new request so shortly before its end. */
const TOKEN_RESERVE_MS = 5_000;

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
  readonly #domain: string;
  readonly #exchange: ExchangeToken;
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
    /** the registry, as in image names */
    readonly domain: string;
    /** who gives access for an identity token */
    readonly exchange: ExchangeToken;
    /** ask for an identity token, with which the user logs in without the password; default false */
    readonly asksIdentity?: boolean;
  }) {
    this.#endpoint = options.endpoint;
    this.#clock = options.clock;
    this.#auth = options.auth;
    this.#defaultScope = options.defaultScope;
    this.#asksIdentity = options.asksIdentity ?? false;
    this.#domain = options.domain;
    this.#exchange = options.exchange;
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
    const grant = await this.#grant(challenge, signal);
    this.#identityToken = grant.identityToken;
    const expiresAtMs = askedMs + grant.lifeMs;
    this.#bearer = { token: grant.accessToken, challenge, expiresAtMs };
  }

  async #grant(
    { realm, service }: BearerChallenge,
    signal?: AbortSignal,
  ): Promise<Omit<TokenGrant, 'identityToken'> & { readonly identityToken: string | null }> {
    const identityToken = this.#identityToken;
    const scopes = [...this.#scopes];
    if (identityToken !== null) {
      const request = { domain: this.#domain, realm, service, scopes, identityToken };
      return this.#exchange({ ...request, isLogin: this.#asksIdentity }, signal);
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
    const asked = { headers, ...(signal && { signal }) };
    const response = await this.#endpoint.requestToken(url.href, asked);
    const { token, lifeMs, refreshToken } = await readTokenAnswer(response, realm);
    return {
      accessToken: token,
      lifeMs,
      identityToken: this.#asksIdentity ? refreshToken : null,
    };
  }
}
