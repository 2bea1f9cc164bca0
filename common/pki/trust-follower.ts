/**
 * Does what the managers say of this node's trust: takes up another root, and fetches another certificate when one is due.
 * The last word wins. Knows no files and no sockets.
 */
import { Backoff } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { TaskSet } from '../base/lifecycle.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { CertificateRenewal } from './certificate-renewal.ts';
import type { IdentityHolder } from './identity.ts';

/** What a session message says of trust. */
export interface TrustWord {
  /** '' = the managers do not say */
  readonly rootCaPem: string;
  readonly renewCertificate: boolean;
}

export interface TrustFollowerOptions {
  readonly identity: Pick<IdentityHolder, 'current'>;
  readonly renewal: Pick<CertificateRenewal, 'renew' | 'adoptRoot'>;
  /** of the membership */
  readonly tasks: Pick<TaskSet, 'run'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

const FAILED = { baseMs: 500, maxMs: 30_000 };

/** INVARIANT: one change at a time. */
export class TrustFollower {
  readonly #options: TrustFollowerOptions;
  #rootPem = '';
  #isRenewalDue = false;
  /** what the last word said of it */
  #isRenewalWanted = false;
  #changing = false;

  constructor(options: TrustFollowerOptions) {
    this.#options = options;
  }

  follow({ rootCaPem, renewCertificate }: TrustWord): void {
    this.#rootPem = rootCaPem;
    this.#isRenewalDue = renewCertificate;
    this.#isRenewalWanted = renewCertificate;
    if (this.#changing || !this.#isBehind()) return;
    this.#changing = true;
    this.#options.tasks.run(async (signal) => {
      try {
        await this.#change(signal);
      } finally {
        this.#changing = false;
      }
    });
  }

  #isBehind(): boolean {
    return this.#isRenewalDue || this.#hasOtherRoot();
  }

  #hasOtherRoot(): boolean {
    return this.#rootPem !== '' && this.#rootPem !== this.#options.identity.current.rootPem;
  }

  async #change(signal: AbortSignal): Promise<void> {
    const { renewal, clock, random, log } = this.#options;
    const backoff = new Backoff(FAILED, random);
    while (this.#isBehind()) {
      try {
        // First: what is asked for next may be shown to nodes that trust this root alone.
        if (this.#hasOtherRoot()) {
          await renewal.adoptRoot(this.#rootPem, signal);
          log.info({}, 'trust root changed');
        }
        if (this.#isRenewalDue) {
          await this.#renew(signal);
          log.info({}, 'certificate renewed');
        }
      } catch (err) {
        signal.throwIfAborted();
        log.warn({ reason: describeError(err) }, 'change of trust failed, will be retried');
        await clock.sleep(backoff.nextDelayMs(), signal);
      }
    }
  }

  /** A word that comes during a renewal may be another order: what is under way may come from the root before. */
  async #renew(signal: AbortSignal): Promise<void> {
    this.#isRenewalDue = false;
    try {
      await this.#options.renewal.renew(signal);
    } catch (err) {
      this.#isRenewalDue = this.#isRenewalWanted;
      throw err;
    }
  }
}
