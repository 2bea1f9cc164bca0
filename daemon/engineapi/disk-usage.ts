/** `/system/df`: what images and volumes of this node take, and what of it could go. */
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { containerRowToJson, type NetworkIdOf } from './json/container.ts';
import { imageRowToJson } from './json/image.ts';
import type { RouteParts } from './parts.ts';
import type { Routes } from './server.ts';
import { volumeToJson } from './volumes.ts';

const TYPES = ['container', 'image', 'volume', 'build-cache'] as const;

export interface DiskUsageOptions {
  readonly worker: RouteParts['worker'];
  readonly clock: Clock;
  readonly networkIdOf: NetworkIdOf;
}

export function addDiskUsageRoute(
  routes: Routes,
  { worker, clock, networkIdOf }: DiskUsageOptions,
): void {
  /** One after the other, as volumes; without those that are removed meanwhile. */
  const containersJson = async (): Promise<object[]> => {
    const rows: object[] = [];
    for (const info of worker.containers.list()) {
      const sizes = await worker.containers.sizesIfStaying(info);
      if (sizes === null) continue;
      const { changedBytes: SizeRw, rootBytes: SizeRootFs } = sizes;
      rows.push({ ...containerRowToJson(info, clock.wallMs(), networkIdOf), SizeRw, SizeRootFs });
    }
    return rows;
  };

  routes.add('GET', '/system/df', async (context) => {
    const asked = context.query.getAll('type');
    for (const type of asked) {
      if (TYPES.some((known) => known === type)) continue;
      throw new SkepError('invalid-argument', `unknown object type: ${type}`);
    }
    const wants = (type: (typeof TYPES)[number]): boolean =>
      asked.length === 0 || asked.includes(type);
    const { apiMinor } = context;
    context.send(200, {
      ...(wants('image') && (await imagesJson(worker, apiMinor))),
      ...(wants('container') && { Containers: await containersJson() }),
      ...(wants('volume') && { Volumes: await volumesJson(worker) }),
      ...(wants('build-cache') && { BuildCache: [] }),
    });
  });
}

async function imagesJson({ images }: DiskUsageOptions['worker'], apiMinor: number) {
  const usage = await images.usage();
  const byId = new Map(usage.images.map((image) => [image.id, image]));
  return {
    LayersSize: usage.bytes,
    Images: images.list().map((image) => ({
      ...imageRowToJson(image, apiMinor),
      SharedSize: byId.get(image.id)?.sharedBytes ?? 0,
      Containers: byId.get(image.id)?.containers ?? 0,
    })),
  };
}

/** One after the other: each is a walk over all its files. */
async function volumesJson({ volumes }: DiskUsageOptions['worker']): Promise<object[]> {
  const rows: object[] = [];
  for (const volume of volumes.list()) {
    const Size = await volumes.sizeBytes(volume.name);
    rows.push({ ...volumeToJson(volume), UsageData: { Size, RefCount: volume.usedBy.length } });
  }
  return rows;
}
