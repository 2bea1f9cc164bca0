/**
 * A machine of the cluster: its disks and containers, which last, and the lives of the daemon on it.
 * Knows how a daemon is composed, started and killed, not when.
 */
import { TaskSet } from '../../../common/base/lifecycle.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { SeededRandom } from '../../../common/base/random.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import type { NodeDescription, NodeRole } from '../../../common/model/node.ts';
import type { AgentMessage } from '../../../common/model/session.ts';
import { dispatcherSession } from '../../../common/rpc/dispatcher-method.ts';
import type { Peer } from '../../../common/rpc/peer.ts';
import type { RoleFollower } from '../../../daemon/role-follower.ts';
import type { ControlApi } from '../../../manager/controlapi/control-api.ts';
import { Manager } from '../../../manager/manager.ts';
import type { ManagerOrigin } from '../../../manager/manager-options.ts';
import type { Disk } from '../../../manager/raftnode/disk.ts';
import { Agent } from '../../../worker/agent/agent.ts';
import { DispatcherClient } from '../../../worker/agent/dispatcher-client.ts';
import { TaskDatabase } from '../../../worker/agent/task-database.ts';
import { TaskManager } from '../../../worker/agent/task-manager.ts';
import { SimDisk } from '../../support/sim-disk.ts';
import type { EventKind, SimClock } from '../clock.ts';
import { Containers, SimExecutor, type SimExecutorOptions } from './containers.ts';
import { HostClock } from './host-clock.ts';
import { KeptFiles } from './kept-files.ts';
import { LateReporter } from './late-reporter.ts';
import { serveLogs } from './logs.ts';
import { serveGrants, takeOffice } from './office.ts';
import type { ClusterPlan } from './plan.ts';
import type { Directory } from './rpc.ts';
import { SimRpcPool } from './rpc-client.ts';
import { SimRpcServer } from './rpc-server.ts';
import type { Process } from './wires.ts';

const DATA = '/data';
/** So that batches of the past are not taken for those of the present. */
const STALE_SEQUENCE = 1_000_000;
const STALE_SESSION_MS = 100;
const CLUSTER_ID = 'cluster';
/** Roles are told by the simulated connections; there are no external authorities. */
const NO_CREDENTIALS = {
  current: { nodeId: '', clusterId: CLUSTER_ID, certPem: '', keyPem: '', rootPem: '' },
};

type StatusReport = Extract<AgentMessage, { kind: 'statuses' }>;

export interface HostObserver {
  /** A store of a manager here gets an entry, in the order of the log. */
  applying(index: number, payload: Uint8Array): void;
  /** A part of the daemon died of `err`. */
  failed(err: unknown): void;
  removed(): void;
  readonly containers: Containers['options']['observer'];
  readonly executor: SimExecutorOptions['observer'];
}

export interface HostOptions {
  readonly id: number;
  readonly nodeId: NodeId;
  readonly role: NodeRole;
  readonly plan: ClusterPlan;
  readonly clock: SimClock;
  readonly random: SeededRandom;
  readonly directory: Directory;
  readonly observer: HostObserver;
  readonly isFaulty: () => boolean;
}

/** One life of the daemon. */
export interface Daemon {
  readonly process: Process;
  readonly clock: HostClock;
  readonly server: SimRpcServer;
  readonly pool: SimRpcPool;
  readonly disk: Disk;
  /** What goes on beside the rooms. */
  readonly background: TaskSet;
  manager: Manager | null;
  /** The start of the manager, whatever comes of it. */
  starting: Promise<void>;
  /** It is over. */
  isManaging: boolean;
  agent: Agent | null;
  tasks: TaskManager | null;
  executor: SimExecutor | null;
  office: RoleFollower | null;
  reporter: LateReporter | null;
}

export class Host {
  readonly id: number;
  readonly nodeId: NodeId;
  readonly address: string;
  /** as its certificate says */
  role: NodeRole;
  readonly containers: Containers;
  /** Lives so far. */
  life = 0;
  daemon: Daemon | null = null;
  /** The daemon's rooms are all there. */
  isUp = false;
  /** No power. */
  isDown = false;
  paused = false;
  /** Its first start was completed. */
  hasJoined = false;
  /** It left the cluster, or is broken: not to be started again. */
  gone = false;
  /** Nor does anybody ever remove its node. */
  lost = false;
  /** Of what its agent is told next one entry is lost; */
  losesEntry = false;
  /** was lost, and the dispatcher has not heard of it. */
  lacksEntry = false;
  readonly backlog: { readonly kind: EventKind; readonly run: () => void }[] = [];
  readonly #options: HostOptions;
  readonly #random: SeededRandom;
  readonly #disk: SimDisk;
  readonly #files: KeptFiles;
  readonly #clockErrorMs: number;
  /** Addresses of the managers that it was told of last. */
  #managers: readonly string[] = [];

  constructor(options: HostOptions) {
    const { id, nodeId, plan, clock, random } = options;
    this.#options = options;
    this.#random = random.fork();
    this.id = id;
    this.nodeId = nodeId;
    this.role = options.role;
    this.address = addressOf(id);
    this.#clockErrorMs = (2 * random.unit() - 1) * plan.clockErrorMs;
    const latencies = random.fork();
    const latency = (): Promise<void> | null =>
      plan.diskMs === 0 ? null : clock.sleep(latencies.unit() * plan.diskMs, id, 'disk');
    this.#disk = new SimDisk({ random: random.fork(), latency });
    this.#files = new KeptFiles({ random: random.fork(), nowMs: () => clock.nowMs, latency });
    this.containers = new Containers({
      random: random.fork(),
      after: (delayMs, act) => clock.schedule(delayMs, 0, 'timer', act),
      isFaulty: options.isFaulty,
      observer: options.observer.containers,
    });
  }

  /** Starts the daemon; resolves when all of it is there. */
  async start(first: ManagerOrigin | null, managerAddresses: readonly string[]): Promise<void> {
    const life = ++this.life;
    this.isDown = false;
    const daemon = this.#compose(life);
    this.daemon = daemon;
    this.#managers = [...new Set([...this.#managers, ...managerAddresses])];
    // Before the manager, which may learn at its start that it is none any more.
    daemon.office = this.#office(daemon);
    const origin = await this.#originAtStart(daemon, first, managerAddresses);
    if (origin !== null) await this.#startManager(daemon, origin);
    if (this.life !== life) return;
    this.hasJoined = true;
    await this.#startAgent(daemon, managerAddresses);
    if (this.life === life) this.isUp = true;
  }

  /** For good: nothing of the cluster is left on it. Resolves with false when it ended before. */
  async leave(): Promise<boolean> {
    const { daemon, life } = this;
    if (daemon === null) return false;
    await daemon.background.stop();
    await daemon.agent?.endSession();
    await daemon.tasks?.removeAll();
    return this.life === life;
  }

  /** The machine loses power, or (`kill`) the process dies and the page cache stays. */
  end(how: 'crash' | 'kill'): void {
    const { daemon } = this;
    this.life++;
    this.daemon = null;
    this.isUp = false;
    this.paused = false;
    this.backlog.length = 0;
    this.isDown = how === 'crash';
    if (how === 'crash') {
      this.#disk.crash();
      this.#files.crash();
      this.containers.crash();
    } else {
      this.#disk.kill();
      this.#files.kill();
    }
    if (daemon !== null) this.#options.directory.wires.ended(daemon.process, how === 'kill');
  }

  /** In order: sessions end, leadership is handed over. */
  async stop(): Promise<void> {
    const { daemon } = this;
    await daemon?.background.stop();
    await daemon?.agent?.stop();
    await daemon?.manager?.stop();
  }

  /** As an earlier process of this machine would whose packets were long under way. */
  async reportAgain(leader: string, report: StatusReport): Promise<void> {
    const { daemon } = this;
    if (daemon === null) return;
    const { signal } = new AbortController();
    const stream = await daemon.pool.session(leader).duplex(dispatcherSession, { signal });
    stream.write({ kind: 'hello', description: this.#describe(), reports: 0 });
    stream.write({ ...report, sequence: report.sequence + STALE_SEQUENCE });
    await stream.next();
    await daemon.clock.sleep(STALE_SESSION_MS);
    stream.cancel();
  }

  /** Runs what somebody wants of the process, as an event of its own. */
  whenAwake(act: () => void): void {
    this.#options.clock.schedule(0, this.id, 'client', act);
  }

  /** Whether its agent could find one of `managers`. */
  knows(managers: readonly string[]): boolean {
    return this.#managers.some((address) => managers.includes(address));
  }

  /** Null while there is none that answers. */
  get control(): ControlApi | null {
    const { daemon } = this;
    return this.isUp && daemon?.isManaging ? (daemon.manager?.control ?? null) : null;
  }

  get peer(): Peer {
    const address = this.address.split(':')[0]!;
    return { nodeId: this.nodeId, role: this.role, clusterId: CLUSTER_ID, address };
  }

  #compose(life: number): Daemon {
    const { directory, clock, observer } = this.#options;
    const isAlive = (): boolean => this.life === life;
    const process: Process = { host: this.id, isAlive };
    const onFailure = (err: unknown): void => {
      if (isAlive()) observer.failed(err);
    };
    const server = new SimRpcServer({
      ...{ directory, process, onFailure },
      isBlocked: (nodeId) => this.#isBlocked(nodeId),
      isWorker: (nodeId) => this.#isWorker(nodeId),
      role: () => this.role,
    });
    const daemon: Daemon = {
      process,
      clock: new HostClock(clock, this.id, isAlive, this.#clockErrorMs),
      server,
      pool: new SimRpcPool({ directory, process, self: () => this.peer }),
      disk: this.#disk.mount(),
      background: new TaskSet(onFailure),
      starting: Promise.resolve(),
      isManaging: false,
      ...{ manager: null, agent: null, tasks: null, executor: null, office: null },
      reporter: null,
    };
    serveLogs(server, this.containers, daemon.clock);
    serveGrants(server, () => (daemon.isManaging ? daemon.manager : null));
    return daemon;
  }

  /** As `SwarmNode` decides it, by the certificate and what lies on the disk. */
  async #originAtStart(
    { disk }: Daemon,
    first: ManagerOrigin | null,
    managerAddresses: readonly string[],
  ): Promise<ManagerOrigin | null> {
    if (this.role === 'worker') {
      await Manager.removeState(disk, DATA);
      return null;
    }
    if (!this.hasJoined && first !== null) return first;
    const hasState = await Manager.hasState(disk, DATA);
    return hasState ? { kind: 'restart', forceNewCluster: false, managerAddresses } : null;
  }

  #office(daemon: Daemon): RoleFollower {
    return takeOffice({
      ...{ daemon, dataDir: DATA, random: this.#random.fork() },
      managers: () => this.#managers,
      granted: (role) => {
        if (role !== this.role) daemon.pool.rotate();
        this.role = role;
      },
      join: (signal) => {
        const managerAddresses = this.#managers.filter((address) => address !== this.address);
        return this.#startManager(daemon, { kind: 'join', managerAddresses }, signal);
      },
    });
  }

  #isWorker(nodeId: NodeId): boolean {
    const store = this.daemon?.manager?.store;
    return store?.view((view) => view.get('node', nodeId)?.role) === 'worker';
  }

  #isBlocked(nodeId: string): boolean {
    const store = this.daemon?.manager?.store;
    const cluster = store?.view((view) => view.list('cluster')[0]);
    return cluster !== undefined && Object.hasOwn(cluster.blockedNodes, nodeId);
  }

  async #startManager(daemon: Daemon, origin: ManagerOrigin, signal?: AbortSignal): Promise<void> {
    const { plan, observer } = this.#options;
    const { process, clock, server, pool } = daemon;
    const { isAlive } = process;
    const manager = new Manager({
      ...{ dataDir: DATA, nodeId: this.nodeId, clusterId: CLUSTER_ID, address: this.address },
      ...{ server, pool, clock, log: silentLogger, random: this.#random.fork() },
      credentials: NO_CREDENTIALS,
      disk: daemon.disk,
      raft: {
        snapshotIntervalEntries: plan.snapshotIntervalEntries,
        keepEntries: plan.keepEntries,
        segmentBytes: 128 * 1024,
        smallSegmentBytes: 32 * 1024,
      },
      onFailure: (err) => {
        if (isAlive()) observer.failed(err);
      },
      onRemoved: () => {
        if (!isAlive()) return;
        observer.removed();
        daemon.office?.removed();
      },
    });
    const { store } = manager;
    const apply = store.apply.bind(store);
    store.apply = (index, payload) => {
      if (isAlive()) observer.applying(index, payload);
      apply(index, payload);
    };
    daemon.manager = manager;
    const started = manager.start(origin, signal).then(() => {
      daemon.isManaging = true;
    });
    daemon.starting = started.catch(() => {
      daemon.manager = null;
    });
    await started;
  }

  async #startAgent(daemon: Daemon, managerAddresses: readonly string[]): Promise<void> {
    const { plan, observer } = this.#options;
    const { process, clock, pool } = daemon;
    const { isAlive } = process;
    const onFailure = (err: unknown): void => {
      if (isAlive()) observer.failed(err);
    };
    const files = this.#files.mount();
    const reporter = new LateReporter();
    const executor = new SimExecutor({
      containers: this.containers,
      random: this.#random.fork(),
      describe: () => this.#describe(),
      sleep: (delayMs, signal) => clock.sleep(delayMs, signal),
      ...{ isAlive, moveMs: plan.moveMs, observer: observer.executor },
    });
    const database = new TaskDatabase(`${DATA}/agent/tasks`, silentLogger, files);
    const parts = { clock, log: silentLogger, onFailure };
    const tasks = new TaskManager({ executor, database, reporter, ...parts });
    const random = this.#random.fork();
    const dialer = new DispatcherClient({
      ...{ pool, files, clock, random, log: silentLogger },
      file: `${DATA}/agent/managers.json`,
      seedAddresses: managerAddresses,
    });
    await dialer.load();
    const { office } = daemon;
    const agent = new Agent({
      ...{ dialer, tasks, reporter, random, ...parts },
      describe: () => this.#describe(),
      onSession: ({ nodeSpec, managers }) => {
        this.#managers = managers.map(({ address }) => address);
        office?.follow(nodeSpec.desiredRole);
      },
    });
    Object.assign(daemon, { agent, tasks, executor, reporter });
    await agent.start();
  }

  #describe(): NodeDescription {
    return {
      hostname: `host-${this.id}`,
      platform: { architecture: this.id % 3 === 0 ? 'aarch64' : 'x86_64', os: 'linux' },
      ...{ nanoCpus: 4e9, memoryBytes: 8 * 2 ** 30, generic: genericOf(this.id), plugins: [] },
      ...{ engineVersion: '0.1.0', engineLabels: { parity: this.id % 2 === 0 ? 'even' : 'odd' } },
      ...{
        address: this.address,
        tlsInfo: null,
        encryptionKey: '',
        underlayMtu: 0,
        devices: [],
        dataPathAddress: '',
      },
    };
  }
}

/** Named ones on every second machine, counted ones on all. */
function genericOf(id: number): NodeDescription['generic'] {
  const gpus = ['a', 'b'].map((value) => ({ kind: 'gpu', value: `gpu-${value}` }));
  return [...(id % 2 === 0 ? gpus : []), { kind: 'licence', value: 3 }];
}

export function addressOf(id: number): string {
  return `192.168.0.${id}:2377`;
}

export function idOfAddress(address: string): number {
  return Number(/\.(\d+):/.exec(address)?.[1]);
}
