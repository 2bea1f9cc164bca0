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
import { allOrNothing } from './all-or-nothing.ts';
import {
  type CgroupDriver,
  childGroups,
  killPids,
  listPids,
  makeGroup,
  readControl,
  readControlNow,
  removeGroup,
  removeIfEmpty,
  type TaskCgroup,
  type WriteControl,
  waitEmpty,
  writeControl,
  writeControlNow,
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
    const groups = childGroups(this.#parent);
    return groups.map((dir) => dir.slice(this.#parent.length + 1));
  }

  async removeParent(): Promise<void> {
    await removeIfEmpty(this.#parent);
  }

  /** Makes the parent and hands the controllers down to its children. Idempotent. */
  async #prepare(): Promise<void> {
    makeGroup(this.#parent);
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
      makeGroup(this.#dir);
      await this.#apply(resources, writeControlNow);
      if (resources.devices.length > 0) await attachDeviceRules(this.#dir, resources.devices);
    } catch (err) {
      await this.remove();
      throw err;
    }
  }

  /** Device rules are fixed at creation. */
  async update(resources: OciResources): Promise<void> {
    await allOrNothing((write) => this.#apply(resources, write));
  }

  countsSwap(): boolean {
    return existsSync(`${this.#dir}/memory.swap.max`);
  }

  async freeze(): Promise<void> {
    await writeControl(`${this.#dir}/cgroup.freeze`, '1');
  }

  async thaw(): Promise<void> {
    await writeControl(`${this.#dir}/cgroup.freeze`, '0');
  }

  frozen(): boolean {
    return readControlNow(`${this.#dir}/cgroup.freeze`) === '1';
  }

  pids(): number[] {
    return listPids(this.#dir);
  }

  async killAll(): Promise<void> {
    if (listPids(this.#dir).length === 0) return;
    const killFile = `${this.#dir}/cgroup.kill`; // kernel 5.14
    if (existsSync(killFile)) await writeControl(killFile, '1');
    await waitEmpty(this.#dir, this.#clock, async () => killPids(listPids(this.#dir)));
  }

  stats(): CgroupStats {
    return readStatsV2(this.#dir);
  }

  async remove(): Promise<void> {
    await removeGroup(this.#dir, this.#clock);
  }

  async #apply(resources: OciResources, write: WriteControl): Promise<void> {
    const set = (file: string, value: string) => this.#write(file, value, write);
    await this.#applyMemory(resources, set);
    await this.#applyCpu(resources, set);
    await this.#applyBlockIo(resources, set);
    const { pids } = resources;
    if (pids !== undefined) await set('pids.max', `${pids.limit ?? 'max'}`);
  }

  async #applyMemory({ memory }: OciResources, set: WriteControl): Promise<void> {
    if (memory === undefined) return;
    if (memory.swappiness !== undefined) {
      const words = `memory swappiness ${memory.swappiness}: cgroup v2 of this node has no such limit`;
      throw new SkepError('failed-precondition', words);
    }
    if (memory.disableOomKiller) {
      const words = 'OomKillDisable: the OOM killer of cgroup v2 cannot be disabled on this node';
      throw new SkepError('failed-precondition', words);
    }
    await set('memory.max', `${memory.limit ?? 'max'}`);
    await this.#writeSwap(memory.limit, memory.swap, set);
    if (memory.reservation !== undefined) await set('memory.low', `${memory.reservation}`);
  }

  async #applyCpu({ cpu }: OciResources, set: WriteControl): Promise<void> {
    if (cpu === undefined) return;
    await set('cpu.max', `${cpu.quota ?? 'max'} ${cpu.period}`);
    if (cpu.shares !== null) await set('cpu.weight', `${weightOfShares(cpu.shares)}`);
    if (cpu.cpus !== undefined) await set('cpuset.cpus', cpu.cpus);
    if (cpu.mems !== undefined) await set('cpuset.mems', cpu.mems);
  }

  async #applyBlockIo({ blockIO }: OciResources, set: WriteControl): Promise<void> {
    if (blockIO === undefined) return;
    if (blockIO.weight !== null) await this.#writeBlockWeight(blockIO.weight, set);
    for (const line of throttleLines(blockIO)) await set('io.max', line);
  }

  /** Which of the two files there is depends on the scheduler of block devices; often it is none. */
  async #writeBlockWeight(weight: number, set: WriteControl): Promise<void> {
    if (existsSync(`${this.#dir}/io.weight`)) {
      await set('io.weight', `default ${ioWeightOf(weight)}`);
    } else if (existsSync(`${this.#dir}/io.bfq.weight`)) {
      await set('io.bfq.weight', `${weight}`);
    } else {
      const words = `block IO weight ${weight}: the kernel of this node has no weights`;
      throw new SkepError('failed-precondition', words);
    }
  }

  /** A controller that the root does not delegate is told by its name. */
  async #write(file: string, value: string, write: WriteControl): Promise<void> {
    const path = `${this.#dir}/${file}`;
    if (!existsSync(path)) {
      const words = `set ${file} = ${value}: cgroup v2 of this node has no such limit`;
      throw new SkepError('failed-precondition', words);
    }
    await write(path, value);
  }

  /** v2 counts swap alone; the spec counts memory and swap together. */
  async #writeSwap(limit: number | null, swap: number | null, set: WriteControl): Promise<void> {
    const file = 'memory.swap.max';
    if (!existsSync(`${this.#dir}/${file}`)) return; // a kernel without swap accounting
    if (limit === null || swap === -1) await set(file, 'max');
    else await set(file, `${Math.max(0, (swap ?? limit) - limit)}`);
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
