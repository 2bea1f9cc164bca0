/**
 * The identity tokens that stand for users at registries. A registry may void one at its first use and give another
 * instead: so one exchange at a time for each registry, what came instead is remembered and used by whoever has the old
 * one, and in a cluster the leader makes the exchanges of all nodes.
 */
import { abortable } from '../../common/base/abort-with.ts';
import { hadNoEffect, hasCode, SkepError } from '../../common/base/errors.ts';
import { CancelledError } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { ExchangeToken, TokenGrant, TokenRequest } from '../../common/model/registry-token.ts';
import { parseChallenge } from './registry-challenge.ts';
import type { RegistryEndpoint } from './registry-endpoint.ts';
import { readTokenAnswer } from './token-answer.ts';

export const CLIENT_ID = 'skep';
/** Replaced tokens that are remembered; the oldest go. */
export const REPLACED_MAX = 1000;

export type OnReplaced = (domain: string, identityToken: string) => void;

export interface IdentityTokensOptions {
  readonly endpoint: (
    domain: string,
  ) => Pick<RegistryEndpoint, 'request' | 'requestToken' | 'baseUrl'>;
  readonly log: Logger;
}

export class IdentityTokens {
  readonly #options: IdentityTokensOptions;
  readonly #abort = new AbortController();
  /** by domain: the exchange under way, behind those before it */
  readonly #last = new Map<string, Promise<unknown>>();
  /** the next one, by `domain token` */
  readonly #replaced = new Map<string, string>();
  readonly #listeners = new Set<OnReplaced>();
  #elsewhere: ExchangeToken | null = null;

  constructor(options: IdentityTokensOptions) {
    this.#options = options;
  }

  async stop(): Promise<void> {
    this.#abort.abort(new CancelledError());
    await Promise.allSettled(this.#last.values());
  }

  /** From now on exchanges are made there; null = here. */
  joined(elsewhere: ExchangeToken | null): void {
    this.#elsewhere = elsewhere;
  }

  /** What stands for the user now, as far as this node knows. */
  latest(domain: string, identityToken: string): string {
    let token = identityToken;
    for (let next: string | undefined = token; next !== undefined; ) {
      token = next;
      next = this.#replaced.get(keyOf(domain, token));
    }
    return token;
  }

  /** Told of a token that another one stands for now. Returns the release. */
  onReplaced(listener: OnReplaced): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * By the leader, where there is one; by this node when surely nobody else did or will. Rejects with the registry's words,
   * and when it is not known what became of the exchange: to use the token twice may end the login.
   */
  async exchange(request: TokenRequest, signal?: AbortSignal): Promise<TokenGrant> {
    if (this.#elsewhere === null) return this.exchangeHere(request, signal);
    try {
      return await this.#elsewhere(request, signal);
    } catch (err) {
      signal?.throwIfAborted();
      if (!hadNoEffect(err) && !hasCode(err, 'unimplemented')) throw err;
      this.#options.log.warn({ err, registry: request.domain }, 'no manager exchanges a token');
      return this.exchangeHere(request, signal);
    }
  }

  /**
   * By this node for others of the cluster, which it need not believe: a login is shown to whom its registry names, and what
   * stands for it from now on is taken from there alone. Rejects with `permission-denied` for another realm.
   */
  async exchangeForOthers(request: TokenRequest, signal?: AbortSignal): Promise<TokenGrant> {
    const { domain, realm } = request;
    const endpoint = this.#options.endpoint(domain);
    const base = await endpoint.baseUrl(signal);
    if (originOf(realm) !== originOf(base)) {
      const response = await endpoint.request(`${base}/v2/`, signal ? { signal } : {});
      response.resume(); // only its headers are of use
      const challenge = parseChallenge(response.headers['www-authenticate'] ?? '');
      const named = challenge?.kind === 'bearer' ? originOf(challenge.realm) : null;
      if (named === null || originOf(realm) !== named) {
        const words = `exchange a token of ${domain}: ${realm} is not where it sends its users`;
        throw new SkepError('permission-denied', words);
      }
    }
    return this.exchangeHere(request, signal);
  }

  /** By this node. An abort ends the wait, not an exchange that began: its answer may be the only valid token. */
  exchangeHere(request: TokenRequest, signal?: AbortSignal): Promise<TokenGrant> {
    const { domain } = request;
    const before = this.#last.get(domain) ?? Promise.resolve();
    const own = before
      .catch(() => {}) // told to its own caller
      .then(() => {
        signal?.throwIfAborted();
        return this.#exchange(request);
      });
    this.#last.set(domain, own);
    const forget = (): void => {
      if (this.#last.get(domain) === own) this.#last.delete(domain);
    };
    own.then(forget, forget);
    return abortable(own, signal);
  }

  async #exchange(request: TokenRequest): Promise<TokenGrant> {
    const { domain, realm, service, scopes, isLogin } = request;
    const used = this.latest(domain, request.identityToken);
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: used,
      client_id: CLIENT_ID,
      scope: scopes.join(' '),
      ...(isLogin && { access_type: 'offline' }),
      ...(service !== null && { service }),
    });
    const response = await this.#options.endpoint(domain).requestToken(realm, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: form.toString(),
      signal: this.#abort.signal,
    });
    const { token, lifeMs, refreshToken } = await readTokenAnswer(response, realm);
    if (refreshToken !== null && refreshToken !== used) this.#replace(domain, used, refreshToken);
    return { accessToken: token, lifeMs, identityToken: refreshToken ?? used };
  }

  #replace(domain: string, used: string, next: string): void {
    // A registry that gives an old one again must not lead us in a circle.
    this.#replaced.delete(keyOf(domain, next));
    this.#replaced.set(keyOf(domain, used), next);
    for (const key of this.#replaced.keys()) {
      if (this.#replaced.size <= REPLACED_MAX) break;
      this.#replaced.delete(key);
    }
    for (const listener of this.#listeners) listener(domain, next);
  }
}

const keyOf = (domain: string, identityToken: string): string => `${domain} ${identityToken}`;

/** Scheme, host and port; null of what is no URL. */
function originOf(url: string): string | null {
  return URL.canParse(url) ? new URL(url).origin : null;
}
