/** Volumes as tar archives: written out whole, and filled from one. What skep has beyond Docker. */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  openSync,
  readdirSync,
} from 'node:fs';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { SAME_OWNERS } from '../../worker/containers/owners.ts';
import { pathOf, RootTree } from '../../worker/containers/root-tree.ts';
import { RootWriter } from '../../worker/containers/root-writer.ts';
import { type TarEntry, TarReader, type TarSink } from '../../worker/images/tar-reader.ts';
import type { VolumeStore } from '../../worker/volumes/volume-store.ts';
import { bodyOf, sendPieces } from './container-files.ts';
import type { RequestContext } from './http-context.ts';
import { patiently } from './patient-reader.ts';
import type { Routes } from './server.ts';
import { requireVolume, volumeToJson } from './volumes.ts';

/** Of the volume's own directory. */
const ROOT_NAME = '.';

export interface VolumeArchiveOptions {
  readonly volumes: VolumeStore;
  readonly clock: Clock;
}

export function addVolumeArchiveRoutes(
  routes: Routes,
  { volumes, clock }: VolumeArchiveOptions,
): void {
  routes.add('GET', '/skep/volumes/:name/archive', async (context) => {
    await volumes.withFiles(context.param('name'), async (path) => {
      const root = new RootTree(path);
      try {
        const options = { prefix: ROOT_NAME, oneFileSystem: false };
        await sendPieces(context, clock, root.pack('/', options));
      } finally {
        root.close();
      }
    });
  });

  routes.add('PUT', '/skep/volumes/:name/archive', async (context) => {
    const name = context.param('name');
    const isNew = volumes.get(name) === undefined;
    if (isNew) await volumes.create({ name, driver: 'local', labels: {}, options: {} });
    try {
      await volumes.withFiles(name, async (path) => {
        requireEmpty(name, path, context.flag('force'));
        await unpack(context, clock, path);
      });
    } catch (err) {
      if (isNew) await volumes.remove(name, { force: true });
      throw err;
    }
    context.send(200, volumeToJson(requireVolume(volumes, name)));
  });
}

function requireEmpty(name: string, path: string, force: boolean): void {
  if (force || readdirSync(path).length === 0) return;
  const words = 'it is not empty: force writes over what is there';
  throw new SkepError('conflict', `import volume ${name}: ${words}`);
}

async function unpack(context: RequestContext, clock: Clock, path: string): Promise<void> {
  const root = new RootTree(path);
  try {
    const writer = new VolumeWriter(root);
    try {
      const reader = new TarReader(writer);
      for await (const chunk of patiently(bodyOf(context), clock)) reader.push(chunk);
      reader.finish();
      writer.finish();
    } finally {
      writer.close();
    }
  } finally {
    root.close();
  }
}

/** `.`, `./`, `/` and the like: the volume itself. */
export const isOwnDirectory = (name: string): boolean =>
  name.split('/').every((part) => part === '' || part === '.');

/** As files are copied into containers, and the volume's own directory becomes as the archive has it. */
class VolumeWriter implements TarSink {
  readonly #root: RootTree;
  readonly #files: RootWriter;
  #own: TarEntry | null = null;

  constructor(root: RootTree) {
    const options = {
      copyOwners: true,
      copyXattrs: true,
      replacesKinds: true,
      owners: SAME_OWNERS,
    };
    this.#files = new RootWriter(root.fd, '/', root.openDirectory('/'), options);
    this.#root = root;
  }

  entry(entry: TarEntry): void {
    if (entry.kind === 'directory' && isOwnDirectory(entry.name)) this.#own = entry;
    else this.#files.entry(entry);
  }

  data(bytes: Buffer): void {
    this.#files.data(bytes);
  }

  end(): void {
    this.#files.end();
  }

  finish(): void {
    this.#files.finish();
    if (this.#own === null) return;
    const { uid, gid, mode, mtimeSeconds } = this.#own;
    const fd = openSync(pathOf(this.#root.fd), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      fchownSync(fd, uid, gid);
      fchmodSync(fd, mode);
      futimesSync(fd, mtimeSeconds, mtimeSeconds);
    } finally {
      closeSync(fd);
    }
  }

  close(): void {
    this.#files.close();
  }
}
