import { readdirSync } from 'node:fs';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { SystemRandom } from '../../../common/base/random.ts';
import { ContentStore, sha256Digest } from '../../../worker/images/content-store.ts';
import { LayerStore } from '../../../worker/images/layer-store.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const newFolder = temporaryFolders();
const EMPTY_TAR = Buffer.alloc(1024);
const WHOLE = { diffId: sha256Digest(EMPTY_TAR), blob: sha256Digest(EMPTY_TAR) };
const ENDLESS = { diffId: `sha256:${'7'.repeat(64)}`, blob: `sha256:${'7'.repeat(64)}` };

let dir: string;
let layers: LayerStore;

beforeEach(async () => {
  dir = await newFolder();
  const content = new ContentStore(dir, new SystemRandom());
  await content.start();
  await content.put(EMPTY_TAR, () => {});
  // The zeros after a tar's end do not end.
  await symlink('/dev/zero', content.path(ENDLESS.blob));
  layers = new LayerStore(dir, content, silentLogger);
  await layers.start();
});

afterEach(() => layers.stop());

/** Somebody who wants these layers. */
function want(sources: readonly { diffId: string; blob: string }[]) {
  const own = new AbortController();
  const outcome = layers.ensure(sources, own.signal).then(
    () => 'unpacked',
    (err: Error) => err.message,
  );
  return { outcome, cancel: () => own.abort(new Error('cancelled')) };
}

describe('layers', () => {
  test('what nobody wants any more is not unpacked to its end, and leaves nothing', async () => {
    const wants = [want([WHOLE, ENDLESS]), want([WHOLE, ENDLESS])];
    wants[0]!.cancel();
    expect(await wants[0]!.outcome).toBe('cancelled');
    expect(await want([WHOLE]).outcome).toBe('unpacked');
    wants[1]!.cancel();
    expect(await wants[1]!.outcome).toBe('cancelled');
    await layers.stop();
    expect(layers.list()).toEqual([WHOLE.diffId]);
    expect(readdirSync(join(dir, 'ingest'))).toEqual([]);
  });

  test('whoever wants a layer still has it when the one who began it has gone', async () => {
    const first = want([WHOLE, WHOLE, WHOLE]);
    const second = want([WHOLE, WHOLE, WHOLE]);
    first.cancel();
    expect(await first.outcome).toBe('cancelled');
    expect(await second.outcome).toBe('unpacked');
    expect(layers.lowerDirs([WHOLE.diffId, WHOLE.diffId, WHOLE.diffId])).toHaveLength(3);
  });

  test('a stop does not wait for an unpack', async () => {
    const { outcome } = want([ENDLESS]);
    await layers.stop();
    expect(await outcome).toContain('stopping');
  });
});
