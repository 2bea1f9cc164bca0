/**
 * The containers of this node as the Engine API shows them: tasks of the agent and containers outside
 * of services, joined with what the runtime sees. Reads only, but for what is done to the process of
 * either kind: its streams, its terminal, commands beside it.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../common/base/clock.ts';
import { hasCode, SkepError } from '../common/base/errors.ts';
import { containerIdOf, TASK_START_CHARS_MIN } from '../common/model/container-id.ts';
import { containerAttributes, containerLabels } from '../common/model/container-labels.ts';
import type { NetworkId, TaskId } from '../common/model/ids.ts';
import { logDriverInForce } from '../common/model/log-driver.ts';
import type { StringMap } from '../common/model/objects.ts';
import type { ContainerSpec, LogDriver, ResourceRequirements } from '../common/model/service.ts';
import { addressesIn, type Task, type TaskStatus, taskName } from '../common/model/task.ts';
import { macOf, macText } from '../native/ffi/net/address.ts';
import { type Change, changedLayer, changesOf } from './containers/changes.ts';
import { endpointsOf, type JsonObject } from './containers/definition.ts';
import { type Condition, requireAnswering } from './containers/lifecycle.ts';
import { mountedVolumes } from './containers/mounted-volumes.ts';
import { mappedOwners, type Owners, SAME_OWNERS } from './containers/owners.ts';
import type { Peer } from './containers/peers.ts';
import type { PlainContainer } from './containers/plain-container.ts';
import type { LastExit, MountedVolume } from './containers/record-store.ts';
import { NoSuchFile, RootTree } from './containers/root-tree.ts';
import { checkForbiddenExec, type Forbidden } from './executor/forbidden.ts';
import type { HealthReport } from './executor/health.ts';
import { ignoreGone } from './executor/stop-container.ts';
import { taskHostname } from './executor/task-hostname.ts';
import type { ImageRecord } from './images/image-store.ts';
import type { EndpointWish } from './network/container-place.ts';
import { systemCpuNanos } from './runtime/container-stats.ts';
import { withEndedRoot } from './runtime/ended-root.ts';
import type {
  AttachSession,
  ContainerState,
  ContainerStats,
  ExecSession,
  ExecSpec,
  LogQuery,
  LogRecord,
  NativeRuntime,
} from './runtime/native-runtime.ts';
import { type ProcessRow, processRows } from './runtime/process-list.ts';
import { treeSizeBytes } from './volumes/tree-size.ts';
import type { VolumeRecord } from './volumes/volume-store.ts';

export interface ContainerViewOptions {
  readonly tasks: () => readonly { readonly task: Task; readonly status: TaskStatus }[];
  readonly plain: () => readonly PlainContainer[];
  readonly runtime: Pick<
    NativeRuntime,
    | 'get'
    | 'exec'
    | 'attach'
    | 'resize'
    | 'logs'
    | 'logAttributes'
    | 'stats'
    | 'pids'
    | 'layers'
    | 'owners'
    | 'rootPath'
    | 'freeze'
    | 'thaw'
    | 'cgroupVersion'
  >;
  /** that a task's container holds */
  readonly image: (taskId: TaskId) => ImageRecord | undefined;
  /** every one of this node */
  readonly volumes: () => readonly Pick<VolumeRecord, 'name' | 'mountpoint'>[];
  /** of this machine */
  readonly hostname: () => string;
  readonly forbidden: ReadonlySet<Forbidden>;
  readonly health: (taskId: TaskId) => HealthReport | null;
  /** of every container that names none */
  readonly logDriver: LogDriver;
  /** of a network of the cluster; null = not known here */
  /** null = it is not known here */
  readonly networkOf: (id: NetworkId) => { readonly name: string; readonly driver: string } | null;
  /** the task as it runs: with its templates expanded */
  readonly expanded: (task: Task) => Task;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

/** A place in a network. */
export interface ShownNetwork {
  /** of a task's network that this node no longer knows of, the id */
  readonly name: string;
  /** null = that of this node alone */
  readonly networkId: string | null;
  /** without prefix length; '' = none */
  readonly address: string;
  readonly prefixLength: number;
  /** CIDR notation; absent = none */
  readonly ipv6?: string;
  readonly gateway: string;
  readonly mac: string;
  readonly aliases: readonly string[];
  /** that was asked for; '' = any */
  readonly fixedAddress: string;
  /** names of its own for others there; absent = none */
  readonly links?: EndpointWish['links'];
}

export interface ShownPort {
  readonly protocol: string;
  readonly targetPort: number;
  readonly hostIp: string;
  readonly hostPort: number;
}

export interface ContainerInfo {
  /** 64 hexadecimal characters */
  readonly id: string;
  /** a task's is `service.slot.taskId` */
  readonly name: string;
  /** how the runtime and the other rooms know it */
  readonly runtimeId: string;
  /** as it calls itself; this machine's name where it has that one */
  readonly hostname: string;
  readonly spec: { readonly container: ContainerSpec; readonly resources: ResourceRequirements };
  readonly labels: StringMap;
  /** of its events: labels, image and name */
  readonly attributes: StringMap;
  readonly image: ImageRecord | null;
  readonly condition: Condition;
  /** host pid; 0 when it does not run */
  readonly pid: number;
  readonly createdAtMs: number;
  readonly startedAtMs: number | null;
  readonly exit: LastExit | null;
  readonly restartCount: number;
  readonly health: HealthReport | null;
  readonly networks: readonly ShownNetwork[];
  readonly ports: readonly ShownPort[];
  /** of one outside of services: as they are mounted, the anonymous ones too. Of a task see `volumesOf` */
  readonly volumes: readonly MountedVolume[];
  /** of a task */
  readonly task: Task | null;
  /** outside of services */
  readonly plain: PlainContainer | null;
  /** its own, or the node's where it names none */
  readonly logDriver: LogDriver;
  /** of one outside of services: as it was given */
  readonly shown: { readonly config: JsonObject; readonly hostConfig: JsonObject } | null;
}

/** Mounted into every container by us; what lies below is the image's. */
const NAME_FILES = ['/etc/resolv.conf', '/etc/hosts', '/etc/hostname'];

/** Of one container, on its node; '' = there is no such file. */
export interface ContainerFilePaths {
  readonly resolvConf: string;
  readonly hosts: string;
  readonly hostname: string;
}

const NO_FILES: ContainerFilePaths = { resolvConf: '', hosts: '', hostname: '' };

/** @param name of the container, for errors */
async function inTree<T>(
  name: string,
  path: string,
  hidden: readonly string[],
  work: (root: RootTree) => Promise<T>,
  owners: Owners = SAME_OWNERS,
): Promise<T> {
  const root = openTree(name, path, hidden, owners);
  try {
    return await work(root);
  } catch (err) {
    if (!(err instanceof NoSuchFile)) throw err;
    // Docker's words, which the cause would repeat in others.
    throw new SkepError('not-found', `Could not find the file ${err.path} in container ${name}`);
  } finally {
    root.close();
  }
}

/** Throws `conflict` when its process, by which it is reached, has ended meanwhile. */
function openTree(name: string, path: string, hidden: readonly string[], owners: Owners): RootTree {
  try {
    return new RootTree(path, hidden, owners);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
    throw new SkepError('conflict', `container ${name} is not running`);
  }
}

const NOWHERE = {
  networkId: null,
  address: '',
  prefixLength: 0,
  gateway: '',
  mac: '',
  fixedAddress: '',
};

/** While it does not run, those that it will have. */
function placesOf({ record: { definition, place } }: PlainContainer): ShownNetwork[] {
  const { kind } = definition.network;
  if (kind === 'container') return [];
  if (kind !== 'bridge') return [{ ...NOWHERE, name: kind, aliases: [] }];
  return endpointsOf(definition).map(({ network: name, aliases, address: fixedAddress, links }) => {
    const own = { name, aliases, fixedAddress, ...(links && { links }) };
    const seat = place?.seats.find((one) => one.name === name);
    if (!seat) return { ...NOWHERE, ...own };
    const { address, prefixLength, gateway, mac } = seat;
    const networkId = name === seat.networkId ? null : seat.networkId; // `bridge` is every node's own
    return { ...own, networkId, address, prefixLength, gateway, mac };
  });
}

export interface Usage {
  readonly stats: ContainerStats | null;
  readonly systemCpuNanos: number;
}

export interface ContainerSizes {
  readonly changedBytes: number;
  readonly rootBytes: number;
}

export class ContainerView {
  readonly #options: ContainerViewOptions;

  constructor(options: ContainerViewOptions) {
    this.#options = options;
  }

  /** Newest first. */
  list(): ContainerInfo[] {
    const out = this.#options.plain().map((container) => this.#plainInfo(container));
    for (const { task, status } of this.#options.tasks()) {
      const state = this.#options.runtime.get(task.id);
      if (state) out.push(this.#taskInfo(task, status, state));
    }
    return out.sort((a, b) => b.createdAtMs - a.createdAtMs);
  }

  /** By id, name, task id, or a unique start of an id (of a task's: TASK_START_CHARS_MIN or more). Throws `not-found`, `invalid-argument`. */
  require(reference: string): ContainerInfo {
    const name = reference.replace(/^\//, '');
    const all = this.list();
    const exact = all.find(
      (it) => it.id === name || it.name === name || (it.task !== null && it.task.id === name),
    );
    if (exact) return exact;
    const isTaskStart = name.length >= TASK_START_CHARS_MIN;
    const starts = all.filter(
      ({ id, task }) =>
        name.length > 0 && (id.startsWith(name) || (isTaskStart && task?.id.startsWith(name))),
    );
    if (starts.length > 1) {
      throw new SkepError(
        'invalid-argument',
        `container ${reference} is ambiguous (${starts.length} matches found)`,
      );
    }
    if (starts[0]) return starts[0];
    throw new SkepError('not-found', `No such container: ${reference}`);
  }

  /** For whoever has something of it; null = it is not there. */
  peerOf(containerId: string): Peer | null {
    const info = this.list().find(({ id }) => id === containerId);
    if (!info) return null;
    const definition = info.plain?.record.definition;
    const exposed = Object.keys((info.shown?.config['ExposedPorts'] ?? {}) as object);
    return {
      id: info.id,
      name: info.name,
      hostname: info.plain?.hostnameForOthers ?? info.hostname,
      pid: info.condition === 'running' || info.condition === 'paused' ? info.pid : 0,
      isIpcShareable: definition?.isIpcShareable ?? false,
      bridgeAddress: info.networks.find(({ name }) => name === 'bridge')?.address ?? '',
      env: [...(info.image?.config.env ?? []), ...info.spec.container.env],
      exposedPorts: [...(info.image?.config.exposedPorts ?? []), ...exposed],
    };
  }

  logs(runtimeId: string, query: LogQuery, signal?: AbortSignal): AsyncIterable<LogRecord> {
    return this.#options.runtime.logs(runtimeId, query, signal);
  }

  /** What is shown with each of its lines. */
  logAttributes({ runtimeId }: ContainerInfo): StringMap {
    return this.#options.runtime.logAttributes(runtimeId);
  }

  /** Throws `conflict` when it does not run, `permission-denied` for what this node does not allow. */
  async exec(info: ContainerInfo, spec: ExecSpec): Promise<ExecSession> {
    requireAnswering(info, 'exec');
    checkForbiddenExec(this.#options.forbidden, spec);
    return this.#options.runtime.exec(info.runtimeId, spec);
  }

  /** The streams of its process; one outside of services may be waited for until it starts. */
  async attach(info: ContainerInfo, signal: AbortSignal): Promise<AttachSession> {
    if (info.plain) return info.plain.attach(signal);
    requireAnswering(info, 'attach');
    return this.#options.runtime.attach(info.runtimeId);
  }

  /** Of its terminal. */
  resize(info: ContainerInfo, rows: number, columns: number): Promise<void> {
    return this.#options.runtime.resize(info.runtimeId, rows, columns);
  }

  /** False once it was removed. */
  isThere({ id, runtimeId, task }: ContainerInfo): boolean {
    if (task !== null) return this.#options.runtime.get(runtimeId) !== undefined;
    return this.#options.plain().some((container) => container.id === id);
  }

  /** That limits them: on a hybrid machine v1 does. */
  cgroupVersion(): '1' | '2' {
    return this.#options.runtime.cgroupVersion() === 'v2' ? '2' : '1';
  }

  /** What it uses now; null when it does not run. */
  usage(info: ContainerInfo): Usage {
    return { stats: this.stats(info), systemCpuNanos: systemCpuNanos() };
  }

  /** null when it does not run */
  stats({ runtimeId }: Pick<ContainerInfo, 'runtimeId'>): ContainerStats | null {
    const { runtime } = this.#options;
    if (runtime.get(runtimeId)?.status !== 'running') return null;
    try {
      return runtime.stats(runtimeId);
    } catch (err) {
      if (!hasCode(err, 'not-found')) throw err; // it ended while we looked
      return null;
    }
  }

  /** Of all that runs in it. */
  processes({ runtimeId }: ContainerInfo): ProcessRow[] {
    return processRows(this.#options.runtime.pids(runtimeId));
  }

  /**
   * Its root, while `work` runs: with all that is mounted while it has a process, else without its
   * volumes. A task's that ended is gone: rejects with `conflict`.
   */
  async withRoot<T>(
    { id, name, runtimeId, plain }: ContainerInfo,
    work: (root: RootTree) => Promise<T>,
    { withVolumes = true } = {},
  ): Promise<T> {
    const { runtime } = this.#options;
    const state = runtime.get(runtimeId);
    if (state && state.status !== 'exited') {
      const owners = await runtime.owners(runtimeId);
      return inTree(
        name,
        runtime.rootPath(runtimeId),
        [],
        work,
        owners ? mappedOwners(owners.uid, owners.gid) : SAME_OWNERS,
      );
    }
    if (!plain) throw new SkepError('conflict', `container ${id} is not running`);
    return plain.whileAtRest(async () => {
      const layers = await runtime.layers(runtimeId);
      const mounted = layers.mounts.filter(({ type, destination }) => {
        return type === 'bind' && !NAME_FILES.includes(destination);
      });
      const hidden = withVolumes ? mounted.map(({ destination }) => destination) : [];
      return withEndedRoot(layers, (path) => inTree(name, path, hidden, work));
    });
  }

  /** What it changed, as the tar of a layer. `pauses`: it stands still meanwhile, if it runs. */
  async withLayer<T>(
    { runtimeId, condition }: ContainerInfo,
    pauses: boolean,
    work: (tar: AsyncIterable<Buffer>) => Promise<T>,
  ): Promise<T> {
    const { runtime, clock } = this.#options;
    const isHeld = pauses && condition === 'running';
    if (isHeld) await runtime.freeze(runtimeId);
    try {
      return await work(changedLayer(await runtime.layers(runtimeId), clock));
    } finally {
      if (isHeld) await ignoreGone(runtime.thaw(runtimeId)); // it may have been removed meanwhile
    }
  }

  /** What it changed in its root. */
  async changes({ runtimeId }: ContainerInfo): Promise<Change[]> {
    const { runtime, clock } = this.#options;
    return changesOf(await runtime.layers(runtimeId), clock);
  }

  /** As they are mounted, the anonymous ones too. Rejects with `not-found` when it is gone. */
  async volumesOf({ runtimeId, task, volumes }: ContainerInfo): Promise<readonly MountedVolume[]> {
    if (task === null) return volumes;
    const { mounts } = await this.#options.runtime.layers(runtimeId);
    return mountedVolumes(mounts, this.#options.volumes());
  }

  /** Those that we keep for it. */
  async filePaths({ runtimeId }: ContainerInfo): Promise<ContainerFilePaths> {
    try {
      const { mounts } = await this.#options.runtime.layers(runtimeId);
      const there = (path: string): string => (path !== '' && existsSync(path) ? path : '');
      // Ours come first, below any that a user has there.
      const [resolvConf, hosts, hostname] = NAME_FILES.map((name) =>
        there(mounts.find(({ destination }) => destination === name)?.source ?? ''),
      ) as [string, string, string];
      return { resolvConf, hosts, hostname };
    } catch (err) {
      // One that is on its way out, or whose files are lost, can be looked at.
      if (hasCode(err, 'not-found') || hasCode(err, 'data-loss')) return NO_FILES;
      throw err;
    }
  }

  /** What it changed, and its whole root, in bytes. A walk over all that it changed. */
  async sizes({
    runtimeId,
    image,
  }: Pick<ContainerInfo, 'runtimeId' | 'image'>): Promise<ContainerSizes> {
    // It never ran, or is gone meanwhile.
    return sizesOf((await this.#changedBytes(runtimeId)) ?? 0, image);
  }

  /** As `sizes`; null for one that is on its way out, or gone, when they are read. */
  async sizesIfStaying(info: ContainerInfo): Promise<ContainerSizes | null> {
    const stays = (): boolean => this.isThere(info) && info.plain?.condition !== 'removing';
    try {
      const changedBytes = await this.#changedBytes(info.runtimeId);
      // Those of tasks have a root as long as they stay.
      if (!stays() || (changedBytes === null && info.task !== null)) return null;
      return sizesOf(changedBytes ?? 0, info.image);
    } catch (err) {
      if (!stays()) return null; // its files go one by one
      throw err;
    }
  }

  /** null = it has no root. */
  async #changedBytes(runtimeId: string): Promise<number | null> {
    try {
      const { taskDir } = await this.#options.runtime.layers(runtimeId);
      return await treeSizeBytes(join(taskDir, 'upper'));
    } catch (err) {
      if (hasCode(err, 'not-found')) return null;
      throw err;
    }
  }

  #plainInfo(plain: PlainContainer): ContainerInfo {
    const { id, record, state, image, labels, attributes, condition, health } = plain;
    const { definition, place } = record;
    return {
      id,
      name: record.name,
      runtimeId: id,
      hostname: plain.hostname,
      spec: definition,
      labels,
      attributes,
      image: image ?? null,
      condition,
      pid: state?.status === 'running' ? state.pid : 0,
      createdAtMs: record.createdAtMs,
      startedAtMs: record.startedAtMs,
      exit: record.exit,
      restartCount: record.restartCount,
      health,
      networks: placesOf(plain),
      ports: place?.ports ?? [],
      volumes: record.volumes ?? [],
      task: null,
      plain,
      logDriver: logDriverInForce(definition.logDriver, this.#options.logDriver),
      shown: definition.shown,
    };
  }

  #taskInfo(task: Task, status: TaskStatus, state: ContainerState): ContainerInfo {
    const expanded = this.#options.expanded(task);
    const image = this.#options.image(task.id) ?? null;
    const ofImage = image?.config.labels;
    const { exit } = state;
    return {
      id: containerIdOf(task.id),
      name: taskName(task),
      runtimeId: task.id,
      hostname: taskHostname(expanded, this.#options.hostname()),
      spec: expanded.spec,
      labels: { ...ofImage, ...containerLabels(expanded) },
      attributes: { ...ofImage, ...containerAttributes(expanded) },
      image,
      condition: state.status === 'running' && state.paused ? 'paused' : state.status,
      pid: state.pid,
      createdAtMs: state.createdAtMs,
      startedAtMs: state.startedAtMs,
      exit: exit && { ...exit, error: exit.error ?? '' },
      restartCount: 0,
      health: this.#options.health(task.id),
      networks: expanded.networks.map(({ networkId, aliases }) => {
        const own = addressesIn({ networks: expanded.networks, status }, networkId);
        const [ipv4 = ''] = own;
        const ipv6 = own.find((one) => one.includes(':'));
        const [address = '', prefix] = ipv4.split('/');
        const prefixLength = Number(prefix ?? 0);
        const { name = networkId, driver } = this.#options.networkOf(networkId) ?? {};
        const mac = driver === 'overlay' && address !== '' ? macText(macOf(address)) : '';
        const place = { ...NOWHERE, address, prefixLength, mac, aliases, name, networkId };
        return { ...place, ...(ipv6 && { ipv6 }) };
      }),
      ports: status.hostPorts.map(({ protocol, targetPort, publishedPort, hostIp }) => ({
        protocol,
        targetPort,
        hostIp: hostIp || '0.0.0.0',
        hostPort: publishedPort,
      })),
      volumes: [],
      task: expanded,
      plain: null,
      logDriver: logDriverInForce(task.logDriver, this.#options.logDriver),
      shown: null,
    };
  }
}

function sizesOf(changedBytes: number, image: ContainerInfo['image']): ContainerSizes {
  return { changedBytes, rootBytes: changedBytes + (image?.sizeBytes ?? 0) };
}
