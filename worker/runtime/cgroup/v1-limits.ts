/** The limits of one task in the files of cgroup v1. Knows orders and pitfalls of the kernel's files. */
import { closeSync, existsSync, openSync, writeSync } from 'node:fs';
import { SkepError } from '../../../common/base/errors.ts';
import type { OciDeviceRule, OciResources, OciThrottle } from '../oci.ts';
import { parseLimit, readControlNow, type WriteControl } from './cgroup.ts';

const UNLIMITED = '-1';

/** The directory of a task's group for a controller; throws when there is no such hierarchy. */
export type GroupDir = (controller: string) => string;

export async function applyLimits(
  dir: GroupDir,
  resources: OciResources,
  write: WriteControl,
): Promise<void> {
  await applyMemory(dir, resources, write);
  await applyCpu(dir, resources, write);
  await applyBlockIo(dir, resources, write);
  if (resources.pids !== undefined) {
    await write(`${dir('pids')}/pids.max`, `${resources.pids.limit ?? 'max'}`);
  }
  if (resources.devices.length > 0) writeDeviceRules(dir('devices'), resources.devices);
}

async function applyMemory(
  dir: GroupDir,
  { memory }: OciResources,
  write: WriteControl,
): Promise<void> {
  if (memory === undefined) return;
  const group = dir('memory');
  await applyMemoryLimit(group, memory, write);
  if (memory.reservation !== undefined) {
    await write(`${group}/memory.soft_limit_in_bytes`, `${memory.reservation}`);
  }
  if (memory.swappiness !== undefined) {
    await write(`${group}/memory.swappiness`, `${memory.swappiness}`);
  }
  if (memory.disableOomKiller) await write(`${group}/memory.oom_control`, '1');
}

/** memsw >= memory holds at every moment: raise it before the limit, lower it after. */
async function applyMemoryLimit(
  group: string,
  memory: NonNullable<OciResources['memory']>,
  write: WriteControl,
): Promise<void> {
  const limit = memory.limit === null ? UNLIMITED : `${memory.limit}`;
  const swap = memory.limit === null ? UNLIMITED : `${memory.swap ?? memory.limit}`;
  const limitFile = `${group}/memory.limit_in_bytes`;
  const swapFile = `${group}/memory.memsw.limit_in_bytes`;
  if (!existsSync(swapFile)) {
    await write(limitFile, limit); // the kernel does not account swap
    return;
  }
  const before = parseLimit(readControlNow(limitFile));
  const raises = before !== null && (memory.limit === null || memory.limit > before);
  if (raises) await write(swapFile, swap);
  await write(limitFile, limit);
  if (!raises) await write(swapFile, swap);
}

async function applyCpu(dir: GroupDir, { cpu }: OciResources, write: WriteControl): Promise<void> {
  if (cpu === undefined) return;
  const group = dir('cpu');
  await write(`${group}/cpu.cfs_period_us`, `${cpu.period}`);
  await write(`${group}/cpu.cfs_quota_us`, cpu.quota === null ? UNLIMITED : `${cpu.quota}`);
  if (cpu.shares !== null) await write(`${group}/cpu.shares`, `${cpu.shares}`);
  if (cpu.cpus !== undefined) await write(`${dir('cpuset')}/cpuset.cpus`, cpu.cpus);
  if (cpu.mems !== undefined) await write(`${dir('cpuset')}/cpuset.mems`, cpu.mems);
}

async function applyBlockIo(
  dir: GroupDir,
  { blockIO }: OciResources,
  write: WriteControl,
): Promise<void> {
  if (blockIO === undefined) return;
  const group = dir('blkio');
  if (blockIO.weight !== null) await applyWeight(group, blockIO.weight, write);
  const throttles: Readonly<Record<string, readonly OciThrottle[]>> = {
    read_bps: blockIO.throttleReadBpsDevice,
    write_bps: blockIO.throttleWriteBpsDevice,
    read_iops: blockIO.throttleReadIOPSDevice,
    write_iops: blockIO.throttleWriteIOPSDevice,
  };
  for (const [name, devices] of Object.entries(throttles)) {
    for (const { major, minor, rate } of devices) {
      await write(`${group}/blkio.throttle.${name}_device`, `${major}:${minor} ${rate}`);
    }
  }
}

/** Which of the two files there is depends on the scheduler of block devices; often it is none. */
async function applyWeight(group: string, weight: number, write: WriteControl): Promise<void> {
  const file = ['blkio.weight', 'blkio.bfq.weight']
    .map((name) => `${group}/${name}`)
    .find((path) => existsSync(path));
  if (file === undefined) {
    const words = `block IO weight ${weight}: the kernel of this node has no weights`;
    throw new SkepError('failed-precondition', words);
  }
  await write(file, `${weight}`);
}

/** One rule per write, as the file demands; synchronous, because thirteen of them take 50 us. */
function writeDeviceRules(group: string, rules: readonly OciDeviceRule[]): void {
  const allow = openSync(`${group}/devices.allow`, 'w');
  const deny = openSync(`${group}/devices.deny`, 'w');
  try {
    for (const rule of rules) writeSync(rule.allow ? allow : deny, deviceRule(rule));
  } finally {
    closeSync(allow);
    closeSync(deny);
  }
}

function deviceRule(rule: OciDeviceRule): string {
  if (rule.type === 'a') return 'a';
  return `${rule.type} ${rule.major ?? '*'}:${rule.minor ?? '*'} ${rule.access}`;
}
