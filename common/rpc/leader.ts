/**
 * Work that only the leader does, asked of any manager: done here when this node leads, else passed
 * on to the leader, once, with the identity of the original caller.
 */
import { abortWith } from '../base/abort-with.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { EFFECT, hadNoEffect, hasCode, SkepError } from '../base/errors.ts';
import type { RpcClient } from './client.ts';
import type { UnaryMethod } from './method.ts';
import type { Peer } from './peer.ts';

/** What a manager knows of leadership at this moment. */
export interface LeaderLocator {
  /** true = this node leads and its leader-only components run */
  isLeader(): boolean;
  /** `IP:port` of the leader's RPC server; null = not known */
  leaderAddress(): string | null;
  /** Told when one of the two may answer otherwise than before. Returns the release. */
  onChange(listener: () => void): () => void;
}

export interface LeaderCallOptions {
  readonly locator: LeaderLocator;
  /** an RpcClientPool */
  readonly pool: { client(address: string): Pick<RpcClient, 'unary'> };
  readonly clock: Clock;
  /** this manager: on whose behalf its own calls are made */
  readonly self: () => Peer;
}

export interface LeaderCall<Req, Res> {
  readonly method: UnaryMethod<Req, Res>;
  readonly request: Req;
  /** the work itself, for when this node leads */
  readonly local: () => Promise<Res>;
  /** who asked, and whether a manager passed it on to us already; null = this node itself */
  readonly caller: { readonly peer: Peer; readonly forwarded: boolean } | null;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface LeaderCallResult<Res> {
  readonly response: Res;
  /** true = another manager did the work */
  readonly remote: boolean;
}

/** Longest wait for a leader: several elections. */
export const LEADER_WAIT_MS = 5_000;
/** Between two tries, when nothing is heard of a leader meanwhile. */
const RETRY_PERIOD_MS = 100;
/** An answer that a replaced leader sent on its way out is waited for this long. */
const REPLACED_GRACE_MS = 300;

/** Runs calls on the leader, wherever it is. */
export class LeaderCaller {
  readonly #options: LeaderCallOptions;

  constructor(options: LeaderCallOptions) {
    this.#options = options;
  }

  /**
   * Does the work once. Repeats only what surely had no effect: a call that did not leave this node,
   * or was refused with `not-leader`. Rejects with the work's own error; with `not-leader` when a
   * manager passed the call on and this is not the leader either (details name it, when known); with
   * `unavailable` when the leader that was asked was replaced and does not answer; with `no-leader`
   * after LEADER_WAIT_MS without one.
   */
  async run<Req, Res>(call: LeaderCall<Req, Res>): Promise<LeaderCallResult<Res>> {
    const { locator, clock } = this.#options;
    const deadlineMs = clock.monotonicMs() + LEADER_WAIT_MS;
    let redirect: string | null = null;
    let refusal: SkepError | null = null;
    for (;;) {
      call.signal?.throwIfAborted();
      try {
        if (locator.isLeader()) return { response: await call.local(), remote: false };
        if (call.caller?.forwarded) throw this.#notLeader();
        const address: string | null = redirect ?? locator.leaderAddress();
        redirect = null;
        if (address) return { response: await this.#remote(address, call), remote: true };
      } catch (err) {
        if (call.caller?.forwarded || !hadNoEffect(err)) throw err;
        redirect = err.details['leaderAddress'] ?? null;
        refusal = hasCode(err, 'unavailable') ? err : null;
      }
      const leftMs = deadlineMs - clock.monotonicMs();
      if (leftMs <= 0) throw refusal ?? noLeader();
      await this.#pause(Math.min(RETRY_PERIOD_MS, leftMs), call.signal);
    }
  }

  /** Until the next try; ends early when the leader is another one now. */
  async #pause(limitMs: number, signal?: AbortSignal): Promise<void> {
    const { locator, clock } = this.#options;
    const over = abortWith(signal);
    const release = locator.onChange(() => over.abort());
    try {
      await clock.sleep(limitMs, over.signal);
    } catch {
      signal?.throwIfAborted();
    } finally {
      release();
      over.release();
    }
  }

  async #remote<Req, Res>(address: string, call: LeaderCall<Req, Res>): Promise<Res> {
    const over = abortWith(call.signal);
    const release = this.#whenReplaced(address, () => over.abort(replaced(address)));
    try {
      return await this.#options.pool.client(address).unary(call.method, call.request, {
        forwardedFor: call.caller?.peer ?? this.#options.self(),
        ...(call.timeoutMs === undefined ? {} : { timeoutMs: call.timeoutMs }),
        signal: over.signal,
      });
    } finally {
      release();
      over.release();
    }
  }

  /**
   * Calls `act` when another manager than the one at `address` leads: that one may be stopped or cut
   * off, and would be waited for until the call's deadline. Returns the release.
   */
  #whenReplaced(address: string, act: () => void): () => void {
    const { locator, clock } = this.#options;
    const known = [null, address, locator.leaderAddress()]; // `address` may be newer than what we know
    let grace: Timer | null = null;
    const look = (): void => {
      if (locator.isLeader() || !known.includes(locator.leaderAddress())) {
        grace ??= clock.setTimer(REPLACED_GRACE_MS, act);
      } else {
        grace?.cancel();
        grace = null;
      }
    };
    const release = locator.onChange(look);
    look();
    return () => {
      release();
      grace?.cancel();
    };
  }

  #notLeader(): SkepError {
    const leaderAddress = this.#options.locator.leaderAddress();
    return new SkepError('not-leader', 'this manager is not the leader', {
      ...(leaderAddress ? { details: { leaderAddress } } : {}),
    });
  }
}

function replaced(address: string): SkepError {
  const words = `wait for the manager at ${address}: another one leads now, it is not known what became of the request`;
  return new SkepError('unavailable', words, { details: { [EFFECT]: 'unknown' } });
}

function noLeader(): SkepError {
  return new SkepError(
    'no-leader',
    "the swarm does not have a leader: it's possible that too few managers are online, make sure more than half of the managers are online",
  );
}
