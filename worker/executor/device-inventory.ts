/** The devices of this machine that can be asked for by what they can do: CDI documents, else what lies in /dev. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import { type CdiDevice, type CdiEdits, NO_EDITS, parseCdi } from './cdi.ts';
import type { InventoryDevice } from './device-requests.ts';

export interface InventoryPlaces {
  /** of CDI documents; what is in a later one wins */
  readonly cdiDirs: readonly string[];
  readonly dev: string;
}

/** Where the specification has them: what vendors install, then what is made at the start of the machine. */
const INVENTORY_PLACES: InventoryPlaces = {
  cdiDirs: ['/etc/cdi', '/var/run/cdi'],
  dev: '/dev',
};

const CDI_FILE = /\.(json|ya?ml)$/;
const NVIDIA = /^nvidia(\d+)$/;
/** For every GPU of NVIDIA, where they are. */
const NVIDIA_SHARED = ['nvidiactl', 'nvidia-uvm', 'nvidia-uvm-tools', 'nvidia-modeset'];
const RENDER_NODE = /^renderD\d+$/;

/** Rejects with `invalid-argument` for a CDI document that cannot be read: what it says may be what is wanted. */
export async function deviceInventory(places = INVENTORY_PLACES): Promise<InventoryDevice[]> {
  const documents = await Promise.all(places.cdiDirs.map(devicesIn));
  const byName = new Map(documents.flat().map((device) => [nameOf(device), device]));
  const described = [...byName.values()].map(fromCdi);
  // The same devices, and with all that belongs to them.
  if (described.some(({ isGpu }) => isGpu)) return described;
  return [...described, ...(await nodesIn(places.dev))];
}

const nameOf = ({ kind, name }: CdiDevice): string => `${kind}=${name}`;

async function devicesIn(dir: string): Promise<CdiDevice[]> {
  const names = (await listed(dir)).filter((name) => CDI_FILE.test(name)).sort();
  const devices = await Promise.all(
    names.map(async (name) => {
      const path = join(dir, name);
      try {
        return await parseCdi(await readFile(path, 'utf8'), path);
      } catch (cause) {
        if (hasCode(cause, 'invalid-argument')) throw cause;
        throw new SkepError('invalid-argument', `CDI document ${path}`, { cause });
      }
    }),
  );
  return devices.flat();
}

function fromCdi(device: CdiDevice): InventoryDevice {
  const [vendor = '', kindClass = ''] = device.kind.split('/');
  return {
    driver: vendor.split('.')[0] ?? '',
    id: device.name,
    cdiName: nameOf(device),
    isGpu: kindClass === 'gpu',
    shared: device.shared,
    edits: device.edits,
  };
}

/** GPUs that no document tells of: their nodes alone, without libraries of the host. */
async function nodesIn(dev: string): Promise<InventoryDevice[]> {
  const names = await listed(dev);
  const shared = nodesOf(
    dev,
    NVIDIA_SHARED.filter((name) => names.includes(name)),
  );
  const numbers = names.flatMap((name) => NVIDIA.exec(name)?.[1] ?? []);
  const nvidia = numbers
    .sort((a, b) => Number(a) - Number(b))
    .map((id) => ({ ...plain('nvidia', id, nodesOf(dev, [`nvidia${id}`])), shared }));
  const renderNodes = (await listed(join(dev, 'dri'))).filter((name) => RENDER_NODE.test(name));
  const dri = renderNodes.sort().map((name) => plain('dri', name, nodesOf(dev, [`dri/${name}`])));
  return nvidia.length > 0 ? nvidia : dri; // the render nodes of the same cards
}

function plain(driver: string, id: string, edits: CdiEdits): InventoryDevice {
  return { driver, id, cdiName: '', isGpu: true, shared: NO_EDITS, edits };
}

function nodesOf(dev: string, names: readonly string[]): CdiEdits {
  const deviceNodes = names.map((name) => ({
    path: `/dev/${name}`,
    hostPath: join(dev, name),
    permissions: 'rw',
  }));
  return { ...NO_EDITS, deviceNodes };
}

async function listed(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw err;
  }
}
