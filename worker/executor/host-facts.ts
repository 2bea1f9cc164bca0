/** What a container's spec asks to know of this machine before it can be made: devices, AppArmor. */
import { existsSync } from 'node:fs';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { release } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { SkepError } from '../../common/base/errors.ts';
import {
  DEFAULT_ISOLATION,
  type DeviceMapping,
  type GenericResource,
  type Isolation,
  type Privileges,
  type TaskSpec,
} from '../../common/model/service.ts';
import type { OciDevice } from '../runtime/oci.ts';
import { type CdiDeviceNode, type CdiEdits, joinEdits, NO_EDITS } from './cdi.ts';
import { checkCpuSets } from './cpu-sets.ts';
import { deviceInventory, type InventoryPlaces } from './device-inventory.ts';
import { devicesOfResources, namesDevice, selectDevices } from './device-requests.ts';
import { cleanPath } from './mounts.ts';

/** A device of this machine, as the container is to have it. */
export interface MappedDevice {
  readonly device: OciDevice;
  /** letters of r, w, m */
  readonly access: string;
}

export interface DeviceNumber {
  readonly major: number;
  readonly minor: number;
}

export interface HostFacts {
  readonly devices: readonly MappedDevice[];
  /** what else the devices that were asked for by what they can do bring along */
  readonly edits: CdiEdits;
  /** of the paths that throttles name */
  readonly blockDevices: ReadonlyMap<string, DeviceNumber>;
  /** null = whatever the daemon has */
  readonly apparmorProfile: string | null;
  /** as Go names it */
  readonly arch: string;
  /** as `uname -r` says it */
  readonly kernel: string;
}

/** Profiles for containers in general, the first that is loaded. */
const APPARMOR_DEFAULTS = ['skep-default', 'docker-default'];
const APPARMOR_PROFILES = '/sys/kernel/security/apparmor/profiles';
/** Parts of /dev that a container has of its own. */
const OWN_IN_DEV = new Set(['pts', 'shm', 'fd', 'mqueue', 'console', '.udev', '.lxc']);
/** What reading a directory says that another process took away meanwhile. */
const VANISHED = new Set(['ENOENT', 'ENOTDIR']);
const GO_ARCHES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** Throws `invalid-argument` for what is not here, `failed-precondition` for a profile. */
export async function hostFacts(
  spec: Pick<TaskSpec, 'container' | 'resources'>,
  genericResources: readonly GenericResource[] = [],
  places?: InventoryPlaces,
): Promise<HostFacts> {
  const { container, resources } = spec;
  const isolation = container.isolation ?? DEFAULT_ISOLATION;
  await checkCpuSets(resources.kernel);
  const devices = await Promise.all(isolation.devices.map(mappedDevices));
  const edits = await requestedEdits(isolation, genericResources, places);
  const requested = await Promise.all(edits.deviceNodes.map(mappedNode));
  const all = isolation.privileged ? await devicesBelow('/dev', '/dev', 'rwm') : [];
  return {
    devices: [...all, ...requested, ...devices.flat()],
    edits,
    blockDevices: await blockDevicesOf(resources),
    apparmorProfile: await apparmorProfile(
      isolation.privileged ? 'disabled' : (container.privileges?.apparmor.mode ?? 'default'),
      container.privileges?.apparmor.profile ?? '',
    ),
    arch: GO_ARCHES[process.arch] ?? process.arch,
    kernel: release(),
  };
}

async function requestedEdits(
  { deviceRequests }: Isolation,
  genericResources: readonly GenericResource[],
  places?: InventoryPlaces,
): Promise<CdiEdits> {
  if (deviceRequests.length === 0 && !genericResources.some(namesDevice)) return NO_EDITS;
  const inventory = await deviceInventory(places);
  const chosen = new Set([
    ...selectDevices(deviceRequests, inventory),
    ...devicesOfResources(genericResources, inventory),
  ]);
  return joinEdits([...chosen].flatMap(({ shared, edits }) => [shared, edits]));
}

/** Of a device of the inventory, which may have gone since. */
async function mappedNode({ path, hostPath, permissions }: CdiDeviceNode): Promise<MappedDevice> {
  const found = await unlessVanished(deviceAt(hostPath, path, permissions), null);
  if (found !== null && found !== 'directory') return found;
  throw new SkepError('invalid-argument', `--gpus: ${hostPath} is no device of this node`);
}

async function mappedDevices(mapping: DeviceMapping): Promise<MappedDevice[]> {
  const hostPath = cleanPath(mapping.hostPath);
  const containerPath = cleanPath(mapping.containerPath);
  const fail = (why: string, cause?: unknown): SkepError => {
    const what = `adding custom device "${mapping.hostPath}"`;
    const words = `error gathering device information while ${what}: ${why}`;
    return new SkepError('invalid-argument', words, { cause });
  };
  try {
    const found = await deviceAt(hostPath, containerPath, mapping.permissions);
    if (found === null) throw fail('not a device node');
    if (found !== 'directory') return [found];
    const dir = await realpath(hostPath);
    if (!`${dir}/`.startsWith('/dev/')) throw fail('a directory must be /dev or below it');
    return await devicesBelow(dir, containerPath, mapping.permissions);
  } catch (cause) {
    throw cause instanceof SkepError ? cause : fail(reasonOf(cause), cause);
  }
}

/** `no such file or directory`, `permission denied`, ...: the system's words for its error. */
function reasonOf(cause: unknown): string {
  const { errno } = cause as NodeJS.ErrnoException;
  return getSystemErrorMap().get(errno ?? 0)?.[1] ?? String(cause);
}

/** null: neither a device nor a directory. Links are followed. */
async function deviceAt(
  path: string,
  containerPath: string,
  access: string,
): Promise<MappedDevice | 'directory' | null> {
  const status = await stat(path);
  if (status.isDirectory()) return 'directory';
  if (!status.isCharacterDevice() && !status.isBlockDevice()) return null;
  return {
    device: {
      type: status.isBlockDevice() ? 'b' : 'c',
      path: containerPath,
      ...deviceNumber(status.rdev),
      fileMode: status.mode & 0o7777,
      uid: status.uid,
      gid: status.gid,
    },
    access,
  };
}

/** Every device in a directory (a clean path); what vanishes meanwhile, and what is none, is passed over. */
export async function devicesBelow(
  dir: string,
  containerDir: string,
  access: string,
): Promise<MappedDevice[]> {
  const entries = await unlessVanished(readdir(dir, { withFileTypes: true }), []);
  const found = await Promise.all(
    entries.map(async (entry): Promise<MappedDevice[]> => {
      if (entry.isSymbolicLink() || (dir === '/dev' && OWN_IN_DEV.has(entry.name))) return [];
      const path = `${dir}/${entry.name}`;
      const containerPath = `${containerDir}/${entry.name}`;
      if (entry.isDirectory()) return devicesBelow(path, containerPath, access);
      const device = await unlessVanished(deviceAt(path, containerPath, access), null);
      return device === null || device === 'directory' ? [] : [device];
    }),
  );
  return found.flat();
}

async function unlessVanished<T, Else>(look: Promise<T>, otherwise: Else): Promise<T | Else> {
  try {
    return await look;
  } catch (err) {
    if (VANISHED.has((err as NodeJS.ErrnoException).code ?? '')) return otherwise;
    throw err;
  }
}

/** The kernel's encoding of a device number (new_encode_dev of 64 bits). */
export function deviceNumber(rdev: number): DeviceNumber {
  const high = Math.floor(rdev / 2 ** 32);
  const low = rdev % 2 ** 32;
  return {
    major: ((low >>> 8) & 0xfff) | (high & ~0xfff),
    minor: (low & 0xff) | ((low >>> 12) & ~0xff),
  };
}

async function blockDevicesOf({
  kernel,
}: TaskSpec['resources']): Promise<ReadonlyMap<string, DeviceNumber>> {
  if (!kernel) return new Map();
  const { readBps, writeBps, readIops, writeIops } = kernel.blockIo;
  const paths = new Set([readBps, writeBps, readIops, writeIops].flat().map(({ path }) => path));
  return new Map(
    await Promise.all(
      [...paths].map(async (path): Promise<[string, DeviceNumber]> => {
        const status = await stat(path).catch(() => null);
        if (status?.isBlockDevice()) return [path, deviceNumber(status.rdev)];
        throw new SkepError('invalid-argument', `block IO limit: ${path} is no block device here`);
      }),
    ),
  );
}

async function apparmorProfile(
  mode: Privileges['apparmor']['mode'],
  profile: string,
): Promise<string | null> {
  // Looked at for every container: the file is there exactly when AppArmor is on.
  const enabled = existsSync(APPARMOR_PROFILES);
  const loaded = enabled ? loadedProfiles(await readFile(APPARMOR_PROFILES, 'utf8')) : null;
  return chooseApparmorProfile(mode, profile, loaded);
}

/**
 * The profile to run under; null = as the daemon is. Throws `failed-precondition` for one that is
 * asked for by name and not to be had.
 * @param loaded names that the kernel knows; null = no AppArmor
 */
export function chooseApparmorProfile(
  mode: Privileges['apparmor']['mode'],
  profile: string,
  loaded: ReadonlySet<string> | null,
): string | null {
  switch (mode) {
    case 'default':
      return APPARMOR_DEFAULTS.find((name) => loaded?.has(name)) ?? null;
    case 'disabled':
      return loaded === null ? null : 'unconfined';
    case 'custom': {
      if (profile === 'unconfined') return loaded === null ? null : profile;
      if (loaded?.has(profile)) return profile;
      const why = loaded === null ? 'this node has no AppArmor' : 'it is not loaded on this node';
      throw new SkepError('failed-precondition', `AppArmor profile "${profile}": ${why}`);
    }
  }
}

/** Lines like `docker-default (enforce)`. */
export function loadedProfiles(text: string): ReadonlySet<string> {
  return new Set(text.split('\n').flatMap((line) => /^(.+) \(\w+\)$/.exec(line)?.[1] ?? []));
}
