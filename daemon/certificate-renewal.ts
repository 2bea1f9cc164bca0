/**
 * Keeps a node's certificate valid, and fetches a new one when its role changes: the managers grant
 * the role that the store has at that moment. Knows no files and no sockets.
 */
import type { Clock } from '../common/base/clock.ts';
import { describeError, hasCode, SkepError } from '../common/base/errors.ts';
import type { Logger } from '../common/base/log.ts';
import type { Random } from '../common/base/random.ts';
import type { NodeRole } from '../common/model/node.ts';
import { type Identity, type IdentityHolder, renewalTimeMs } from '../common/pki/identity.ts';

export interface CertificateRenewalOptions {
  readonly identity: IdentityHolder;
  /** whom to ask, `IP:port`, in this order */
  readonly managers: () => Promise<readonly string[]>;
  readonly request: (address: string, current: Identity, signal: AbortSignal) => Promise<Identity>;
  readonly save: (identity: Identity) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

const RETRY_MS = 5_000;
/** Long sleeps in parts: the wall clock may be set meanwhile. */
const SLEEP_MAX_MS = 3_600_000;
const SLEEP_MIN_MS = 1_000;

export class CertificateRenewal {
  readonly #options: CertificateRenewalOptions;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: CertificateRenewalOptions) {
    this.#options = options;
  }

  /**
   * Resolves with the role of the new certificate, which is saved and in use. One at a time. Nothing is
   * saved after `signal` aborts: it may be that the node left the cluster.
   */
  renew(signal: AbortSignal): Promise<NodeRole> {
    const turn = this.#turn.then(() => this.#renew(signal));
    this.#turn = turn.catch(() => {}); // told to the caller of this turn
    return turn;
  }

  /** Renews in time for as long as `signal` lasts; then rejects with its reason. */
  async keepRenewed(signal: AbortSignal): Promise<never> {
    const { clock, random, log, identity } = this.#options;
    for (;;) {
      const dueMs = renewalTimeMs(identity.current, random);
      while (clock.wallMs() < dueMs) {
        const leftMs = Math.max(SLEEP_MIN_MS, dueMs - clock.wallMs());
        await clock.sleep(Math.min(SLEEP_MAX_MS, leftMs), signal);
      }
      try {
        await this.renew(signal);
      } catch (err) {
        signal.throwIfAborted();
        log.warn({ reason: describeError(err) }, 'certificate renewal failed, will be retried');
        await clock.sleep(RETRY_MS, signal);
      }
    }
  }

  async #renew(signal: AbortSignal): Promise<NodeRole> {
    const { identity, managers, request, save } = this.#options;
    let failure: unknown = new SkepError('unavailable', 'renew certificate: no manager is known');
    for (const address of await managers()) {
      signal.throwIfAborted();
      try {
        const renewed = await request(address, identity.current, signal);
        signal.throwIfAborted();
        await save(renewed);
        identity.rotate(renewed);
        return renewed.role;
      } catch (err) {
        signal.throwIfAborted();
        failure = err;
        if (hasCode(err, 'permission-denied')) break;
      }
    }
    throw failure;
  }
}
