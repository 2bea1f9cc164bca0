/** What a spec may ask of a node's kernel beyond Swarm's fields. Pure; looks nothing up. */
import { isCompanionWord } from '../../common/model/companions.ts';
import { isDeviceAccess, parseDeviceRule } from '../../common/model/device-rule.ts';
import { parseSeccompProfile } from '../../common/model/seccomp-profile.ts';
import type {
  ContainerSpec,
  DeviceMapping,
  DeviceRate,
  DeviceRequest,
  KernelResources,
  TaskSpec,
} from '../../common/model/service.ts';
import { isNamespacedSysctl, type SysctlNamespace } from '../../common/model/sysctl.ts';
import { ULIMITS } from '../../common/model/ulimits.ts';
import { invalid } from './refusal.ts';

const CPU_SHARES_MIN = 2;
const CPU_SHARES_MAX = 262_144;
const RUNTIME_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const BLOCK_WEIGHT_MIN = 10;
const BLOCK_WEIGHT_MAX = 1000;
/** `0-2,5`: what the kernel's cpuset files take. */
const CPU_LIST = /^\d+(-\d+)?(,\d+(-\d+)?)*$/;
/** As AppArmor writes names; a blank or a newline would make another command of it. */
const APPARMOR_PROFILE = /^[A-Za-z0-9_./:@{}+*?-]+$/;

/**
 * Throws `invalid-argument`.
 * @param networks of the task, as the spec names them
 */
export function checkIsolation(container: ContainerSpec, networks: TaskSpec['networks']): void {
  const { privileges, isolation, sysctls } = container;
  const shared = sharedNamespaces(container, networks);
  for (const name of Object.keys(sysctls)) checkSysctl(name, shared);
  for (const { name } of container.ulimits) {
    if (!ULIMITS.includes(name)) throw invalid(`invalid ulimit type: ${name}`);
  }
  if (privileges?.seccomp.mode === 'custom') parseSeccompProfile(privileges.seccomp.profile);
  if (privileges?.apparmor.mode === 'custom') {
    const { profile } = privileges.apparmor;
    if (!APPARMOR_PROFILE.test(profile)) {
      throw invalid(`ContainerSpec: ${JSON.stringify(profile)} is no name of an AppArmor profile`);
    }
  }
  if (isolation === null) return;
  isolation.devices.forEach(checkDevice);
  for (const rule of isolation.deviceRules) parseDeviceRule(rule);
  isolation.deviceRequests.forEach(checkDeviceRequest);
  if (isolation.runtime !== '' && !RUNTIME_NAME.test(isolation.runtime)) {
    throw invalid(`invalid runtime name: ${isolation.runtime}`);
  }
  if (isolation.uts === 'host' && (container.hostname !== '' || container.domainname !== '')) {
    throw invalid('conflicting options: hostname and the UTS mode');
  }
}

/** Docker's rules and words. */
function checkDeviceRequest({ count, deviceIds }: DeviceRequest): void {
  if (count !== 0 && deviceIds.length > 0) {
    throw invalid('cannot set both Count and DeviceIDs on device request');
  }
  if (count < -1) throw invalid(`invalid count ${count} of a device request: -1 means all`);
}

/** Those that have sysctls and are the node's, or another task's. */
function sharedNamespaces(
  { isolation }: ContainerSpec,
  networks: TaskSpec['networks'],
): readonly SysctlNamespace[] {
  const types = (['ipc', 'uts'] as const).filter((type) => isNotOwn(isolation?.[type] ?? ''));
  return networks.some(({ target }) => isNotOwn(target)) ? [...types, 'network'] : types;
}

const isNotOwn = (word: string): boolean => word === 'host' || isCompanionWord(word);

function checkSysctl(name: string, shared: readonly SysctlNamespace[]): void {
  if (!isNamespacedSysctl(name, shared)) {
    throw invalid(
      `sysctl '${name}' is not allowed: it would be the node's or another task's, not the container's`,
    );
  }
}

function checkDevice({ hostPath, containerPath, permissions }: DeviceMapping): void {
  for (const path of [hostPath, containerPath]) {
    if (!path.startsWith('/')) throw invalid(`invalid device path: '${path}' is not absolute`);
  }
  if (!isDeviceAccess(permissions)) {
    throw invalid(`invalid device mode: ${permissions} is not made of r, w and m`);
  }
}

/** Throws `invalid-argument`. */
export function checkKernelResources(kernel: KernelResources | null): void {
  if (kernel === null) return;
  const { cpuShares, cpusetCpus, cpusetMems, blockIo } = kernel;
  checkRange('CpuShares', cpuShares, CPU_SHARES_MIN, CPU_SHARES_MAX);
  checkRange('BlkioWeight', blockIo.weight, BLOCK_WEIGHT_MIN, BLOCK_WEIGHT_MAX);
  for (const [field, list] of Object.entries({ CpusetCpus: cpusetCpus, CpusetMems: cpusetMems })) {
    if (list !== '' && !CPU_LIST.test(list)) throw invalid(`invalid value ${list} for ${field}`);
  }
  const { readBps, writeBps, readIops, writeIops } = blockIo;
  [readBps, writeBps, readIops, writeIops].flat().forEach(checkRate);
}

/** 0 = not given. */
function checkRange(field: string, value: number, least: number, most: number): void {
  if (value !== 0 && !(value >= least && value <= most)) {
    throw invalid(`invalid ${field} ${value}: must be between ${least} and ${most}`);
  }
}

function checkRate({ path, rate }: DeviceRate): void {
  if (!path.startsWith('/')) throw invalid(`bad format for device path: ${path}`);
  if (rate <= 0) throw invalid(`invalid rate for device ${path}: ${rate} must be above 0`);
}
