/**
 * SkepError <-> gRPC status. Our code and details travel in trailing metadata; the status number is
 * for foreign clients and for failures of gRPC itself.
 */
import { toUSVString } from 'node:util';
import { AssertionError } from '../base/assert.ts';
import { CODE_STATUS, describeError, EFFECT, type ErrorCode, SkepError } from '../base/errors.ts';
import { CancelledError } from '../base/lifecycle.ts';

const CODE_KEY = 'skep-code';
const DETAIL_PREFIX = 'skep-detail-';

const CANCELLED = 1;
const UNKNOWN = 2;
const INTERNAL = 13;

const CODE_OF_STATUS: ReadonlyMap<number, ErrorCode> = new Map([
  [3, 'invalid-argument'],
  [4, 'deadline-exceeded'],
  [5, 'not-found'],
  [6, 'already-exists'],
  [7, 'permission-denied'],
  [8, 'resource-exhausted'],
  [9, 'failed-precondition'],
  [10, 'conflict'],
  [11, 'compacted'],
  [12, 'unimplemented'],
  [14, 'unavailable'],
  [15, 'data-loss'],
  [16, 'unauthenticated'],
]);

/**
 * grpc-js's words when no connection could be picked for the call, so that nothing was sent, with the
 * last failure of the socket. Its note on name resolution, mostly empty, is left out.
 */
const NO_CONNECTION =
  /^No connection established(?:\. Last error: (?:Error: )?(.*?)(?:\. Resolution note: .*)?)?$/s;

export interface GrpcStatus {
  readonly code: number;
  readonly details: string;
  /** By lower-case name. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** What the caller is told. Errors that are not SkepErrors reach it as `internal`, without their words. */
export function statusOfError(err: unknown): GrpcStatus {
  const error = publicError(err);
  const metadata: Record<string, string> = { [CODE_KEY]: error.code };
  for (const [key, value] of Object.entries(error.details)) {
    metadata[DETAIL_PREFIX + encodeKey(key)] = encodeURIComponent(toUSVString(value));
  }
  return { code: CODE_STATUS[error.code].grpc, details: describeError(error), metadata };
}

/** True for failures that are ours to repair: they are logged, and not told to callers. */
export function isUnexpected(err: unknown): boolean {
  return !(err instanceof SkepError) && !(err instanceof CancelledError);
}

/** A broken invariant: the process must end. */
export function isFatal(err: unknown): boolean {
  return err instanceof AssertionError;
}

/**
 * What the server threw: the call arrived. Any other failure of a call is one of the way to the server, whatever its
 * code; a server may well answer `unavailable` of something that it needs itself.
 */
export class AnsweredError extends SkepError {}

/** What a caller may know of an error. */
export function publicError(err: unknown): SkepError {
  if (err instanceof SkepError) return err;
  if (err instanceof CancelledError) return new SkepError('cancelled', 'call cancelled');
  return new SkepError('internal', 'internal error: see the log of the manager');
}

/** The SkepError that the server threw (`AnsweredError`), or what went wrong on the way to it. `action` names the call. */
export function errorOfStatus(
  action: string,
  status: Omit<GrpcStatus, 'metadata'> & Partial<Pick<GrpcStatus, 'metadata'>>,
): SkepError {
  const { metadata = {} } = status;
  const code = metadata[CODE_KEY];
  if (code !== undefined && Object.hasOwn(CODE_STATUS, code)) {
    return new AnsweredError(code as ErrorCode, status.details, { details: detailsOf(metadata) });
  }
  const unsent = NO_CONNECTION.exec(status.details);
  const words = unsent ? `no connection${unsent[1] ? `: ${unsent[1]}` : ''}` : status.details;
  return new SkepError(codeOfStatus(status.code), `${action}: ${words}`, {
    details: unsent ? { [EFFECT]: 'none' } : {},
  });
}

/**
 * Without our code the status comes from gRPC: a stream reset by a dying server is CANCELLED or
 * INTERNAL there, and means "try again" (our own cancellations never get here).
 */
function codeOfStatus(status: number): ErrorCode {
  if (status === CANCELLED || status === INTERNAL || status === UNKNOWN) return 'unavailable';
  return CODE_OF_STATUS.get(status) ?? 'internal';
}

function detailsOf(metadata: GrpcStatus['metadata']): Record<string, string> {
  const details: Record<string, string> = {};
  for (const [key, value] of Object.entries(metadata)) {
    if (!key.startsWith(DETAIL_PREFIX)) continue;
    details[decodeKey(key.slice(DETAIL_PREFIX.length))] = decodeURIComponent(value);
  }
  return details;
}

// Metadata keys are lower case on the wire: camelCase keys travel as kebab-case.
function encodeKey(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function decodeKey(key: string): string {
  return key.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
