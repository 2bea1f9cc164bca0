/** A container's volumes, binds and tmpfs as OCI mounts; volumes are made on first use. */
import { mkdir, readFile, realpath, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { describeError, SkepError } from '../../common/base/errors.ts';
import { type MountEntry, parseMountinfo } from '../../common/base/mountinfo.ts';
import { type Mount, PLAIN_BIND } from '../../common/model/service.ts';
import { TMPFS_FLAGS } from '../../common/model/tmpfs-options.ts';
import type { ImageConfig } from '../images/image-store.ts';
import type { OciMount } from '../runtime/oci.ts';
import { partOfVolume } from '../volumes/subpath.ts';
import type { Volumes } from './ports.ts';

export interface MountParts {
  /** who holds the volumes */
  readonly containerId: string;
  readonly mounts: readonly Mount[];
  readonly image: ImageConfig;
  readonly lowerDirs: readonly string[];
  readonly volumes: Pick<Volumes, 'acquire' | 'createAnonymous'>;
  /** it has a user namespace of its own: what is in volumes is its own there, binds stay the node's */
  readonly isMapped: boolean;
  /** the kernel sets attributes of a whole tree of mounts: since 5.12 */
  readonly makesTreesReadOnly: boolean;
}

/** Parents before children. Volumes that the image declares and nobody mounts are anonymous. */
export async function planMounts(parts: MountParts): Promise<OciMount[]> {
  const { containerId, image } = parts;
  const named = parts.mounts.map((mount) => ({
    ...mount,
    target: cleanPath(mount.target),
  }));
  const targets = new Set(named.map(({ target }) => target));
  const out: OciMount[] = [];
  for (const mount of named) out.push(await ociMountOf(parts, mount));
  for (const target of new Set(image.volumes.map(cleanPath))) {
    if (targets.has(target)) continue;
    const populateFrom = { lowerDirs: parts.lowerDirs, path: target };
    const { path } = await parts.volumes.createAnonymous(containerId, populateFrom);
    out.push(ofVolume(parts, bindMount(parts, { target, readOnly: false }, path)));
  }
  return out.sort((a, b) => depth(a.destination) - depth(b.destination));
}

async function ociMountOf(parts: MountParts, mount: Mount): Promise<OciMount> {
  switch (mount.type) {
    case 'bind':
      await requireSource(mount);
      await requirePropagation(mount);
      requireReadOnlyTrees(mount, parts.makesTreesReadOnly);
      return bindMount(parts, mount, mount.source, mount.bind ?? PLAIN_BIND);
    case 'volume':
      return volumeMount(parts, mount);
    case 'tmpfs':
      return tmpfsMount(mount);
    case 'cluster':
      throw new SkepError(
        'unimplemented',
        `mount ${mount.target}: cluster volumes are not supported yet`,
      );
  }
}

async function requireSource(mount: Mount): Promise<void> {
  try {
    await stat(mount.source);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ENOENT') {
      const words = `bind source path ${mount.source} cannot be read: ${describeError(err)}`;
      throw new SkepError('failed-precondition', words, { cause: err });
    }
    if (!mount.bind?.createMountpoint) {
      throw new SkepError(
        'invalid-argument',
        `invalid mount config for type "bind": bind source path does not exist: ${mount.source}`,
      );
    }
    await mkdir(mount.source, { recursive: true });
  }
}

async function requirePropagation({ source, bind }: Mount): Promise<void> {
  const propagation = bind?.propagation ?? '';
  if (!/(shared|slave)$/.test(propagation)) return;
  const mounts = parseMountinfo(await readFile('/proc/self/mountinfo', 'utf8'));
  const problem = propagationProblem(await realpath(source), propagation, mounts);
  if (problem !== null) throw new SkepError('failed-precondition', `path ${source} is ${problem}`);
}

/**
 * Docker's rule for `shared` and `slave`, without which nothing would be seen on the host, or in the
 * container, in silence. null = it is met. @param path without links, @param mounts of this machine
 */
export function propagationProblem(
  path: string,
  propagation: string,
  mounts: readonly MountEntry[],
): string | null {
  const isTwoWay = propagation.endsWith('shared');
  const covering = mounts.filter(({ point }) =>
    `${path}/`.startsWith(point === '/' ? '/' : `${point}/`),
  );
  const length = Math.max(...covering.map(({ point }) => point.length));
  const holder = covering.findLast(({ point }) => point.length === length);
  if (holder === undefined || holder.isShared || (!isTwoWay && holder.isSlave)) return null;
  const { point } = holder;
  const kind = isTwoWay ? 'shared' : 'shared or slave';
  const hint = `mount --make-shared ${point} makes it one; private propagation needs none`;
  return `mounted on ${point} but it is not a ${kind} mount: ${hint}`;
}

function ofVolume({ isMapped }: Pick<MountParts, 'isMapped'>, mount: OciMount): OciMount {
  return isMapped ? { ...mount, options: [...mount.options, 'idmap'] } : mount;
}

async function volumeMount(parts: MountParts, mount: Mount): Promise<OciMount> {
  const { containerId, lowerDirs, volumes } = parts;
  const populateFrom = mount.volume?.noCopy ? null : { lowerDirs, path: mount.target };
  const { path } =
    mount.source === ''
      ? await volumes.createAnonymous(containerId, populateFrom)
      : await volumes.acquire(containerId, mount.source, {
          labels: mount.volume?.labels ?? {},
          driver: mount.volume?.driver || 'local',
          options: mount.volume?.driverOptions ?? {},
          populateFrom,
        });
  const subpath = mount.volume?.subpath ?? '';
  if (subpath === '') {
    return ofVolume(parts, bindMount(parts, mount, path));
  }
  const part = bindMount(parts, mount, partOfVolume(path, subpath));
  return ofVolume(parts, { ...part, plainSource: true });
}

/** What is mounted below the source comes along, and is read-only where the bind is, as in Docker. */
function bindMount(
  { makesTreesReadOnly }: Pick<MountParts, 'makesTreesReadOnly'>,
  { target: destination, readOnly }: Pick<Mount, 'target' | 'readOnly'>,
  source: string,
  bind: NonNullable<Mount['bind']> = PLAIN_BIND,
): OciMount {
  const { nonRecursive, readOnlyNonRecursive } = bind;
  const isAlone = nonRecursive || readOnlyNonRecursive || !makesTreesReadOnly;
  const options = [
    nonRecursive ? 'bind' : 'rbind',
    bind.propagation || 'rprivate',
    ...(readOnly ? [isAlone ? 'ro' : 'rro'] : []),
  ];
  return { destination, type: 'bind', source, options };
}

function requireReadOnlyTrees({ target, bind }: Mount, are: boolean): void {
  if (are || !bind?.readOnlyForceRecursive) return;
  const words = `mount ${target}: the kernel of this node makes no trees of mounts read-only`;
  throw new SkepError('failed-precondition', words);
}

function tmpfsMount(mount: Mount): OciMount {
  const own = mount.tmpfs?.options ?? [];
  const kept = TMPFS_FLAGS.filter((flag) => !own.includes(flag)).map((flag) => `no${flag}`);
  const options = [...kept, ...own];
  if (mount.readOnly) options.push('ro');
  if (mount.tmpfs?.sizeBytes) options.push(`size=${mount.tmpfs.sizeBytes}`);
  options.push(`mode=${(mount.tmpfs?.mode || 0o1777).toString(8)}`);
  return { destination: mount.target, type: 'tmpfs', source: 'tmpfs', options };
}

/** `/data/`, `//data` and `/a/../data` are `/data`: two paths of a container can be compared. */
export function cleanPath(path: string): string {
  return resolve('/', path);
}

const depth = (path: string): number => path.split('/').filter(Boolean).length;
