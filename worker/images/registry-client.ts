/**
 * The OCI distribution API of one repository: manifests and blobs, with bearer tokens and basic
 * authentication. Verifies nothing but what HTTP says; digests are the puller's business.
 */
import type { IncomingMessage } from 'node:http';
import { SkepError } from '../../common/base/errors.ts';
import { DOCUMENT_BYTES_MAX } from './content-store.ts';
import { MEDIA_TYPES } from './image-config.ts';
import type { RegistryEndpoint } from './registry-endpoint.ts';
import { connectionError, responseError } from './registry-errors.ts';

export interface RegistryAuth {
  readonly username: string;
  readonly password: string;
  /** a refresh token that stands for the user (`docker login` with an identity provider) */
  readonly identityToken?: string;
}

const ACCEPT_MANIFEST = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.dockerIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerManifest,
].join(', ');

const ERROR_BODY_BYTES_MAX = 64 * 1024;
const CLIENT_ID = 'skep';

/** What `WWW-Authenticate` asks for. */
export type Challenge =
  | { readonly kind: 'basic' }
  | {
      readonly kind: 'bearer';
      readonly realm: string;
      readonly service: string | null;
      readonly scope: string | null;
    };

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

export class RegistryClient {
  readonly #endpoint: RegistryEndpoint;
  readonly #repository: string;
  readonly #auth: RegistryAuth | null;
  /** the Authorization header that the last challenge led to */
  #authorization: string | null = null;
  #authorizing: Promise<void> | null = null;

  /** @param repository path within the registry, e.g. `library/web` */
  constructor(endpoint: RegistryEndpoint, repository: string, auth: RegistryAuth | null) {
    this.#endpoint = endpoint;
    this.#repository = repository;
    this.#auth = auth;
  }

  /** @param reference a tag or a digest. Rejects with the registry's words. */
  async manifest(reference: string, signal?: AbortSignal): Promise<Buffer> {
    const response = await this.#get(`manifests/${reference}`, { Accept: ACCEPT_MANIFEST }, signal);
    return readAll(response, DOCUMENT_BYTES_MAX);
  }

  /**
   * The blob from byte `offset` on, if the registry can (`offset` of the answer is 0 when it
   * cannot). The caller reads or destroys `body`.
   */
  async blob(
    digest: string,
    offset: number,
    signal?: AbortSignal,
  ): Promise<{ body: IncomingMessage; offset: number }> {
    const headers: Record<string, string> = offset > 0 ? { Range: `bytes=${offset}-` } : {};
    const body = await this.#get(`blobs/${digest}`, headers, signal);
    return { body, offset: body.statusCode === 206 ? offset : 0 };
  }

  /** A blob small enough to be a config, in memory. Its digest is not verified. */
  async document(digest: string, signal?: AbortSignal): Promise<Buffer> {
    return readAll(await this.#get(`blobs/${digest}`, {}, signal), DOCUMENT_BYTES_MAX);
  }

  async #get(
    path: string,
    headers: Record<string, string>,
    signal: AbortSignal | undefined,
  ): Promise<IncomingMessage> {
    try {
      const url = `${await this.#endpoint.baseUrl(signal)}/v2/${this.#repository}/${path}`;
      let response = await this.#request(url, headers, signal);
      if (response.statusCode === 401) {
        const challenge = parseChallenge(response.headers['www-authenticate'] ?? '');
        const body = await readText(response);
        if (challenge === null) throw responseError(401, body);
        await this.#authorize(challenge, body, signal);
        response = await this.#request(url, headers, signal);
      }
      const status = response.statusCode ?? 0;
      if (status !== 200 && status !== 206) throw responseError(status, await readText(response));
      return response;
    } catch (err) {
      throw connectionError(err);
    }
  }

  #request(
    url: string,
    headers: Record<string, string>,
    signal: AbortSignal | undefined,
  ): Promise<IncomingMessage> {
    return this.#endpoint.request(url, {
      headers:
        this.#authorization === null ? headers : { ...headers, Authorization: this.#authorization },
      ...(signal && { signal }),
    });
  }

  /** One at a time: parallel blobs that meet an expired token fetch one new token. */
  async #authorize(challenge: Challenge, body: string, signal?: AbortSignal): Promise<void> {
    this.#authorizing ??= this.#answer(challenge, body, signal).finally(() => {
      this.#authorizing = null;
    });
    await this.#authorizing;
  }

  async #answer(challenge: Challenge, body: string, signal?: AbortSignal): Promise<void> {
    if (challenge.kind === 'basic') {
      const basic = this.#basic();
      // Without credentials, or after they were refused, asking again cannot help.
      if (basic === null || this.#authorization === basic) throw responseError(401, body);
      this.#authorization = basic;
      return;
    }
    this.#authorization = `Bearer ${await this.#fetchToken(challenge, signal)}`;
  }

  #basic(): string | null {
    if (this.#auth === null || this.#auth.username === '') return null;
    const { username, password } = this.#auth;
    return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }

  async #fetchToken(
    challenge: Extract<Challenge, { kind: 'bearer' }>,
    signal?: AbortSignal,
  ): Promise<string> {
    const scope = challenge.scope ?? `repository:${this.#repository}:pull`;
    const response = await this.#requestToken(challenge, scope, signal);
    const text = await readText(response);
    if (response.statusCode !== 200) throw responseError(response.statusCode ?? 0, text);
    let token: unknown;
    try {
      const answer = JSON.parse(text) as { token?: unknown; access_token?: unknown };
      token = answer.token ?? answer.access_token;
    } catch (err) {
      throw new SkepError('unavailable', `read token from ${challenge.realm}`, { cause: err });
    }
    if (typeof token !== 'string' || token === '') {
      throw new SkepError('unavailable', `read token from ${challenge.realm}: none in the answer`);
    }
    return token;
  }

  #requestToken(
    { realm, service }: Extract<Challenge, { kind: 'bearer' }>,
    scope: string,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const common = signal ? { signal } : {};
    const identityToken = this.#auth?.identityToken;
    if (identityToken !== undefined && identityToken !== '') {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: identityToken,
        client_id: CLIENT_ID,
        scope,
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
    for (const one of scope.split(' ')) url.searchParams.append('scope', one);
    const basic = this.#basic();
    if (basic !== null) url.searchParams.set('account', this.#auth!.username);
    const headers: Record<string, string> = basic === null ? {} : { Authorization: basic };
    return this.#endpoint.request(url.href, { headers, ...common });
  }
}

/** The whole body. Rejects above `limitBytes`. */
async function readAll(response: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes > limitBytes) {
      throw new SkepError('invalid-argument', `answer is longer than ${limitBytes} bytes`);
    }
  }
  return Buffer.concat(chunks);
}

async function readText(response: IncomingMessage): Promise<string> {
  return (await readAll(response, ERROR_BODY_BYTES_MAX)).toString('utf8');
}
