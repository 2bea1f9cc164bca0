/**
 * cgroup v2: one group per task, limits by the controllers that the root delegates, device rules by
 * an eBPF program. Knows files of the kernel, not containers.
 */
import { existsSync } from 'node:fs';
import type { Clock } from '../../../common/base/clock.ts';
import { SkepError } from '../../../common/base/errors.ts';
import { attachDeviceRules } from '../../../native/ffi/device-bpf.ts';
import type { OciMount, OciResources } from '../oci.ts';
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

const WANTED = ['cpu', 'memory', 'pids', 'io', 'cpuset'] as const;

export class CgroupV2 implements CgroupDriver {
  readonly version = 'v2';
  readonly #mount: string;
  readonly #parent: string;
  readonly #controllers: readonly string[];
  readonly #clock: Clock;

  /** `controllers`: what the root of the hierarchy offers. */
  constructor(mount: string, parent: string, controllers: readonly string[], clock: Clock) {
    this.#mount = mount;
    this.#parent = `${mount}/${parent}`;
    this.#controllers = WANTED.filter((controller) => controllers.includes(controller));
    this.#clock = clock;
  }

  group(taskId: string): TaskCgroup {
    return new TaskCgroupV2(`${this.#parent}/${taskId}`, () => this.#prepare(), this.#clock);
  }

  async list(): Promise<string[]> {
    const groups = await childGroups(this.#parent);
    return groups.map((dir) => dir.slice(this.#parent.length + 1));
  }

  async removeParent(): Promise<void> {
    await removeIfEmpty(this.#parent);
  }

  /** Makes the parent and hands the controllers down to its children. Idempotent. */
  async #prepare(): Promise<void> {
    await makeGroup(this.#parent);
    for (const dir of [this.#mount, this.#parent]) {
      const enabled = ((await readControl(`${dir}/cgroup.subtree_control`)) ?? '').split(' ');
      const missing = this.#controllers.filter((controller) => !enabled.includes(controller));
      if (missing.length === 0) continue;
      await writeControl(
        `${dir}/cgroup.subtree_control`,
        missing.map((controller) => `+${controller}`).join(' '),
      );
    }
  }
}

class TaskCgroupV2 implements TaskCgroup {
  readonly placement: CgroupPlacement;
  readonly #dir: string;
  readonly #prepareParent: () => Promise<void>;
  readonly #clock: Clock;

  constructor(dir: string, prepareParent: () => Promise<void>, clock: Clock) {
    this.#dir = dir;
    this.#prepareParent = prepareParent;
    this.#clock = clock;
    this.placement = {
      cgroup2Dir: dir,
      tasksFiles: [],
      oomFile: `${dir}/memory.events`,
      mounts: (mount) => [expandMount(mount)],
    };
  }

  async create(resources: OciResources): Promise<void> {
    try {
      await this.#prepareParent();
      await makeGroup(this.#dir);
      await this.update(resources);
      if (resources.devices.length > 0) await attachDeviceRules(this.#dir, resources.devices);
    } catch (err) {
      await this.remove();
      throw err;
    }
  }

  /** Device rules are fixed at creation. */
  async update(resources: OciResources): Promise<void> {
    const { memory, cpu, pids } = resources;
    if (memory !== undefined) {
      await writeControl(`${this.#dir}/memory.max`, `${memory.limit ?? 'max'}`);
      await this.#writeSwap(memory.limit, memory.swap);
    }
    if (cpu !== undefined) {
      await writeControl(`${this.#dir}/cpu.max`, `${cpu.quota ?? 'max'} ${cpu.period}`);
      if (cpu.shares !== null) {
        await writeControl(`${this.#dir}/cpu.weight`, `${weightOfShares(cpu.shares)}`);
      }
    }
    if (pids !== undefined) await writeControl(`${this.#dir}/pids.max`, `${pids.limit ?? 'max'}`);
  }

  async freeze(): Promise<void> {
    await writeControl(`${this.#dir}/cgroup.freeze`, '1');
  }

  async thaw(): Promise<void> {
    await writeControl(`${this.#dir}/cgroup.freeze`, '0');
  }

  async killAll(): Promise<void> {
    const killFile = `${this.#dir}/cgroup.kill`; // kernel 5.14
    if (existsSync(killFile)) await writeControl(killFile, '1');
    await waitEmpty(this.#dir, this.#clock, async () => killPids(await listPids(this.#dir)));
  }

  async stats(): Promise<CgroupStats> {
    const [usage, peak, limit, stat, events, cpuStat, pids, pidsMax] = await Promise.all([
      readControl(`${this.#dir}/memory.current`),
      readControl(`${this.#dir}/memory.peak`),
      readControl(`${this.#dir}/memory.max`),
      readControl(`${this.#dir}/memory.stat`),
      readControl(`${this.#dir}/memory.events`),
      readControl(`${this.#dir}/cpu.stat`),
      readControl(`${this.#dir}/pids.current`),
      readControl(`${this.#dir}/pids.max`),
    ]);
    if (cpuStat === null) throw new SkepError('not-found', `read statistics: ${this.#dir} is gone`);
    const cpu = parseKeyed(cpuStat);
    const nanos = (key: string): bigint => (cpu.get(key) ?? 0n) * 1000n;
    return {
      cpuUsageNanos: nanos('usage_usec'),
      cpuUserNanos: nanos('user_usec'),
      cpuSystemNanos: nanos('system_usec'),
      throttledPeriods: Number(cpu.get('nr_throttled') ?? 0n),
      throttledNanos: nanos('throttled_usec'),
      memoryUsageBytes: Number(usage ?? 0),
      memoryInactiveFileBytes: Number(parseKeyed(stat).get('inactive_file') ?? 0n),
      memoryMaxUsageBytes: peak === null ? null : Number(peak),
      memoryLimitBytes: parseLimit(limit),
      oomKills: Number(parseKeyed(events).get('oom_kill') ?? 0n),
      pids: Number(pids ?? 0),
      pidsLimit: parseLimit(pidsMax),
    };
  }

  async remove(): Promise<void> {
    await removeGroup(this.#dir, this.#clock);
  }

  /** v2 counts swap alone; the spec counts memory and swap together. */
  async #writeSwap(limit: number | null, swap: number | null): Promise<void> {
    const file = `${this.#dir}/memory.swap.max`;
    if (!existsSync(file)) return; // a kernel without swap accounting
    if (limit === null || swap === -1) await writeControl(file, 'max');
    else await writeControl(file, `${Math.max(0, (swap ?? limit) - limit)}`);
  }
}

/** cgroup v1 shares 2..262144 to v2 weight 1..10000, as the OCI specification's conversion. */
export function weightOfShares(shares: number): number {
  return 1 + Math.floor(((Math.min(Math.max(shares, 2), 262_144) - 2) * 9999) / 262_142);
}

function expandMount(mount: OciMount): OciMount {
  return {
    ...mount,
    type: 'cgroup2',
    source: 'cgroup',
    options: ['nosuid', 'noexec', 'nodev', ...mount.options],
  };
}
