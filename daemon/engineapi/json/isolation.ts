/**
 * What Docker keeps in a container's HostConfig and Swarm's specs lack: the same names, as further
 * fields of ContainerSpec and Resources. Clients that do not know them drop them when they send a
 * spec back.
 */
import { isCompanionWord } from '../../../common/model/companions.ts';
import {
  type BlockIoLimits,
  type CompanionWord,
  DEFAULT_ISOLATION,
  type DeviceRate,
  type DeviceRequest,
  type Isolation,
  type KernelResources,
  NO_KERNEL_RESOURCES,
} from '../../../common/model/service.ts';
import type { JsonReader } from './reader.ts';
import { some } from './some.ts';

const ISOLATION_FIELDS = [
  'Privileged',
  'Devices',
  'DeviceCgroupRules',
  'PidMode',
  'IpcMode',
  'UTSMode',
  'CgroupnsMode',
  'UsernsMode',
  'DeviceRequests',
  'Runtime',
];

/** null when the document has none of its fields. */
export function isolationFromJson(json: JsonReader): Isolation | null {
  if (!ISOLATION_FIELDS.some((name) => json.has(name))) return null;
  return {
    privileged: json.boolean('Privileged'),
    devices: json.objects('Devices').map((device) => {
      const hostPath = device.string('PathOnHost');
      return {
        hostPath,
        containerPath: device.string('PathInContainer', hostPath),
        permissions: device.string('CgroupPermissions', 'rwm'),
      };
    }),
    deviceRules: json.strings('DeviceCgroupRules'),
    pid: companionOr(json, 'PidMode', () =>
      json.oneOf('PidMode', ['private', 'host'], DEFAULT_ISOLATION.pid),
    ),
    ipc: companionOr(json, 'IpcMode', () =>
      json.oneOf('IpcMode', ['private', 'host', 'none'], DEFAULT_ISOLATION.ipc),
    ),
    uts: json.oneOf('UTSMode', ['private', 'host'], DEFAULT_ISOLATION.uts),
    cgroup: json.oneOf('CgroupnsMode', ['private', 'host'], DEFAULT_ISOLATION.cgroup),
    user: json.oneOf('UsernsMode', ['default', 'private', 'host'], DEFAULT_ISOLATION.user),
    deviceRequests: json.objects('DeviceRequests').map(deviceRequestFromJson),
    runtime: json.string('Runtime'),
  };
}

function companionOr<T>(json: JsonReader, name: string, mode: () => T): T | CompanionWord {
  const text = json.string(name);
  return isCompanionWord(text) ? text : mode();
}

function deviceRequestFromJson(json: JsonReader): DeviceRequest {
  json.refuse('Options', 'options of devices are for their own programs, which do not run here');
  return {
    driver: json.string('Driver'),
    count: json.integer('Count'),
    deviceIds: json.strings('DeviceIDs'),
    capabilities: json.lists('Capabilities'),
  };
}

/** What is given, though it be the default, is there: it reads back as the same. */
export function isolationToJson(isolation: Isolation): object {
  return {
    Privileged: isolation.privileged,
    ...some(
      'Devices',
      isolation.devices.map(({ hostPath, containerPath, permissions }) => ({
        PathOnHost: hostPath,
        PathInContainer: containerPath,
        CgroupPermissions: permissions,
      })),
    ),
    ...some('DeviceCgroupRules', isolation.deviceRules),
    PidMode: isolation.pid,
    IpcMode: isolation.ipc,
    UTSMode: isolation.uts,
    CgroupnsMode: isolation.cgroup,
    ...some('UsernsMode', isolation.user === 'default' ? '' : isolation.user),
    ...some(
      'DeviceRequests',
      isolation.deviceRequests.map(({ driver, count, deviceIds, capabilities }) => ({
        Driver: driver,
        Count: count,
        DeviceIDs: deviceIds.length > 0 ? deviceIds : null,
        Capabilities: capabilities,
        Options: {},
      })),
    ),
    ...some('Runtime', isolation.runtime),
  };
}

const RATES = {
  readBps: 'BlkioDeviceReadBps',
  writeBps: 'BlkioDeviceWriteBps',
  readIops: 'BlkioDeviceReadIOps',
  writeIops: 'BlkioDeviceWriteIOps',
} as const satisfies Partial<Record<keyof BlockIoLimits, string>>;

const KERNEL_FIELDS = [
  'CpuShares',
  'CpusetCpus',
  'CpusetMems',
  'BlkioWeight',
  'OomKillDisable',
  ...Object.values(RATES),
];

/** null when the document has none of its fields. */
export function kernelResourcesFromJson(json: JsonReader): KernelResources | null {
  if (!KERNEL_FIELDS.some((name) => json.has(name))) return null;
  const rates = (name: string): DeviceRate[] =>
    json.objects(name).map((item) => ({ path: item.string('Path'), rate: item.integer('Rate') }));
  return {
    ...NO_KERNEL_RESOURCES,
    cpuShares: json.integer('CpuShares'),
    cpusetCpus: json.string('CpusetCpus'),
    cpusetMems: json.string('CpusetMems'),
    blockIo: {
      weight: json.integer('BlkioWeight'),
      readBps: rates(RATES.readBps),
      writeBps: rates(RATES.writeBps),
      readIops: rates(RATES.readIops),
      writeIops: rates(RATES.writeIops),
    },
    oomKillDisable: json.boolean('OomKillDisable'),
  };
}

export function kernelResourcesToJson(kernel: KernelResources): object {
  const { blockIo } = kernel;
  const rates = (name: keyof typeof RATES): object =>
    some(
      RATES[name],
      blockIo[name].map(({ path, rate }) => ({ Path: path, Rate: rate })),
    );
  return {
    CpuShares: kernel.cpuShares,
    ...some('CpusetCpus', kernel.cpusetCpus),
    ...some('CpusetMems', kernel.cpusetMems),
    ...some('BlkioWeight', blockIo.weight),
    ...rates('readBps'),
    ...rates('writeBps'),
    ...rates('readIops'),
    ...rates('writeIops'),
    ...some('OomKillDisable', kernel.oomKillDisable),
  };
}
