/** What a container shares with its node, and what the kernel's controllers hold it to. */
import { skep } from '../../proto/gen/skep.js';
import { companionName, companionWord } from '../model/companions.ts';
import type {
  CompanionWord,
  DeviceMapping,
  DeviceRate,
  DeviceRequest,
  Isolation,
  KernelResources,
} from '../model/service.ts';
import {
  enumTable,
  int64,
  intFromProto,
  listFromProto,
  text,
  textList,
  textListFromProto,
} from './scalars.ts';

const { NAMESPACE_MODE_PRIVATE, NAMESPACE_MODE_HOST, NAMESPACE_MODE_NONE } = skep.NamespaceMode;
const { NAMESPACE_MODE_UNSPECIFIED } = skep.NamespaceMode;

type Mode<T> = Exclude<T, CompanionWord>;

const namespaceModeTable = enumTable<Mode<Isolation['pid']>, skep.NamespaceMode>('namespace mode', {
  private: NAMESPACE_MODE_PRIVATE,
  host: NAMESPACE_MODE_HOST,
});

const ipcModeTable = enumTable<Mode<Isolation['ipc']>, skep.NamespaceMode>('ipc mode', {
  private: NAMESPACE_MODE_PRIVATE,
  host: NAMESPACE_MODE_HOST,
  none: NAMESPACE_MODE_NONE,
});

const userModeTable = enumTable<Isolation['user'], skep.NamespaceMode>('user namespace mode', {
  default: NAMESPACE_MODE_UNSPECIFIED,
  private: NAMESPACE_MODE_PRIVATE,
  host: NAMESPACE_MODE_HOST,
});

function deviceToProto(device: DeviceMapping): skep.DeviceMapping.$Properties {
  return {
    hostPath: text(device.hostPath),
    containerPath: text(device.containerPath),
    permissions: text(device.permissions),
  };
}

function deviceFromProto(m: skep.DeviceMapping.$Properties): DeviceMapping {
  return Object.freeze({
    hostPath: m.hostPath ?? '',
    containerPath: m.containerPath ?? '',
    permissions: m.permissions ?? '',
  });
}

function requestToProto(request: DeviceRequest): skep.DeviceRequest.$Properties {
  return {
    driver: text(request.driver),
    count: int64(request.count, 'count of a device request'),
    deviceIds: textList(request.deviceIds),
    capabilities: request.capabilities.map((names) => ({ names: textList(names) })),
  };
}

function requestFromProto(m: skep.DeviceRequest.$Properties): DeviceRequest {
  return Object.freeze({
    driver: m.driver ?? '',
    count: intFromProto(m.count, 'count of a device request'),
    deviceIds: textListFromProto(m.deviceIds),
    capabilities: listFromProto(m.capabilities, ({ names }) => textListFromProto(names)),
  });
}

/** What a service's name stands in the place of. */
const unlessNamed = <T extends string>(mode: T | CompanionWord): T | 'private' =>
  companionName(mode) === null ? (mode as T) : 'private';

export function isolationToProto(isolation: Isolation): skep.Isolation.$Properties {
  return {
    privileged: isolation.privileged,
    devices: isolation.devices.map(deviceToProto),
    deviceRules: textList(isolation.deviceRules),
    pid: namespaceModeTable.toProto(unlessNamed(isolation.pid)),
    pidService: text(companionName(isolation.pid) ?? ''),
    ipc: ipcModeTable.toProto(unlessNamed(isolation.ipc)),
    ipcService: text(companionName(isolation.ipc) ?? ''),
    uts: namespaceModeTable.toProto(isolation.uts),
    cgroup: namespaceModeTable.toProto(isolation.cgroup),
    user: userModeTable.toProto(isolation.user),
    deviceRequests: isolation.deviceRequests.map(requestToProto),
    runtime: text(isolation.runtime),
  };
}

export function isolationFromProto(m: skep.Isolation.$Properties): Isolation {
  return Object.freeze({
    privileged: m.privileged ?? false,
    devices: listFromProto(m.devices, deviceFromProto),
    deviceRules: textListFromProto(m.deviceRules),
    pid: m.pidService ? companionWord(m.pidService) : namespaceModeTable.fromProto(m.pid),
    ipc: m.ipcService ? companionWord(m.ipcService) : ipcModeTable.fromProto(m.ipc),
    uts: namespaceModeTable.fromProto(m.uts),
    cgroup: namespaceModeTable.fromProto(m.cgroup),
    user: userModeTable.fromProto(m.user),
    deviceRequests: listFromProto(m.deviceRequests, requestFromProto),
    runtime: m.runtime ?? '',
  });
}

function rateToProto({ path, rate }: DeviceRate): skep.DeviceRate.$Properties {
  return { path: text(path), rate: int64(rate, 'rate of a block device') };
}

function rateFromProto(m: skep.DeviceRate.$Properties): DeviceRate {
  return Object.freeze({
    path: m.path ?? '',
    rate: intFromProto(m.rate, 'rate of a block device'),
  });
}

export function kernelResourcesToProto(kernel: KernelResources): skep.KernelResources.$Properties {
  const { blockIo } = kernel;
  return {
    cpuShares: int64(kernel.cpuShares, 'cpuShares'),
    cpusetCpus: text(kernel.cpusetCpus),
    cpusetMems: text(kernel.cpusetMems),
    blockWeight: int64(blockIo.weight, 'blockIo.weight'),
    readBps: blockIo.readBps.map(rateToProto),
    writeBps: blockIo.writeBps.map(rateToProto),
    readIops: blockIo.readIops.map(rateToProto),
    writeIops: blockIo.writeIops.map(rateToProto),
    oomKillDisable: kernel.oomKillDisable,
  };
}

export function kernelResourcesFromProto(m: skep.KernelResources.$Properties): KernelResources {
  return Object.freeze({
    cpuShares: intFromProto(m.cpuShares, 'cpuShares'),
    cpusetCpus: m.cpusetCpus ?? '',
    cpusetMems: m.cpusetMems ?? '',
    blockIo: Object.freeze({
      weight: intFromProto(m.blockWeight, 'blockIo.weight'),
      readBps: listFromProto(m.readBps, rateFromProto),
      writeBps: listFromProto(m.writeBps, rateFromProto),
      readIops: listFromProto(m.readIops, rateFromProto),
      writeIops: listFromProto(m.writeIops, rateFromProto),
    }),
    oomKillDisable: m.oomKillDisable ?? false,
  });
}
