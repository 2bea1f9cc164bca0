/** An identity token (a refresh token, which stands for a user) and what a registry gives for it. */

export interface TokenRequest {
  /** the registry, as in image names */
  readonly domain: string;
  /** URL of who gives tokens for it */
  readonly realm: string;
  /** null = the registry does not say */
  readonly service: string | null;
  /** `repository:app:pull`; none = to be let in, no more */
  readonly scopes: readonly string[];
  readonly identityToken: string;
  /** also asks for an identity token that goes on for longer */
  readonly isLogin: boolean;
}

export interface TokenGrant {
  /** for requests to the registry */
  readonly accessToken: string;
  /** from when it was asked for */
  readonly lifeMs: number;
  /** to use from now on: the one that was used may be void */
  readonly identityToken: string;
}

/** Rejects with the registry's words. */
export type ExchangeToken = (request: TokenRequest, signal?: AbortSignal) => Promise<TokenGrant>;
