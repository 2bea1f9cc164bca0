/**
 * The control API: what users may ask of a cluster, in the words of the model. Reads are answered
 * here after a read barrier, so that a client reads its own writes on any manager; writes are done by
 * the leader, wherever it is. Knows neither Raft nor HTTP.
 */

import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Random } from '../../common/base/random.ts';
import { Serial } from '../../common/base/serial.ts';
import type { Cluster, ClusterSpec } from '../../common/model/cluster.ts';
import type { Network, NetworkSpec } from '../../common/model/network.ts';
import type { Node, NodeSpec } from '../../common/model/node.ts';
import type {
  PlacementExplanation,
  PlacementForecast,
  PlacementStep,
  TaskMove,
} from '../../common/model/placement.ts';
import type { Config, ConfigSpec, Secret, SecretSpec } from '../../common/model/secret.ts';
import type { Service, ServiceSpec } from '../../common/model/service.ts';
import type { StackPlan, WantedStack } from '../../common/model/stack.ts';
import type { MoveOrder, Task } from '../../common/model/task.ts';
import {
  controlMethods,
  listManagers,
  type ManagerStatus,
  type RegistryAuthSource,
} from '../../common/rpc/control-methods.ts';
import type { LeaderCall, LeaderCaller } from '../../common/rpc/leader.ts';
import type { RpcServer } from '../../common/rpc/server.ts';
import type { ReadView, Store } from '../store/types.ts';
import { requireCluster } from './cluster.ts';
import {
  type NetworkFilters,
  type NodeFilters,
  networkFilter,
  nodeFilter,
  type ObjectFilters,
  objectFilter,
  type ServiceFilters,
  serviceFilter,
  type TaskFilters,
  taskFilter,
} from './filters.ts';
import { tellOfWaiting } from './held-tasks.ts';
import { requireByRef } from './lookup.ts';
import { redactCluster, redactSecret, redactService, redactTask } from './redact.ts';
import { type ServiceStatus, serviceStatus } from './service-status.ts';
import { planStack } from './stack-plan.ts';
import type { ExternalAuthorities } from './trust-root.ts';
import { type ClusterWatch, type WatchFilters, watchCluster } from './watch.ts';
import { COMPARED_WITH_ALL, type RequestOf, type ResponseOf, type Verb, WRITES } from './writes.ts';

export interface ServiceRow {
  readonly service: Service;
  /** null = it was not asked for */
  readonly status: ServiceStatus | null;
}

/** Raft's membership, as far as the control API asks. */
export interface Membership {
  /** every raft member; `reachable` counts on the leader only */
  members(): readonly ManagerStatus[];
}

/** Tells what the scheduler would say, on every manager. */
export interface PlacementExplainer {
  explain(service: Service, signal?: AbortSignal): Promise<PlacementExplanation>;
  forecast(
    steps: readonly PlacementStep[],
    newNetworks: readonly Pick<Network, 'id' | 'spec'>[],
    signal?: AbortSignal,
  ): Promise<readonly PlacementForecast[]>;
  rebalance(movesMax: number, signal?: AbortSignal): Promise<readonly TaskMove[]>;
}

export interface ControlApiOptions {
  readonly store: Store;
  readonly leader: LeaderCaller;
  readonly membership: Membership;
  /** resolves when this store has everything that was committed before the call */
  readonly readBarrier: (signal?: AbortSignal) => Promise<void>;
  readonly explainer: PlacementExplainer;
  readonly external: ExternalAuthorities;
  readonly clock: Clock;
  readonly random: Random;
}

export interface UpdateServiceOptions {
  /** back to the previous spec; `spec` is checked, and not used */
  readonly rollback?: boolean;
  /** whose registry credentials are kept when the spec brings none; default `spec` */
  readonly registryAuthFrom?: RegistryAuthSource;
}

export interface RotateTokens {
  readonly worker?: boolean;
  readonly manager?: boolean;
  /** of locked managers */
  readonly unlockKey?: boolean;
}

/** A trust root to go over to; '' = see `UpdateClusterRequest`. PEM. */
export interface SigningPair {
  readonly certPem: string;
  readonly keyPem: string;
}

/** Passing a write on, and a transaction, may each take an election's time. */
const WRITE_TIMEOUT_MS = 15_000;

/**
 * `ref` = exact id, exact name (for nodes: hostname) or unique prefix of an id: `not-found` for none,
 * `invalid-argument` (`is ambiguous`) for several. Updates carry the version that was read:
 * `version-conflict` (`update out of sequence`) when it is no longer that. Answers never hold secret
 * data, keys or registry credentials. Every call may reject with `no-leader` or `unavailable`.
 */
export class ControlApi {
  readonly #options: ControlApiOptions;
  readonly #compared = new Serial();
  readonly #watches = new Set<ClusterWatch>();
  #isReleased = false;

  constructor(options: ControlApiOptions) {
    this.#options = options;
  }

  /**
   * Serves the writes of other managers, when this one leads; returns the release, which ends every watch
   * as well: this manager learns of no more changes.
   */
  register(server: Pick<RpcServer, 'handleUnary'>): () => void {
    const releases = (Object.keys(controlMethods) as Verb[]).map((verb) =>
      this.#serve(server, verb),
    );
    releases.push(
      server.handleUnary(listManagers, async (_, { peer, forwarded, signal }) => {
        const { response } = await this.#options.leader.run({
          ...this.#managersCall(signal),
          caller: { peer, forwarded },
        });
        return response;
      }),
    );
    return () => {
      this.#isReleased = true;
      for (const release of releases) release();
      for (const watch of this.#watches) watch.close();
    };
  }

  // ---- services ----

  createService(spec: ServiceSpec, signal?: AbortSignal): Promise<Service> {
    return this.#write('createService', { spec }, signal);
  }

  updateService(
    ref: string,
    version: number,
    spec: ServiceSpec,
    { rollback = false, registryAuthFrom = 'spec' }: UpdateServiceOptions = {},
    signal?: AbortSignal,
  ): Promise<Service> {
    const request = { ref, version, spec, rollback, registryAuthFrom };
    return this.#write('updateService', request, signal);
  }

  /** Its tasks end afterwards. Resolves with the id. */
  removeService(ref: string, signal?: AbortSignal): Promise<string> {
    return this.#write('removeService', { ref, force: false }, signal);
  }

  getService(ref: string, signal?: AbortSignal): Promise<Service> {
    return this.#read((view) => redactService(requireByRef(view, 'service', ref)), signal);
  }

  listServices(filters: ServiceFilters = {}, signal?: AbortSignal): Promise<Service[]> {
    return this.#read(
      (view) => view.list('service').filter(serviceFilter(filters)).map(redactService),
      signal,
    );
  }

  /**
   * What `use` makes of the list of services, with what their tasks do where that is asked for. It is told of which revision
   * they are, at which they are the same each time, and has them looked up only when it calls for them; it runs within the read.
   */
  readServiceRows<T>(
    filters: ServiceFilters,
    { withStatus }: { readonly withStatus: boolean },
    use: (revision: number, rows: () => readonly ServiceRow[]) => T,
    signal?: AbortSignal,
  ): Promise<T> {
    return this.#read((view) => {
      const rows = (): ServiceRow[] =>
        view
          .list('service')
          .filter(serviceFilter(filters))
          .map((service) => ({
            service: redactService(service),
            status: withStatus ? serviceStatus(service, view.tasksByService(service.id)) : null,
          }));
      return use(this.#options.store.revision, rows);
    }, signal);
  }

  /** Why tasks of the service wait, and what each node says to one more of them. */
  async explainService(ref: string, signal?: AbortSignal): Promise<PlacementExplanation> {
    const service = await this.#read((view) => requireByRef(view, 'service', ref), signal);
    return this.#options.explainer.explain(service, signal);
  }

  // ---- tasks ----

  getTask(ref: string, signal?: AbortSignal): Promise<Task> {
    return this.#read(
      (view) => tellOfWaiting(view)(redactTask(requireByRef(view, 'task', ref))),
      signal,
    );
  }

  listTasks(filters: TaskFilters = {}, signal?: AbortSignal): Promise<Task[]> {
    return this.#read(
      (view) =>
        candidates(view, filters)
          .filter(taskFilter(view, filters))
          .map(redactTask)
          .map(tellOfWaiting(view)),
      signal,
    );
  }

  removeTask(ref: string, signal?: AbortSignal): Promise<string> {
    return this.#write('removeTask', { ref, force: false }, signal);
  }

  /** It goes elsewhere as soon as another has taken its place, or before that one starts; `none` = it stays after all. */
  moveTask(ref: string, order: MoveOrder | 'none', signal?: AbortSignal): Promise<Task> {
    return this.#write('moveTask', { ref, order }, signal);
  }

  /** Tasks that would better be elsewhere, at most `movesMax` of them; moves none. */
  async planRebalance(movesMax: number, signal?: AbortSignal): Promise<readonly TaskMove[]> {
    await this.#read(() => {}, signal);
    return this.#options.explainer.rebalance(movesMax, signal);
  }

  // ---- stacks ----

  /** What a deployment would change, and where its tasks would land; it changes nothing. */
  async planStack(wanted: WantedStack, signal?: AbortSignal): Promise<StackPlan> {
    const planned = await this.#read((view) => planStack(view, wanted), signal);
    const { plan, steps, newNetworks } = planned;
    const forecasts = await this.#options.explainer.forecast(
      steps.filter((step) => step !== null),
      newNetworks,
      signal,
    );
    let at = 0;
    const changes = plan.changes.map((change, index) => {
      if (steps[index] === null) return change;
      const landing = forecasts[at++]!;
      const isEmpty = landing.nodes.length === 0 && landing.unplaced === null;
      return { ...change, landing: isEmpty ? null : landing };
    });
    return { ...plan, changes };
  }

  // ---- networks ----

  createNetwork(spec: NetworkSpec, signal?: AbortSignal): Promise<Network> {
    return this.#write('createNetwork', { spec }, signal);
  }

  removeNetwork(ref: string, signal?: AbortSignal): Promise<string> {
    return this.#write('removeNetwork', { ref, force: false }, signal);
  }

  getNetwork(ref: string, signal?: AbortSignal): Promise<Network> {
    return this.#read((view) => requireByRef(view, 'network', ref), signal);
  }

  listNetworks(filters: NetworkFilters = {}, signal?: AbortSignal): Promise<Network[]> {
    return this.#read((view) => view.list('network').filter(networkFilter(filters)), signal);
  }

  // ---- secrets and configs ----

  createSecret(spec: SecretSpec, signal?: AbortSignal): Promise<Secret> {
    return this.#write('createSecret', { spec }, signal);
  }

  updateSecret(
    ref: string,
    version: number,
    spec: SecretSpec,
    signal?: AbortSignal,
  ): Promise<Secret> {
    return this.#write('updateSecret', { ref, version, spec }, signal);
  }

  removeSecret(ref: string, signal?: AbortSignal): Promise<string> {
    return this.#write('removeSecret', { ref, force: false }, signal);
  }

  getSecret(ref: string, signal?: AbortSignal): Promise<Secret> {
    return this.#read((view) => redactSecret(requireByRef(view, 'secret', ref)), signal);
  }

  listSecrets(filters: ObjectFilters = {}, signal?: AbortSignal): Promise<Secret[]> {
    return this.#read(
      (view) => view.list('secret').filter(objectFilter(filters)).map(redactSecret),
      signal,
    );
  }

  createConfig(spec: ConfigSpec, signal?: AbortSignal): Promise<Config> {
    return this.#write('createConfig', { spec }, signal);
  }

  updateConfig(
    ref: string,
    version: number,
    spec: ConfigSpec,
    signal?: AbortSignal,
  ): Promise<Config> {
    return this.#write('updateConfig', { ref, version, spec }, signal);
  }

  removeConfig(ref: string, signal?: AbortSignal): Promise<string> {
    return this.#write('removeConfig', { ref, force: false }, signal);
  }

  getConfig(ref: string, signal?: AbortSignal): Promise<Config> {
    return this.#read((view) => requireByRef(view, 'config', ref), signal);
  }

  listConfigs(filters: ObjectFilters = {}, signal?: AbortSignal): Promise<Config[]> {
    return this.#read((view) => view.list('config').filter(objectFilter(filters)), signal);
  }

  // ---- nodes ----

  /** A changed `desiredRole` is carried out later: see the role of the node. */
  updateNode(ref: string, version: number, spec: NodeSpec, signal?: AbortSignal): Promise<Node> {
    return this.#write('updateNode', { ref, version, spec }, signal);
  }

  /** @param force also when the node is ready; managers must be demoted first in any case */
  removeNode(ref: string, force = false, signal?: AbortSignal): Promise<string> {
    return this.#write('removeNode', { ref, force }, signal);
  }

  getNode(ref: string, signal?: AbortSignal): Promise<Node> {
    return this.#read((view) => requireByRef(view, 'node', ref), signal);
  }

  listNodes(filters: NodeFilters = {}, signal?: AbortSignal): Promise<Node[]> {
    return this.#read((view) => view.list('node').filter(nodeFilter(filters)), signal);
  }

  /** The raft members as the leader sees them. */
  async listManagers(signal?: AbortSignal): Promise<readonly ManagerStatus[]> {
    const { response } = await this.#options.leader.run(this.#managersCall(signal));
    return response;
  }

  // ---- cluster ----

  /** With the join tokens, without the key of its root. */
  getCluster(signal?: AbortSignal): Promise<Cluster> {
    return this.#read((view) => redactCluster(requireCluster(view)), signal);
  }

  /** '' while the managers are not locked. */
  getUnlockKey(signal?: AbortSignal): Promise<string> {
    return this.#read((view) => requireCluster(view).unlockKey, signal);
  }

  updateCluster(
    version: number,
    spec: ClusterSpec,
    rotate: RotateTokens = {},
    signal?: AbortSignal,
    signing: SigningPair = { certPem: '', keyPem: '' },
  ): Promise<Cluster> {
    const request = {
      version,
      spec,
      rotateWorkerToken: rotate.worker ?? false,
      rotateManagerToken: rotate.manager ?? false,
      rotateUnlockKey: rotate.unlockKey ?? false,
      signingCertPem: signing.certPem,
      signingKeyPem: signing.keyPem,
    };
    return this.#write('updateCluster', request, signal);
  }

  // ---- changes ----

  /**
   * Changes of every kind of object, as this manager learns of them; the same revisions on each. See
   * `watchCluster`. Throws `unavailable` once this manager learns of no more changes.
   */
  async watch(
    filters: WatchFilters,
    fromRevision: number | undefined,
    signal?: AbortSignal,
  ): Promise<ClusterWatch> {
    await this.#options.readBarrier(signal);
    if (this.#isReleased) {
      throw new SkepError('unavailable', 'watch: the manager of this node has ended');
    }
    const watch = watchCluster(this.#options.store, filters, fromRevision, () =>
      this.#watches.delete(watch),
    );
    this.#watches.add(watch);
    return watch;
  }

  // ---- the way to the leader ----

  async #read<T>(read: (view: ReadView) => T, signal: AbortSignal | undefined): Promise<T> {
    await this.#options.readBarrier(signal);
    return this.#options.store.view(read);
  }

  async #write<V extends Verb>(
    verb: V,
    request: RequestOf<V>,
    signal: AbortSignal | undefined,
  ): Promise<ResponseOf<V>> {
    return (await this.#options.leader.run(this.#writeCall(verb, request, signal))).response;
  }

  #serve<V extends Verb>(server: Pick<RpcServer, 'handleUnary'>, verb: V): () => void {
    const { method } = this.#writeCall(verb, null as unknown as RequestOf<V>, undefined);
    return server.handleUnary(method, async (request, { peer, forwarded, signal }) => {
      const call = this.#writeCall(verb, request, signal);
      const caller = { peer, forwarded };
      return (await this.#options.leader.run({ ...call, caller })).response;
    });
  }

  #writeCall<V extends Verb>(
    verb: V,
    request: RequestOf<V>,
    signal: AbortSignal | undefined,
  ): LeaderCall<RequestOf<V>, ResponseOf<V>> {
    return {
      method: controlMethods[verb] as unknown as LeaderCall<RequestOf<V>, ResponseOf<V>>['method'],
      request,
      caller: null,
      timeoutMs: WRITE_TIMEOUT_MS,
      signal,
      local: () => {
        const { store, clock, random, membership, external } = this.#options;
        const environment = {
          nowMs: Math.floor(clock.wallMs()),
          random,
          managers: () => membership.members(),
          external,
        };
        const write = () => WRITES[verb](store, request, environment, signal);
        return COMPARED_WITH_ALL.has(verb) ? this.#compared.run(write) : write();
      },
    };
  }

  #managersCall(signal?: AbortSignal): LeaderCall<null, readonly ManagerStatus[]> {
    return {
      method: listManagers,
      request: null,
      caller: null,
      signal,
      local: async () => this.#options.membership.members(),
    };
  }
}

/** The narrowest index that the filters allow. */
function candidates(view: ReadView, filters: TaskFilters): readonly Task[] {
  if (filters.services?.length === 1) {
    return view.tasksByService(requireByRef(view, 'service', filters.services[0]!).id);
  }
  if (filters.nodes?.length === 1) {
    return view.tasksByNode(requireByRef(view, 'node', filters.nodes[0]!).id);
  }
  return view.list('task');
}
