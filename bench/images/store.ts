/** A store of images in this process. */
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { ImageStore } from '../../worker/images/image-store.ts';

export async function openStore(dir: string): Promise<ImageStore> {
  const parts = { clock: new SystemClock(), random: new SystemRandom(), log: silentLogger };
  const store = new ImageStore({ dir, ...parts, tell: () => {} });
  await store.start();
  return store;
}
