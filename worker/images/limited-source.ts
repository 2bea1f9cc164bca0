/**
 * A source of which only so many blobs are read at once. The limit is on what really comes from there: a
 * download that waits for another node holds no place, or two managers that wait for one another's
 * downloads would wait for ever.
 */
import type { BlobBody, BlobName, ImageSource } from './image-source.ts';
import type { Slots } from './slots.ts';

export class LimitedSource implements ImageSource {
  readonly #source: ImageSource;
  readonly #slots: Slots;

  constructor(source: ImageSource, slots: Slots) {
    this.#source = source;
    this.#slots = slots;
  }

  manifest(reference: string, signal?: AbortSignal): Promise<Buffer> {
    return this.#source.manifest(reference, signal);
  }

  /** The place is free again when the body is destroyed. */
  async blob(
    blob: BlobName,
    offset: number,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<{ body: BlobBody; offset: number }> {
    const release = await this.#slots.take(signal);
    try {
      const { body, offset: begin } = await this.#source.blob(blob, offset, signal);
      const destroy = (): void => {
        body.destroy();
        release();
      };
      return {
        body: { [Symbol.asyncIterator]: () => body[Symbol.asyncIterator](), destroy },
        offset: begin,
      };
    } catch (err) {
      release();
      throw err;
    }
  }
}
