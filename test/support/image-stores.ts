/** Image stores for a test file, each in a folder of its own; stopped and gone after each test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { ImageStore } from '../../worker/images/image-store.ts';

export interface OpenedStore {
  readonly store: ImageStore;
  /** that it lies in */
  readonly dir: string;
}

/** Call at the top of a test file; the returned function opens one more. Layers are unpacked into it, so that it must be root's. */
export function imageStores(): () => Promise<OpenedStore> {
  const opened: OpenedStore[] = [];
  afterEach(async () => {
    for (const { store, dir } of opened.splice(0)) {
      await store.stop();
      rmSync(dir, { recursive: true, force: true });
    }
  });
  return async () => {
    const dir = mkdtempSync('/var/tmp/skep-images-');
    const store = new ImageStore({
      dir: join(dir, 'images'),
      clock: new SystemClock(),
      random: new SystemRandom(),
      log: silentLogger,
      tell: () => {},
    });
    opened.push({ store, dir });
    await store.start();
    return { store, dir };
  };
}
