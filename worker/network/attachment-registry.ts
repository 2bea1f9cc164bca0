/**
 * Asks the managers for places of containers in networks of the cluster. Knows how to find one that answers, nothing of
 * what runs here.
 */
import type { Clock } from '../../common/base/clock.ts';
import { withDeadline } from '../../common/base/deadline.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { ContainerAttachment } from '../../common/model/node.ts';
import {
  type AttachableNetwork,
  findAttachable,
  setAttachments,
} from '../../common/rpc/attachment-methods.ts';
import type { UnaryMethod } from '../../common/rpc/method.ts';
import type { RpcClients } from '../../common/rpc/pool.ts';

export interface AttachmentRegistry {
  /** As the method `findAttachable`. */
  find(ref: string, signal?: AbortSignal): Promise<AttachableNetwork>;
  /** As the method `setAttachments`. */
  set(
    attachments: readonly ContainerAttachment[],
    sequence: number,
    signal?: AbortSignal,
  ): Promise<readonly ContainerAttachment[]>;
}

export interface ManagerRegistryOptions {
  readonly pool: Pick<RpcClients, 'client'>;
  /** `IP:port` of the managers that are known, the likeliest first */
  readonly managers: () => Promise<readonly string[]>;
  readonly clock: Clock;
}

/** A cluster that lost its leader has another one sooner; one whose machines all start just now takes longer. */
const ANSWER_LIMIT_MS = 20_000;
/** Of one manager: it waits for a leader, and that one for the allocator. */
const CALL_TIMEOUT_MS = 15_000;
const RETRY_DELAY_MS = 500;

export class ManagerRegistry implements AttachmentRegistry {
  readonly #options: ManagerRegistryOptions;

  constructor(options: ManagerRegistryOptions) {
    this.#options = options;
  }

  find(ref: string, signal?: AbortSignal): Promise<AttachableNetwork> {
    return this.#ask(findAttachable, { ref }, signal);
  }

  set(
    attachments: readonly ContainerAttachment[],
    sequence: number,
    signal?: AbortSignal,
  ): Promise<readonly ContainerAttachment[]> {
    return this.#ask(setAttachments, { attachments, sequence }, signal);
  }

  /** Both methods may be repeated. Rejects with the last failure when none answered in time. */
  async #ask<Req, Res>(
    method: UnaryMethod<Req, Res>,
    request: Req,
    signal?: AbortSignal,
  ): Promise<Res> {
    const { clock } = this.#options;
    let failure: unknown = null;
    const limit = { clock, limitMs: ANSWER_LIMIT_MS, action: 'ask the managers', signal };
    try {
      return await withDeadline(limit, async (within) => {
        for (;;) {
          try {
            return await this.#askOnce(method, request, within);
          } catch (err) {
            if (within.aborted || !isPassing(err)) throw err;
            failure = err;
          }
          await clock.sleep(RETRY_DELAY_MS, within);
        }
      });
    } catch (err) {
      signal?.throwIfAborted();
      throw hasCode(err, 'deadline-exceeded') && failure !== null ? failure : err;
    }
  }

  async #askOnce<Req, Res>(
    method: UnaryMethod<Req, Res>,
    request: Req,
    signal: AbortSignal,
  ): Promise<Res> {
    let failure: unknown = new SkepError('unavailable', 'ask the managers: none is known');
    for (const address of await this.#options.managers()) {
      try {
        const options = { signal, timeoutMs: CALL_TIMEOUT_MS };
        return await this.#options.pool.client(address).unary(method, request, options);
      } catch (err) {
        if (signal.aborted || !isPassing(err)) throw err;
        failure = err;
      }
    }
    throw failure;
  }
}

/** Another manager, or this one later, may answer. */
function isPassing(err: unknown): boolean {
  return hasCode(
    err,
    'unavailable',
    'no-leader',
    'not-leader',
    'deadline-exceeded',
    'unimplemented',
  );
}
