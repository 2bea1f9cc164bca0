/** Pieces of work with registries: they end with their owner, and fail in words that say what was tried. */
import { setMaxListeners } from 'node:events';
import { abortWith } from '../../common/base/abort-with.ts';
import { type ErrorCode, SkepError } from '../../common/base/errors.ts';
import { CancelledError } from '../../common/base/lifecycle.ts';
import { familiarReference, type ImageReference } from '../../common/model/image-reference.ts';
import { connectionError } from './registry-errors.ts';

export class RegistryWork {
  readonly #abort = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  constructor() {
    setMaxListeners(0, this.#abort.signal); // a manager has one for each blob that it gets for others
  }

  /** Aborts what runs. */
  async stop(): Promise<void> {
    this.#abort.abort(new CancelledError());
    await Promise.allSettled(this.#running);
  }

  /** Rejects with `<verb> <name> <from or to> <registry>: <the registry's words>`, or the abort's reason. */
  async run<T>(
    what: { readonly verb: string; readonly preposition: 'from' | 'to' },
    reference: ImageReference,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const link = abortWith(this.#abort.signal);
    setMaxListeners(0, link.signal); // each blob of the image listens: as many as it has layers
    const onAbort = (): void => link.abort(signal?.reason);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
    const run = work(link.signal).catch((err: unknown) => {
      if (link.signal.aborted) throw link.signal.reason;
      const cause = connectionError(err);
      const code: ErrorCode = cause instanceof SkepError ? cause.code : 'internal';
      const name = familiarReference({ ...reference, domain: 'docker.io' });
      const { verb, preposition } = what;
      throw new SkepError(code, `${verb} ${name} ${preposition} ${reference.domain}`, { cause });
    });
    this.#running.add(run);
    try {
      return await run;
    } finally {
      this.#running.delete(run);
      link.release();
      signal?.removeEventListener('abort', onAbort);
    }
  }
}
