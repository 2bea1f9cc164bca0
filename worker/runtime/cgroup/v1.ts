/**
 * cgroup v1: one group per hierarchy and task. On a hybrid machine an additional group in the empty
 * v2 hierarchy is used for killing and freezing. Knows files of the kernel, not containers.
 */
import { closeSync, existsSync, openSync, writeSync } from 'node:fs';
import type { Clock } from '../../../common/base/clock.ts';
import { SkepError } from '../../../common/base/errors.ts';
import type { OciDeviceRule, OciMount, OciResources } from '../oci.ts';
import type { CgroupPlacement } from '../spec-binary.ts';
import {
  type CgroupDriver,
  type CgroupStats,
  childGroups,
  killPids,
  listPids,
  makeGroup,
  parseKeyed,
  parseLimit,
  readControl,
  removeGroup,
  removeIfEmpty,
  type TaskCgroup,
  waitEmpty,
  writeControl,
} from './cgroup.ts';

/** Joined by every task. cpuset and blkio are left alone: joining cpuset needs set-up, neither is used. */
const JOINED = ['memory', 'cpu', 'cpuacct', 'pids', 'devices'] as const;
const UNLIMITED = '-1';

export class CgroupV1 implements CgroupDriver {
  readonly version: 'v1' | 'hybrid';
  readonly #mounts: ReadonlyMap<string, string>;
  readonly #unified: string | null;
  readonly #parent: string;
  readonly #clock: Clock;

  /** `unified`: mount point of the v2 hierarchy without controllers, null = none. */
  constructor(
    mounts: ReadonlyMap<string, string>,
    unified: string | null,
    parent: string,
    clock: Clock,
  ) {
    this.#mounts = mounts;
    this.#unified = unified;
    this.#parent = parent;
    this.#clock = clock;
    this.version = unified === null ? 'v1' : 'hybrid';
  }

  group(taskId: string): TaskCgroup {
    const dirs = new Map<string, string>();
    for (const [controller, mount] of this.#joined()) {
      dirs.set(controller, `${mount}/${this.#parent}/${taskId}`);
    }
    const unified = this.#unified === null ? null : `${this.#unified}/${this.#parent}/${taskId}`;
    return new TaskCgroupV1(dirs, unified, this.#clock);
  }

  async list(): Promise<string[]> {
    const ids = new Set<string>();
    for (const dir of this.#parents()) {
      for (const child of await childGroups(dir)) ids.add(child.slice(dir.length + 1));
    }
    return [...ids];
  }

  async removeParent(): Promise<void> {
    for (const dir of this.#parents()) await removeIfEmpty(dir);
  }

  #joined(): [string, string][] {
    const wanted: string[] = [...JOINED];
    if (this.#unified === null) wanted.push('freezer');
    return wanted.flatMap((controller) => {
      const mount = this.#mounts.get(controller);
      return mount === undefined ? [] : [[controller, mount] as [string, string]];
    });
  }

  #parents(): Set<string> {
    const mounts = this.#joined().map(([, mount]) => mount);
    if (this.#unified !== null) mounts.push(this.#unified);
    return new Set(mounts.map((mount) => `${mount}/${this.#parent}`));
  }
}

class TaskCgroupV1 implements TaskCgroup {
  readonly placement: CgroupPlacement;
  /** controller -> directory; co-mounted controllers (cpu,cpuacct) share one */
  readonly #dirs: ReadonlyMap<string, string>;
  readonly #unified: string | null;
  readonly #clock: Clock;

  constructor(dirs: ReadonlyMap<string, string>, unified: string | null, clock: Clock) {
    this.#dirs = dirs;
    this.#unified = unified;
    this.#clock = clock;
    this.placement = {
      cgroup2Dir: unified ?? '',
      tasksFiles: [...new Set(dirs.values())].map((dir) => `${dir}/tasks`),
      oomFile: `${this.#dir('memory')}/memory.oom_control`,
      mounts: (mount) => this.#expandMount(mount),
    };
  }

  async create(resources: OciResources): Promise<void> {
    try {
      await Promise.all(this.#all().map(makeGroup));
      await this.#apply(resources);
    } catch (err) {
      await this.remove();
      throw err;
    }
  }

  async update(resources: OciResources): Promise<void> {
    await this.#apply(resources);
  }

  async freeze(): Promise<void> {
    if (this.#unified !== null) await writeControl(`${this.#unified}/cgroup.freeze`, '1');
    else await this.#setFreezer('FROZEN');
  }

  async thaw(): Promise<void> {
    if (this.#unified !== null) await writeControl(`${this.#unified}/cgroup.freeze`, '0');
    else await this.#setFreezer('THAWED');
  }

  async killAll(): Promise<void> {
    const dir = this.#dir('pids');
    const killFile = `${this.#unified}/cgroup.kill`;
    if (this.#unified !== null && existsSync(killFile)) await writeControl(killFile, '1');
    await waitEmpty(dir, this.#clock, () => this.#killOneByOne(dir));
  }

  async stats(): Promise<CgroupStats> {
    const memory = this.#dir('memory');
    const [usage, maxUsage, limit, stat, oom, cpu, cpuStat, throttling, pids, pidsMax] =
      await Promise.all([
        readControl(`${memory}/memory.usage_in_bytes`),
        readControl(`${memory}/memory.max_usage_in_bytes`),
        readControl(`${memory}/memory.limit_in_bytes`),
        readControl(`${memory}/memory.stat`),
        readControl(`${memory}/memory.oom_control`),
        readControl(`${this.#dir('cpuacct')}/cpuacct.usage`),
        readControl(`${this.#dir('cpuacct')}/cpuacct.stat`),
        readControl(`${this.#dir('cpu')}/cpu.stat`),
        readControl(`${this.#dir('pids')}/pids.current`),
        readControl(`${this.#dir('pids')}/pids.max`),
      ]);
    if (usage === null) throw new SkepError('not-found', `read statistics: ${memory} is gone`);
    const ticks = parseKeyed(cpuStat);
    const tickNanos = 10_000_000n; // USER_HZ is 100 on every Linux architecture we build for
    const periods = parseKeyed(throttling);
    return {
      cpuUsageNanos: BigInt(cpu ?? '0'),
      cpuUserNanos: (ticks.get('user') ?? 0n) * tickNanos,
      cpuSystemNanos: (ticks.get('system') ?? 0n) * tickNanos,
      throttledPeriods: Number(periods.get('nr_throttled') ?? 0n),
      throttledNanos: periods.get('throttled_time') ?? 0n,
      memoryUsageBytes: Number(usage),
      memoryInactiveFileBytes: Number(parseKeyed(stat).get('total_inactive_file') ?? 0n),
      memoryMaxUsageBytes: maxUsage === null ? null : Number(maxUsage),
      memoryLimitBytes: parseLimit(limit),
      oomKills: Number(parseKeyed(oom).get('oom_kill') ?? 0n),
      pids: Number(pids ?? 0),
      pidsLimit: parseLimit(pidsMax),
    };
  }

  async remove(): Promise<void> {
    await Promise.all(this.#all().map((dir) => removeGroup(dir, this.#clock)));
  }

  #dir(controller: string): string {
    const dir = this.#dirs.get(controller);
    if (dir === undefined) {
      throw new SkepError(
        'failed-precondition',
        `cgroup v1: no ${controller} hierarchy is mounted`,
      );
    }
    return dir;
  }

  #all(): string[] {
    const dirs = new Set(this.#dirs.values());
    if (this.#unified !== null) dirs.add(this.#unified);
    return [...dirs];
  }

  async #apply(resources: OciResources): Promise<void> {
    await Promise.all([this.#applyMemory(resources), this.#applyCpu(resources)]);
    if (resources.pids !== undefined) {
      await writeControl(`${this.#dir('pids')}/pids.max`, `${resources.pids.limit ?? 'max'}`);
    }
    if (resources.devices.length > 0) writeDeviceRules(this.#dir('devices'), resources.devices);
  }

  /** memsw >= memory holds at every moment: raise it before the limit, lower it after. */
  async #applyMemory(resources: OciResources): Promise<void> {
    const { memory } = resources;
    if (memory === undefined) return;
    const dir = this.#dir('memory');
    const limit = memory.limit === null ? UNLIMITED : `${memory.limit}`;
    const swap = memory.limit === null ? UNLIMITED : `${memory.swap ?? memory.limit}`;
    const limitFile = `${dir}/memory.limit_in_bytes`;
    const swapFile = `${dir}/memory.memsw.limit_in_bytes`;
    if (!existsSync(swapFile)) {
      await writeControl(limitFile, limit); // the kernel does not account swap
      return;
    }
    const before = parseLimit(await readControl(limitFile));
    const raises = before !== null && (memory.limit === null || memory.limit > before);
    if (raises) await writeControl(swapFile, swap);
    await writeControl(limitFile, limit);
    if (!raises) await writeControl(swapFile, swap);
  }

  async #applyCpu(resources: OciResources): Promise<void> {
    const { cpu } = resources;
    if (cpu === undefined) return;
    const dir = this.#dir('cpu');
    await writeControl(`${dir}/cpu.cfs_period_us`, `${cpu.period}`);
    await writeControl(`${dir}/cpu.cfs_quota_us`, cpu.quota === null ? UNLIMITED : `${cpu.quota}`);
    if (cpu.shares !== null) await writeControl(`${dir}/cpu.shares`, `${cpu.shares}`);
  }

  /** Frozen while being killed, so that a fork bomb cannot outrun the list; thawed to let it die. */
  async #killOneByOne(dir: string): Promise<void> {
    const freezes = this.#unified === null && this.#dirs.has('freezer');
    if (freezes) await this.#setFreezer('FROZEN');
    try {
      killPids(await listPids(dir));
    } finally {
      if (freezes) await this.#setFreezer('THAWED');
    }
  }

  async #setFreezer(state: 'FROZEN' | 'THAWED'): Promise<void> {
    await writeControl(`${this.#dir('freezer')}/freezer.state`, state);
  }

  /** What programs look for: a tmpfs with one read-only mount per hierarchy, named as usual. */
  #expandMount(mount: OciMount): OciMount[] {
    const flags = ['nosuid', 'noexec', 'nodev'];
    const hierarchies = new Map<string, string[]>();
    for (const [controller, dir] of this.#dirs) {
      hierarchies.set(dir, [...(hierarchies.get(dir) ?? []), controller]);
    }
    return [
      {
        destination: mount.destination,
        type: 'tmpfs',
        source: 'tmpfs',
        options: [...flags, 'mode=755', 'size=64k'],
      },
      ...[...hierarchies.values()].map((controllers) => ({
        destination: `${mount.destination}/${controllers.join(',')}`,
        type: 'cgroup',
        source: 'cgroup',
        options: [...flags, 'ro', ...controllers],
      })),
    ];
  }
}

/** One rule per write, as the file demands; synchronous, because thirteen of them take 50 us. */
function writeDeviceRules(dir: string, rules: readonly OciDeviceRule[]): void {
  const allow = openSync(`${dir}/devices.allow`, 'w');
  const deny = openSync(`${dir}/devices.deny`, 'w');
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
