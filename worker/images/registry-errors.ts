/** A registry's answers and a socket's failures, in words for the person who waits for an image. */
import { type ErrorCode, SkepError } from '../../common/base/errors.ts';

/** `MANIFEST_UNKNOWN`, `manifest unknown` -> as Docker prints it: `manifest unknown: manifest unknown`. */
function registryWords(body: string): string | null {
  try {
    const { errors, details } = JSON.parse(body) as {
      errors?: { code?: unknown; message?: unknown }[];
      details?: unknown;
    };
    const first = errors?.[0];
    if (first === undefined) return typeof details === 'string' ? details : null;
    const code = String(first.code ?? 'UNKNOWN')
      .toLowerCase()
      .replaceAll('_', ' ');
    return `${code}: ${String(first.message ?? 'unknown error')}`;
  } catch {
    return null;
  }
}

const CODES: Readonly<Record<number, ErrorCode>> = {
  400: 'invalid-argument',
  401: 'unauthenticated',
  403: 'permission-denied',
  404: 'not-found',
  429: 'resource-exhausted',
};

const FALLBACK_WORDS: Readonly<Record<number, string>> = {
  401: 'unauthorized: authentication required',
  403: 'denied: requested access to the resource is denied',
  404: 'not found',
  429: 'toomanyrequests: too many requests',
};

/** The registry answered, with an HTTP status that is no success. */
export class RegistryError extends SkepError {
  readonly status: number;
  /** the header of that name; null = none */
  readonly retryAfter: string | null;

  constructor(status: number, message: string, retryAfter: string | null) {
    super(CODES[status] ?? (status >= 500 ? 'unavailable' : 'internal'), message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** How long the registry asks us to wait; 0 = it does not say. */
export function retryAfterMsOf(err: unknown, nowMs: number): number {
  const text = err instanceof RegistryError ? (err.retryAfter ?? '') : '';
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const untilMs = text === '' ? Number.NaN : Date.parse(text);
  return Number.isFinite(untilMs) ? Math.max(0, untilMs - nowMs) : 0;
}

/**
 * @param body at most some KB of the response's text
 * @param retryAfter the header of that name
 */
export function responseError(
  status: number,
  body: string,
  retryAfter: string | null = null,
): RegistryError {
  const words = registryWords(body) ?? FALLBACK_WORDS[status] ?? `unexpected HTTP status ${status}`;
  // Whatever else the registry says about a 401, the person must read that it is about the password.
  const isVague = status === 401 && !/unauthori[sz]ed/i.test(words);
  return new RegistryError(status, isVague ? `unauthorized: ${words}` : words, retryAfter);
}

const UNTRUSTED: readonly string[] = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];

/** True for a certificate of an authority that we do not know. */
export function isUntrusted(err: unknown): boolean {
  return UNTRUSTED.includes((err as NodeJS.ErrnoException | null)?.code ?? '');
}

/** @param issuer who signed it, by name; null = not known */
export function unknownAuthority(cause: unknown, issuer: string | null): SkepError {
  const name = issuer === null ? '' : ` ${JSON.stringify(issuer)}`;
  return new SkepError('unavailable', `tls: certificate signed by unknown authority${name}`, {
    cause,
  });
}

const NETWORK_CODES: readonly string[] = [
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'ENOTCONN', 'EPIPE', 'EPROTO', 'ETIMEDOUT'],
  ...['EHOSTDOWN', 'EHOSTUNREACH', 'ENETDOWN', 'ENETUNREACH', 'ENETRESET', 'EADDRNOTAVAIL'],
  ...['ENOTFOUND', 'ERR_STREAM_PREMATURE_CLOSE'],
];

/** Node's prefixes for its parser of HTTP, names, sockets and TLS. */
const NETWORK_PREFIXES = /^(HPE_|EAI_|ERR_SOCKET_|ERR_SSL_|ERR_TLS_)/;
/** OpenSSL's reasons to refuse a certificate, which Node gives as they are. */
const CERTIFICATE_CODES = /CERT|CRL|SIGNATURE|^HOSTNAME_MISMATCH$|^INVALID_(CA|PURPOSE)$/;

/** False for a disk that is full, files that may not be read, ...: they have a `code` as well. */
function isOfNetwork({ code = '', syscall }: NodeJS.ErrnoException): boolean {
  if (syscall === 'connect' || syscall === 'getaddrinfo') return true;
  if (NETWORK_CODES.includes(code) || NETWORK_PREFIXES.test(code)) return true;
  return !/^(E|ERR_)/.test(code) && CERTIFICATE_CODES.test(code);
}

/**
 * A failure below HTTP, in words. Passes others through: our own errors, aborts, those of this machine's disk.
 * @param request what was asked, for the failure that shows the wrong scheme: `Get "https://..."`
 */
export function connectionError(err: unknown, request: string | null = null): unknown {
  const code = (err as NodeJS.ErrnoException | null)?.code;
  if (err instanceof SkepError || typeof code !== 'string' || code === 'ABORT_ERR') return err;
  if (!isOfNetwork(err as NodeJS.ErrnoException)) return err;
  const words = (text: string): SkepError => new SkepError('unavailable', text, { cause: err });
  if (isUntrusted(err)) return unknownAuthority(err, null);
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID' || code === 'CERT_HAS_EXPIRED') {
    return words('tls: certificate is not valid');
  }
  const reason = String((err as Error).message);
  // OpenSSL's words for "these bytes are no TLS", by version.
  if (code === 'EPROTO' && /wrong version number|packet length too long/.test(reason)) {
    const asked = request === null ? '' : `${request}: `;
    return new SkepError('unavailable', `${asked}http: server gave HTTP response to HTTPS client`);
  }
  // `...:sslv3 alert bad certificate:../deps/...`: what the other end says of our handshake.
  const alert = /alert ([a-z ]+):/.exec(reason)?.[1];
  if (alert !== undefined) return new SkepError('unavailable', `remote error: tls: ${alert}`);
  return words('connect to registry');
}

const TRANSIENT: readonly string[] = ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN'];

const UNREACHED: readonly string[] = ['ETIMEDOUT', 'EAI_AGAIN'];

/** True for those of `isTransient` by which nobody was reached: who waits at a terminal is told at once. */
export function isUnreached(err: unknown): boolean {
  if (err instanceof SkepError) return err.cause instanceof Error && isUnreached(err.cause);
  return UNREACHED.includes((err as NodeJS.ErrnoException | null)?.code ?? '');
}

/** Other failures that another attempt may cure say so by themselves. */
export interface Transient {
  readonly isTransient: true;
}

/** True for failures that another attempt in a moment may cure. */
export function isTransient(err: unknown): boolean {
  if (err instanceof RegistryError) return err.status >= 500 || err.status === 429;
  if (err instanceof SkepError && (err as Partial<Transient>).isTransient) return true;
  if (err instanceof SkepError && err.code === 'deadline-exceeded') return true;
  if (err instanceof SkepError) return err.cause instanceof Error && isTransient(err.cause);
  return TRANSIENT.includes((err as NodeJS.ErrnoException | null)?.code ?? '');
}
