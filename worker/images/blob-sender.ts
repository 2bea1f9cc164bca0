/** Gives other nodes blobs by digest; gets those first that are not here, when the asker says where from. */
import { createReadStream } from 'node:fs';
import type { Clock } from '../../common/base/clock.ts';
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
/** Whoever takes no part for so long loses its place to the others that wait; it may ask for the rest again. */
const STALL_MS = 60_000;

export class BlobSender {
  readonly #content: Pick<ContentStore, 'path' | 'sizeBytes'>;
  readonly #puller: Pick<Puller, 'provide'>;
  readonly #sweep: Pick<ImageSweep, 'holding'>;
  readonly #clock: Pick<Clock, 'setTimer'>;
  readonly #arrived: () => void;
  readonly #slots = new Slots(SENDS_MAX);

  /** @param arrived told when something came to the disk for others */
  constructor(
    content: Pick<ContentStore, 'path' | 'sizeBytes'>,
    puller: Pick<Puller, 'provide'>,
    sweep: Pick<ImageSweep, 'holding'>,
    clock: Pick<Clock, 'setTimer'>,
    arrived: () => void,
  ) {
    this.#content = content;
    this.#puller = puller;
    this.#sweep = sweep;
    this.#clock = clock;
    this.#arrived = arrived;
  }

  /**
   * From one byte on. Rejects with `not-found`, `invalid-argument`, the registry's words, or `deadline-exceeded`
   * when `write` does not come to its end in time.
   */
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
        const context = { hold, onProgress: () => {}, signal };
        if (await this.#puller.provide(digest, origin, context)) this.#arrived();
      }
      this.#content.sizeBytes(digest); // throws not-found
      await this.#slots.run(signal, async () => {
        const path = this.#content.path(digest);
        const file = createReadStream(path, { start: offset, highWaterMark: PART_BYTES });
        for await (const chunk of file as AsyncIterable<Buffer>) {
          await this.#inTime(digest, write(chunk));
        }
      });
    });
  }

  async #inTime(digest: string, written: Promise<void>): Promise<void> {
    let isLate: () => void = () => {};
    const late = new Promise<never>((_, reject) => {
      const words = `send blob ${digest}: nothing was taken for ${STALL_MS} ms`;
      isLate = () => reject(new SkepError('deadline-exceeded', words));
    });
    const timer = this.#clock.setTimer(STALL_MS, isLate);
    try {
      await Promise.race([written, late]);
    } finally {
      timer.cancel();
    }
  }
}
