/**
 * The kernel's part of a node's networks: tasks, overlays and the host's own namespace, kept in line
 * with the cluster's tables. Not for concurrent use: its owner runs one call after another.
 */
import { join } from 'node:path';
import type { Clock } from '../../common/base/clock.ts';
import { describeError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { type PublishedPort, sharesPort } from '../../common/model/host-ip.ts';
import type { NetworkId, NodeId, TaskId } from '../../common/model/ids.ts';
import type { NetworkHop, NetworkTraceRequest } from '../../common/model/network-trace.ts';
import type { NodeDescription } from '../../common/model/node.ts';
import type { PortConfig } from '../../common/model/service.ts';
import { AttachedTasks } from './attached-tasks.ts';
import type { ClusterTables, Touched } from './cluster-tables.ts';
import { type TraceParts, traceConnection } from './connection-trace.ts';
import { DnsAsker } from './dns-asker.ts';
import type { AnswerQuery } from './dns-server.ts';
import { EncryptedUnderlay } from './encrypted-underlay.ts';
import { endedInSteps, endedUnseen } from './ended-connections.ts';
import { serviceWords, shadowedPorts } from './host-publication.ts';
import { HostSide } from './host-side.ts';
import { IngressEntry } from './ingress-entry.ts';
import type { Ipv4Forwarding } from './ipv4-forwarding.ts';
import { RESOLVER_TIMEOUT_MS } from './name-check.ts';
import { type NodeParts, subjectsOf } from './node-subjects.ts';
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
import { programChanges } from './task-programs.ts';
import type { AttachedTask, TaskNetworkRequest } from './task-request.ts';
import { type Tunnel, tunnelsOf } from './tunnel-check.ts';

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
  /** networks of the cluster that this node makes */
  readonly made: TraceParts['made'];
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
  #linkMtu: number;
  readonly #tasks: AttachedTasks;
  readonly #asker: DnsAsker;
  readonly #entry: IngressEntry;
  /** bytes of the narrowest way to another host, where less passes than this node's link carries */
  #narrowestPath: number | null = null;
  /** connections through the host from before this daemon were looked at */
  #knowsConnections = false;
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
    this.#asker = new DnsAsker(options.clock, options.random, RESOLVER_TIMEOUT_MS);
    this.#tables = options.tables;
    this.#host = host;
    this.#overlays = overlays;
    this.#encrypted = encrypted;
    this.#upkeep = new OverlayUpkeep({ ...options, host, encrypted, overlays });
    this.#linkMtu = underlayMtu;
    const parts = { ...options, host, overlays, upkeep: this.#upkeep };
    this.#entry = new IngressEntry(parts);
    this.#tasks = new AttachedTasks({
      ...parts,
      portsDir: join(options.dir, 'ports'),
      isTold: () => this.#follower.isTold,
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
    const underlayMtu = Math.min(this.#linkMtu, this.#narrowestPath ?? this.#linkMtu);
    return { encryptionKey: this.#encrypted.publicKey, underlayMtu };
  }

  /** @param mtu bytes; null = every way carries what this node's link does */
  setNarrowestPath(mtu: number | null): void {
    this.#narrowestPath = mtu;
  }

  /** Lets go of every namespace; what is programmed stays. */
  async close(): Promise<void> {
    await this.#tasks.close();
    await this.#overlays.close();
    await this.#encrypted.close();
    await this.#host.close();
  }

  /** Removes all of ours from the kernel, and closes, also when it rejects because something could not be removed. */
  async destroy(): Promise<void> {
    try {
      await this.#tasks.close();
      await this.#overlays.removeAll();
      await this.#encrypted.destroy();
      await this.#host.restore();
    } finally {
      await this.close();
    }
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
    for (const id of await this.#tasks.detach(taskId)) await this.#removeUnused(id);
  }

  /** As the tasks'. */
  attach(request: TaskNetworkRequest): Promise<AttachedTask> {
    return this.#tasks.attach(request);
  }

  /** As the tasks'; networks that nobody here uses any more are removed. */
  async change(request: TaskNetworkRequest): Promise<void> {
    for (const id of await this.#tasks.change(request)) await this.#removeUnused(id);
  }

  /** As the tasks'. */
  adopt(request: TaskNetworkRequest): Promise<void> {
    return this.#tasks.adopt(request);
  }

  /** As the tasks'. */
  publish(taskId: TaskId, ports: readonly PortConfig[]): Promise<readonly PortConfig[]> {
    return this.#tasks.publish(taskId, ports);
  }

  /** Compares the kernel with the tables and, if asked to, brings it back in line with them. */
  async prove(options: ProofOptions): Promise<Proof> {
    if (!this.#follower.isTold) return NOTHING_PROVED;
    const isFirstTurn = (options.turn?.seen.size ?? 0) === 0;
    const lacking = isFirstTurn ? await this.#whatLacks(options) : [];
    const proof = await this.#proveSubjects(options);
    return { ...proof, failures: [...lacking, ...proof.failures] };
  }

  /** What no comparison of namespaces tells of, after a try to mend it. Never rejects. */
  async #whatLacks({ repair, all }: ProofOptions): Promise<Proof['failures']> {
    const tried = [
      ...(await failuresOf('tables', async () => {
        if (repair) await this.#follower.retry();
        return this.#follower.inStep ? null : 'not programmed whole';
      })),
      ...(await failuresOf('networks', async () => {
        if (repair) await this.#retryOverlays();
        return null;
      })),
      ...(await failuresOf('network ingress', async () => {
        // The addresses of a host that was refused may be others by now.
        if (repair && this.#entry.refusal !== null) await this.#entry.sync();
        return this.#entry.refusal;
      })),
    ];
    const shadowed = all ? shadowedPorts(this.#tables, this.#options.localHolder) : [];
    return [...tried, ...this.#upkeep.behind, ...shadowed];
  }

  /** Overlays that failed before. Tasks' ends of links, and the host's, are made as they are wanted. */
  async #retryOverlays(): Promise<void> {
    if (await this.#upkeep.retry()) await this.#proveSubjects({ repair: true, all: true });
  }

  /** Who has a port on this node that the mesh or a task publishes; null = nobody of the cluster. */
  portHolder(port: PublishedPort): string | null {
    const target = this.#host.rules.portTarget(port);
    if (target?.kind === 'task') return 'a task of this node';
    const published = [...this.#tables.ports.values()].find((it) => sharesPort(it, port));
    return published ? serviceWords(this.#tables, published.serviceId) : null;
  }

  /** To the hosts that this node's overlays send to. */
  paths(): Path[] {
    const { vtepAddress } = this.#options;
    const tableOf = ({ id }: { readonly id: NetworkId }) => this.#tables.networks.get(id);
    const start = { address: vtepAddress, underlayMtu: this.#linkMtu };
    return pathsOf(this.#overlays.all.values(), tableOf, start);
  }

  /** To the hosts whose seats in the ingress network can answer this one's. */
  tunnels(): Tunnel[] {
    if (this.#host.ingressRefusal !== null) return [];
    return tunnelsOf(this.#tables.ingress(), this.#options.nodeId);
  }

  /** The same as `paths`, as wide as this node's link. */
  fullPaths(): Path[] {
    return this.paths().map((path) => ({ ...path, packetBytes: this.#linkMtu }));
  }

  #proveSubjects(options: ProofOptions): Promise<Proof> {
    const further = options.all ? this.#options.furtherSubjects() : [];
    return prove([...subjectsOf(this.#parts()), ...further], options);
  }

  /** The way of a connection to a service. */
  trace(request: NetworkTraceRequest): Promise<NetworkHop[]> {
    const { localHolder, made } = this.#options;
    return traceConnection({ ...this.#parts(), localHolder, made }, request);
  }

  #parts(): NodeParts {
    return {
      ...this.#options,
      host: this.#host,
      overlays: this.#overlays.all,
      encrypted: this.#encrypted,
      tasks: this.#tasks.all,
      asker: this.#asker,
      replug: (task, id) => this.#tasks.replug(task, id),
      replugWayOut: (task) => this.#tasks.replugWayOut(task),
      replugIngress: () => this.#entry.replug(),
    };
  }

  /** The first revision after a start, or after a failure: everything is compared, what is not named goes. */
  async #programAll(ended: Ended): Promise<void> {
    // First, so that they are in the table of the host whoever writes that next.
    await this.#entry.publishAll();
    await this.#upkeep.conformAll();
    await this.#entry.sync();
    await this.#tasks.each(async (state) => {
      await this.#tasks.repair(state);
      await this.#tasks.program(state);
    });
    await this.#host.rebuildRules();
    await this.#forgetEnded(ended);
    await this.#forgetUnseen();
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
    if (seatChanged || touched.networks.size > 0) await this.#entry.sync();
    await this.#tasks.each(async (state) => {
      if (state.missing.size > 0) await this.#tasks.repair(state);
      await programChanges(this.#tables, state, touched, seatChanged);
    });
    const changed = ingressId ? touched.services.get(ingressId) : undefined;
    await this.#entry.publish(touched.ports, changed ?? null);
    await this.#forgetEnded(touched);
    // Tasks' ends of links, and the host's, are made as they are wanted.
    if (resized) await this.#proveSubjects({ repair: true, all: true });
  }

  async #forgetEnded(ended: Ended): Promise<void> {
    for (const { networkId, connections } of endedInSteps(this.#tables, ended)) {
      const isEntered = this.#tables.networks.get(networkId)?.network?.ingress;
      if (isEntered) await this.#host.forgetConnections(connections);
      await this.#tasks.eachIn(networkId, ({ network }) => network.forgetConnections(connections));
    }
  }

  /** Connections through this host to what ended while no daemon looked; tasks' own are theirs. */
  async #forgetUnseen(): Promise<void> {
    if (this.#knowsConnections) return;
    const ingress = this.#tables.ingress()?.network;
    if (ingress) await this.#host.forgetConnections(endedUnseen(this.#tables, [ingress.id]));
    this.#knowsConnections = true;
  }

  async #removeUnused(id: NetworkId): Promise<void> {
    if (!this.#overlays.all.has(id)) return;
    const table = this.#tables.networks.get(id);
    const isIngressSeat = table?.network?.ingress && table.peers.has(this.#options.nodeId);
    if (isIngressSeat || this.#tasks.use(id)) return;
    if (!(await this.#overlays.strangersGone(id))) return;
    await this.#overlays.remove(id);
  }

  /** Removes what belongs to nobody, tries again what failed. */
  async sweep(): Promise<void> {
    if (!this.#follower.isTold) return;
    if (!this.#follower.inStep) return this.#follower.retry();
    await this.#retryOverlays();
    await this.#followUnderlay();
    await this.#sweepAll();
  }

  /** Overlays carry what the underlay does, which an operator may change at any time. */
  async #followUnderlay(): Promise<void> {
    const before = await this.#host.underlayMtu();
    const underlayMtu = await this.#host.readUnderlayMtu();
    if (underlayMtu === before) return;
    this.#options.log.info({ before, underlayMtu }, 'underlay has another MTU');
    this.#linkMtu = underlayMtu;
    await this.#upkeep.conformAll();
    // Tasks' ends of links, and the host's, are made as they are wanted.
    await this.#proveSubjects({ repair: true, all: true });
  }

  async #sweepAll(): Promise<void> {
    for (const id of [...this.#overlays.all.keys()]) await this.#removeUnused(id);
    if (this.#host.rulesAreStale) await this.#host.rebuildRules();
    await this.#tasks.forgetUnseen();
    await this.#tasks.each(async (state) => {
      if (state.missing.size > 0) await this.#tasks.repair(state);
      if (state.isBehind || state.network.rules.stale) await this.#tasks.program(state);
    });
  }
}

/** `look` tells a reason, or null; that it failed is one, too. */
async function failuresOf(
  where: string,
  look: () => Promise<string | null>,
): Promise<Proof['failures']> {
  try {
    const reason = await look();
    return reason === null ? [] : [{ where, reason }];
  } catch (err) {
    return [{ where, reason: describeError(err) }];
  }
}
