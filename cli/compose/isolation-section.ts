/** The keys of a service that say what its containers share with their node, and are confined by. */
import type {
  ContainerSpecJson,
  PrivilegesJson,
} from '../../common/model/engine-json/container-spec.ts';
import type { DeviceRateJson, KernelResourcesJson } from '../../common/model/engine-json/task.ts';
import { companionTarget } from './companions.ts';
import { type DeviceJson, parseDevice } from './devices.ts';
import { deviceRequests } from './gpus.ts';
import type { Fields, Item } from './item.ts';
import type { StackScope } from './scope.ts';
import { parseSecurityOption, privilegesOf } from './security-options.ts';
import { some } from './some.ts';
import { parseSizeBytes } from './values.ts';

export function isolationSection(
  scope: StackScope,
  fields: Fields,
): Omit<ContainerSpecJson, 'Image'> {
  return {
    ...some('Domainname', fields.get('domainname')?.text()),
    ...some('TTY', fields.get('tty')?.boolean()),
    ...some('OpenStdin', fields.get('stdin_open')?.boolean()),
    ...some('Privileges', securityOptions(scope, fields.get('security_opt'))),
    ...some('Privileged', fields.get('privileged')?.boolean()),
    ...some('Devices', (fields.get('devices')?.items() ?? []).flatMap(deviceOf)),
    ...some('DeviceCgroupRules', fields.get('device_cgroup_rules')?.texts()),
    ...some('PidMode', shared(scope, fields.get('pid'))),
    ...some('IpcMode', shared(scope, fields.get('ipc'))),
    ...mode('UTSMode', fields.get('uts')),
    ...mode('CgroupnsMode', fields.get('cgroup') ?? fields.get('cgroupns_mode')),
    ...some('UsernsMode', fields.get('userns_mode')?.text()),
    ...some('Runtime', fields.get('runtime')?.text()),
    ...some('DeviceRequests', [
      ...deviceRequests(fields.get('gpus')),
      ...deviceRequests(reserved(fields.get('deploy'))),
    ]),
  };
}

function reserved(deploy: Item | undefined): Item | undefined {
  const resources = deploy?.fields().get('resources')?.fields();
  return resources?.get('reservations')?.fields().get('devices');
}

/** What is so anyway is not said: the spec stays what other clients can send back. */
function mode(name: string, item: Item | undefined): object {
  return some(name, sharedWord(item));
}

function sharedWord(item: Item | undefined): string | undefined {
  const text = item?.text();
  return text === 'host' || text === 'none' ? text : undefined;
}

/** Of the node, or of another service. */
function shared(scope: StackScope, item: Item | undefined): string | undefined {
  return sharedWord(item) ?? companionTarget(scope, item) ?? undefined;
}

function deviceOf(item: Item): DeviceJson[] {
  if (!item.isMap) {
    const device = item.parsed(parseDevice);
    return device === undefined ? [] : [device];
  }
  const fields = item.fields();
  const source = fields.get('source')?.text();
  if (source === undefined) return [];
  return [
    {
      PathOnHost: source,
      PathInContainer: fields.get('target')?.text() ?? source,
      CgroupPermissions: fields.get('permissions')?.text() ?? 'rwm',
    },
  ];
}

function securityOptions(scope: StackScope, item: Item | undefined): PrivilegesJson {
  const options = (item?.texts() ?? []).map((text) => parseSecurityOption(text) ?? {});
  return privilegesOf(options, (file) =>
    item ? (scope.readFile(file, item.place) ?? undefined) : undefined,
  );
}

export function kernelSection(fields: Fields): KernelResourcesJson {
  const blkio = fields.get('blkio_config')?.fields();
  return {
    ...some('CpuShares', fields.get('cpu_shares')?.integer(0)),
    ...some('CpusetCpus', fields.get('cpuset')?.text()),
    ...some('OomKillDisable', fields.get('oom_kill_disable')?.boolean()),
    ...some('BlkioWeight', blkio?.get('weight')?.integer(0)),
    ...some('BlkioDeviceReadBps', rates(blkio?.get('device_read_bps'))),
    ...some('BlkioDeviceWriteBps', rates(blkio?.get('device_write_bps'))),
    ...some('BlkioDeviceReadIOps', rates(blkio?.get('device_read_iops'))),
    ...some('BlkioDeviceWriteIOps', rates(blkio?.get('device_write_iops'))),
  };
}

/** A rate of bytes may have a unit; one of operations is a number, which is read the same. */
function rates(item: Item | undefined): DeviceRateJson[] {
  return (item?.items() ?? []).flatMap((limit) => {
    const fields = limit.fields();
    const path = fields.get('path')?.text();
    const rate = fields.get('rate')?.parsed(parseSizeBytes);
    return path === undefined || rate === undefined ? [] : [{ Path: path, Rate: rate }];
  });
}
