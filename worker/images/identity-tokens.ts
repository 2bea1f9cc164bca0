/**
 * The identity tokens that stand for users at registries. A registry may void one at its first use and give another
 * instead: so one exchange at a time for each registry, what came instead is remembered and used by whoever has the old
 * one, and in a cluster the leader makes the exchanges of all nodes.
 */
import { abortable } from '../../common/base/abort-with.ts';
import { hasCode } from '../../common/base/errors.ts';
import { CancelledError } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { ExchangeToken, TokenGrant, TokenRequest } from '../../common/model/registry-token.ts';
import type { RegistryEndpoint } from './registry-endpoint.ts';
import { readTokenAnswer } from './token-answer.ts';

export const CLIENT_ID = 'skep';
/** Replaced tokens that are remembered; the oldest go. */
export const REPLACED_MAX = 1000;

export type OnReplaced = (domain: string, identityToken: string) => void;

export interface IdentityTokensOptions {
  readonly endpoint: (domain: string) => Pick<RegistryEndpoint, 'requestToken'>;
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

  /** By the leader, where there is one. Rejects with the registry's words. */
  async exchange(request: TokenRequest, signal?: AbortSignal): Promise<TokenGrant> {
    if (this.#elsewhere === null) return this.exchangeHere(request, signal);
    try {
      return await this.#elsewhere(request, signal);
    } catch (err) {
      signal?.throwIfAborted();
      const isUnanswered = hasCode(err, 'unavailable', 'no-leader', 'deadline-exceeded');
      if (!isUnanswered && !hasCode(err, 'unimplemented')) throw err;
      this.#options.log.warn({ err, registry: request.domain }, 'no manager exchanges a token');
      return this.exchangeHere(request, signal);
    }
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
