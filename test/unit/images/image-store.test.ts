import { expect, test } from 'vitest';
import { SystemClock } from '../../../common/base/clock.ts';
import { type Logger, silentLogger } from '../../../common/base/log.ts';
import { SystemRandom } from '../../../common/base/random.ts';
import { ImageStore } from '../../../worker/images/image-store.ts';
import { eventually } from '../../support/eventually.ts';
import { FaultyRegistry } from '../../support/faulty-registry.ts';
import { sha256 } from '../../support/image-builder.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const newFolder = temporaryFolders();
const never = new AbortController().signal;
/** Of a look at the disk that no manager answers. */
const SWEPT = 'disk is filling, and no image is removed: no manager says which are wanted';

test('on a full disk, what came just now for other nodes is not fetched again for the next one', async () => {
  const registry = new FaultyRegistry();
  await registry.start();
  let looks = 0;
  const log: Logger = {
    ...silentLogger,
    warn: (_, message) => void (message === SWEPT && looks++),
    child: () => log,
  };
  const store = new ImageStore({
    ...{ dir: await newFolder(), clock: new SystemClock(), random: new SystemRandom() },
    ...{ log, tell: () => {}, watermarks: { high: 0, low: 0, minAgeMs: 3_600_000 } },
  });
  await store.start();
  const sent = async (blob: Buffer): Promise<void> => {
    const request = { domain: registry.host, path: 'app', auth: null, isManifest: false };
    const origin = { ...request, sizeBytes: blob.length };
    await store.blobs.send({ digest: sha256(blob), offset: 0, origin }, async () => {}, never);
  };
  try {
    await sent(registry.layer);
    await eventually(() => looks === 1, 'a look at the disk');
    await sent(registry.config); // whatever held the layer has ended
    await eventually(() => looks === 2, 'another look');
    await sent(registry.layer);
    expect(registry.requests.filter((url) => url === registry.blobUrl)).toHaveLength(1);
  } finally {
    await store.stop();
    await registry.stop();
  }
});
