/**
 * cgroup v2: one group per task, limits by the controllers that the root delegates, device rules by
 * an eBPF program. Knows files of the kernel, not containers.
 */
import { existsSync } from 'node:fs';
import type { Clock } from '../../../common/base/clock.ts';
import { SkepError } from '../../../common/base/errors.ts';
import { attachDeviceRules } from '../../../native/ffi/device-bpf.ts';
import type { OciBlockIo, OciMount, OciResources, OciThrottle } from '../oci.ts';
import type { CgroupPlacement } from '../spec-binary.ts';
import {
  type CgroupDriver,
  childGroups,
  killPids,
  listPids,
  makeGroup,
  readControl,
  removeGroup,
  removeIfEmpty,
  type TaskCgroup,
  waitEmpty,
  writeControl,
} from './cgroup.ts';
import { type CgroupStats, readStatsV2 } from './stats.ts';

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
    await this.#applyMemory(resources);
    await this.#applyCpu(resources);
    await this.#applyBlockIo(resources);
    const { pids } = resources;
    if (pids !== undefined) await this.#write('pids.max', `${pids.limit ?? 'max'}`);
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

  stats(): CgroupStats {
    return readStatsV2(this.#dir);
  }

  async remove(): Promise<void> {
    await removeGroup(this.#dir, this.#clock);
  }

  async #applyMemory({ memory }: OciResources): Promise<void> {
    if (memory === undefined) return;
    if (memory.swappiness !== undefined) {
      const words = `memory swappiness ${memory.swappiness}: cgroup v2 of this node has no such limit`;
      throw new SkepError('failed-precondition', words);
    }
    await this.#write('memory.max', `${memory.limit ?? 'max'}`);
    await this.#writeSwap(memory.limit, memory.swap);
    if (memory.reservation !== undefined) await this.#write('memory.low', `${memory.reservation}`);
  }

  async #applyCpu({ cpu }: OciResources): Promise<void> {
    if (cpu === undefined) return;
    await this.#write('cpu.max', `${cpu.quota ?? 'max'} ${cpu.period}`);
    if (cpu.shares !== null) await this.#write('cpu.weight', `${weightOfShares(cpu.shares)}`);
    if (cpu.cpus !== undefined) await this.#write('cpuset.cpus', cpu.cpus);
    if (cpu.mems !== undefined) await this.#write('cpuset.mems', cpu.mems);
  }

  async #applyBlockIo({ blockIO }: OciResources): Promise<void> {
    if (blockIO === undefined) return;
    if (blockIO.weight !== null) await this.#writeBlockWeight(blockIO.weight);
    for (const line of throttleLines(blockIO)) await this.#write('io.max', line);
  }

  /** Which of the two files there is depends on the scheduler of block devices; often it is none. */
  async #writeBlockWeight(weight: number): Promise<void> {
    if (existsSync(`${this.#dir}/io.weight`)) {
      await this.#write('io.weight', `default ${ioWeightOf(weight)}`);
    } else if (existsSync(`${this.#dir}/io.bfq.weight`)) {
      await this.#write('io.bfq.weight', `${weight}`);
    } else {
      const words = `block IO weight ${weight}: the kernel of this node has no weights`;
      throw new SkepError('failed-precondition', words);
    }
  }

  /** A controller that the root does not delegate is told by its name. */
  async #write(file: string, value: string): Promise<void> {
    const path = `${this.#dir}/${file}`;
    if (!existsSync(path)) {
      const words = `set ${file} = ${value}: cgroup v2 of this node has no such limit`;
      throw new SkepError('failed-precondition', words);
    }
    await writeControl(path, value);
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

/** blkio weight 10..1000 to v2 weight 1..10000, as the OCI specification's conversion. */
export function ioWeightOf(weight: number): number {
  return 1 + Math.floor(((weight - 10) * 9999) / 990);
}

/** Lines of io.max, one per device. */
export function throttleLines(blockIO: OciBlockIo): string[] {
  const lines = new Map<string, string[]>();
  const add = (key: string, throttles: readonly OciThrottle[]): void => {
    for (const { major, minor, rate } of throttles) {
      const device = `${major}:${minor}`;
      lines.set(device, [...(lines.get(device) ?? []), `${key}=${rate}`]);
    }
  };
  add('rbps', blockIO.throttleReadBpsDevice);
  add('wbps', blockIO.throttleWriteBpsDevice);
  add('riops', blockIO.throttleReadIOPSDevice);
  add('wiops', blockIO.throttleWriteIOPSDevice);
  return Array.from(lines, ([device, limits]) => `${device} ${limits.join(' ')}`);
}

function expandMount(mount: OciMount): OciMount {
  return {
    ...mount,
    type: 'cgroup2',
    source: 'cgroup',
    options: ['nosuid', 'noexec', 'nodev', ...mount.options],
  };
}
