/** Which cgroup hierarchies this machine has, from /proc/self/mountinfo. Decides; writes nothing. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Clock } from '../../../common/base/clock.ts';
import { SkepError } from '../../../common/base/errors.ts';
import { parseMountinfo } from '../../../common/base/mountinfo.ts';
import { type CgroupDriver, type CgroupMounts, readControl } from './cgroup.ts';
import { CgroupV1 } from './v1.ts';
import { CgroupV2 } from './v2.ts';

const V1_CONTROLLERS = new Set([
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'devices',
  'freezer',
  'blkio',
  'pids',
]);

/** The first mount of a hierarchy counts. */
export function parseCgroupMounts(mountinfo: string): CgroupMounts {
  const v1 = new Map<string, string>();
  const v1Hierarchies: string[] = [];
  const seen = new Set<string>();
  let v2: string | null = null;
  for (const { device, point, type, superOptions } of parseMountinfo(mountinfo)) {
    if (type === 'cgroup2') v2 ??= point;
    if (type !== 'cgroup' || seen.has(device)) continue;
    seen.add(device);
    v1Hierarchies.push(point);
    for (const option of superOptions) {
      if (V1_CONTROLLERS.has(option)) v1.set(option, point);
    }
  }
  return { v1, v1Hierarchies, v2 };
}

/**
 * The driver for this machine. `parent` is the name of the group that holds all of ours, one path
 * part. Rejects with `failed-precondition` when there is no hierarchy that could limit memory.
 */
export async function detectCgroups(parent: string, clock: Clock): Promise<CgroupDriver> {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(parent)) {
    throw new SkepError(
      'invalid-argument',
      `cgroup parent: "${parent}" is not a single plain name`,
    );
  }
  const mounts = parseCgroupMounts(await readFile('/proc/self/mountinfo', 'utf8'));
  const offered = mounts.v2 && (await readControl(`${mounts.v2}/cgroup.controllers`));
  const v2 = offered === null ? null : mounts.v2; // one that another mount covers is none
  const controllers = (offered ?? '').split(' ');
  if (v2 !== null && controllers.includes('memory')) {
    return new CgroupV2(v2, parent, controllers, clock);
  }
  if (mounts.v1.has('memory') && mounts.v1.has('pids') && mounts.v1.has('cpu')) {
    // An empty v2 hierarchy still kills and freezes whole groups, since kernel 5.14.
    const killable = v2 !== null && existsSync('/proc/self/ns/cgroup') ? v2 : null;
    return new CgroupV1(mounts, killable, parent, clock);
  }
  throw new SkepError(
    'failed-precondition',
    'find cgroups: neither a cgroup2 hierarchy with a memory controller nor v1 memory, cpu and pids hierarchies are mounted',
  );
}
