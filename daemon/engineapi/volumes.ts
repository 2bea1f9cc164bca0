/** Volumes of this node. */
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { VolumeRecord, VolumeStore } from '../../worker/volumes/volume-store.ts';
import type { EventJournal } from './event-journal.ts';
import { Filters } from './filters.ts';
import { PRUNE_KEEPS_NAMED_SINCE } from './json/api-versions.ts';
import { isoTime } from './json/common.ts';
import { JsonReader } from './json/reader.ts';
import { pruneEvent } from './route-events.ts';
import type { Routes } from './server.ts';

export interface VolumeRoutesOptions {
  readonly volumes: VolumeStore;
  readonly events: Pick<EventJournal, 'tell'>;
}

export function addVolumeRoutes(routes: Routes, { volumes, events }: VolumeRoutesOptions): void {
  routes.add('GET', '/volumes', (context) => {
    const filters = Filters.parse(context.text('filters'), ['name', 'label', 'driver', 'dangling']);
    const named = filters.named(volumes.list(), ({ name }) => [name]);
    const rows = named.filter(volumeTest(filters));
    context.send(200, { Volumes: rows.map(volumeToJson), Warnings: null });
  });

  routes.add('POST', '/volumes/create', async (context) => {
    const json = new JsonReader(await context.json());
    json.refuse('ClusterVolumeSpec', 'cluster volumes are not done yet');
    const volume = await volumes.create({
      name: json.string('Name'),
      driver: json.string('Driver'),
      labels: json.stringMap('Labels'),
      options: json.stringMap('DriverOpts'),
    });
    context.send(201, volumeToJson(volume));
  });

  routes.add('GET', '/volumes/:name', (context) => {
    context.send(200, volumeToJson(requireVolume(volumes, context.param('name'))));
  });

  routes.add('DELETE', '/volumes/:name', async (context) => {
    await volumes.remove(context.param('name'), { force: context.flag('force') });
    context.empty(204);
  });

  routes.add('POST', '/volumes/prune', async (context) => {
    const filters = Filters.parse(context.text('filters'), ['label', 'all']);
    const all = filters.boolean('all') ?? context.apiMinor < PRUNE_KEEPS_NAMED_SINCE;
    const removed: string[] = [];
    let bytes = 0;
    for (const volume of volumes.list()) {
      const unused = volume.usedBy.length === 0 && (all || volume.anonymous);
      if (!unused || !filters.labels('label', volume.labels)) continue;
      try {
        const sizeBytes = await volumes.sizeBytes(volume.name);
        await volumes.remove(volume.name, { force: false });
        removed.push(volume.name);
        bytes += sizeBytes;
      } catch (err) {
        // Somebody came to use it, or removed it.
        if (!hasCode(err, 'conflict') && !hasCode(err, 'not-found')) throw err;
      }
    }
    events.tell(pruneEvent('volume', bytes));
    context.send(200, { VolumesDeleted: removed, SpaceReclaimed: bytes });
  });
}

export function requireVolume(volumes: Pick<VolumeStore, 'get'>, name: string): VolumeRecord {
  const volume = volumes.get(name);
  if (!volume) throw new SkepError('not-found', `get ${name}: no such volume`);
  return volume;
}

/** Of all filters but that of names. Throws `invalid-argument` for a value that means nothing. */
export function volumeTest(
  filters: Filters,
): (volume: Pick<VolumeRecord, 'labels' | 'driver' | 'usedBy'>) => boolean {
  const dangling = filters.boolean('dangling');
  return ({ labels, driver, usedBy }) =>
    filters.labels('label', labels) &&
    filters.any('driver', (wanted) => driver === wanted) &&
    (dangling === undefined || dangling === (usedBy.length === 0));
}

export function volumeToJson(volume: VolumeRecord): object {
  return {
    CreatedAt: isoTime(volume.createdAtMs),
    Driver: volume.driver,
    Labels: volume.labels,
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Options: volume.options,
    Scope: 'local',
  };
}
