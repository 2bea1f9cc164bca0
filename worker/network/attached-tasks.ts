/**
 * The tasks of this node that are attached, and containers outside of services: their links, rules and host-mode ports.
 * Knows which networks a task is in, not when one of them may go. Not for concurrent use.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { type PublishedPort, publishedKey } from '../../common/model/host-ip.ts';
import type { NetworkId, TaskId } from '../../common/model/ids.ts';
import type { PortConfig } from '../../common/model/service.ts';
import { answeredBy } from '../../native/ffi/net/conntrack.ts';
import type { ClusterTables } from './cluster-tables.ts';
import type { AnswerQuery } from './dns-server.ts';
import { endedUnseen } from './ended-connections.ts';
import { HostPorts } from './host-ports.ts';
import { serviceWords } from './host-publication.ts';
import type { TaskTarget } from './host-rules.ts';
import type { HostSide } from './host-side.ts';
import { overlayPortName } from './kernel-names.ts';
import type { SubjectTask } from './node-subjects.ts';
import type { OverlaySet } from './overlay-set.ts';
import type { OverlayUpkeep } from './overlay-upkeep.ts';
import { planLegs, type TaskLeg, TaskNetwork } from './task-network.ts';
import { type AttachedState, programTask } from './task-programs.ts';
import {
  type AttachedTask,
  checkRequest,
  hasGateway,
  hasWayOut6,
  type TaskNetworkRequest,
} from './task-request.ts';

/** Milliseconds each on a machine with many connections, while which nothing else is programmed. */
const LOOKS_AT_ONCE = 50;

export interface AttachedTasksOptions {
  /** one file per task with host-mode ports */
  readonly portsDir: string;
  readonly random: Random;
  readonly log: Logger;
  readonly tables: ClusterTables;
  readonly host: HostSide;
  readonly overlays: OverlaySet;
  readonly upkeep: OverlayUpkeep;
  /** the tables are the cluster's: what they do not name is wrong */
  readonly isTold: () => boolean;
  /** a container of this node outside of services that publishes the port; null = none */
  readonly localHolder: (port: PublishedPort) => string | null;
  /** what the resolver of a task answers */
  readonly answerFor: (request: TaskNetworkRequest) => AnswerQuery;
}

export class AttachedTasks {
  readonly #options: AttachedTasksOptions;
  readonly #tables: ClusterTables;
  readonly #host: HostSide;
  readonly #overlays: OverlaySet;
  readonly #hostPorts: HostPorts;
  readonly #states = new Map<TaskId, AttachedState>();

  constructor(options: AttachedTasksOptions) {
    const { portsDir, random, tables, host, overlays, localHolder } = options;
    this.#options = options;
    this.#tables = tables;
    this.#host = host;
    this.#overlays = overlays;
    this.#hostPorts = new HostPorts({
      dir: portsDir,
      random,
      holder: (port) => {
        const target = host.rules.portTarget(port);
        if (!target) return localHolder(port);
        return target.kind === 'service' ? serviceWords(tables, target.serviceId) : 'another task';
      },
    });
  }

  get all(): ReadonlyMap<TaskId, SubjectTask> {
    return this.#states;
  }

  /** Whether one of them is in a network. */
  use(id: NetworkId): boolean {
    return [...this.#states.values()].some((state) => isIn(state, id));
  }

  /** Lets go of every namespace; what is programmed stays. */
  async close(): Promise<void> {
    for (const { network } of this.#states.values()) await network.close();
    this.#states.clear();
  }

  /** Makes and programs the links of a task whose networks are in the tables. */
  async attach(request: TaskNetworkRequest): Promise<AttachedTask> {
    const attached = this.#states.get(request.taskId);
    if (attached) return { hostPorts: attached.hostPorts };
    checkRequest(this.#tables, request);
    let state: AttachedState | null = null;
    try {
      const hostPorts = await this.#hostPorts.allocate(request.taskId, request.hostPorts);
      state = await this.#open(request, hostPorts, { hasResolver: !request.links });
      for (const { networkId } of state.network.legs) await this.#options.upkeep.ensure(networkId);
      const wayOut = this.#wantsGateway(request);
      if (wayOut) await this.#ensureGateway(request);
      const gateway = wayOut ? this.#host.gateway : null;
      await state.network.plug(this.#overlays.all, gateway, this.#isDual(request));
      await programTask(this.#tables, state);
      await this.#publishHostPorts(state);
      if (!request.links) await state.network.openResolver();
      await state.network.settle();
      this.#states.set(request.taskId, state);
      return { hostPorts: state.hostPorts };
    } catch (err) {
      if (state) await this.#release(state);
      await this.#hostPorts.forget(request.taskId);
      throw err;
    }
  }

  /** Forgets a task. Resolves with the networks that it was in. Idempotent. */
  async detach(taskId: TaskId): Promise<readonly NetworkId[]> {
    const state = this.#states.get(taskId);
    await this.#hostPorts.forget(taskId);
    if (!state) return [];
    this.#states.delete(taskId);
    await this.#release(state);
    return networksOf(state.network.legs);
  }

  /**
   * A container outside of services, attached or not, is in these networks from now on: it keeps the links of those
   * in which it is already. Resolves with the networks that it left. When it rejects, it is in those of before.
   */
  async change(request: TaskNetworkRequest): Promise<readonly NetworkId[]> {
    const { taskId } = request;
    const before = this.#states.get(taskId);
    if (!before) {
      await this.attach(request);
      return [];
    }
    checkRequest(this.#tables, request);
    const state = await this.#open(request, []);
    state.hasOldConnections = before.hasOldConnections;
    const [now, then] = [state.network.legs, before.network.legs];
    const [left, joined] = [withoutLegs(then, now), withoutLegs(now, then)];
    try {
      await this.#unplug(before, left);
      await this.#takeUp(state, new Set(networksOf(joined)));
      this.#states.set(taskId, state);
    } catch (err) {
      await this.#guarded(before, async () => {
        await this.#unplug(state, joined);
        for (const id of networksOf(left)) before.missing.add(id);
        await this.repair(before);
        await programTask(this.#tables, before);
      });
      await state.network.close();
      throw err;
    }
    await before.network.close();
    return networksOf(left);
  }

  /** Takes up a task that an earlier life of the daemon attached. */
  async adopt(request: TaskNetworkRequest): Promise<void> {
    const { taskId } = request;
    if (this.#states.has(taskId)) return;
    const state = await this.#open(
      request,
      await this.#hostPorts.recall(taskId, request.hostPorts),
    );
    state.hasOldConnections = true;
    try {
      await this.#takeUp(state);
      this.#states.set(taskId, state);
    } catch (err) {
      await this.#release(state);
      throw err;
    }
  }

  /** Host-mode ports for a task that was attached without; those that it has it keeps. */
  async publish(taskId: TaskId, ports: readonly PortConfig[]): Promise<readonly PortConfig[]> {
    const state = this.#states.get(taskId);
    if (!state) throw new SkepError('not-found', `publish ports of task ${taskId}: not attached`);
    if (state.hostPorts.length === 0) {
      // Its own before they are in the rules: who releases it takes them out again.
      state.hostPorts = await this.#hostPorts.allocate(taskId, ports);
    }
    await this.#publishHostPorts(state);
    return state.hostPorts;
  }

  /** One after another. One task's trouble must not keep the others from their rules; the sweep tries again. */
  async each(work: (state: AttachedState) => Promise<void>): Promise<void> {
    for (const state of this.#states.values()) await this.#guarded(state, () => work(state));
  }

  /** As `each`, of those in a network. */
  async eachIn(id: NetworkId, work: (state: AttachedState) => Promise<void>): Promise<void> {
    await this.each(async (state) => {
      if (isIn(state, id)) await work(state);
    });
  }

  /**
   * Makes anew what an adopted task lacks, as far as the tables know its networks.
   * @param joined networks in which it never was: nobody took links of theirs away
   */
  async repair(state: AttachedState, joined: ReadonlySet<NetworkId> = new Set()): Promise<void> {
    const { taskId } = state.request;
    const { log, upkeep } = this.#options;
    const ready = [...state.missing].filter((id) => this.#tables.networks.get(id)?.network);
    for (const id of ready) {
      await state.network.unplug(id);
      await upkeep.ensure(id);
    }
    if (ready.length > 0) {
      const meant = [...this.#overlays.all].filter(([id]) => ready.includes(id));
      await state.network.plug(new Map(meant), null);
      for (const id of ready) state.missing.delete(id);
      const networkIds = ready.filter((id) => !joined.has(id));
      if (networkIds.length > 0) log.warn({ taskId, networkIds }, 'task links were made anew');
    }
    const wantsGateway = this.#wantsGateway(state.request);
    if (wantsGateway) await this.#ensureGateway(state.request);
    if (state.network.gatewayAddress === null && wantsGateway) {
      await this.replugWayOut(state);
      log.warn({ taskId }, 'way out of a task was made anew');
    }
  }

  /** Everything of a task's by the tables. */
  async program(state: AttachedState): Promise<void> {
    await programTask(this.#tables, state);
    // Whether by IPv6, too, is known by the tables alone.
    await this.#publishHostPorts(state);
  }

  /** Connections to what ended while no daemon looked. It costs each task a look at all that the machine has: some at a time. */
  async forgetUnseen(): Promise<void> {
    const due = [...this.#states].filter(([, state]) => state.hasOldConnections);
    for (const [taskId, state] of due.slice(0, LOOKS_AT_ONCE)) {
      await this.#guarded(state, async () => {
        const ended = endedUnseen(this.#tables, networksOf(state.network.legs));
        await state.network.forgetConnections(ended);
        state.hasOldConnections = false;
      });
      if (!state.hasOldConnections) continue;
      // Behind all others: those that fail again and again keep nobody from their turn.
      this.#states.delete(taskId);
      this.#states.set(taskId, state);
    }
  }

  /** Makes a link anew. */
  async replug({ network }: SubjectTask, id: NetworkId): Promise<void> {
    await network.unplug(id);
    const overlay = this.#overlays.all.get(id);
    if (overlay) await network.plug(new Map([[id, overlay]]), null);
  }

  async replugWayOut({ network, request }: SubjectTask): Promise<void> {
    await network.plug(new Map(), this.#host.gateway, this.#isDual(request));
  }

  /** @param joined as of `repair` */
  async #takeUp(state: AttachedState, joined: ReadonlySet<NetworkId> = new Set()): Promise<void> {
    const { request, network } = state;
    for (const id of networksOf(network.legs)) {
      this.#overlays.recognise(id, overlayPortName(request.taskId));
    }
    for (const id of await network.readBack(this.#overlays.all, this.#host.gateway)) {
      state.missing.add(id);
    }
    if (this.#options.isTold()) {
      await this.repair(state, joined);
      await this.program(state);
    }
    await this.#publishHostPorts(state);
    if (!request.links) await network.openResolver();
  }

  async #open(
    request: TaskNetworkRequest,
    hostPorts: readonly PortConfig[],
    fresh: { readonly hasResolver: boolean } | null = null,
  ): Promise<AttachedState> {
    const { random, answerFor } = this.#options;
    const legs = planLegs(request);
    const gatewayLink = `eth${request.attachments.length}`;
    const parts = { random, answer: answerFor(request), gatewayLink };
    const network = await TaskNetwork.open(request.taskId, request.netnsPath, legs, parts, fresh);
    const missing = new Set<NetworkId>();
    return { request, network, hostPorts, missing, isBehind: false, hasOldConnections: false };
  }

  async #unplug({ network, request }: AttachedState, legs: readonly TaskLeg[]): Promise<void> {
    for (const id of networksOf(legs)) {
      await network.unplug(id);
      await this.#overlays.all.get(id)?.forgetPort(overlayPortName(request.taskId));
    }
  }

  #wantsGateway({ links, attachments }: TaskNetworkRequest): boolean {
    const ids = attachments.map(({ networkId }) => networkId);
    return !links && hasGateway(this.#tables, ids);
  }

  /** By IPv6, too. */
  #isDual({ links, attachments }: TaskNetworkRequest): boolean {
    const ids = attachments.map(({ networkId }) => networkId);
    return !links && hasWayOut6(this.#tables, ids);
  }

  async #ensureGateway(request: TaskNetworkRequest): Promise<void> {
    await this.#host.ensureGateway();
    if (this.#isDual(request)) await this.#host.ensureDualGateway();
  }

  async #release({ network, request, hostPorts }: AttachedState): Promise<void> {
    await network.close();
    const address = network.gatewayAddress;
    if (hostPorts.length > 0) {
      const gone = hostPorts.map((port) => [publishedKey(port), null] as const);
      await this.#host.publishTasks(new Map(gone), false);
      if (address !== null) await this.#host.forgetConnections(answeredBy(new Set([address])));
    }
    if (address !== null) await this.#host.gateway.release(request.taskId, address);
    for (const id of networksOf(network.legs)) {
      await this.#overlays.all.get(id)?.forgetPort(overlayPortName(request.taskId));
    }
  }

  async #publishHostPorts({ network, hostPorts, request }: AttachedState): Promise<void> {
    const address = network.gatewayAddress;
    if (hostPorts.length === 0 || address === null) return;
    const targets = hostPorts.map((port): [string, TaskTarget] => [
      publishedKey(port),
      { kind: 'task', address, targetPort: port.targetPort },
    ]);
    await this.#host.publishTasks(new Map(targets), this.#isDual(request));
  }

  async #guarded(state: AttachedState, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (err) {
      state.isBehind = true;
      const { taskId } = state.request;
      this.#options.log.warn({ err, taskId }, 'program task network failed');
    }
  }
}

const networksOf = (legs: readonly TaskLeg[]): NetworkId[] =>
  legs.map(({ networkId }) => networkId);

const isIn = ({ network }: SubjectTask, id: NetworkId): boolean =>
  network.legs.some(({ networkId }) => networkId === id);

function withoutLegs(legs: readonly TaskLeg[], others: readonly TaskLeg[]): TaskLeg[] {
  return legs.filter(({ networkId }) => !others.some((other) => other.networkId === networkId));
}
