/**
 * The networks of this node: keeps the kernel in line with the tables that the cluster sends, and
 * attaches tasks. Composes the parts of this folder; knows nothing of containers or sessions.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../../common/base/clock.ts';
import { describeError, SkepError } from '../../common/base/errors.ts';
import type { OnFailure } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { Serial } from '../../common/base/serial.ts';
import type { AssignmentChange } from '../../common/model/assignment.ts';
import type { PublishedPort } from '../../common/model/host-ip.ts';
import type { NetworkId, NodeId, TaskId } from '../../common/model/ids.ts';
import { DRIFTS_TOLD_MAX, type NetworkProof } from '../../common/model/network-proof.ts';
import type { NetworkHop, NetworkTraceRequest } from '../../common/model/network-trace.ts';
import type { PortConfig } from '../../common/model/service.ts';
import type { LocalAddress } from '../../common/model/task.ts';
import { probePaths } from '../../native/ffi/net/path-probe.ts';
import { OWN_NAMESPACE } from '../../native/ffi/net/sockets.ts';
import { BackgroundProof } from './background-proof.ts';
import { ClusterTables } from './cluster-tables.ts';
import { DnsForwarder, ownUpstream } from './dns-forwarder.ts';
import { emptyAnswer, type Question, RCODE, readQuestion } from './dns-message.ts';
import { answerLocally, type DnsClient, lookupName } from './dns-resolver.ts';
import type { AnswerQuery } from './dns-server.ts';
import { DEFAULT_GATEWAY_POOLS } from './gateway-bridge.ts';
import { Ipv4Forwarding } from './ipv4-forwarding.ts';
import { NodeMadeNetworks, type OwnNetworks, withoutFarSeats } from './node-made-networks.ts';
import { type DataPath, NodeNetwork } from './node-network.ts';
import { narrowPaths } from './path-check.ts';
import { PathWatch } from './path-watch.ts';
import {
  DriftCounter,
  type DriftCounts,
  mendedOf,
  type Proof,
  type Subject,
} from './self-proof.ts';
import {
  type AttachedTask,
  checkRequest,
  hasWayOut,
  madeWishes,
  type TaskNetworkRequest,
} from './task-request.ts';
import { closedTunnels } from './tunnel-check.ts';

export type { AttachedTask, TaskNetworkRequest } from './task-request.ts';

/** How long an attach waits for its networks to appear in the tables. */
const TABLES_TIMEOUT_MS = 30_000;
const SWEEP_PERIOD_MS = 30_000;
const DRIFTS_LOGGED_MAX = 10;
const TCP_BYTES_MAX = 65_535;
const NO_NETWORKS: OwnNetworks = { config: () => null, subnets: [] };

export interface NetworkManagerOptions {
  /** `<data-dir>/network` */
  readonly dir: string;
  readonly nodeId: NodeId;
  /** underlay IP of this node: where other nodes send VXLAN packets */
  readonly vtepAddress: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
  /** asked for names that the cluster does not know, by tasks without nameservers of their own */
  readonly upstreamNameservers: () => readonly string[];
  /** shared with this node's own networks; absent = there are none */
  readonly forwarding?: Ipv4Forwarding;
  /** a container of this node outside of services that publishes the port; null = none */
  readonly localHolder?: (port: PublishedPort) => string | null;
  /** what a proof that was asked for covers besides */
  readonly furtherSubjects?: () => readonly Subject[];
  /** CIDRs to choose the gateway bridge's subnet from; default: local pools of RFC 1918 */
  readonly gatewayPools?: readonly string[];
  /** this node's own networks; absent = none */
  readonly own?: OwnNetworks;
}

/** INVARIANT: everything that touches the kernel runs in `#serial`, one after another. */
export class NetworkManager {
  readonly #options: NetworkManagerOptions;
  readonly #tables = new ClusterTables();
  readonly #forwarder: DnsForwarder;
  readonly #forwarding: Ipv4Forwarding;
  readonly #waiting = new Set<() => void>();
  readonly #made: NodeMadeNetworks;
  /** null while stopped */
  #node: NodeNetwork | null = null;
  #sweeper: Timer | null = null;
  readonly #prover: BackgroundProof;
  readonly #pathWatch: PathWatch;
  readonly #drifts = new DriftCounter();
  readonly #serial = new Serial();

  constructor(options: NetworkManagerOptions) {
    this.#options = options;
    this.#forwarder = new DnsForwarder(options.clock, options.random);
    const { clock, log } = options;
    this.#prover = new BackgroundProof({
      clock,
      log,
      prove: (begin) =>
        this.#serial.run(async () => {
          return this.#node?.prove({ repair: true, all: false, turn: begin() }) ?? null;
        }),
      tell: (proof) => this.#note(proof),
    });
    this.#pathWatch = new PathWatch({
      ...{ clock, log, random: options.random, probe: probePaths },
      paths: () => this.#node?.fullPaths() ?? [],
      tell: (mtu) => this.#node?.setNarrowestPath(mtu),
    });
    this.#forwarding = options.forwarding ?? new Ipv4Forwarding(join(options.dir, 'ip_forward'));
    this.#made = new NodeMadeNetworks({
      ...{ clock, random: options.random, log, forwarding: this.#forwarding },
      dir: join(options.dir, 'made'),
      own: options.own ?? NO_NETWORKS,
      isTold: (id) => this.networkOf(id) !== null,
    });
  }

  /** Takes up what an earlier life of the daemon left in the kernel. */
  start(): Promise<void> {
    return this.#serial.run(async () => {
      this.#node ??= await this.#open();
      await this.#made.start();
      this.#sweeper = this.#options.clock.setPeriodic(SWEEP_PERIOD_MS, () => {
        this.#serial
          .run(async () => this.#node?.sweep())
          .catch((err: unknown) => this.#options.log.warn({ err }, 'network sweep failed'));
      });
      this.#prover.start();
      this.#pathWatch.start();
    });
  }

  /** What managers must tell other nodes of this one; nothing before `start`. */
  get dataPath(): DataPath {
    return this.#node?.dataPath ?? { encryptionKey: '', underlayMtu: 0 };
  }

  /** Leaves everything in the kernel as it is, for the tasks that go on running. */
  stop(): Promise<void> {
    const ended = this.#endRounds();
    return this.#serial.run(async () => {
      await ended;
      await this.#made.stop();
      await this.#node?.close();
      this.#node = null;
    });
  }

  /**
   * Brings tables and kernel in line with the next revision; resolves when it is programmed.
   * @param complete the changes name the whole set: what they do not name is gone
   */
  apply(changes: readonly AssignmentChange[], complete: boolean): Promise<void> {
    return this.#serial.run(async () => {
      const told = withoutFarSeats(changes, this.#tables, this.#options.nodeId);
      const touched = this.#tables.apply(told, complete);
      for (const wake of [...this.#waiting]) wake();
      this.#tellOfHeldPorts(touched.ports);
      await this.#node?.program(touched);
    });
  }

  /** Who has a port of this node by the cluster's doing: a service or a task; null = nobody. */
  portHolder(port: PublishedPort): string | null {
    return this.#node?.portHolder(port) ?? null;
  }

  /** A service cannot be kept from a port that a container of one node has: an operator must choose. */
  #tellOfHeldPorts(keys: ReadonlySet<string>): void {
    for (const key of keys) {
      const port = this.#tables.ports.get(key);
      const holder = port && this.#options.localHolder?.(port);
      if (!holder) continue;
      const { serviceId } = port;
      this.#options.log.error(
        { port: key, serviceId, holder },
        'published port is held on this node',
      );
    }
  }

  /**
   * Gives a task its network. A task that is attached already keeps what it has.
   * Rejects with `deadline-exceeded` when a network of it is not in the tables after 30 s.
   */
  async attachTask(request: TaskNetworkRequest, signal?: AbortSignal): Promise<AttachedTask> {
    await this.#waitForTables(request, signal);
    return this.#serial.run(async () => {
      signal?.throwIfAborted();
      const node = this.#started();
      const { taskId, netnsPath } = request;
      checkRequest(this.#tables, request);
      // First: what the other links are programmed by may depend on the way out that they give.
      await this.#made.attach(taskId, netnsPath, madeWishes(this.#tables, request));
      try {
        return await node.attach(request);
      } catch (err) {
        await this.#made.detach(taskId).catch((left: unknown) => {
          this.#options.log.error({ taskId, err: left }, 'links of a task that failed are left');
        });
        throw err;
      }
    });
  }

  /** What this node gave a task in networks of the cluster that it makes by itself. */
  localAddresses(taskId: TaskId): readonly LocalAddress[] {
    return this.#made.addressesOf(taskId);
  }

  /** A network of the cluster; null = this node does not know of it. */
  networkOf(networkId: NetworkId): { readonly name: string; readonly driver: string } | null {
    return this.#tables.networks.get(networkId)?.network ?? null;
  }

  /** The subnets of those networks that this node makes. */
  get madeSubnets(): readonly string[] {
    return this.#made.subnets;
  }

  /** One of them takes what it is from this node's configuration network of that name. */
  usesConfig(name: string): boolean {
    return this.#made.usesConfig(name);
  }

  /**
   * A container outside of services that runs is in the networks of the request from now on, and in no others of the
   * cluster. Rejects as `attachTask`.
   */
  async changeContainer(request: TaskNetworkRequest, signal?: AbortSignal): Promise<void> {
    await this.#waitForTables(request, signal);
    await this.#serial.run(async () => {
      signal?.throwIfAborted();
      await this.#started().change(request);
    });
  }

  /** Takes up a task that has run since before this daemon started. */
  adoptTask(request: TaskNetworkRequest): Promise<void> {
    return this.#serial.run(() => this.#started().adopt(request));
  }

  /**
   * Host-mode ports of a task that was attached without them; one that has them keeps them. Rejects with `conflict` when one
   * is taken. Resolves with the numbers.
   */
  publishPorts(taskId: TaskId, ports: readonly PortConfig[]): Promise<readonly PortConfig[]> {
    return this.#serial.run(() => this.#started().publish(taskId, ports));
  }

  /** Forgets a task and removes networks that nobody here uses any more. Idempotent. */
  detachTask(taskId: TaskId): Promise<void> {
    return this.#serial.run(async () => {
      try {
        await this.#node?.detach(taskId);
      } finally {
        await this.#made.detach(taskId);
      }
    });
  }

  /** Removes all of ours from the kernel and the disk; also after `stop`. Tasks must have ended. */
  removeAll(): Promise<void> {
    const ended = this.#endRounds();
    return this.#serial.run(async () => {
      await ended;
      const node = this.#node ?? (await this.#open());
      this.#node = null;
      // Whatever the first leaves: the other's sockets are nobody's any more.
      try {
        await this.#made.removeAll();
      } finally {
        await node.destroy();
      }
      await rm(this.#options.dir, { recursive: true, force: true });
    });
  }

  /**
   * Compares everything of ours in the kernel with the tables. `repair` brings it back in line; what
   * was mended counts as drift.
   */
  verify(repair: boolean): Promise<Proof> {
    return this.#serial.run(async () => {
      const proof = await this.#started().prove({ repair, all: true, tries: true });
      this.#note(proof);
      return proof;
    });
  }

  /** The way of a connection, as the tables and the kernel have it. */
  trace(request: NetworkTraceRequest): Promise<NetworkHop[]> {
    return this.#serial.run(() => this.#started().trace(request));
  }

  /** As `verify`, and whether full packets pass to the other hosts, in the words that managers are told. */
  async report(repair: boolean): Promise<NetworkProof> {
    const proof = await this.#withPaths(await this.verify(repair));
    const { compared, drifts, left, failures } = proof;
    const mended = new Set(mendedOf(proof));
    return {
      compared,
      driftCount: drifts.length,
      leftCount: left.length,
      drifts: drifts.slice(0, DRIFTS_TOLD_MAX).map((drift) => ({
        ...drift,
        repaired: mended.has(drift),
      })),
      failures: failures.slice(0, DRIFTS_TOLD_MAX),
      repairedSinceStart: this.drifts.repaired,
    };
  }

  /** Paths take their time, and none of them is mended from here: nothing else waits for it. */
  async #withPaths(proof: Proof): Promise<Proof> {
    try {
      const faults = [
        ...(await narrowPaths(this.#node?.paths() ?? [], probePaths)),
        ...(await closedTunnels(this.#node?.tunnels() ?? [], probePaths)),
      ];
      return { ...proof, drifts: [...proof.drifts, ...faults], left: [...proof.left, ...faults] };
    } catch (err) {
      const failure = { where: 'ways to other hosts', reason: describeError(err) };
      return { ...proof, failures: [...proof.failures, failure] };
    }
  }

  /** What the self-proof found since this daemon started. */
  get drifts(): DriftCounts {
    const [cluster, made] = [this.#drifts.counts, this.#made.drifts];
    return { repaired: cluster.repaired + made.repaired, left: cluster.left + made.left };
  }

  /** Resolves when no way is tried any more; what goes by the kernel's state is of the queue. Never rejects. */
  #endRounds(): Promise<void> {
    this.#sweeper?.cancel();
    this.#prover.stop();
    return this.#pathWatch.stop();
  }

  #note(proof: Proof): void {
    const { log } = this.#options;
    this.#drifts.note(proof);
    const some = proof.drifts.slice(0, DRIFTS_LOGGED_MAX);
    if (proof.drifts.length > 0) {
      log.warn({ count: proof.drifts.length, left: proof.left.length, some }, 'network drift');
    }
    if (proof.failures.length > 0) {
      log.warn({ failures: proof.failures }, 'network could not be compared');
    }
  }

  #open(): Promise<NodeNetwork> {
    return NodeNetwork.open({
      ...this.#options,
      gatewayPools: this.#options.gatewayPools ?? DEFAULT_GATEWAY_POOLS,
      localSubnets: () => [...(this.#options.own?.subnets ?? []), ...this.#made.subnets],
      localHolder: this.#options.localHolder ?? (() => null),
      made: this.#made,
      furtherSubjects: () => [
        ...this.#made.subjects(),
        ...(this.#options.furtherSubjects?.() ?? []),
      ],
      tables: this.#tables,
      forwarding: this.#forwarding,
      answerFor: (request) => this.#answerFor(request),
    });
  }

  #started(): NodeNetwork {
    if (this.#node) return this.#node;
    throw new SkepError('unavailable', 'use network: it is not started');
  }

  async #waitForTables(request: TaskNetworkRequest, signal?: AbortSignal): Promise<void> {
    const deadlineMs = this.#options.clock.monotonicMs() + TABLES_TIMEOUT_MS;
    for (;;) {
      const lacking = this.#lacking(request);
      if (lacking === null) return;
      const leftMs = deadlineMs - this.#options.clock.monotonicMs();
      if (leftMs <= 0) {
        throw new SkepError(
          'deadline-exceeded',
          `attach task ${request.taskId} to network ${lacking}: this node was not told of it within ${TABLES_TIMEOUT_MS / 1000} s`,
        );
      }
      await this.#nextApply(leftMs, signal);
    }
  }

  /** A network of the request that the tables do not cover yet. */
  #lacking(request: TaskNetworkRequest): string | null {
    for (const { networkId } of request.attachments) {
      const table = this.#tables.networks.get(networkId);
      if (!table?.network) return networkId;
      const seatMissing = table.network.ingress && !table.peers.has(this.#options.nodeId);
      if (seatMissing) return `${table.network.name} (no seat of this node in it)`;
    }
    return null;
  }

  async #nextApply(withinMs: number, signal?: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal?.reason);
    const wake = (): void => stop.abort(null);
    if (signal?.aborted) throw signal.reason;
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#waiting.add(wake);
    try {
      await this.#options.clock.sleep(withinMs, stop.signal);
    } catch (reason) {
      if (reason !== null) throw reason;
    } finally {
      this.#waiting.delete(wake);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** The cluster's answer to who is in these networks; null = it has none. @param bytesMax of the message */
  answerNames(
    client: DnsClient,
    query: Buffer,
    question: Question,
    bytesMax: number,
  ): Buffer | null {
    const { random } = this.#options;
    return answerLocally(this.#tables, client, query, question, bytesMax, random);
  }

  /** The addresses that `answerNames` has for a name; null = it has no answer. */
  lookupName(client: DnsClient, name: string): string[] | null {
    return lookupName(this.#tables, client, name.toLowerCase());
  }

  #answerFor(request: TaskNetworkRequest): AnswerQuery {
    const client = { networkIds: request.attachments.map(({ networkId }) => networkId) };
    const { upstreamNameservers } = this.#options;
    return (query, transport, nsPath) => {
      const question = readQuestion(query);
      if (question) {
        const bytesMax = transport === 'udp' ? question.udpBytesMax : TCP_BYTES_MAX;
        const local = this.answerNames(client, query, question, bytesMax);
        if (local) return local;
      }
      const own = ownUpstream(request.dns.nameservers, nsPath);
      if (own) return this.#forwarder.forward(request.taskId, query, question, own, transport);
      // Asked for by the host, names would be a way out of networks that have none.
      if (!hasWayOut(this.#tables, client.networkIds)) {
        return emptyAnswer(query, question, RCODE.serverFailure);
      }
      const upstream = { servers: upstreamNameservers(), nsPath: OWN_NAMESPACE };
      return this.#forwarder.forward(request.taskId, query, question, upstream, transport);
    };
  }
}
