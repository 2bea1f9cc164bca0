/**
 * A call from its start to its end, whatever its kind: who may make it, what its handler gets to know, and
 * what the caller is told when it fails. Knows no sockets.
 */
import { SkepError } from '../base/errors.ts';
import { CancelledError, type OnFailure } from '../base/lifecycle.ts';
import type { Logger } from '../base/log.ts';
import type { NodeId } from '../model/ids.ts';
import type { MethodParts } from './method.ts';
import {
  type Caller,
  type ConnectionIdentity,
  type Peer,
  requireCurrentManager,
  requireNotDemoted,
  requireRole,
  resolveCaller,
} from './peer.ts';
import { isFatal, isUnexpected } from './status.ts';

export interface CallContext {
  /** who asks: for a forwarded call the original caller, else the other end of the connection */
  readonly peer: Peer;
  /** true = a manager passed it on; pass it on again and it is refused */
  readonly forwarded: boolean;
  /** aborted when the caller cancels or is gone, at its deadline, and when the server stops */
  readonly signal: AbortSignal;
  readonly metadata: ReadonlyMap<string, string>;
}

export interface CallRunnerOptions {
  readonly logger: Logger;
  /** told of broken invariants in handlers */
  readonly onFailure: OnFailure;
  /** true for nodes that were removed from the cluster: all their calls are refused */
  readonly isBlocked?: (nodeId: string) => boolean;
  /**
   * Whether a node is one of the managers now, for methods that need one; null = this node does not know yet.
   * Default: every node with a manager's certificate is.
   */
  readonly isManager?: (nodeId: string) => boolean | null;
  /** true for nodes that are known to be workers now, whatever their certificates say; default: no node is */
  readonly isWorker?: (nodeId: NodeId) => boolean;
}

/** What calls of all kinds have in common, whether they came by gRPC or by a link. */
export interface ServedCall {
  /** Whose connection it came by. */
  readonly identity: ConnectionIdentity;
  readonly metadata: ReadonlyMap<string, string>;
  /** Told once when nobody waits for the call any more; one listener. */
  onCancelled(listener: () => void): void;
  /** Tells the caller what went wrong, which ends the call; it may have ended. */
  fail(err: unknown): void;
}

/** A method of any kind. */
type AnyMethod = Pick<
  MethodParts<unknown, unknown>,
  'path' | 'roles' | 'needsCurrentManager' | 'certificateIsEnough'
>;

interface RunParts {
  /** Ends the call when all went well. */
  readonly serve: (context: CallContext) => Promise<void>;
  readonly cancelled?: (reason: unknown) => void;
}

/** The calls that a server is serving. */
export class CallRunner {
  readonly #options: CallRunnerOptions;
  readonly #running = new Set<Promise<void>>();
  readonly #aborts = new Set<CallAbort>();

  constructor(options: CallRunnerOptions) {
    this.#options = options;
  }

  /** Tells the handlers of all calls that nobody waits any more. */
  abortAll(): void {
    for (const abort of this.#aborts) abort.abort();
  }

  /** Resolves when no handler runs. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Serves one call. @param caller what `admit` said of it */
  run(method: AnyMethod, call: ServedCall, caller: Caller, parts: RunParts): void {
    const abort = new CallAbort((reason) => parts.cancelled?.(reason));
    this.#aborts.add(abort);
    call.onCancelled(() => abort.abort());
    const context = new ServedContext(caller, call.metadata, abort);
    const running = this.#supervise(method, call, () => parts.serve(context), abort);
    this.#running.add(running);
    void running.finally(() => {
      // #supervise never rejects
      this.#running.delete(running);
      this.#aborts.delete(abort);
      abort.end();
    });
  }

  async #supervise(
    method: AnyMethod,
    call: ServedCall,
    serve: () => Promise<void>,
    abort: CallAbort,
  ): Promise<void> {
    try {
      await serve();
    } catch (err) {
      if (isFatal(err)) this.#options.onFailure(err);
      if (abort.aborted) return; // nobody is left to be told
      if (isUnexpected(err)) {
        this.#options.logger.error({ err, method: method.path }, 'call failed unexpectedly');
      }
      call.fail(err);
    }
  }

  /** On whose behalf the method is called. Throws when that one may not. */
  admit(
    method: AnyMethod,
    { peer, refusal }: ConnectionIdentity,
    metadata: ReadonlyMap<string, string>,
  ): Caller {
    if (refusal !== null) {
      throw new SkepError(
        'unauthenticated',
        `call ${method.path}: the certificate is refused: ${refusal}`,
      );
    }
    const caller = resolveCaller(peer, metadata);
    for (const { nodeId } of [peer, caller.peer]) {
      if (nodeId !== null && this.#options.isBlocked?.(nodeId)) {
        throw new SkepError('permission-denied', `node ${nodeId} was removed from swarm`);
      }
    }
    requireRole(method.path, method.roles, caller.peer);
    const { isManager, isWorker } = this.#options;
    if (isWorker && !method.certificateIsEnough) {
      requireNotDemoted(method.path, method.roles, caller, peer, isWorker);
    }
    if (method.needsCurrentManager && isManager) {
      for (const { nodeId } of [peer, caller.peer]) {
        requireCurrentManager(method.path, nodeId, nodeId !== null && isManager(nodeId));
      }
    }
    return caller;
  }
}

/** Of one shape for all calls; the signal is made when it is asked for. */
class ServedContext implements CallContext {
  readonly peer: Peer;
  readonly forwarded: boolean;
  readonly metadata: ReadonlyMap<string, string>;
  readonly #abort: CallAbort;

  constructor(
    { peer, forwarded }: Caller,
    metadata: ReadonlyMap<string, string>,
    abort: CallAbort,
  ) {
    this.peer = peer;
    this.forwarded = forwarded;
    this.metadata = metadata;
    this.#abort = abort;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }
}

/**
 * The end of a call before its time. Most calls end by themselves and most handlers never ask, so the
 * signal is made for those that do: making and ending one costs as much as decoding a small request.
 */
class CallAbort {
  readonly #onAbort: (reason: unknown) => void;
  #controller: AbortController | null = null;
  #aborted = false;
  #ended = false;

  constructor(onAbort: (reason: unknown) => void) {
    this.#onAbort = onAbort;
  }

  get aborted(): boolean {
    return this.#aborted;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted) this.#controller.abort(new CancelledError());
    return this.#controller.signal;
  }

  /** gRPC also tells of the end of calls that ended well: that is no news. */
  abort(): void {
    if (this.#aborted || this.#ended) return;
    this.#aborted = true;
    const reason = new CancelledError();
    this.#controller?.abort(reason);
    this.#onAbort(reason);
  }

  /** The handler is done. */
  end(): void {
    this.#ended = true;
  }
}
