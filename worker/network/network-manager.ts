/**
 * The networks of this node: keeps the kernel in line with the tables that the cluster sends, and
 * attaches tasks. Composes the parts of this folder; knows nothing of containers or sessions.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { OnFailure } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { AssignmentChange } from '../../common/model/assignment.ts';
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import type { PortConfig } from '../../common/model/service.ts';
import { parsePrefix } from '../../native/ffi/net/address.ts';
import { ClusterTables, type NetworkTable, type Touched } from './cluster-tables.ts';
import { DnsForwarder } from './dns-forwarder.ts';
import { readQuestion } from './dns-message.ts';
import { answerLocally } from './dns-resolver.ts';
import type { AnswerQuery } from './dns-server.ts';
import { DEFAULT_GATEWAY_POOLS } from './gateway-bridge.ts';
import { HostPorts } from './host-ports.ts';
import type { PortTarget } from './host-rules.ts';
import { HostSide } from './host-side.ts';
import { INGRESS_PORT, overlayPortName } from './kernel-names.ts';
import { OverlaySet } from './overlay-set.ts';
import { planLegs, TaskNetwork } from './task-network.ts';
import {
  type AttachedTask,
  checkRequest,
  hasWayOut,
  type TaskNetworkRequest,
} from './task-request.ts';

export type { AttachedTask, TaskNetworkRequest } from './task-request.ts';

/** How long an attach waits for its networks to appear in the tables. */
const TABLES_TIMEOUT_MS = 30_000;
const SWEEP_PERIOD_MS = 30_000;
const TCP_BYTES_MAX = 65_535;

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
  /** CIDRs to choose the gateway bridge's subnet from; default: local pools of RFC 1918 */
  readonly gatewayPools?: readonly string[];
}

interface AttachedState {
  readonly request: TaskNetworkRequest;
  readonly network: TaskNetwork;
  readonly hostPorts: readonly PortConfig[];
  /** legs that could not be made yet: their network was not in the tables at adoption */
  readonly missing: Set<NetworkId>;
}

/**
 * INVARIANTS
 * - Everything that touches the kernel runs in `#serial`, one after another.
 * - Before the first `apply` no rule and no network of an earlier life is changed or removed.
 */
export class NetworkManager {
  readonly #options: NetworkManagerOptions;
  readonly #tables = new ClusterTables();
  readonly #forwarder: DnsForwarder;
  readonly #hostPorts: HostPorts;
  readonly #tasks = new Map<TaskId, AttachedState>();
  readonly #waiting = new Set<() => void>();
  #host: HostSide | null = null;
  #overlays: OverlaySet | null = null;
  #sweeper: Timer | null = null;
  #synced = false;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: NetworkManagerOptions) {
    this.#options = options;
    this.#forwarder = new DnsForwarder(options.clock, options.random);
    this.#hostPorts = new HostPorts({
      dir: join(options.dir, 'ports'),
      random: options.random,
      holder: ({ protocol, publishedPort }) => {
        const target = this.#host?.rules.portTarget(protocol, publishedPort);
        if (!target) return null;
        return target.kind === 'service' ? `service ${target.serviceId}` : 'another task';
      },
    });
  }

  /** Takes up what an earlier life of the daemon left in the kernel. */
  start(): Promise<void> {
    return this.#serial(async () => {
      await this.#open();
      this.#sweeper = this.#options.clock.setPeriodic(SWEEP_PERIOD_MS, () => {
        this.#serial(() => this.#sweep()).catch((err: unknown) =>
          this.#options.log.warn({ err }, 'network sweep failed'),
        );
      });
    });
  }

  /** Leaves everything in the kernel as it is, for the tasks that go on running. */
  stop(): Promise<void> {
    this.#sweeper?.cancel();
    return this.#serial(async () => {
      for (const { network } of this.#tasks.values()) await network.close();
      this.#tasks.clear();
      await this.#overlays?.close();
      await this.#host?.close();
      this.#overlays = null;
      this.#host = null;
      this.#synced = false;
    });
  }

  /**
   * Brings tables and kernel in line with the next revision; resolves when it is programmed.
   * @param complete the changes name the whole set: what they do not name is gone
   */
  apply(changes: readonly AssignmentChange[], complete: boolean): Promise<void> {
    return this.#serial(async () => {
      const touched = this.#tables.apply(changes, complete);
      for (const wake of [...this.#waiting]) wake();
      if (!this.#host) return;
      const first = !this.#synced;
      this.#synced = true;
      if (first) await this.#programAll();
      else await this.#program(touched);
    });
  }

  /**
   * Gives a task its network. A task that is attached already keeps what it has.
   * Rejects with `deadline-exceeded` when a network of it is not in the tables after 30 s.
   */
  async attachTask(request: TaskNetworkRequest, signal?: AbortSignal): Promise<AttachedTask> {
    await this.#waitForTables(request, signal);
    return this.#serial(async () => {
      signal?.throwIfAborted();
      const attached = this.#tasks.get(request.taskId);
      if (attached) return { hostPorts: attached.hostPorts };
      checkRequest(this.#tables, request);
      return this.#attach(request);
    });
  }

  /** Takes up a task that has run since before this daemon started. */
  adoptTask(request: TaskNetworkRequest): Promise<void> {
    return this.#serial(async () => {
      if (!this.#tasks.has(request.taskId)) await this.#adopt(request);
    });
  }

  /** Forgets a task and removes networks that nobody here uses any more. Idempotent. */
  detachTask(taskId: TaskId): Promise<void> {
    return this.#serial(async () => {
      const attached = this.#tasks.get(taskId);
      await this.#hostPorts.forget(taskId);
      if (!attached) return;
      this.#tasks.delete(taskId);
      await this.#release(attached);
      for (const { networkId } of attached.network.legs) await this.#removeUnused(networkId);
    });
  }

  /** Removes all of ours from the kernel and the disk; also after `stop`. Tasks must have ended. */
  removeAll(): Promise<void> {
    this.#sweeper?.cancel();
    return this.#serial(async () => {
      for (const { network } of this.#tasks.values()) await network.close();
      this.#tasks.clear();
      await this.#open();
      await this.#overlays?.removeAll();
      await this.#host?.restore();
      await this.#host?.close();
      this.#overlays = null;
      this.#host = null;
      await rm(this.#options.dir, { recursive: true, force: true });
    });
  }

  async #open(): Promise<void> {
    if (this.#host) return;
    const { dir, vtepAddress, clock, random } = this.#options;
    const host = await HostSide.open({
      vtepAddress,
      gatewayPools: this.#options.gatewayPools ?? DEFAULT_GATEWAY_POOLS,
      forwardFile: join(dir, 'ip_forward'),
      random,
    });
    this.#host = host;
    this.#overlays = new OverlaySet({
      dir: join(dir, 'netns'),
      host: host.route,
      clock,
      vtepAddress,
    });
    await this.#overlays.adopt();
  }

  #opened(): { readonly host: HostSide; readonly overlays: OverlaySet } {
    if (this.#host && this.#overlays) return { host: this.#host, overlays: this.#overlays };
    throw new SkepError('unavailable', 'use network: it is not started');
  }

  // ---- tasks

  async #attach(request: TaskNetworkRequest): Promise<AttachedTask> {
    const { host, overlays } = this.#opened();
    const state = await this.#openTask(request, (ports) =>
      this.#hostPorts.allocate(request.taskId, ports),
    );
    try {
      await state.network.prepare();
      for (const { networkId } of state.network.legs) await this.#ensureOverlay(networkId);
      const wayOut = this.#wantsGateway(request);
      if (wayOut) await host.ensureGateway();
      await state.network.plug(overlays.all, wayOut ? host.gateway : null);
      await this.#programTask(state);
      await this.#publishHostPorts(state);
      await state.network.openResolver();
    } catch (err) {
      this.#tasks.delete(request.taskId);
      await this.#release(state);
      await this.#hostPorts.forget(request.taskId);
      throw err;
    }
    return { hostPorts: state.hostPorts };
  }

  async #adopt(request: TaskNetworkRequest): Promise<void> {
    const { host, overlays } = this.#opened();
    const state = await this.#openTask(request, (ports) =>
      this.#hostPorts.recall(request.taskId, ports),
    );
    for (const leg of state.network.legs) {
      overlays.recognise(leg.networkId, overlayPortName(request.taskId));
    }
    for (const id of await state.network.readBack(overlays.all, host.gateway)) {
      state.missing.add(id);
    }
    if (this.#synced) {
      await this.#repair(state);
      await this.#programTask(state);
    }
    await this.#publishHostPorts(state);
    await state.network.openResolver();
  }

  async #openTask(
    request: TaskNetworkRequest,
    hostPorts: (ports: readonly PortConfig[]) => Promise<readonly PortConfig[]>,
  ): Promise<AttachedState> {
    const legs = planLegs(request.attachments);
    const ports = await hostPorts(request.hostPorts);
    const network = await TaskNetwork.open(request.taskId, request.netnsPath, legs, {
      random: this.#options.random,
      answer: this.#answerFor(request),
    });
    const state: AttachedState = { request, network, hostPorts: ports, missing: new Set() };
    this.#tasks.set(request.taskId, state);
    return state;
  }

  #isIngress(id: NetworkId): boolean {
    return this.#tables.networks.get(id)?.network?.ingress === true;
  }

  #wantsGateway(request: TaskNetworkRequest): boolean {
    return hasWayOut(
      this.#tables,
      request.attachments.map(({ networkId }) => networkId),
    );
  }

  async #release(state: AttachedState): Promise<void> {
    await state.network.close();
    const address = state.network.gatewayAddress;
    const host = this.#host;
    if (!host) return;
    if (state.hostPorts.length > 0) {
      const gone = state.hostPorts.map((port) => [keyOfPort(port), null] as const);
      await host.rules.set(new Map(), new Map(gone));
      if (address !== null) await host.forgetConnections(new Set([address]));
    }
    if (address !== null) host.gateway.release(address);
  }

  async #publishHostPorts({ network, hostPorts }: AttachedState): Promise<void> {
    const address = network.gatewayAddress;
    if (hostPorts.length === 0 || address === null) return;
    const { host } = this.#opened();
    const targets = hostPorts.map((port): [string, PortTarget] => [
      keyOfPort(port),
      { kind: 'task', address, targetPort: port.targetPort },
    ]);
    await host.rules.set(new Map(), new Map(targets));
  }

  /** Writes the whole table of a task's namespace. */
  async #programTask(state: AttachedState): Promise<void> {
    const changes = new Map<string, ReadonlySet<string> | null>();
    for (const virtualIp of state.network.rules.virtualIps) changes.set(virtualIp, null);
    for (const { networkId } of state.network.legs) {
      const table = this.#tables.networks.get(networkId);
      if (!table || table.network?.ingress) continue;
      for (const { serviceId, virtualIp } of table.services.values()) {
        if (virtualIp !== null) changes.set(virtualIp, new Set(table.servingOf(serviceId)));
      }
    }
    await state.network.rules.set(changes);
    await this.#setTaskIngress(state);
    await state.network.rules.rebuild();
  }

  async #setTaskIngress(state: AttachedState): Promise<void> {
    const leg = state.network.legs.find(({ networkId }) => this.#isIngress(networkId));
    const table = leg ? this.#tables.networks.get(leg.networkId) : undefined;
    if (!leg || !table?.network) return;
    await state.network.setIngress({
      networkId: leg.networkId,
      nodes: [...table.peers.values()].map(({ address }) => address),
      subnet: parsePrefix(table.network.subnet),
    });
  }

  /** Makes anew what an adopted task lacks, as far as the tables know its networks. */
  async #repair(state: AttachedState): Promise<void> {
    const { host, overlays } = this.#opened();
    const { taskId } = state.request;
    const ready = [...state.missing].filter((id) => this.#tables.networks.get(id)?.network);
    for (const id of ready) {
      await state.network.unplug(id);
      await this.#ensureOverlay(id);
    }
    if (ready.length > 0) {
      await state.network.plug(
        new Map([...overlays.all].filter(([id]) => ready.includes(id))),
        null,
      );
      for (const id of ready) state.missing.delete(id);
      this.#options.log.warn({ taskId, networkIds: ready }, 'task links were made anew');
    }
    if (state.network.gatewayAddress === null && this.#wantsGateway(state.request)) {
      await host.ensureGateway();
      await state.network.plug(new Map(), host.gateway);
      this.#options.log.warn({ taskId }, 'way out of a task was made anew');
    }
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

  // ---- tables -> kernel

  /** The first revision after a start: everything is compared, what is not named goes. */
  async #programAll(): Promise<void> {
    const { host, overlays } = this.#opened();
    for (const [id, overlay] of overlays.all) {
      const table = this.#tables.networks.get(id);
      if (!table?.network) continue;
      await overlay.conform(table.network);
      await overlays.syncAllSeats(overlay, table);
    }
    await this.#syncIngress();
    for (const state of this.#tasks.values()) {
      await this.#guarded(state, async () => {
        await this.#repair(state);
        await this.#programTask(state);
      });
    }
    await host.rules.set(...this.#published(new Set(this.#tables.ports.keys()), null));
    await host.rules.rebuild();
    await this.#sweep();
  }

  async #program(touched: Touched): Promise<void> {
    const { host, overlays } = this.#opened();
    for (const id of touched.networks) await this.#networkChanged(id);
    for (const [id, addresses] of touched.seats) {
      await overlays.syncSeats(id, this.#tables.networks.get(id), addresses);
    }
    const ingressId = this.#tables.ingress()?.network?.id;
    const seatChanged = [...touched.peers, ...touched.networks].some((id) => id === ingressId);
    if (seatChanged || touched.networks.size > 0) await this.#syncIngress();
    for (const state of this.#tasks.values()) {
      await this.#guarded(state, () => this.#programChanges(state, touched, seatChanged));
    }
    const ingressServices = ingressId ? touched.services.get(ingressId) : undefined;
    await host.rules.set(...this.#published(touched.ports, ingressServices ?? null));
    await this.#forgetGone(touched, ingressId);
  }

  async #networkChanged(id: NetworkId): Promise<void> {
    const { overlays } = this.#opened();
    const overlay = overlays.all.get(id);
    const network = this.#tables.networks.get(id)?.network;
    if (network && overlay) await overlay.conform(network);
    if (!network) await this.#removeUnused(id);
  }

  async #programChanges(state: AttachedState, touched: Touched, seatChanged: boolean) {
    if (state.missing.size > 0) await this.#repair(state);
    const changes = new Map<string, ReadonlySet<string> | null>();
    for (const { networkId } of state.network.legs) {
      if (this.#isIngress(networkId)) continue;
      for (const virtualIp of touched.virtualIpsGone.get(networkId) ?? []) {
        changes.set(virtualIp, null);
      }
      const services = touched.services.get(networkId);
      if (services) collectVips(changes, this.#tables.networks.get(networkId), services);
    }
    await state.network.rules.set(changes);
    const entered = state.network.legs.some(({ networkId }) => this.#isIngress(networkId));
    if (seatChanged && entered) {
      await this.#setTaskIngress(state);
      await state.network.rules.rebuild();
    }
  }

  /** This host's own seat in the ingress network, by which published ports enter. */
  async #syncIngress(): Promise<void> {
    const { host } = this.#opened();
    const table = this.#tables.ingress();
    const seat = table?.peers.get(this.#options.nodeId);
    if (!table?.network || !seat) {
      await host.removeIngress();
      return;
    }
    const overlay = await this.#ensureOverlay(table.network.id);
    const { length } = parsePrefix(table.network.subnet);
    await host.ensureIngress(overlay, `${seat.address}/${length}`);
    this.#opened().overlays.recognise(table.network.id, INGRESS_PORT);
  }

  /** Steps for the host's table. @param changed services to look at; null = all that are published */
  #published(
    ports: ReadonlySet<string>,
    changed: ReadonlySet<ServiceId> | null,
  ): [Map<string, ReadonlySet<string> | null>, Map<string, PortTarget | null>] {
    const { host } = this.#opened();
    const ingress = this.#tables.ingress();
    const targets = new Map<string, PortTarget | null>();
    const services = new Map<string, ReadonlySet<string> | null>();
    const inUse = new Set<string>();
    for (const port of this.#tables.ports.values()) inUse.add(port.serviceId);
    for (const key of ports) {
      const port = this.#tables.ports.get(key);
      if (port) services.set(port.serviceId, new Set(ingress?.servingOf(port.serviceId) ?? []));
      targets.set(
        key,
        port ? { kind: 'service', serviceId: port.serviceId, targetPort: port.targetPort } : null,
      );
    }
    for (const id of changed ?? []) {
      if (inUse.has(id)) services.set(id, new Set(ingress?.servingOf(id) ?? []));
    }
    for (const id of host.rules.services) if (!inUse.has(id)) services.set(id, null);
    return [services, targets];
  }

  async #forgetGone(touched: Touched, ingressId: NetworkId | undefined): Promise<void> {
    const { host } = this.#opened();
    for (const [id, addresses] of touched.gone) {
      if (addresses.size === 0) continue;
      if (id === ingressId) await host.forgetConnections(addresses);
      for (const state of this.#tasks.values()) {
        const member = state.network.legs.some(({ networkId }) => networkId === id);
        if (member) await this.#guarded(state, () => state.network.forgetConnections(addresses));
      }
    }
  }

  /** One task's trouble must not keep the others from their rules; the sweep tries again. */
  async #guarded(state: AttachedState, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (err) {
      this.#options.log.warn({ err, taskId: state.request.taskId }, 'program task network failed');
    }
  }

  // ---- overlays

  async #ensureOverlay(id: NetworkId) {
    const { host, overlays } = this.#opened();
    const existing = overlays.all.get(id);
    if (existing) return existing;
    const table = this.#tables.networks.get(id);
    if (!table) throw new SkepError('internal', `create overlay ${id}: it is not in the tables`);
    return overlays.ensure(table, await host.underlayMtu());
  }

  async #removeUnused(id: NetworkId): Promise<void> {
    const { overlays } = this.#opened();
    if (!overlays.all.has(id)) return;
    const table = this.#tables.networks.get(id);
    const isIngressSeat = table?.network?.ingress && table.peers.has(this.#options.nodeId);
    const used = [...this.#tasks.values()].some(({ network }) =>
      network.legs.some(({ networkId }) => networkId === id),
    );
    if (isIngressSeat || used || !(await overlays.strangersGone(id))) return;
    await overlays.remove(id);
  }

  /** Removes what belongs to nobody, tries again what failed. */
  async #sweep(): Promise<void> {
    if (!this.#host || !this.#overlays || !this.#synced) return;
    for (const id of [...this.#overlays.all.keys()]) await this.#removeUnused(id);
    if (this.#host.rules.stale) await this.#host.rules.rebuild();
    for (const state of this.#tasks.values()) {
      await this.#guarded(state, async () => {
        if (state.missing.size > 0) await this.#repair(state);
        if (state.network.rules.stale) await this.#programTask(state);
      });
    }
  }

  // ---- names

  #answerFor(request: TaskNetworkRequest): AnswerQuery {
    const client = { networkIds: request.attachments.map(({ networkId }) => networkId) };
    const { random, upstreamNameservers } = this.#options;
    return (query, transport) => {
      if (query.length < 12) return null;
      const question = readQuestion(query);
      if (question) {
        const bytesMax = transport === 'udp' ? question.udpBytesMax : TCP_BYTES_MAX;
        const local = answerLocally(this.#tables, client, query, question, bytesMax, random);
        if (local) return local;
      }
      const own = request.dns.nameservers;
      const servers = own.length > 0 ? own : upstreamNameservers();
      return this.#forwarder.forward(query, question, servers, transport);
    };
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => {}); // its caller sees the failure; the next one goes on
    return result;
  }
}

function keyOfPort(port: PortConfig): string {
  return `${port.protocol}/${port.publishedPort}`;
}

/** Steps for a task's table: the touched services as they are now. */
function collectVips(
  changes: Map<string, ReadonlySet<string> | null>,
  table: NetworkTable | undefined,
  services: ReadonlySet<ServiceId>,
): void {
  for (const id of services) {
    const virtualIp = table?.services.get(id)?.virtualIp ?? null;
    if (virtualIp !== null) changes.set(virtualIp, new Set(table?.servingOf(id) ?? []));
  }
}
