/**
 * Keeps a node's certificate valid, and fetches a new one when its role changes: the managers grant
 * the role that the store has at that moment. Knows no files and no sockets.
 */
import type { Clock } from '../base/clock.ts';
import { describeError, hasCode, SkepError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { NodeRole } from '../model/node.ts';
import { type Identity, type IdentityHolder, identityOf, renewalTimeMs } from './identity.ts';

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

  /**
   * From now on this node trusts `rootPem`, which is saved. Rejects with `unauthenticated` when its own certificate does not
   * come from there.
   */
  adoptRoot(rootPem: string, signal: AbortSignal): Promise<void> {
    const turn = this.#turn.then(async () => {
      const { identity, clock } = this.#options;
      const { certPem, keyPem } = identity.current;
      await this.#use(identityOf({ certPem, keyPem, rootPem }, clock.wallMs()), signal);
    });
    this.#turn = turn.catch(() => {}); // told to the caller of this turn
    return turn;
  }

  /** Renews in time for as long as `signal` lasts; then rejects with its reason. */
  async keepRenewed(signal: AbortSignal): Promise<never> {
    const { clock, random, log, identity } = this.#options;
    for (;;) {
      let current = identity.current;
      let dueMs = renewalTimeMs(current, random);
      while (clock.wallMs() < dueMs) {
        const leftMs = Math.max(SLEEP_MIN_MS, dueMs - clock.wallMs());
        await clock.sleep(Math.min(SLEEP_MAX_MS, leftMs), signal);
        if (identity.current.certPem === current.certPem) continue;
        // Another certificate came by another way: a change of role, or of the root.
        current = identity.current;
        dueMs = renewalTimeMs(current, random);
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
    const { identity, managers, request } = this.#options;
    let failure: unknown = new SkepError('unavailable', 'renew certificate: no manager is known');
    for (const address of await managers()) {
      signal.throwIfAborted();
      try {
        const renewed = await request(address, identity.current, signal);
        await this.#use(renewed, signal);
        return renewed.role;
      } catch (err) {
        signal.throwIfAborted();
        failure = err;
        if (hasCode(err, 'permission-denied')) break;
      }
    }
    throw failure;
  }

  async #use(identity: Identity, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#options.save(identity);
    this.#options.identity.rotate(identity);
  }
}
