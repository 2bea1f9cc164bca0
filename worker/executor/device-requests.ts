/** Which devices of a node are meant by those who ask for them by what they can do, as `--gpus` does. Pure. */
import { SkepError } from '../../common/base/errors.ts';
import type { DeviceRequest, GenericResource } from '../../common/model/service.ts';
import type { CdiEdits } from './cdi.ts';

/** A device of this machine that can be asked for. */
export interface InventoryDevice {
  /** who made it: the vendor of a CDI document, `nvidia`, `dri` */
  readonly driver: string;
  /** by which it is meant in `--gpus device=ID` */
  readonly id: string;
  /** `nvidia.com/gpu=0`; '' = it is of no CDI document */
  readonly cdiName: string;
  readonly isGpu: boolean;
  /** the same object for all devices that have them in common */
  readonly shared: CdiEdits;
  readonly edits: CdiEdits;
}

/** What Docker's driver for GPUs of NVIDIA says that it can, and so may be asked for. */
const CAPABILITIES = new Set([
  ...['gpu', 'nvidia', 'compute', 'compat32', 'graphics', 'utility', 'video', 'display'],
]);
const CDI = 'cdi';
/** A device of CDI documents that stands for all others of its kind. */
const ALL = 'all';

/** Each once. Throws `invalid-argument` with Docker's words for what is not here. */
export function selectDevices(
  requests: readonly DeviceRequest[],
  inventory: readonly InventoryDevice[],
): InventoryDevice[] {
  const chosen = requests.flatMap((request) =>
    request.driver === CDI ? byCdiName(request, inventory) : byAbility(request, inventory),
  );
  return [...new Set(chosen)];
}

/** A named resource like `gpu=GPU-1` or `NVIDIA-GPU=GPU-1`: of a kind that says so. */
export function namesDevice({ kind, value }: GenericResource): boolean {
  return /gpu/i.test(kind) && typeof value === 'string';
}

/** Those whose id a task got as a named resource. */
export function devicesOfResources(
  assigned: readonly GenericResource[],
  inventory: readonly InventoryDevice[],
): InventoryDevice[] {
  const ids = assigned.filter(namesDevice).map(({ value }) => value);
  return inventory.filter(({ isGpu, id, cdiName }) => {
    return isGpu && (ids.includes(id) || ids.includes(cdiName));
  });
}

function byCdiName(
  { deviceIds }: DeviceRequest,
  inventory: readonly InventoryDevice[],
): InventoryDevice[] {
  const found = deviceIds.map((id) => inventory.find(({ cdiName }) => cdiName === id));
  const missing = deviceIds.filter((_, at) => found[at] === undefined);
  if (missing.length > 0) {
    const words = `CDI device injection failed: unresolvable CDI devices ${missing.join(', ')}`;
    throw new SkepError('invalid-argument', words);
  }
  return found.filter((device) => device !== undefined);
}

function byAbility(
  request: DeviceRequest,
  inventory: readonly InventoryDevice[],
): InventoryDevice[] {
  const candidates = candidatesOf(request, inventory);
  const { count, deviceIds } = request;
  const refuse = (flag: string, why: string): never => {
    throw new SkepError('invalid-argument', `--gpus ${flag}: ${why}`);
  };
  const names = candidates.map(({ id }) => id).join(', ');
  if (deviceIds.length > 0) {
    return deviceIds.map((id) => {
      const device = candidates.find((one) => one.id === id || one.cdiName === id);
      return device ?? refuse(`device=${id}`, `unknown device; this node has ${names}`);
    });
  }
  const each = candidates.filter(({ id }) => id !== ALL);
  if (count < 0) return each;
  if (count > each.length) refuse(`${count}`, `this node has ${each.length}: ${names}`);
  return each.slice(0, count);
}

function candidatesOf(
  { driver, capabilities }: DeviceRequest,
  inventory: readonly InventoryDevice[],
): readonly InventoryDevice[] {
  const isKnown = capabilities.some((set) => set.every((name) => CAPABILITIES.has(name)));
  const wanted = capabilities.some((set) => set.includes('nvidia')) ? 'nvidia' : driver;
  const found = inventory.filter((device) => {
    return device.isGpu && (wanted === '' || device.driver === wanted);
  });
  if (isKnown && found.length > 0) return found;
  // As Go prints a list of lists.
  const shown = `[${capabilities.map((set) => `[${set.join(' ')}]`).join(' ')}]`;
  const words = `could not select device driver "${driver}" with capabilities: ${shown}`;
  throw new SkepError('invalid-argument', `${words} (--gpus: this node has no such device)`);
}
