/**
 * The OCI distribution API of one repository: manifests and blobs, both ways. Verifies nothing but
 * what the answers say of themselves; digests are the business of puller and pusher.
 */
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { isSha256Digest } from '../../common/model/image-reference.ts';
import type { ExchangeToken } from '../../common/model/registry-token.ts';
import { DOCUMENT_BYTES_MAX, sha256Digest } from './content-store.ts';
import { MEDIA_TYPES, manifestMediaType } from './image-config.ts';
import type { BlobName, ImageSource } from './image-source.ts';
import { type RegistryAuth, RegistryAuthorizer } from './registry-authorizer.ts';
import { parseChallenge } from './registry-challenge.ts';
import type { RegistryEndpoint, RequestBody, RequestOptions } from './registry-endpoint.ts';
import { connectionError, RegistryError, responseError } from './registry-errors.ts';
import { readAll, readText } from './response-body.ts';

const ACCEPT_MANIFEST = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.dockerIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerManifest,
].join(', ');

/** A token may lack what is asked for while another request fetches one for something else. */
const CHALLENGES_MAX = 3;
const OCTETS = { 'Content-Type': 'application/octet-stream' };

/** Where an upload goes on. */
export interface Upload {
  readonly url: string;
  /** bytes that the registry wants at least in each part but the last; 0 = it does not say */
  readonly partBytesMin: number;
}

export class RegistryClient implements ImageSource {
  readonly #endpoint: RegistryEndpoint;
  readonly #repository: string;
  readonly #authorizer: RegistryAuthorizer;
  /** '' = nobody */
  readonly #user: string;

  /** @param repository path within the registry, e.g. `library/web` */
  constructor(options: {
    readonly endpoint: RegistryEndpoint;
    readonly repository: string;
    readonly auth: RegistryAuth | null;
    /** the registry, as in image names */
    readonly domain: string;
    readonly exchange: ExchangeToken;
    readonly clock: Clock;
  }) {
    const { endpoint, repository, auth, domain, exchange, clock } = options;
    this.#endpoint = endpoint;
    this.#repository = repository;
    this.#user = auth?.username ?? '';
    const defaultScope = `repository:${repository}:pull`;
    const asked = { endpoint, auth, domain, exchange, clock };
    this.#authorizer = new RegistryAuthorizer({ ...asked, defaultScope });
  }

  get host(): string {
    return this.#endpoint.host;
  }

  /**
   * @param reference a tag or a digest. Rejects with the registry's words, and with `data-loss` when the content is not what
   * the registry says it is: of a tag nothing else tells.
   */
  async manifest(reference: string, signal?: AbortSignal): Promise<Buffer> {
    const headers = { Accept: ACCEPT_MANIFEST };
    const response = await this.#send(`manifests/${reference}`, { headers }, [200], signal);
    const bytes = await readAll(response, DOCUMENT_BYTES_MAX);
    const named = String(response.headers['docker-content-digest']);
    const actual = sha256Digest(bytes);
    if (isSha256Digest(named) && named !== actual) {
      const words = `the registry calls it ${named}, its content hashes to ${actual}`;
      throw new SkepError('data-loss', `verify manifest ${reference}: ${words}`);
    }
    return bytes;
  }

  /**
   * The blob from byte `offset` on, if the registry can (`offset` of the answer is 0 when it
   * cannot). The caller reads or destroys `body`.
   */
  async blob(
    { digest }: Pick<BlobName, 'digest'>,
    offset: number,
    signal?: AbortSignal,
  ): Promise<{ body: IncomingMessage; offset: number }> {
    const headers: Record<string, string> = offset > 0 ? { Range: `bytes=${offset}-` } : {};
    const body = await this.#send(`blobs/${digest}`, { headers }, [200, 206], signal);
    return { body, offset: body.statusCode === 206 ? offset : 0 };
  }

  async hasBlob(digest: string, signal?: AbortSignal): Promise<boolean> {
    try {
      const response = await this.#send(`blobs/${digest}`, { method: 'HEAD' }, [200], signal);
      response.resume();
      return true;
    } catch (err) {
      if (err instanceof RegistryError && err.status === 404) return false;
      throw err;
    }
  }

  /**
   * Begins to send a blob. null = it is there already, mounted from `mount.from`, another repository
   * of this registry; a registry that will not mount answers with an upload.
   */
  async beginUpload(
    mount: { readonly digest: string; readonly from: string } | null,
    signal?: AbortSignal,
  ): Promise<Upload | null> {
    const query =
      mount === null ? '' : `?${new URLSearchParams({ mount: mount.digest, from: mount.from })}`;
    const path = `blobs/uploads/${query}`;
    const response = await this.#send(path, { method: 'POST' }, [201, 202], signal);
    response.resume();
    if (response.statusCode === 201) return null;
    const minimum = response.headers['oci-chunk-min-length'];
    const partBytesMin = Number.parseInt(String(minimum), 10) || 0;
    return { url: await this.#location(response), partBytesMin };
  }

  /** Sends one part, which begins at byte `offset`. Resolves with the URL for the next one. */
  async sendPart(
    url: string,
    offset: number,
    body: RequestBody,
    signal?: AbortSignal,
  ): Promise<string> {
    const headers = { ...OCTETS, 'Content-Range': `${offset}-${offset + body.sizeBytes - 1}` };
    const response = await this.#send(url, { method: 'PATCH', headers, body }, [202], signal);
    response.resume();
    return this.#location(response);
  }

  /** How many bytes of an upload the registry has, and the URL to go on with. */
  async uploadedBytes(url: string, signal?: AbortSignal): Promise<{ url: string; bytes: number }> {
    const response = await this.#send(url, {}, [204], signal);
    response.resume();
    // The range is inclusive: an upload without bytes shows as 0-0, as does one with a single byte.
    const end = Number(/^(?:bytes=)?0-(\d+)$/.exec(response.headers.range ?? '')?.[1] ?? 0);
    return { url: await this.#location(response), bytes: end === 0 ? 0 : end + 1 };
  }

  /** Ends an upload; with `body` it is the whole blob. The registry checks the digest. */
  async finishUpload(
    url: string,
    digest: string,
    body: RequestBody | null,
    signal?: AbortSignal,
  ): Promise<void> {
    const target = new URL(url);
    target.searchParams.set('digest', digest);
    const options: RequestOptions =
      body === null ? { method: 'PUT' } : { method: 'PUT', headers: OCTETS, body };
    (await this.#send(target.href, options, [201], signal)).resume();
  }

  /** @param reference the tag (or digest) that it gets */
  async putManifest(reference: string, bytes: Buffer, signal?: AbortSignal): Promise<void> {
    const response = await this.#send(
      `manifests/${reference}`,
      {
        method: 'PUT',
        headers: {
          'Content-Type': manifestMediaType(bytes),
          'Content-Length': String(bytes.length),
        },
        body: bytes.toString('utf8'),
      },
      [201],
      signal,
    );
    response.resume();
  }

  async #location(response: IncomingMessage): Promise<string> {
    const { location } = response.headers;
    if (location === undefined) {
      throw new SkepError('unavailable', `upload to ${this.host}: no Location in the answer`);
    }
    return new URL(location, await this.#endpoint.baseUrl()).href;
  }

  /** @param target path below the repository, or a whole URL */
  async #send(
    target: string,
    options: RequestOptions,
    wanted: readonly number[],
    signal: AbortSignal | undefined,
  ): Promise<IncomingMessage> {
    this.#endpoint.pauses.throwIfAsked(this.#user);
    try {
      const base = `${await this.#endpoint.baseUrl(signal)}/v2/${this.#repository}/`;
      const url = new URL(/^https?:\/\//.test(target) ? target : base + target);
      for (let challenges = 0; ; challenges++) {
        const sent = await this.#authorization(url, signal);
        const response = await this.#request(url, options, sent, signal);
        const status = response.statusCode ?? 0;
        if (wanted.includes(status)) return response;
        const body = await readText(response);
        const challenge = parseChallenge(response.headers['www-authenticate'] ?? '');
        if (status !== 401 || challenge === null || challenges === CHALLENGES_MAX) {
          throw responseError(status, body, response.headers['retry-after'] ?? null);
        }
        await this.#authorizer.answer(challenge, { sent, body }, signal);
      }
    } catch (err) {
      this.#endpoint.pauses.note(this.#user, err);
      throw connectionError(err);
    }
  }

  /** Uploads may go to another host or scheme, which is not given the user's password. */
  async #authorization(url: URL, signal: AbortSignal | undefined): Promise<string | null> {
    const isOurs = url.origin === new URL(await this.#endpoint.baseUrl(signal)).origin;
    return isOurs ? this.#authorizer.header(signal) : null;
  }

  #request(
    url: URL,
    options: RequestOptions,
    authorization: string | null,
    signal: AbortSignal | undefined,
  ): Promise<IncomingMessage> {
    const headers = { ...options.headers, ...(authorization && { Authorization: authorization }) };
    return this.#endpoint.request(url.href, { ...options, headers, ...(signal && { signal }) });
  }
}
