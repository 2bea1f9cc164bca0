/**
 * The kernel's part of a node's networks: tasks, overlays and the host's own namespace, kept in line
 * with the cluster's tables. Not for concurrent use: its owner runs one call after another.
 */
import { join } from 'node:path';
import type { Clock } from '../../common/base/clock.ts';
import { describeError, SkepError } from '../../common/base/errors.ts';
import { address6Of } from '../../common/base/ipv6.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { type PublishedPort, publishedKey, sharesPort } from '../../common/model/host-ip.ts';
import type { NetworkId, NodeId, TaskId } from '../../common/model/ids.ts';
import type { NetworkHop, NetworkTraceRequest } from '../../common/model/network-trace.ts';
import type { NodeDescription } from '../../common/model/node.ts';
import type { PortConfig } from '../../common/model/service.ts';
import type { FlushedConnections } from '../../native/ffi/net/conntrack.ts';
import type { ClusterTables, Touched } from './cluster-tables.ts';
import { traceConnection } from './connection-trace.ts';
import type { AnswerQuery } from './dns-server.ts';
import { EncryptedUnderlay } from './encrypted-underlay.ts';
import { HostPorts } from './host-ports.ts';
import {
  type PublicationView,
  planPublication,
  serviceWords,
  shadowedPorts,
} from './host-publication.ts';
import type { PortTarget } from './host-rules.ts';
import { HostSide } from './host-side.ts';
import type { Ipv4Forwarding } from './ipv4-forwarding.ts';
import { INGRESS_PORT, overlayPortName } from './kernel-names.ts';
import { ingressSeat, type NodeParts, type SubjectTask, subjectsOf } from './node-subjects.ts';
import { OverlaySet } from './overlay-set.ts';
import { OverlayUpkeep } from './overlay-upkeep.ts';
import { type Path, pathsOf } from './path-check.ts';
import {
  NOTHING_PROVED,
  type Proof,
  type ProofOptions,
  prove,
  type Subject,
} from './self-proof.ts';
import { type Ended, TableFollower } from './table-follower.ts';
import { planLegs, type TaskLeg, TaskNetwork } from './task-network.ts';
import { type AttachedState, programChanges, programTask } from './task-programs.ts';
import {
  type AttachedTask,
  checkRequest,
  hasWayOut,
  type TaskNetworkRequest,
} from './task-request.ts';

export interface NodeNetworkOptions {
  readonly dir: string;
  readonly nodeId: NodeId;
  readonly vtepAddress: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly gatewayPools: readonly string[];
  /** of this node's own networks */
  readonly localSubnets: () => readonly string[];
  readonly tables: ClusterTables;
  readonly forwarding: Ipv4Forwarding;
  /** a container of this node outside of services that publishes the port; null = none */
  readonly localHolder: (port: PublishedPort) => string | null;
  /** further namespaces or parts of them that a proof of everything covers */
  readonly furtherSubjects: () => readonly Subject[];
  /** what the resolver of a task answers */
  readonly answerFor: (request: TaskNetworkRequest) => AnswerQuery;
}

/** As in the node's description. */
export type DataPath = Pick<NodeDescription, 'encryptionKey' | 'underlayMtu'>;

/** INVARIANT: before the first `program` no rule and no network of an earlier life is removed. */
export class NodeNetwork {
  readonly #options: NodeNetworkOptions;
  readonly #tables: ClusterTables;
  readonly #host: HostSide;
  readonly #overlays: OverlaySet;
  readonly #encrypted: EncryptedUnderlay;
  readonly #upkeep: OverlayUpkeep;
  readonly #hostPorts: HostPorts;
  #dataPath: DataPath;
  readonly #tasks = new Map<TaskId, AttachedState>();
  readonly #follower = new TableFollower({
    whole: (ended) => this.#programAll(ended),
    step: (touched) => this.#programTouched(touched),
  });

  private constructor(
    options: NodeNetworkOptions,
    host: HostSide,
    encrypted: EncryptedUnderlay,
    overlays: OverlaySet,
    underlayMtu: number,
  ) {
    this.#options = options;
    this.#tables = options.tables;
    this.#host = host;
    this.#overlays = overlays;
    this.#encrypted = encrypted;
    this.#upkeep = new OverlayUpkeep({ ...options, host, encrypted, overlays });
    this.#dataPath = { encryptionKey: encrypted.publicKey, underlayMtu };
    this.#hostPorts = new HostPorts({
      dir: join(options.dir, 'ports'),
      random: options.random,
      holder: (port) => {
        const target = host.rules.portTarget(port);
        if (!target) return options.localHolder(port);
        return target.kind === 'service'
          ? serviceWords(this.#tables, target.serviceId)
          : 'another task';
      },
    });
  }

  /** Opens the sockets and takes up what an earlier life of the daemon left. */
  static async open(options: NodeNetworkOptions): Promise<NodeNetwork> {
    const { dir, vtepAddress, clock } = options;
    const host = await HostSide.open({
      ...options,
      otherSubnets: () => [...options.localSubnets(), ...options.tables.subnets],
      forward6File: join(dir, 'ip_forward6'),
    });
    let encrypted: EncryptedUnderlay | null = null;
    let overlays: OverlaySet | null = null;
    try {
      const underlay = { pin: join(dir, 'encrypted', 'netns'), host: host.route, vtepAddress };
      encrypted = await EncryptedUnderlay.open(underlay);
      const pins = join(dir, 'netns');
      overlays = new OverlaySet({
        ...{ dir: pins, host: host.route, clock, vtepAddress, encrypted },
      });
      await overlays.adopt();
      const underlayMtu = await host.underlayMtu();
      return new NodeNetwork(options, host, encrypted, overlays, underlayMtu);
    } catch (err) {
      await overlays?.close();
      await encrypted?.close();
      await host.close();
      throw err;
    }
  }

  /** What other nodes must know of this one. */
  get dataPath(): DataPath {
    return this.#dataPath;
  }

  /** Lets go of every namespace; what is programmed stays. */
  async close(): Promise<void> {
    for (const { network } of this.#tasks.values()) await network.close();
    this.#tasks.clear();
    await this.#overlays.close();
    await this.#encrypted.close();
    await this.#host.close();
  }

  /** Removes all of ours from the kernel, and closes. */
  async destroy(): Promise<void> {
    for (const { network } of this.#tasks.values()) await network.close();
    this.#tasks.clear();
    await this.#overlays.removeAll();
    await this.#encrypted.destroy();
    await this.#host.restore();
    await this.close();
  }

  /**
   * Brings the kernel in line with the tables; `touched` is what changed in them. When it rejects, the
   * next call, sweep or repairing proof goes by the tables as a whole.
   */
  program(touched: Touched): Promise<void> {
    return this.#follower.follow(touched);
  }

  /** Forgets a task and removes networks that nobody here uses any more. Idempotent. */
  async detach(taskId: TaskId): Promise<void> {
    const attached = this.#tasks.get(taskId);
    await this.#hostPorts.forget(taskId);
    if (!attached) return;
    this.#tasks.delete(taskId);
    await this.#release(attached);
    for (const { networkId } of attached.network.legs) await this.#removeUnused(networkId);
  }

  /** Makes and programs the links of a task whose networks are in the tables. */
  async attach(request: TaskNetworkRequest): Promise<AttachedTask> {
    const attached = this.#tasks.get(request.taskId);
    if (attached) return { hostPorts: attached.hostPorts };
    checkRequest(this.#tables, request);
    let state: AttachedState | null = null;
    try {
      state = await this.#openTask(request, (ports) =>
        this.#hostPorts.allocate(request.taskId, ports),
      );
      await state.network.prepare();
      for (const { networkId } of state.network.legs) await this.#upkeep.ensure(networkId);
      const wayOut = this.#wantsGateway(request);
      if (wayOut) await this.#host.ensureGateway();
      await state.network.plug(this.#overlays.all, wayOut ? this.#host.gateway : null);
      await programTask(this.#tables, state);
      await this.#publishHostPorts(state);
      if (!request.links) await state.network.openResolver();
      return { hostPorts: state.hostPorts };
    } catch (err) {
      this.#tasks.delete(request.taskId);
      if (state) await this.#release(state);
      await this.#hostPorts.forget(request.taskId);
      throw err;
    }
  }

  /**
   * A container outside of services, attached or not, is in these networks from now on: it keeps the links of those
   * in which it is already. When it rejects, it is in those of before that are named.
   */
  async change(request: TaskNetworkRequest): Promise<void> {
    const { taskId } = request;
    const before = this.#tasks.get(taskId);
    if (!before) {
      await this.attach(request);
      return;
    }
    checkRequest(this.#tables, request);
    const legs = planLegs(request.attachments, request.links);
    const left = withoutLegs(before.network.legs, legs);
    await this.#unplug(before, left);
    await before.network.close();
    this.#tasks.delete(taskId);
    const state = await this.#openTask(request, async () => []);
    try {
      const joined = withoutLegs(legs, before.network.legs);
      await this.#takeUp(state, new Set(joined.map(({ networkId }) => networkId)));
    } catch (err) {
      await this.#unplug(state, withoutLegs(legs, before.network.legs));
      this.#tasks.delete(taskId);
      await state.network.close();
      await this.adopt(keeping(before.request, legs));
      throw err;
    }
    for (const { networkId } of left) await this.#removeUnused(networkId);
  }

  async #unplug({ network, request }: AttachedState, legs: readonly TaskLeg[]): Promise<void> {
    for (const { networkId } of legs) {
      await network.unplug(networkId);
      await this.#overlays.all.get(networkId)?.forgetPort(overlayPortName(request.taskId));
    }
  }

  /** Takes up a task that an earlier life of the daemon attached. */
  async adopt(request: TaskNetworkRequest): Promise<void> {
    if (this.#tasks.has(request.taskId)) return;
    const state = await this.#openTask(request, (ports) =>
      this.#hostPorts.recall(request.taskId, ports),
    );
    try {
      await this.#takeUp(state);
    } catch (err) {
      this.#tasks.delete(request.taskId);
      await this.#release(state);
      throw err;
    }
  }

  /** Host-mode ports for a task that was attached without; those that it has it keeps. */
  async publish(taskId: TaskId, ports: readonly PortConfig[]): Promise<readonly PortConfig[]> {
    const state = this.#tasks.get(taskId);
    if (!state) throw new SkepError('not-found', `publish ports of task ${taskId}: not attached`);
    if (state.hostPorts.length > 0) return state.hostPorts;
    const hostPorts = await this.#hostPorts.allocate(taskId, ports);
    await this.#publishHostPorts({ ...state, hostPorts });
    state.hostPorts = hostPorts;
    return hostPorts;
  }

  /** @param joined networks in which it never was: links of theirs are made, and nobody took them away */
  async #takeUp(state: AttachedState, joined: ReadonlySet<NetworkId> = new Set()): Promise<void> {
    const { request } = state;
    for (const leg of state.network.legs) {
      this.#overlays.recognise(leg.networkId, overlayPortName(request.taskId));
    }
    for (const id of await state.network.readBack(this.#overlays.all, this.#host.gateway)) {
      state.missing.add(id);
    }
    if (this.#follower.isTold) {
      await this.#repair(state, joined);
      await programTask(this.#tables, state);
    }
    await this.#publishHostPorts(state);
    if (!request.links) await state.network.openResolver();
  }

  async #openTask(
    request: TaskNetworkRequest,
    hostPorts: (ports: readonly PortConfig[]) => Promise<readonly PortConfig[]>,
  ): Promise<AttachedState> {
    const legs = planLegs(request.attachments, request.links);
    const ports = await hostPorts(request.hostPorts);
    const network = await TaskNetwork.open(request.taskId, request.netnsPath, legs, {
      random: this.#options.random,
      answer: this.#options.answerFor(request),
    });
    const state: AttachedState = {
      ...{ request, network, hostPorts: ports },
      ...{ missing: new Set<NetworkId>(), isBehind: false },
    };
    this.#tasks.set(request.taskId, state);
    return state;
  }

  #wantsGateway(request: TaskNetworkRequest): boolean {
    if (request.links) return false;
    return hasWayOut(
      this.#tables,
      request.attachments.map(({ networkId }) => networkId),
    );
  }

  async #release(state: AttachedState): Promise<void> {
    await state.network.close();
    const address = state.network.gatewayAddress;
    if (state.hostPorts.length > 0) {
      const gone = state.hostPorts.map((port) => [publishedKey(port), null] as const);
      await this.#host.rules.set(new Map(), new Map(gone));
      if (address !== null) await this.#host.forgetConnections(new Set([address]), 'all');
    }
    if (address !== null) await this.#host.gateway.release(state.request.taskId, address);
    for (const { networkId } of state.network.legs) {
      const overlay = this.#overlays.all.get(networkId);
      await overlay?.forgetPort(overlayPortName(state.request.taskId));
    }
  }

  async #publishHostPorts({ network, hostPorts }: AttachedState): Promise<void> {
    const address = network.gatewayAddress;
    if (hostPorts.length === 0 || address === null) return;
    const targets = hostPorts.map((port): [string, PortTarget] => [
      publishedKey(port),
      { kind: 'task', address, targetPort: port.targetPort },
    ]);
    await this.#host.rules.set(new Map(), new Map(targets));
  }

  /** Makes anew what an adopted task lacks, as far as the tables know its networks. @param joined as of `#takeUp` */
  async #repair(state: AttachedState, joined: ReadonlySet<NetworkId> = new Set()): Promise<void> {
    const { taskId } = state.request;
    const ready = [...state.missing].filter((id) => this.#tables.networks.get(id)?.network);
    for (const id of ready) {
      await state.network.unplug(id);
      await this.#upkeep.ensure(id);
    }
    if (ready.length > 0) {
      await state.network.plug(
        new Map([...this.#overlays.all].filter(([id]) => ready.includes(id))),
        null,
      );
      for (const id of ready) state.missing.delete(id);
      const networkIds = ready.filter((id) => !joined.has(id));
      if (networkIds.length > 0) {
        this.#options.log.warn({ taskId, networkIds }, 'task links were made anew');
      }
    }
    if (state.network.gatewayAddress === null && this.#wantsGateway(state.request)) {
      await this.#host.ensureGateway();
      await state.network.plug(new Map(), this.#host.gateway);
      this.#options.log.warn({ taskId }, 'way out of a task was made anew');
    }
  }

  /** Compares the kernel with the tables and, if asked to, brings it back in line with them. */
  async prove(options: ProofOptions): Promise<Proof> {
    if (!this.#follower.isTold) return NOTHING_PROVED;
    const isFirstTurn = (options.turn?.seen.size ?? 0) === 0;
    const notInStep = isFirstTurn ? await this.#whyNotInStep(options) : [];
    if (options.repair) await this.#upkeep.retry();
    const behind = [...this.#upkeep.behind, ...(await this.#lookForIngress(options))];
    const proof = await this.#proveSubjects(options);
    const { localHolder } = this.#options;
    const shadowed = options.all ? shadowedPorts(this.#tables, localHolder) : [];
    return { ...proof, failures: [...notInStep, ...behind, ...proof.failures, ...shadowed] };
  }

  /** Why this host is not in the ingress network, where it was refused: its addresses may be others by now. */
  async #lookForIngress({ repair }: ProofOptions): Promise<Proof['failures']> {
    if (repair && this.#host.ingressRefusal !== null) await this.#syncIngress();
    const reason = this.#host.ingressRefusal;
    return reason === null ? [] : [{ where: 'network ingress', reason }];
  }

  /** Who has a port on this node that the mesh or a task publishes; null = nobody of the cluster. */
  portHolder(port: PublishedPort): string | null {
    const target = this.#host.rules.portTarget(port);
    if (target?.kind === 'task') return 'a task of this node';
    const published = [...this.#tables.ports.values()].find((it) => sharesPort(it, port));
    return published ? serviceWords(this.#tables, published.serviceId) : null;
  }

  async #whyNotInStep({ repair }: ProofOptions): Promise<Proof['failures']> {
    try {
      if (repair) await this.#follower.retry();
      return this.#follower.inStep ? [] : [{ where: 'tables', reason: 'not programmed whole' }];
    } catch (err) {
      return [{ where: 'tables', reason: describeError(err) }];
    }
  }

  /** To the hosts that this node's overlays send to. */
  paths(): Path[] {
    const { vtepAddress } = this.#options;
    const tableOf = ({ id }: { readonly id: NetworkId }) => this.#tables.networks.get(id);
    return pathsOf(this.#overlays.all.values(), tableOf, vtepAddress);
  }

  #proveSubjects(options: ProofOptions): Promise<Proof> {
    const further = options.all ? this.#options.furtherSubjects() : [];
    return prove([...subjectsOf(this.#parts()), ...further], options);
  }

  /** The way of a connection to a service. */
  trace(request: NetworkTraceRequest): Promise<NetworkHop[]> {
    const { localHolder } = this.#options;
    return traceConnection({ ...this.#parts(), localHolder }, request);
  }

  #parts(): NodeParts {
    return {
      ...this.#options,
      host: this.#host,
      overlays: this.#overlays.all,
      encrypted: this.#encrypted,
      tasks: this.#tasks,
      replug: (task, id) => this.#replug(task, id),
      replugWayOut: ({ network }) => network.plug(new Map(), this.#host.gateway),
      replugIngress: async () => {
        await this.#host.removeIngress();
        await this.#syncIngress();
      },
    };
  }

  async #replug({ network }: SubjectTask, id: NetworkId): Promise<void> {
    await network.unplug(id);
    const overlay = this.#overlays.all.get(id);
    if (overlay) await network.plug(new Map([[id, overlay]]), null);
  }

  /** The first revision after a start, or after a failure: everything is compared, what is not named goes. */
  async #programAll(ended: Ended): Promise<void> {
    // First, so that they are in the table of the host whoever writes that next.
    await this.#publishAll();
    await this.#upkeep.conformAll();
    await this.#syncIngress();
    for (const state of this.#tasks.values()) {
      await this.#guarded(state, async () => {
        await this.#repair(state);
        await programTask(this.#tables, state);
      });
    }
    await this.#host.rebuildRules();
    await this.#forgetEnded(ended);
    await this.#sweepAll();
    await this.#proveSubjects({ repair: true, all: true });
  }

  async #programTouched(touched: Touched): Promise<void> {
    let resized = false;
    for (const id of touched.networks) {
      if (!this.#tables.networks.get(id)?.network) await this.#removeUnused(id);
      else if (await this.#upkeep.conform(id)) resized = true;
    }
    if (touched.peers.size + touched.networks.size > 0) await this.#upkeep.syncKeys();
    for (const [id, addresses] of touched.seats) {
      await this.#overlays.syncSeats(id, this.#tables.networks.get(id), addresses);
    }
    const ingressId = this.#tables.ingress()?.network?.id;
    const seatChanged = [...touched.peers, ...touched.networks].some((id) => id === ingressId);
    if (seatChanged || touched.networks.size > 0) await this.#syncIngress();
    for (const state of this.#tasks.values()) {
      await this.#guarded(state, async () => {
        if (state.missing.size > 0) await this.#repair(state);
        await programChanges(this.#tables, state, touched, seatChanged);
      });
    }
    const ingressServices = ingressId ? touched.services.get(ingressId) : undefined;
    const changed = ingressServices ?? null;
    await this.#host.publish(...planPublication(this.#publication, touched.ports, changed));
    await this.#forgetEnded(touched);
    // Tasks' ends of links, and the host's, are made as they are wanted.
    if (resized) await this.#proveSubjects({ repair: true, all: true });
  }

  /** This host's own seat in the ingress network, by which published ports enter. */
  async #syncIngress(): Promise<void> {
    const table = this.#tables.ingress();
    const seat = table?.peers.get(this.#options.nodeId);
    if (!table?.network || !seat) {
      await this.#host.removeIngress();
      return;
    }
    const overlay = await this.#upkeep.ensure(table.network.id);
    // The rules of IPv6 guard the link from the moment that it is there.
    await this.#host.publish(new Map(), new Map(), table.network.subnet6 ?? '');
    await this.#host.setMasquerades(seat.masquerades);
    const before = this.#host.ingressRefusal;
    await this.#host.ensureIngress(overlay, ingressSeat(seat.address, table.network));
    const refusal = this.#host.ingressRefusal;
    if (refusal !== before) {
      if (refusal !== null) {
        const { address } = seat;
        this.#options.log.error({ address, refusal }, 'host is not in the ingress network');
      }
      await this.#publishAll();
    }
    this.#overlays.recognise(table.network.id, INGRESS_PORT);
  }

  async #publishAll(): Promise<void> {
    const ports = new Set([...this.#tables.ports.keys(), ...this.#host.rules.servicePorts]);
    await this.#host.publish(...planPublication(this.#publication, ports, null));
  }

  get #publication(): PublicationView {
    const { nodeId, tables } = this.#options;
    const { rules, ingressRefusal } = this.#host;
    return { nodeId, tables, published: rules.services, isInIngress: ingressRefusal === null };
  }

  async #forgetEnded({ gone, unserved }: Ended): Promise<void> {
    // Somebody may have been given one of them since a step that failed, or serve there again.
    for (const [id, ended] of gone) {
      const table = this.#tables.networks.get(id);
      const free = [...ended].filter((address) => !table?.hostOf(address));
      await this.#forgetConnections(id, free, 'all');
    }
    for (const [id, ended] of unserved) {
      const serving = this.#tables.networks.get(id)?.servingAddresses();
      const silent = [...ended].filter((address) => !serving?.has(address));
      await this.#forgetConnections(id, silent, 'udp');
    }
  }

  /** Those that end at one of a network's `addresses`, in every namespace from where they may come. */
  async #forgetConnections(
    id: NetworkId,
    addresses: readonly string[],
    which: FlushedConnections,
  ): Promise<void> {
    if (addresses.length === 0) return;
    const network = this.#tables.networks.get(id)?.network;
    const subnet6 = network?.subnet6 ?? '';
    const six = subnet6 === '' ? [] : addresses.map((address) => address6Of(subnet6, address));
    const both = new Set([...addresses, ...six]);
    if (network?.ingress) await this.#host.forgetConnections(both, which);
    for (const state of this.#tasks.values()) {
      const member = state.network.legs.some(({ networkId }) => networkId === id);
      if (member) await this.#guarded(state, () => state.network.forgetConnections(both, which));
    }
  }

  /** One task's trouble must not keep the others from their rules; the sweep tries again. */
  async #guarded(state: AttachedState, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (err) {
      state.isBehind = true;
      this.#options.log.warn({ err, taskId: state.request.taskId }, 'program task network failed');
    }
  }

  async #removeUnused(id: NetworkId): Promise<void> {
    if (!this.#overlays.all.has(id)) return;
    const table = this.#tables.networks.get(id);
    const isIngressSeat = table?.network?.ingress && table.peers.has(this.#options.nodeId);
    const used = [...this.#tasks.values()].some(({ network }) =>
      network.legs.some(({ networkId }) => networkId === id),
    );
    if (isIngressSeat || used || !(await this.#overlays.strangersGone(id))) return;
    await this.#overlays.remove(id);
  }

  /** Removes what belongs to nobody, tries again what failed. */
  async sweep(): Promise<void> {
    if (!this.#follower.isTold) return;
    if (!this.#follower.inStep) return this.#follower.retry();
    await this.#upkeep.retry();
    await this.#followUnderlay();
    await this.#sweepAll();
  }

  /** Overlays carry what the underlay does, which an operator may change at any time. */
  async #followUnderlay(): Promise<void> {
    const before = await this.#host.underlayMtu();
    const underlayMtu = await this.#host.readUnderlayMtu();
    if (underlayMtu === before) return;
    this.#options.log.info({ before, underlayMtu }, 'underlay has another MTU');
    this.#dataPath = { ...this.#dataPath, underlayMtu };
    await this.#upkeep.conformAll();
    // Tasks' ends of links, and the host's, are made as they are wanted.
    await this.#proveSubjects({ repair: true, all: true });
  }

  async #sweepAll(): Promise<void> {
    for (const id of [...this.#overlays.all.keys()]) await this.#removeUnused(id);
    if (this.#host.rulesAreStale) await this.#host.rebuildRules();
    for (const state of this.#tasks.values()) {
      await this.#guarded(state, async () => {
        if (state.missing.size > 0) await this.#repair(state);
        if (state.isBehind || state.network.rules.stale) await programTask(this.#tables, state);
      });
    }
  }
}

function withoutLegs(legs: readonly TaskLeg[], others: readonly TaskLeg[]): TaskLeg[] {
  return legs.filter(({ networkId }) => !others.some((other) => other.networkId === networkId));
}

/** Of the request's attachments those that `legs` has, too. */
function keeping(request: TaskNetworkRequest, legs: readonly TaskLeg[]): TaskNetworkRequest {
  const { attachments, links = [] } = request;
  const isKept = attachments.map(({ networkId }) =>
    legs.some((leg) => leg.networkId === networkId),
  );
  return {
    ...request,
    attachments: attachments.filter((_, i) => isKept[i]),
    links: links.filter((_, i) => isKept[i]),
  };
}
