/** What a spec's isolation makes of the default configuration of a container. Pure. */
import { parseDeviceRule } from '../../common/model/device-rule.ts';
import type { Isolation } from '../../common/model/service.ts';
import type {
  OciDevice,
  OciDeviceRule,
  OciLinux,
  OciMount,
  OciNamespaceType,
} from '../runtime/oci.ts';
import type { MappedDevice } from './host-facts.ts';
import { cleanPath } from './mounts.ts';

const ALL_DEVICES: OciDeviceRule = {
  allow: true,
  type: 'a',
  major: null,
  minor: null,
  access: 'rwm',
};
const SHM = '/dev/shm';
/** What a privileged container may write to. */
const KERNEL_MOUNTS = new Set(['/sys', '/sys/fs/cgroup']);

/** The namespaces that are the node's. */
export function sharedNamespaces(isolation: Isolation): ReadonlySet<OciNamespaceType> {
  const types = ['pid', 'ipc', 'uts', 'cgroup'] as const;
  return new Set(types.filter((type) => isolation[type] === 'host'));
}

export function isolatedMounts(
  isolation: Isolation,
  mounts: readonly OciMount[],
): readonly OciMount[] {
  return mounts.flatMap((mount) => {
    const { destination, options } = mount;
    if (isolation.privileged && KERNEL_MOUNTS.has(destination)) {
      return [{ ...mount, options: options.filter((option) => option !== 'ro') }];
    }
    if (destination === SHM && isolation.ipc === 'none') return [];
    // Message queues are those of the namespace in which they are mounted: the node need not have them at a place.
    if (destination === SHM && isolation.ipc === 'host') {
      return [{ destination, type: 'bind', source: destination, options: ['rbind'] }];
    }
    return [mount];
  });
}

/** Devices, rules for them, and what is hidden. */
export function isolatedLinux(
  isolation: Isolation,
  base: OciLinux,
  mapped: readonly MappedDevice[],
): OciLinux {
  const devices = new Map(base.devices.map((device) => [device.path, device]));
  for (const { device } of mapped) devices.set(device.path, device);
  const rules = isolation.privileged
    ? [ALL_DEVICES]
    : [
        ...base.resources.devices,
        ...mapped.map(({ device, access }) => ruleFor(device, access)),
        ...isolation.deviceRules.flatMap(rulesOf),
      ];
  return {
    ...base,
    devices: [...devices.values()],
    resources: { ...base.resources, devices: rules },
    ...(isolation.privileged && { maskedPaths: [], readonlyPaths: [] }),
  };
}

/**
 * The devices that are made in the container. At a mount of the task, or below one, nothing is: what
 * is mounted there counts, and may be a directory of the host. A fresh tmpfs does bear devices.
 * @param mounts of the task, clean, in mounting order
 */
export function devicesBeside(
  mounts: readonly OciMount[],
  devices: readonly OciDevice[],
): readonly OciDevice[] {
  return devices.filter((device) => {
    const path = cleanPath(device.path);
    const cover = mounts.findLast(({ destination }) => `${path}/`.startsWith(`${destination}/`));
    return cover === undefined || (cover.type === 'tmpfs' && cover.destination !== path);
  });
}

function ruleFor({ type, major, minor }: OciDevice, access: string): OciDeviceRule {
  return { allow: true, type: type === 'b' ? 'b' : 'c', major, minor, access };
}

/** `a` with numbers is both kinds: the kernel would take it for every device. */
function rulesOf(text: string): OciDeviceRule[] {
  const rule = parseDeviceRule(text);
  const everything = rule.major === null && rule.minor === null && rule.access.length === 3;
  if (rule.type !== 'a' || everything) return [{ ...rule, allow: true }];
  return (['c', 'b'] as const).map((type) => ({ ...rule, type, allow: true }));
}
