/** A second image that shares all but the last layer with one that is here: how much of it is sent and unpacked. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { FaultProxy } from '../../test/support/fault-proxy.ts';
import { buildBusyboxImage } from '../../test/support/image-builder.ts';
import { push, startRegistry } from '../../test/support/image-registry.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { figure, say } from '../support/report.ts';
import { missingPeers } from './peers.ts';
import { openStore } from './store.ts';

const SHARED_LAYERS = 5;

export async function second(): Promise<void> {
  const missing = missingPeers();
  if (missing !== null) {
    say(missing);
    return;
  }
  const dir = temporaryDirectory('second');
  const registry = await startRegistry({ dir: join(dir, 'registry') });
  const door = new FaultProxy(registry.host);
  await door.start();
  const store = await openStore(join(dir, 'own'));
  try {
    const shared = Array.from({ length: SHARED_LAYERS - 1 }, (_, i) => ({
      files: { [`shared${i}`]: Buffer.alloc(1_000_000, i) },
    }));
    for (const own of ['1', '2']) {
      const outTar = join(dir, 'image.tar');
      buildBusyboxImage({ name: 'app:1', outTar, layers: [...shared, { files: { own } }] });
      push(registry, outTar, `app:${own}`);
    }
    const unpacked = (): number =>
      readdirSync(join(dir, 'own/l')).filter((name) => !name.includes('.')).length;
    await store.pull(`${door.host}/app:1`, null);
    const [asked, layers] = [door.asked('GET', /\/blobs\//).length, unpacked()];
    const { layers: all } = await store.pull(`${door.host}/app:2`, null);
    // The config is a blob, too.
    figure('second_image_layers_sent', door.asked('GET', /\/blobs\//).length - asked - 1);
    figure('second_image_layers_unpacked', unpacked() - layers);
    say(`of the ${all.length} layers of the second image`);
  } finally {
    await store.stop();
    await door.stop();
    await registry.stop();
  }
}
