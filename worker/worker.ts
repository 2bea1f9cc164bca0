/**
 * Composes the rooms of a worker. Images, volumes and the runtime are there from the start; network
 * and agent while the node is part of a cluster.
 */
import { join } from 'node:path';
import type { Clock } from '../common/base/clock.ts';
import { SkepError } from '../common/base/errors.ts';
import { type OnFailure, Scope } from '../common/base/lifecycle.ts';
import type { Logger } from '../common/base/log.ts';
import type { Random } from '../common/base/random.ts';
import type { TellEvent } from '../common/model/engine-event.ts';
import type { NodeId } from '../common/model/ids.ts';
import { ENCRYPTION_PLUGIN } from '../common/model/network.ts';
import type { NodeDescription } from '../common/model/node.ts';
import type { DispatcherMessage } from '../common/model/session.ts';
import { readTaskLogs, traceNetwork, verifyNetwork } from '../common/rpc/node-methods.ts';
import type { RpcClientPool } from '../common/rpc/pool.ts';
import type { RpcServer } from '../common/rpc/server.ts';
import { mountTmpfs, unmountTree } from '../native/ffi/mount.ts';
import { NativeSmallFiles } from '../native/ffi/trees.ts';
import { Agent } from './agent/agent.ts';
import { DispatcherClient } from './agent/dispatcher-client.ts';
import { EndpointDrains } from './agent/endpoint-drains.ts';
import { StatusReporter } from './agent/status-reporter.ts';
import { TaskDatabase } from './agent/task-database.ts';
import { TaskManager } from './agent/task-manager.ts';
import { ContainerView } from './container-view.ts';
import { PlainContainers } from './containers/plain-containers.ts';
import { RecordStore } from './containers/record-store.ts';
import { TaskContainers } from './containers/task-container.ts';
import { ContainerExecutor } from './executor/container-executor.ts';
import type { MakerParts } from './executor/container-maker.ts';
import { hostFacts } from './executor/host-facts.ts';
import type { NodeSettings } from './executor/node-settings.ts';
import { TaskFiles } from './executor/task-files.ts';
import { serveImages } from './images/blob-service.ts';
import {
  type ClusterPeers,
  ImageStore,
  type RegistrySettings,
  type Watermarks,
} from './images/image-store.ts';
import { ManagerRegistry } from './network/attachment-registry.ts';
import { ClusterSeats } from './network/cluster-seats.ts';
import { ContainerNetworks } from './network/container-networks.ts';
import { DnsAsker } from './network/dns-asker.ts';
import { DnsForwarder } from './network/dns-forwarder.ts';
import { Ipv4Forwarding } from './network/ipv4-forwarding.ts';
import { LocalNetworkStore } from './network/local-network-store.ts';
import { LocalNetworks } from './network/local-networks.ts';
import { LocalPorts } from './network/local-ports.ts';
import { RESOLVER_TIMEOUT_MS } from './network/name-check.ts';
import { NetworkManager } from './network/network-manager.ts';
import type { DataPath } from './network/node-network.ts';
import type { DriftCounts } from './network/self-proof.ts';
import { NodeDevices } from './node-devices.ts';
import { OWN_PLATFORM } from './node-facts.ts';
import { ImageUsers } from './runtime/image-users.ts';
import { NativeRuntime } from './runtime/native-runtime.ts';
import { Sweeper } from './sweeper.ts';
import { VolumeStore } from './volumes/volume-store.ts';

export interface WorkerOptions {
  readonly dataDir: string;
  /** name of the cgroup under which all tasks of this daemon live */
  readonly cgroupParent: string;
  readonly registries: RegistrySettings;
  /** how full the images' disk may be; null = no images are removed to make room */
  readonly imageWatermarks: Watermarks | null;
  readonly upstreamNameservers: () => readonly string[];
  /** this machine's name */
  readonly hostname: () => string;
  readonly settings: NodeSettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
  /** what happens to containers, images, volumes and their networks here */
  readonly tell: TellEvent;
}

/** What a node knows of its cluster once it is part of it. */
export interface ClusterMembership {
  readonly nodeId: NodeId;
  /** IP of this node's VXLAN endpoint */
  readonly vtepAddress: string;
  readonly pool: RpcClientPool;
  /** where content of images comes from, and goes to */
  readonly peers: ClusterPeers;
  readonly managerAddresses: readonly string[];
  /** the cluster has just made or taken this node */
  readonly isNew: boolean;
  readonly describe: () => NodeDescription;
  readonly onSession: (message: Extract<DispatcherMessage, { kind: 'session' }>) => void;
}

/** Managers that do not answer do not hold up a node that leaves. */
const LEAVE_WORD_LIMIT_MS = 2_000;

interface Joined {
  readonly seats: ClusterSeats;
  readonly scope: Scope;
  readonly agent: Agent;
  readonly tasks: TaskManager;
  readonly networks: NetworkManager;
  readonly executor: ContainerExecutor;
}

export class Worker {
  readonly images: ImageStore;
  readonly volumes: VolumeStore;
  readonly containers: ContainerView;
  readonly plain: PlainContainers;
  readonly taskContainers: TaskContainers;
  readonly localNetworks: LocalNetworks;
  readonly #options: WorkerOptions;
  readonly #runtime: NativeRuntime;
  readonly #users = new ImageUsers();
  readonly #files: TaskFiles;
  readonly #localPorts: LocalPorts;
  readonly #containerNetworks: ContainerNetworks;
  readonly #sweeper: Sweeper;
  readonly #forwarding: Ipv4Forwarding;
  readonly #scope = new Scope();
  #joined: Joined | null = null;
  #peers: ClusterPeers | null = null;

  constructor(options: WorkerOptions) {
    this.#options = options;
    const { dataDir, clock, random, log, onFailure, cgroupParent, tell } = options;
    this.images = new ImageStore({
      dir: join(dataDir, 'images'),
      clock,
      random,
      log,
      tell,
      registries: options.registries,
      watermarks: options.imageWatermarks,
    });
    this.volumes = new VolumeStore({ dir: join(dataDir, 'volumes'), clock, random, log, tell });
    this.#runtime = new NativeRuntime({
      stateDir: join(dataDir, 'tasks'),
      cgroupParent,
      clock,
      random,
      log: log.child({ component: 'runtime' }),
      onFailure,
    });
    this.#files = new TaskFiles({
      dir: join(dataDir, 'files'),
      memoryDir: this.#memoryDir,
      mountMemory: mountTmpfs,
      unmountMemory: unmountTree,
    });
    const networkLog = log.child({ component: 'local-networks' });
    const ports = new LocalPorts(random, networkLog, {
      clusterHolder: (port) => this.#joined?.networks.portHolder(port) ?? null,
    });
    this.#localPorts = ports;
    this.#forwarding = new Ipv4Forwarding(join(dataDir, 'ip_forward'));
    this.localNetworks = new LocalNetworks({
      forwarding: this.#forwarding,
      store: new LocalNetworkStore(join(dataDir, 'networks'), networkLog),
      others: {
        isConfigUsed: (name) => this.#joined?.networks.usesConfig(name) ?? false,
        otherSubnets: () => this.#joined?.networks.madeSubnets ?? [],
      },
      ports,
      clock,
      random,
      log: networkLog,
    });
    this.#containerNetworks = new ContainerNetworks({
      local: this.localNetworks,
      cluster: () => this.#joined?.seats ?? null,
      forwarder: new DnsForwarder(clock, random),
      asker: new DnsAsker(clock, random, RESOLVER_TIMEOUT_MS),
      upstreamNameservers: options.upstreamNameservers,
      random,
      log: networkLog,
    });
    this.plain = new PlainContainers({
      ...this.#makerParts,
      runtime: this.#runtime,
      images: this.images,
      volumes: this.volumes,
      files: this.#files,
      networks: this.#containerNetworks,
      records: new RecordStore(join(dataDir, 'containers'), log),
      clock,
      random,
      log: log.child({ component: 'containers' }),
      tell,
      driverOf: (networkId) =>
        this.localNetworks.list().find(({ id }) => id === networkId)?.spec.driver ?? null,
      hostname: options.hostname,
      nameservers: options.upstreamNameservers,
      peerOf: (containerId) => this.containers.peerOf(containerId),
      onFailure,
    });
    this.containers = new ContainerView({
      tasks: () => this.#joined?.tasks.list() ?? [],
      plain: () => this.plain.list(),
      runtime: this.#runtime,
      image: (taskId) => this.images.heldBy(taskId),
      volumes: () => this.volumes.list(),
      hostname: options.hostname,
      health: (taskId) => this.#joined?.executor.health(taskId) ?? null,
      expanded: (task) => this.#joined?.executor.expanded(task) ?? task,
      networkOf: (id) => this.#joined?.networks.networkOf(id) ?? null,
      logDriver: options.settings.logDriver,
      forbidden: options.settings.forbidden,
      clock: options.clock,
    });
    this.taskContainers = new TaskContainers({ runtime: this.#runtime, clock, tell });
    // Of tasks only the agent knows, while there is one, which of what is here is anybody's.
    const ofTasks = (): Promise<void> => this.#joined?.tasks.sweep() ?? Promise.resolve();
    this.#sweeper = new Sweeper({
      sweeps: [() => this.#runtime.sweep(), () => this.plain.sweep(), ofTasks],
      clock,
      log: log.child({ component: 'sweeper' }),
    });
  }

  /** The cluster gave a container's place to somebody else, who is to have it alone. */
  #lostSeat(containerId: string, networkId: string): void {
    const container = this.plain.get(containerId);
    const seat = container?.record.place?.seats.find((one) => one.networkId === networkId);
    if (!container || !seat) return;
    const { log } = this.#options;
    container.disconnect(seat.name).catch((err: unknown) => {
      log.error({ containerId, networkId, err }, 'container could not be taken off a network');
    });
  }

  /** What containers of both kinds are made with. */
  get #makerParts(): Pick<MakerParts, 'hostFacts' | 'resolveUser' | 'settings'> {
    return {
      settings: this.#options.settings,
      hostFacts,
      resolveUser: (user, lowerDirs) => this.#users.resolve(user, lowerDirs),
    };
  }

  get #memoryDir(): string {
    return join(this.#options.dataDir, 'memory');
  }

  /** Adopts the containers of an earlier life of this daemon. */
  async start(): Promise<void> {
    await this.#scope.start(this.images);
    await this.#scope.start(this.volumes);
    await this.#scope.start(this.#runtime);
    this.#scope.defer(() => this.#containerNetworks.stop());
    await this.#scope.start(this.plain);
    this.#scope.defer(() => this.taskContainers.stop());
    await this.#scope.start(this.#sweeper);
  }

  /** Leaves every task running. */
  async stop(): Promise<void> {
    await this.suspend();
    await this.#scope.close();
  }

  /** Takes part in a cluster: resumes the tasks that are known here, then asks the managers. */
  async join(membership: ClusterMembership): Promise<void> {
    const scope = new Scope();
    try {
      this.#joinImages(membership.peers);
      scope.defer(() => this.#joinImages(null));
      this.#joined = await this.#compose(membership, scope);
    } catch (err) {
      await scope.close();
      throw err;
    }
  }

  #joinImages(peers: ClusterPeers | null): void {
    this.#peers = peers;
    this.images.joined(peers);
  }

  /** Why the managers refuse this node, for people; '' while they do not. */
  get refusal(): string {
    return this.#joined?.agent.refusal ?? '';
  }

  /**
   * Resolves when the managers have this node among those that are ready, for the first time since `join`; at once outside
   * of clusters. Rejects with `signal.reason`.
   */
  async whenGreeted(signal: AbortSignal): Promise<void> {
    await this.#joined?.agent.whenGreeted(signal);
  }

  /** What `describe` says of this node changed. */
  describeAgain(): void {
    this.#joined?.agent.describeAgain();
  }

  /** Ends the conversation with the cluster; its tasks go on running and are known here. */
  async suspend(): Promise<void> {
    const joined = this.#joined;
    this.#joined = null;
    await joined?.scope.close();
  }

  /**
   * Ends every task and removes all that the cluster put on this machine. The session ends first, or
   * a task assigned meanwhile would outlive the membership. After a failure it can be called again
   * and does what is left.
   */
  async leave(): Promise<void> {
    const joined = this.#joined;
    if (!joined) return;
    await joined.agent.endSession();
    await joined.tasks.removeAll();
    await this.plain.leaveCluster();
    // Else their addresses are free when the node is removed from the cluster.
    if (!joined.scope.closed) await joined.seats.told(LEAVE_WORD_LIMIT_MS);
    if (!joined.scope.closed) await joined.scope.close();
    await joined.networks.removeAll();
    await unmountTree(this.#memoryDir);
    this.#joined = null;
  }

  /** What the self-proof of the cluster's networks found here; nothing outside of a cluster. */
  get clusterDrifts(): DriftCounts {
    return this.#joined?.networks.drifts ?? { repaired: 0, left: 0 };
  }

  /** Serves what other nodes ask of a node; returns the release. */
  register(server: RpcServer): () => void {
    const logs = server.handleServerStream(readTaskLogs, async (request, out, { signal }) => {
      for await (const record of this.#runtime.logs(request.taskId, request, signal)) {
        await out.send(record, signal);
      }
    });
    const images = serveImages(server, this.images, () => this.#peers);
    const network = server.handleUnary(verifyNetwork, ({ repair }) => {
      if (this.#joined) return this.#joined.networks.report(repair);
      throw new SkepError('failed-precondition', 'verify network: this node is joining or leaving');
    });
    const traces = server.handleUnary(traceNetwork, (request) => {
      if (this.#joined) return this.#joined.networks.trace(request);
      throw new SkepError('failed-precondition', 'trace network: this node is joining or leaving');
    });
    return () => {
      logs();
      images();
      network();
      traces();
    };
  }

  async #compose(membership: ClusterMembership, scope: Scope): Promise<Joined> {
    const { dataDir, clock, random, onFailure, tell } = this.#options;
    const log = this.#options.log.child({ component: 'agent', nodeId: membership.nodeId });
    const networks = await scope.start(
      new NetworkManager({
        dir: join(dataDir, 'network'),
        forwarding: this.#forwarding,
        nodeId: membership.nodeId,
        vtepAddress: membership.vtepAddress,
        clock,
        random,
        log: this.#options.log.child({ component: 'network' }),
        onFailure,
        upstreamNameservers: this.#options.upstreamNameservers,
        localHolder: (port) => this.#localPorts.holderOf(port),
        own: this.localNetworks,
        furtherSubjects: () => [
          ...this.localNetworks.subjects(),
          ...this.#containerNetworks.subjects(),
        ],
      }),
    );
    const drains = new EndpointDrains(clock);
    const devices = new NodeDevices(clock);
    const describe = (): NodeDescription => ({
      ...describedWith(membership.describe(), networks.dataPath),
      devices: devices.names,
    });
    const executor = new ContainerExecutor({
      ...this.#makerParts,
      runtime: this.#runtime,
      images: this.images,
      volumes: this.volumes,
      networks,
      drains,
      files: this.#files,
      describe,
      node: () => ({ hostname: this.#options.hostname(), platform: OWN_PLATFORM }),
      nameservers: this.#options.upstreamNameservers,
      clock,
      log,
      tell,
    });
    const reporter = new StatusReporter();
    const database = new TaskDatabase(join(dataDir, 'agent', 'tasks'), log, new NativeSmallFiles());
    const tasks = new TaskManager({ executor, database, reporter, clock, log, onFailure });
    const dialer = new DispatcherClient({
      pool: membership.pool,
      file: join(dataDir, 'agent', 'managers.json'),
      seedAddresses: membership.managerAddresses,
      clock,
      random,
      log,
    });
    const seats = new ClusterSeats({
      registry: new ManagerRegistry({
        pool: membership.pool,
        managers: () => membership.peers.managers(),
        clock,
      }),
      networks,
      onLost: (containerId, networkId) => this.#lostSeat(containerId, networkId),
      ...{ clock, random, onFailure },
      log: this.#options.log.child({ component: 'network' }),
    });
    scope.defer(() => seats.stop());
    await seats.start(this.#containerNetworks.seatedInCluster(), membership.isNew);
    await dialer.load();
    scope.defer(() => dialer.saved());
    const agent = await scope.start(
      new Agent({
        dialer,
        tasks,
        reporter,
        describe,
        onSession: (word) => {
          membership.onSession(word);
          // Managers answer: who needs places in the cluster's networks can have them.
          this.plain.resumeHeld();
        },
        drains,
        clock,
        random,
        log,
        onFailure,
      }),
    );
    return { scope, agent, tasks, networks, executor, seats };
  }
}

/** A kernel with WireGuard counts as a plugin: the scheduler asks for it by that name. */
function describedWith(node: NodeDescription, dataPath: DataPath): NodeDescription {
  const encryption = { type: 'Network', name: ENCRYPTION_PLUGIN };
  const plugins = dataPath.encryptionKey === '' ? node.plugins : [...node.plugins, encryption];
  return { ...node, ...dataPath, plugins };
}
