/**
 * Certificate authorities outside of the cluster, by the signing protocol of CFSSL: an HTTPS POST of a request, answered by a
 * certificate. They are shown this manager's certificate. What they answer is for the caller to check.
 */
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { connect } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { withDeadline } from '../base/deadline.ts';
import { describeError, SkepError } from '../base/errors.ts';
import type { ExternalCa } from '../model/cluster.ts';
import type { NodeRole } from '../model/node.ts';
import { parseCertificate, ROLE_UNITS } from './certificate.ts';
import { sameCertificate } from './chain.ts';
import { certificateNames, createAuthorityRequest } from './issue.ts';

/** Swarm's. */
const TIMEOUT_MS = 5_000;
const ANSWER_BYTES_MAX = 256 * 1024;
/** Of CFSSL's configuration: the one that signs authorities. Swarm's name. */
const CROSS_SIGN_PROFILE = 'CA';
/** Basic constraints, critical, CA: true; CFSSL does not read them from the request. */
const AUTHORITY_EXTENSION = { id: '2.5.29.19', critical: true, value: '30030101ff' };

export interface ExternalCaOptions {
  /** of this manager, read at each call */
  readonly credentials: {
    readonly current: {
      readonly certPem: string;
      readonly keyPem: string;
      readonly rootPem: string;
    };
  };
  readonly clock: Clock;
}

/** Those of `named` that sign with `rootPem`; one that names no root signs with `presentPem`. */
export function authoritiesOf(
  named: readonly ExternalCa[],
  rootPem: string,
  presentPem: string,
): readonly ExternalCa[] {
  if (named.length === 0) return named;
  const root = parseCertificate(rootPem);
  return named.filter(({ certPem }) =>
    sameCertificate(parseCertificate(certPem || presentPem), root),
  );
}

/** What a node's certificate is to say. */
export interface WantedCertificate {
  readonly csrPem: string;
  readonly nodeId: string;
  readonly role: NodeRole;
  readonly clusterId: string;
}

export class ExternalCaClient {
  readonly #options: ExternalCaOptions;

  constructor(options: ExternalCaOptions) {
    this.#options = options;
  }

  /** PEM. Rejects with `unavailable` when it does not answer with a certificate. @param rootPem what signs there */
  sign(
    { url }: ExternalCa,
    rootPem: string,
    { csrPem, nodeId, role, clusterId }: WantedCertificate,
    signal?: AbortSignal,
  ): Promise<string> {
    const names = [{ OU: ROLE_UNITS[role], O: clusterId }];
    const body = {
      certificate_request: csrPem,
      hosts: certificateNames(role, nodeId),
      subject: { CN: nodeId, names },
    };
    return this.#post(url, rootPem, body, signal);
  }

  /** `authority`'s certificate, signed by `rootPem` there. As `sign`. */
  async crossSign(
    { url }: ExternalCa,
    rootPem: string,
    authority: { readonly certPem: string; readonly keyPem: string },
    signal?: AbortSignal,
  ): Promise<string> {
    const { subject } = parseCertificate(authority.certPem);
    const fields = Object.fromEntries(subject.split('\n').map((line) => line.split(/=(.*)/s)));
    const { CN, ...names } = fields as Record<string, string>;
    const body = {
      certificate_request: await createAuthorityRequest(authority),
      hosts: [],
      subject: { CN, names: [names] },
      profile: CROSS_SIGN_PROFILE,
      extensions: [AUTHORITY_EXTENSION],
    };
    return this.#post(url, rootPem, body, signal);
  }

  /** Whether somebody with a certificate of `rootPem` listens there. Rejects with `unavailable` when not. */
  async check({ url }: ExternalCa, rootPem: string, signal?: AbortSignal): Promise<void> {
    const { hostname, port } = new URL(url);
    const host = hostname.replace(/^\[|\]$/g, '');
    await this.#limited(`connect to external CA ${url}`, signal, (abort) => {
      const socket = connect({
        ...this.#tls(rootPem),
        // RFC 6066: an address is no server name.
        ...{ host, port: Number(port || 443), servername: isIP(host) === 0 ? host : '' },
      });
      const connected = new Promise<void>((resolve, reject) => {
        socket.once('secureConnect', resolve);
        socket.once('error', reject);
        abort.addEventListener('abort', () => reject(abort.reason), { once: true });
      });
      return connected.finally(() => socket.destroy());
    });
  }

  #tls(rootPem: string) {
    const { certPem, keyPem, rootPem: trusted } = this.#options.credentials.current;
    return { cert: certPem, key: keyPem, ca: [rootPem, trusted], minVersion: 'TLSv1.2' as const };
  }

  #post(url: string, rootPem: string, body: object, signal?: AbortSignal): Promise<string> {
    const action = `ask external CA ${url} to sign`;
    return this.#limited(action, signal, async (abort) => {
      const text = await this.#send(url, rootPem, JSON.stringify(body), abort);
      return certificateIn(text);
    });
  }

  #send(url: string, rootPem: string, body: string, signal: AbortSignal): Promise<string> {
    return new Promise((resolve, reject) => {
      const call = httpsRequest(
        url,
        {
          ...this.#tls(rootPem),
          method: 'POST',
          headers: {
            'Content-Type': 'application/json',
            'Content-Length': Buffer.byteLength(body),
          },
          agent: false, // connections to it are rare
          signal,
        },
        (response) => {
          const parts: Buffer[] = [];
          let bytes = 0;
          response.on('error', reject);
          response.on('data', (part: Buffer) => {
            bytes += part.length;
            if (bytes > ANSWER_BYTES_MAX) call.destroy(new Error('its answer is too long'));
            else parts.push(part);
          });
          response.on('end', () => resolve(Buffer.concat(parts).toString()));
        },
      );
      call.on('error', reject);
      call.end(body);
    });
  }

  async #limited<T>(
    action: string,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock } = this.#options;
    try {
      return await withDeadline({ clock, limitMs: TIMEOUT_MS, action, signal }, work);
    } catch (cause) {
      signal?.throwIfAborted();
      throw new SkepError('unavailable', `${action}: ${describeError(cause)}`, { cause });
    }
  }
}

interface Answer {
  readonly success?: unknown;
  readonly result?: { readonly certificate?: unknown } | null;
  readonly errors?: readonly { readonly code?: unknown; readonly message?: unknown }[] | null;
}

function certificateIn(text: string): string {
  let answer: Answer | null;
  try {
    answer = JSON.parse(text) as Answer | null;
  } catch {
    throw new Error('its answer is not JSON');
  }
  const certificate = answer?.result?.certificate;
  if (answer?.success === true && typeof certificate === 'string') return certificate;
  const [error] = Array.isArray(answer?.errors) ? answer.errors : [];
  throw new Error(`it refuses: ${String(error?.message ?? 'no reason given')}`);
}
