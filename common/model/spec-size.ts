/** How large what users, and nodes, say of one object may be: the managers copy it into what they write themselves. */
import { SkepError } from '../base/errors.ts';

/**
 * Bytes of a spec as JSON, without the data of secrets and configs, which have limits of their own. A quarter of the largest
 * transaction: a service beside its previous spec fits into one, and a task with those that it takes the place of.
 */
export const SPEC_BYTES_MAX = 384 * 1024;

/** Throws `invalid-argument`. @param what in the words of the refusal, e.g. `service web: spec` */
export function checkSize(what: string, words: object): void {
  const bytes = Buffer.byteLength(JSON.stringify(words));
  if (bytes <= SPEC_BYTES_MAX) return;
  throw new SkepError(
    'invalid-argument',
    `${what} of ${bytes} bytes exceeds the limit of ${SPEC_BYTES_MAX}`,
  );
}
