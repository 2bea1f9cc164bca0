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

  constructor(status: number, message: string) {
    super(CODES[status] ?? (status >= 500 ? 'unavailable' : 'internal'), message);
    this.status = status;
  }
}

/** @param body at most some KB of the response's text */
export function responseError(status: number, body: string): RegistryError {
  const words = registryWords(body) ?? FALLBACK_WORDS[status] ?? `unexpected HTTP status ${status}`;
  // Whatever else the registry says about a 401, the person must read that it is about the password.
  const isVague = status === 401 && !/unauthori[sz]ed/i.test(words);
  return new RegistryError(status, isVague ? `unauthorized: ${words}` : words);
}

const UNTRUSTED: readonly string[] = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];

/** A failure below HTTP. Passes our own errors (and aborts) through. */
export function connectionError(err: unknown): unknown {
  const code = (err as NodeJS.ErrnoException | null)?.code;
  if (err instanceof SkepError || typeof code !== 'string' || code === 'ABORT_ERR') return err;
  const words = (text: string): SkepError => new SkepError('unavailable', text, { cause: err });
  if (UNTRUSTED.includes(code)) return words('tls: certificate signed by unknown authority');
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID' || code === 'CERT_HAS_EXPIRED') {
    return words('tls: certificate is not valid');
  }
  if (code === 'EPROTO' && String((err as Error).message).includes('wrong version number')) {
    return new SkepError('unavailable', 'server gave HTTP response to HTTPS client');
  }
  return words('connect to registry');
}

const TRANSIENT: readonly string[] = ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN'];

/** True for failures that another attempt in a moment may cure. */
export function isTransient(err: unknown): boolean {
  if (err instanceof RegistryError) return err.status >= 500 || err.status === 429;
  if (err instanceof SkepError && err.code === 'deadline-exceeded') return true;
  if (err instanceof SkepError) return err.cause instanceof Error && isTransient(err.cause);
  return TRANSIENT.includes((err as NodeJS.ErrnoException | null)?.code ?? '');
}
