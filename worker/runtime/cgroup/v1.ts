/**
 * cgroup v1: one group per hierarchy and task. On a hybrid machine an additional group in the empty
 * v2 hierarchy is used for killing and freezing. Knows files of the kernel, not containers.
 */
import { existsSync } from 'node:fs';
import type { Clock } from '../../../common/base/clock.ts';
import { SkepError } from '../../../common/base/errors.ts';
import type { OciMount, OciResources } from '../oci.ts';
import type { CgroupPlacement } from '../spec-binary.ts';
import { allOrNothing } from './all-or-nothing.ts';
import {
  type CgroupDriver,
  type CgroupMounts,
  childGroups,
  killPids,
  listPids,
  makeGroup,
  readControlNow,
  removeGroup,
  removeIfEmpty,
  type TaskCgroup,
  type WriteControl,
  waitEmpty,
  writeControl,
  writeControlNow,
} from './cgroup.ts';
import { type CgroupStats, readStatsV1 } from './stats.ts';
import { applyLimits } from './v1-limits.ts';

/** Joined by every task where they are mounted. */
const WANTED = ['memory', 'cpu', 'cpuacct', 'pids', 'devices', 'blkio', 'cpuset'] as const;

export class CgroupV1 implements CgroupDriver {
  readonly version: 'v1' | 'hybrid';
  readonly #mounts: ReadonlyMap<string, string>;
  readonly #hierarchies: readonly string[];
  readonly #unified: string | null;
  readonly #parent: string;
  readonly #clock: Clock;
  /** the parent groups exist */
  #prepared = false;

  /** `unified`: mount point of the v2 hierarchy without controllers, null = none. */
  constructor(
    { v1, v1Hierarchies }: Pick<CgroupMounts, 'v1' | 'v1Hierarchies'>,
    unified: string | null,
    parent: string,
    clock: Clock,
  ) {
    this.#mounts = v1;
    this.#hierarchies = v1Hierarchies;
    this.#unified = unified;
    this.#parent = parent;
    this.#clock = clock;
    this.version = unified === null ? 'v1' : 'hybrid';
  }

  group(taskId: string, everywhere = false): TaskCgroup {
    const dirs = new Map<string, string>();
    for (const [controller, mount] of this.#joined()) {
      dirs.set(controller, `${mount}/${this.#parent}/${taskId}`);
    }
    const unified = this.#unified === null ? null : `${this.#unified}/${this.#parent}/${taskId}`;
    const joined = new Set(this.#joined().map(([, mount]) => mount));
    const others = this.#hierarchies.filter((mount) => !joined.has(mount));
    return new TaskCgroupV1(
      {
        dirs,
        unified,
        others: others.map((mount) => `${mount}/${this.#parent}/${taskId}`),
        everywhere,
      },
      () => this.#prepare(),
      this.#clock,
    );
  }

  async list(): Promise<string[]> {
    const ids = new Set<string>();
    for (const dir of this.#parents()) {
      for (const child of childGroups(dir)) ids.add(child.slice(dir.length + 1));
    }
    return [...ids];
  }

  async removeParent(): Promise<void> {
    this.#prepared = false;
    for (const dir of this.#parents()) await removeIfEmpty(dir);
  }

  #prepare(): void {
    if (!this.#prepared) this.#prepareCpuset();
    this.#prepared = true;
  }

  /**
   * No process may join a cpuset that names no CPU or memory node: children begin with the parent's.
   * Synchronous, as what follows: a node that runs one container at a time does it for each.
   */
  #prepareCpuset(): void {
    const mount = this.#mounts.get('cpuset');
    if (mount === undefined) return;
    const parent = `${mount}/${this.#parent}`;
    makeGroup(parent);
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (readControlNow(`${parent}/${file}`) !== '') continue;
      writeControlNow(`${parent}/${file}`, readControlNow(`${mount}/${file}`) ?? '');
    }
    writeControlNow(`${parent}/cgroup.clone_children`, '1');
  }

  #joined(): [string, string][] {
    const wanted: string[] = [...WANTED];
    if (this.#unified === null) wanted.push('freezer');
    return wanted.flatMap((controller) => {
      const mount = this.#mounts.get(controller);
      return mount === undefined ? [] : [[controller, mount] as [string, string]];
    });
  }

  /** Another runtime than ours makes its groups in every hierarchy. */
  #parents(): Set<string> {
    const mounts = [...this.#hierarchies];
    if (this.#unified !== null) mounts.push(this.#unified);
    return new Set(mounts.map((mount) => `${mount}/${this.#parent}`));
  }
}

interface TaskGroups {
  /** controller -> directory; co-mounted controllers (cpu,cpuacct) share one */
  readonly dirs: ReadonlyMap<string, string>;
  readonly unified: string | null;
  /** in the hierarchies that we have no use for */
  readonly others: readonly string[];
  /** groups are made in these, too */
  readonly everywhere: boolean;
}

class TaskCgroupV1 implements TaskCgroup {
  readonly placement: CgroupPlacement;
  readonly #dirs: ReadonlyMap<string, string>;
  readonly #unified: string | null;
  readonly #others: readonly string[];
  readonly #everywhere: boolean;
  readonly #prepareParent: () => void;
  readonly #clock: Clock;

  constructor(groups: TaskGroups, prepareParent: () => void, clock: Clock) {
    const { dirs, unified, others, everywhere } = groups;
    this.#dirs = dirs;
    this.#unified = unified;
    this.#others = others;
    this.#everywhere = everywhere;
    this.#prepareParent = prepareParent;
    this.#clock = clock;
    this.placement = {
      cgroup2Dir: unified ?? '',
      tasksFiles: [...new Set(dirs.values()), ...(everywhere ? others : [])].map(
        (dir) => `${dir}/tasks`,
      ),
      oomFile: `${this.#dir('memory')}/memory.oom_control`,
      mounts: (mount) => expandMount(mount, dirs),
    };
  }

  async create(resources: OciResources): Promise<void> {
    try {
      this.#prepareParent();
      for (const dir of this.#all()) makeGroup(dir);
      for (const dir of this.#everywhere ? this.#others : []) makeGroup(dir);
      await this.#apply(resources, writeControlNow);
    } catch (err) {
      await this.remove();
      throw err;
    }
  }

  async update(resources: OciResources): Promise<void> {
    await allOrNothing((write) => this.#apply(resources, write));
  }

  countsSwap(): boolean {
    return existsSync(`${this.#dir('memory')}/memory.memsw.limit_in_bytes`);
  }

  async freeze(): Promise<void> {
    if (this.#unified !== null) await writeControl(`${this.#unified}/cgroup.freeze`, '1');
    else await this.#setFreezer('FROZEN');
  }

  async thaw(): Promise<void> {
    if (this.#unified !== null) await writeControl(`${this.#unified}/cgroup.freeze`, '0');
    else await this.#setFreezer('THAWED');
  }

  frozen(): boolean {
    if (this.#unified !== null) return readControlNow(`${this.#unified}/cgroup.freeze`) === '1';
    const freezer = this.#dirs.get('freezer');
    const state = freezer === undefined ? null : readControlNow(`${freezer}/freezer.state`);
    return state !== null && state !== 'THAWED'; // null: there is no group
  }

  pids(): number[] {
    return listPids(this.#dir('pids'));
  }

  async killAll(): Promise<void> {
    const dir = this.#dir('pids');
    // The init may have come as far as one of them only.
    if ([dir, this.#unified ?? dir].every((group) => listPids(group).length === 0)) return;
    const killFile = `${this.#unified}/cgroup.kill`;
    if (this.#unified !== null && existsSync(killFile)) await writeControl(killFile, '1');
    await waitEmpty(dir, this.#clock, () => this.#killOneByOne(dir));
  }

  stats(): CgroupStats {
    return readStatsV1((controller) => this.#dir(controller));
  }

  async remove(): Promise<void> {
    const groups = [...this.#all(), ...this.#others.filter((dir) => existsSync(dir))];
    await Promise.all(groups.map((dir) => removeGroup(dir, this.#clock)));
  }

  async #apply(resources: OciResources, write: WriteControl): Promise<void> {
    await applyLimits((controller) => this.#dir(controller), resources, write);
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

  /** Frozen while being killed, so that a fork bomb cannot outrun the list; thawed to let it die. */
  async #killOneByOne(dir: string): Promise<void> {
    const freezes = this.#unified === null && this.#dirs.has('freezer');
    if (freezes) await this.#setFreezer('FROZEN');
    try {
      killPids(listPids(dir));
    } finally {
      if (freezes) await this.#setFreezer('THAWED');
    }
  }

  async #setFreezer(state: 'FROZEN' | 'THAWED'): Promise<void> {
    await writeControl(`${this.#dir('freezer')}/freezer.state`, state);
  }
}

/** What programs look for: a tmpfs with one read-only mount per hierarchy, named as usual. */
function expandMount(mount: OciMount, dirs: ReadonlyMap<string, string>): OciMount[] {
  const flags = ['nosuid', 'noexec', 'nodev'];
  const access = mount.options.filter((option) => option === 'ro');
  const hierarchies = new Map<string, string[]>();
  for (const [controller, dir] of dirs) {
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
      options: [...flags, ...access, ...controllers],
    })),
  ];
}
