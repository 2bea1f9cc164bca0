/** Gives other nodes blobs by digest; gets those first that are not here, when the asker says where from. */
import { createReadStream } from 'node:fs';
import { SkepError } from '../../common/base/errors.ts';
import type { ReadBlobRequest } from '../../common/model/blob.ts';
import { isSha256Digest } from '../../common/model/image-reference.ts';
import type { ContentStore } from './content-store.ts';
import type { ImageSweep } from './image-sweep.ts';
import type { Puller } from './puller.ts';
import { Slots } from './slots.ts';

/** On their way at once; more would only share the same disk and network. The others wait. */
const SENDS_MAX = 16;
const PART_BYTES = 256 * 1024;

export class BlobSender {
  readonly #content: ContentStore;
  readonly #puller: Puller;
  readonly #sweep: ImageSweep;
  readonly #slots = new Slots(SENDS_MAX);

  constructor(content: ContentStore, puller: Puller, sweep: ImageSweep) {
    this.#content = content;
    this.#puller = puller;
    this.#sweep = sweep;
  }

  /** From one byte on. Rejects with `not-found`, `invalid-argument`, or the registry's words. */
  async send(
    { digest, offset, origin }: ReadBlobRequest,
    write: (bytes: Buffer) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    if (!isSha256Digest(digest)) {
      throw new SkepError('invalid-argument', `read blob ${JSON.stringify(digest)}: no digest`);
    }
    await this.#sweep.holding(async ({ blobs }) => {
      const hold = (held: string): void => void blobs.add(held);
      hold(digest);
      if (origin !== null) {
        await this.#puller.provide(digest, origin, { hold, onProgress: () => {}, signal });
      }
      this.#content.sizeBytes(digest); // throws not-found
      await this.#slots.run(signal, async () => {
        const path = this.#content.path(digest);
        const file = createReadStream(path, { start: offset, highWaterMark: PART_BYTES });
        for await (const chunk of file as AsyncIterable<Buffer>) await write(chunk);
      });
    });
  }
}
