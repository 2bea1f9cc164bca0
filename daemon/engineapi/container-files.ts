/** Files of containers: copied in and out, listed as changed, exported. Of tasks too, while they run. */
import type { Stats } from 'node:fs';
import { posix } from 'node:path';
import { finished, type Readable, type Writable } from 'node:stream';
import { createGunzip, type Gunzip } from 'node:zlib';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { ContainerInfo, ContainerView } from '../../worker/container-view.ts';
import type { Change } from '../../worker/containers/changes.ts';
import type { PathStat } from '../../worker/containers/root-tree.ts';
import { RootWriter } from '../../worker/containers/root-writer.ts';
import { TarReader } from '../../worker/images/tar-reader.ts';
import type { EventJournal } from './event-journal.ts';
import type { RequestContext } from './http-context.ts';
import { patiently } from './patient-reader.ts';
import { PatientWriter } from './patient-writer.ts';
import { containerEvent } from './route-events.ts';
import type { Routes } from './server.ts';

const STAT_HEADER = 'X-Docker-Container-Path-Stat';
const TAR_TYPE = 'application/x-tar';
const CHANGE_KIND: Readonly<Record<Change['kind'], number>> = { modified: 0, added: 1, deleted: 2 };
const GZIP_MAGIC = 0x8b1f;

export interface ContainerFileOptions {
  readonly containers: ContainerView;
  readonly clock: Clock;
  readonly events: Pick<EventJournal, 'tell'>;
}

export function addContainerFileRoutes(
  routes: Routes,
  { containers, clock, events }: ContainerFileOptions,
): void {
  const ofPath = (context: RequestContext): ContainerInfo =>
    containers.require(context.param('id'));

  routes.add('HEAD', '/containers/:id/archive', async (context) => {
    const path = requirePath(context);
    const stat = await containers.withRoot(ofPath(context), async (root) => root.stat(path));
    context.response.setHeader(STAT_HEADER, statHeader(stat));
    context.empty(200);
  });

  routes.add('GET', '/containers/:id/archive', async (context) => {
    const path = requirePath(context);
    const info = ofPath(context);
    await containers.withRoot(info, async (root) => {
      const stat = root.stat(path);
      events.tell(containerEvent(info, 'archive-path'));
      context.response.setHeader(STAT_HEADER, statHeader(stat));
      const prefix = posix.basename(path) || '/';
      const pieces = root.pack(path, { prefix, oneFileSystem: false });
      await sendPieces(context, clock, pieces);
    });
  });

  routes.add('PUT', '/containers/:id/archive', async (context) => {
    const path = requirePath(context);
    const info = ofPath(context);
    if (info.spec.container.readOnly) {
      throw new SkepError('permission-denied', 'container rootfs is marked read-only');
    }
    await containers.withRoot(info, async (root) => {
      const directory = root.openDirectory(path);
      const writer = new RootWriter(root.fd, path, directory, {
        copyOwners: context.flag('copyUIDGID'),
        replacesKinds: !context.flag('noOverwriteDirNonDir'),
        owners: root.owners,
      });
      try {
        const reader = new TarReader(writer);
        // One at rest can neither be started nor removed meanwhile; one that runs is not held.
        const body = info.pid === 0 ? patiently(bodyOf(context), clock) : bodyOf(context);
        for await (const chunk of body) reader.push(chunk);
        reader.finish();
        writer.finish();
      } finally {
        writer.close();
      }
    });
    events.tell(containerEvent(info, 'extract-to-dir'));
    context.empty(200);
  });

  routes.add('GET', '/containers/:id/export', async (context) => {
    const info = ofPath(context);
    await containers.withRoot(
      info,
      (root) => {
        events.tell(containerEvent(info, 'export'));
        return sendPieces(context, clock, root.pack('/', { prefix: '', oneFileSystem: true }));
      },
      { withVolumes: false },
    );
  });

  routes.add('GET', '/containers/:id/changes', async (context) => {
    const changes = await containers.changes(ofPath(context));
    context.send(
      200,
      changes.map(({ path, kind }) => ({ Path: path, Kind: CHANGE_KIND[kind] })),
    );
  });
}

function requirePath(context: RequestContext): string {
  const path = context.text('path');
  if (!path) throw new SkepError('invalid-argument', "bad parameter: 'path' cannot be empty");
  if (path.includes('\0')) {
    throw new SkepError('invalid-argument', "bad parameter: 'path' cannot have a null byte");
  }
  return posix.isAbsolute(path) ? path : `/${path}`;
}

/** A reader that takes nothing is given up: while it waits, a container at rest can neither be started nor removed. */
export async function sendPieces(
  context: Pick<RequestContext, 'begin' | 'signal'>,
  clock: Clock,
  pieces: AsyncIterable<Buffer>,
): Promise<void> {
  // Only with the first piece: what is not there is told by the status.
  let out: Writable | null = null;
  const open = (): Writable => (out ??= context.begin(TAR_TYPE));
  let writer: PatientWriter | null = null;
  for await (const piece of pieces) {
    writer ??= new PatientWriter(open(), clock, context.signal);
    await writer.write(piece);
  }
  open().end();
}

/**
 * Plain or gzip, told by its first bytes. Ends or fails with the request in any case: whoever reads it holds the
 * container. The connection stays, so that a refusal can be sent on it.
 */
export async function* bodyOf({ request, signal }: BodyParts): AsyncGenerator<Buffer> {
  try {
    yield* unzipped(request);
  } catch (cause) {
    signal.throwIfAborted();
    throw new SkepError('invalid-argument', 'read request body', { cause });
  }
}

interface BodyParts {
  readonly request: Readable;
  readonly signal: AbortSignal;
}

async function* unzipped(request: Readable): AsyncGenerator<Buffer> {
  let first = true;
  let gunzip: Gunzip | null = null;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    if (first && chunk.length > 1 && chunk.readUInt16LE(0) === GZIP_MAGIC) {
      gunzip = createGunzip();
      gunzip.write(chunk);
      break;
    }
    first = false;
    yield chunk;
  }
  if (gunzip === null) return;
  // A pipe passes the end on, but no failure.
  finished(request, { writable: false }, (err) => void (err && gunzip.destroy(err)));
  request.pipe(gunzip);
  yield* gunzip;
}

/** Of `X-Docker-Container-Path-Stat`. */
export function statHeader({ name, stats, linkTarget }: PathStat): string {
  const stat = {
    name,
    size: stats.size,
    mode: goFileMode(stats),
    mtime: new Date(stats.mtimeMs).toISOString(),
    linkTarget,
  };
  return Buffer.from(JSON.stringify(stat)).toString('base64');
}

/** Go's `os.FileMode`: permissions below, its own bits for kinds above. */
export function goFileMode(stats: Stats): number {
  const bits: readonly (readonly [boolean, number])[] = [
    [stats.isDirectory(), 31],
    [stats.isSymbolicLink(), 27],
    [stats.isBlockDevice() || stats.isCharacterDevice(), 26],
    [stats.isFIFO(), 25],
    [stats.isSocket(), 24],
    [(stats.mode & 0o4000) !== 0, 23],
    [(stats.mode & 0o2000) !== 0, 22],
    [stats.isCharacterDevice(), 21],
    [(stats.mode & 0o1000) !== 0, 20],
  ];
  const above = bits.reduce((sum, [isSet, bit]) => sum + (isSet ? 2 ** bit : 0), 0);
  return above + (stats.mode & 0o777);
}
