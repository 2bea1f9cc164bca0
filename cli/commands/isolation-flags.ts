/**
 * Flags of `service create` and `service update` that `docker run` has and Docker's services lack:
 * what containers share with their node, and further limits. What is given takes the place of what
 * was there.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import { parseDeviceRule } from '../../common/model/device-rule.ts';
import type { ContainerSpecJson } from '../../common/model/engine-json/container-spec.ts';
import type { KernelResourcesJson, ResourcesJson } from '../../common/model/engine-json/task.ts';
import { parseDevice, parseDeviceRate } from '../compose/devices.ts';
import { parseGpus } from '../compose/gpus.ts';
import { parseSecurityOption, privilegesOf } from '../compose/security-options.ts';
import { parseSizeBytes } from '../compose/values.ts';
import { type CommandContext, collect, decimal, flag, UsageError, unsigned } from './context.ts';

type Many = readonly string[];

export interface IsolationFlags {
  readonly interactive?: boolean;
  readonly domainname?: string;
  readonly privileged?: boolean;
  readonly device?: Many;
  readonly deviceCgroupRule?: Many;
  readonly pid?: string;
  readonly ipc?: string;
  readonly uts?: string;
  readonly cgroupns?: string;
  readonly userns?: string;
  readonly runtime?: string;
  readonly gpus?: readonly string[];
  readonly securityOpt?: Many;
  readonly memorySwap?: number;
  readonly memorySwappiness?: number;
  readonly oomKillDisable?: boolean;
  readonly cpuShares?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly blkioWeight?: number;
  readonly deviceReadBps?: Many;
  readonly deviceWriteBps?: Many;
  readonly deviceReadIops?: Many;
  readonly deviceWriteIops?: Many;
}

const checked =
  (parse: (value: string) => unknown) =>
  (value: string, before: Many = []): Many => {
    flag(parse)(value);
    return collect(value, before);
  };

const isCdiName = (text: string): boolean => /^[\w.-]+\/[\w-]+=[\w.:-]+$/.test(text);
const swap = flag((text: string) => (text === '-1' ? -1 : parseSizeBytes(text)));
const securityOption = checked((text) => {
  if (parseSecurityOption(text) === null) throw new UsageError(`invalid security option: ${text}`);
});
const rate = (kind: 'bytes' | 'operations') => checked((text) => parseDeviceRate(kind, text));
const mode = (spelling: string, about: string, ...modes: string[]): Option =>
  new Option(`${spelling} <mode>`, about).choices(modes);

/** As `mode`, and those of another: `container:NAME` of this node, or of a service's task `service:NAME`. */
const joinable = (joins: boolean, spelling: string, about: string, ...modes: string[]): Option => {
  const other = joins ? 'container:' : 'service:';
  const words = [...modes, `${other}NAME`].join(', ');
  const parse = (text: string): string => {
    if (modes.includes(text) || (text.startsWith(other) && text !== other)) return text;
    throw new UsageError(`${spelling}: ${text} is none of ${words}`);
  };
  return new Option(`${spelling} <mode>`, `${about} (${words})`).argParser(flag(parse));
};
const ipcModes = (joins: boolean): string[] => [
  ...['private', 'host', 'none'],
  ...(joins ? ['shareable'] : []),
];

interface IsolationWords {
  /** what `--memory-swap` counts */
  readonly swap: string;
  /** namespaces of other containers may be named, not those of other services */
  readonly joins: boolean;
}

export function isolationFlags(
  command: Command,
  { swap: swapWords, joins }: IsolationWords = {
    swap: 'swap on top of the memory; -1 = unlimited',
    joins: false,
  },
): void {
  command
    .option('-i, --interactive', 'keep the standard input open')
    .option('--domainname <name>', 'of the containers')
    .option('--privileged', 'every capability and device, nothing hidden')
    .option(
      '--device <device>',
      'of the node: /dev/fuse:/dev/fuse:rw, or by CDI: nvidia.com/gpu=0',
      checked((text) => isCdiName(text) || parseDevice(text)),
    )
    .option('--device-cgroup-rule <rule>', 'e.g. "c 10:229 rwm"', checked(parseDeviceRule))
    .addOption(joinable(joins, '--pid', 'process ids', 'private', 'host'))
    .addOption(joinable(joins, '--ipc', 'System V IPC and shared memory', ...ipcModes(joins)))
    .addOption(mode('--uts', 'host name', 'private', 'host'))
    .addOption(mode('--cgroupns', 'control groups', 'private', 'host'))
    .addOption(mode('--userns', 'user ids (default: as the node does)', 'private', 'host'))
    .option(
      '--runtime <name>',
      'what makes the containers: native, crun, runc, ... (default: the node’s)',
    )
    .option('--gpus <request>', 'of the node: all, a number, "device=0,1"', checked(parseGpus))
    .option(
      '--security-opt <option>',
      'no-new-privileges, seccomp=FILE, apparmor=PROFILE',
      securityOption,
    )
    .option('--memory-swap <size>', swapWords, swap)
    .option('--memory-swappiness <n>', '0 to 100', decimal)
    .option('--oom-kill-disable', 'at the limit of memory wait, do not be killed (cgroup v1)')
    .option('-c, --cpu-shares <n>', 'relative weight', unsigned)
    .option('--cpuset-cpus <list>', 'e.g. 0-2,5')
    .option('--cpuset-mems <list>', 'memory nodes')
    .option('--blkio-weight <n>', 'relative, 10 to 1000', unsigned)
    .option('--device-read-bps <device:rate>', 'e.g. /dev/sda:10mb', rate('bytes'))
    .option('--device-write-bps <device:rate>', 'e.g. /dev/sda:10mb', rate('bytes'))
    .option('--device-read-iops <device:rate>', 'e.g. /dev/sda:1000', rate('operations'))
    .option('--device-write-iops <device:rate>', 'e.g. /dev/sda:1000', rate('operations'));
}

/** The fields that flags were given for. Throws `UsageError` for a profile that cannot be read. */
export function isolationOf(
  context: CommandContext,
  flags: IsolationFlags,
): Omit<ContainerSpecJson, 'Image'> {
  return {
    ...(flags.interactive && { OpenStdin: true }),
    ...(flags.domainname !== undefined && { Domainname: flags.domainname }),
    ...(flags.privileged && { Privileged: true }),
    ...devicesOf(flags),
    ...(flags.deviceCgroupRule && { DeviceCgroupRules: flags.deviceCgroupRule }),
    ...(flags.pid !== undefined && { PidMode: flags.pid }),
    ...(flags.ipc !== undefined && { IpcMode: flags.ipc }),
    ...(flags.uts !== undefined && { UTSMode: flags.uts }),
    ...(flags.cgroupns !== undefined && { CgroupnsMode: flags.cgroupns }),
    ...(flags.userns !== undefined && { UsernsMode: flags.userns }),
    ...(flags.runtime !== undefined && { Runtime: flags.runtime }),
    ...(flags.securityOpt && {
      Privileges: privilegesOf(
        flags.securityOpt.map((text) => parseSecurityOption(text) ?? {}),
        (file) => profileIn(context, file),
      ),
    }),
  };
}

/** Names of the Container Device Interface are requests, as the docker command makes them. */
function devicesOf({ device = [], gpus = [] }: IsolationFlags): Omit<ContainerSpecJson, 'Image'> {
  const paths = device.filter((text) => !isCdiName(text));
  const names = device.filter(isCdiName);
  const byName = { Driver: 'cdi', Count: 0, DeviceIDs: names, Capabilities: [] };
  const requests = [...gpus.map(parseGpus), ...(names.length > 0 ? [byName] : [])];
  return {
    ...(paths.length > 0 && { Devices: paths.map(parseDevice) }),
    ...(requests.length > 0 && { DeviceRequests: requests }),
  };
}

function profileIn(context: CommandContext, file: string): Uint8Array {
  try {
    return readFileSync(resolve(context.cwd, file));
  } catch (err) {
    const why = err instanceof Error ? err.message : String(err);
    throw new UsageError(`opening seccomp profile (${file}) failed: ${why}`);
  }
}

/** As `isolationOf`, of the resources. */
export function kernelLimitsOf(
  flags: IsolationFlags,
): KernelResourcesJson & Pick<ResourcesJson, 'SwapBytes' | 'MemorySwappiness'> {
  const bytes = (list: Many) => list.map((text) => parseDeviceRate('bytes', text));
  const operations = (list: Many) => list.map((text) => parseDeviceRate('operations', text));
  return {
    ...(flags.memorySwap !== undefined && { SwapBytes: flags.memorySwap }),
    ...(flags.memorySwappiness !== undefined && { MemorySwappiness: flags.memorySwappiness }),
    ...(flags.oomKillDisable && { OomKillDisable: true }),
    ...(flags.cpuShares !== undefined && { CpuShares: flags.cpuShares }),
    ...(flags.cpusetCpus !== undefined && { CpusetCpus: flags.cpusetCpus }),
    ...(flags.cpusetMems !== undefined && { CpusetMems: flags.cpusetMems }),
    ...(flags.blkioWeight !== undefined && { BlkioWeight: flags.blkioWeight }),
    ...(flags.deviceReadBps && { BlkioDeviceReadBps: bytes(flags.deviceReadBps) }),
    ...(flags.deviceWriteBps && { BlkioDeviceWriteBps: bytes(flags.deviceWriteBps) }),
    ...(flags.deviceReadIops && { BlkioDeviceReadIOps: operations(flags.deviceReadIops) }),
    ...(flags.deviceWriteIops && { BlkioDeviceWriteIOps: operations(flags.deviceWriteIops) }),
  };
}
