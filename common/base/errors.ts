/**
 * Expected trouble. Every error that may reach a user or another process is a `SkepError` with a
 * stable code; one table maps codes to gRPC, HTTP and exit status.
 */

export type ErrorCode =
  | 'invalid-argument' // the request can never succeed as given
  | 'failed-precondition' // the request may succeed when the cluster's state changes
  | 'not-found'
  | 'already-exists'
  | 'name-conflict'
  | 'version-conflict' // optimistic lock lost: read again
  | 'permission-denied'
  | 'unauthenticated'
  | 'not-leader' // ask the leader
  | 'no-leader' // quorum is lost or an election is running
  | 'unavailable' // try again later
  | 'not-a-manager'
  | 'not-in-swarm'
  | 'in-swarm'
  | 'locked' // this manager needs the unlock key of its cluster
  | 'conflict' // state forbids it (409)
  | 'resource-exhausted'
  | 'compacted' // the history that was asked for is no longer kept: start over from the present
  | 'deadline-exceeded'
  | 'cancelled'
  | 'unimplemented'
  | 'data-loss' // durable data is damaged
  | 'internal';

interface CodeStatus {
  /** gRPC status number (google.rpc.Code). */
  readonly grpc: number;
  readonly http: number;
  readonly exit: number;
  readonly retryable: boolean;
}

const INVALID_ARGUMENT = 3;
const DEADLINE_EXCEEDED = 4;
const NOT_FOUND = 5;
const ALREADY_EXISTS = 6;
const PERMISSION_DENIED = 7;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const ABORTED = 10;
const OUT_OF_RANGE = 11;
const UNIMPLEMENTED = 12;
const INTERNAL = 13;
const UNAVAILABLE = 14;
const DATA_LOSS = 15;
const UNAUTHENTICATED = 16;
const UNKNOWN = 2;
const CANCELLED = 1;

/** HTTP column: what the Docker daemon answers, which its client goes by; a version conflict is 500 there. */
export const CODE_STATUS: Readonly<Record<ErrorCode, CodeStatus>> = {
  'invalid-argument': { grpc: INVALID_ARGUMENT, http: 400, exit: 1, retryable: false },
  'failed-precondition': { grpc: FAILED_PRECONDITION, http: 400, exit: 1, retryable: false },
  'not-found': { grpc: NOT_FOUND, http: 404, exit: 1, retryable: false },
  'already-exists': { grpc: ALREADY_EXISTS, http: 409, exit: 1, retryable: false },
  'name-conflict': { grpc: ALREADY_EXISTS, http: 409, exit: 1, retryable: false },
  'version-conflict': { grpc: UNKNOWN, http: 500, exit: 1, retryable: true },
  'permission-denied': { grpc: PERMISSION_DENIED, http: 403, exit: 1, retryable: false },
  unauthenticated: { grpc: UNAUTHENTICATED, http: 401, exit: 1, retryable: false },
  'not-leader': { grpc: FAILED_PRECONDITION, http: 503, exit: 1, retryable: true },
  'no-leader': { grpc: UNAVAILABLE, http: 503, exit: 1, retryable: true },
  unavailable: { grpc: UNAVAILABLE, http: 503, exit: 1, retryable: true },
  'not-a-manager': { grpc: FAILED_PRECONDITION, http: 503, exit: 1, retryable: false },
  'not-in-swarm': { grpc: FAILED_PRECONDITION, http: 503, exit: 1, retryable: false },
  'in-swarm': { grpc: FAILED_PRECONDITION, http: 503, exit: 1, retryable: false },
  locked: { grpc: FAILED_PRECONDITION, http: 503, exit: 1, retryable: false },
  conflict: { grpc: ABORTED, http: 409, exit: 1, retryable: false },
  'resource-exhausted': { grpc: RESOURCE_EXHAUSTED, http: 500, exit: 1, retryable: true },
  compacted: { grpc: OUT_OF_RANGE, http: 410, exit: 1, retryable: false },
  'deadline-exceeded': { grpc: DEADLINE_EXCEEDED, http: 500, exit: 1, retryable: true },
  cancelled: { grpc: CANCELLED, http: 500, exit: 1, retryable: false },
  unimplemented: { grpc: UNIMPLEMENTED, http: 501, exit: 1, retryable: false },
  'data-loss': { grpc: DATA_LOSS, http: 500, exit: 1, retryable: false },
  internal: { grpc: INTERNAL, http: 500, exit: 1, retryable: false },
};

/**
 * An expected failure. `message` reads `<attempted action>: <actual value and rule>`, lower-case
 * start, no full stop. Wrap once when crossing a folder: `new SkepError(code, 'join cluster', { cause })`.
 */
export class SkepError extends Error {
  override readonly name = 'SkepError';
  readonly code: ErrorCode;
  /** facts for programs, e.g. `leaderAddress` of a `not-leader`; they travel with the error */
  readonly details: Readonly<Record<string, string>>;

  constructor(
    code: ErrorCode,
    message: string,
    options?: { cause?: unknown; details?: Readonly<Record<string, string>> },
  ) {
    super(message, options);
    this.code = code;
    this.details = options?.details ?? {};
  }

  get retryable(): boolean {
    return CODE_STATUS[this.code].retryable;
  }
}

/**
 * Detail of an error that says what became of the request: `none` = it surely had no effect and never
 * will, so that it may be repeated; `unknown` = it may have taken effect, or may yet.
 */
export const EFFECT = 'effect';

/** Detail of an error, with the role: who was asked, or in whose name was asked, has had it and has it no more. */
export const ROLE_LOST = 'roleLost';

/** True when `err` is a SkepError with one of `codes`. */
export function hasCode(err: unknown, ...codes: ErrorCode[]): err is SkepError {
  return err instanceof SkepError && codes.includes(err.code);
}

/** What was asked for was surely not done, and will not be: it may be asked for again, or elsewhere. */
export function hadNoEffect(err: unknown): err is SkepError {
  if (hasCode(err, 'not-leader', 'no-leader')) return err.details[EFFECT] !== 'unknown';
  return hasCode(err, 'unavailable') && err.details[EFFECT] === 'none';
}

/** The words for a person: the message and those of its causes, joined by `: `; the same words are not said twice. */
export function describeError(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  if (err.cause === undefined || err.cause === null) return err.message;
  const cause = describeError(err.cause);
  // What was told by another node comes again as its own cause.
  return cause === err.message ? cause : `${err.message}: ${cause}`;
}
