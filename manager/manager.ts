/**
 * Composes the rooms of a manager. The store, the API and the log broker are there on every manager;
 * allocator, orchestrators, scheduler, dispatcher and role manager while it leads.
 */
import { withDeadline } from '../common/base/deadline.ts';
import { describeError, SkepError } from '../common/base/errors.ts';
import { Scope, TaskSet } from '../common/base/lifecycle.ts';
import type { QueueState } from '../common/base/queue.ts';
import { asId, type NodeId } from '../common/model/ids.ts';
import type { TokenGrant, TokenRequest } from '../common/model/registry-token.ts';
import type { ManagerPeer } from '../common/model/session.ts';
import { ExternalCaClient } from '../common/pki/external-ca.ts';
import type { IssueCertificateRequest, IssuedCertificate } from '../common/rpc/ca-methods.ts';
import { dispatcherSession } from '../common/rpc/dispatcher-method.ts';
import { EXCHANGE_TIMEOUT_MS, exchangeToken } from '../common/rpc/image-methods.ts';
import { type LeaderCall, LeaderCaller, type LeaderLocator } from '../common/rpc/leader.ts';
import { removeMember } from '../common/rpc/membership-methods.ts';
import type { Peer } from '../common/rpc/peer.ts';
import { AgentEntry } from './agent-entry.ts';
import { Allocator } from './allocator/allocator.ts';
import { Authority } from './ca/authority.ts';
import { CertificateReconciler } from './ca/certificate-reconciler.ts';
import { ClusterEvents } from './cluster-events.ts';
import { Attachments } from './controlapi/attachments.ts';
import { ControlApi } from './controlapi/control-api.ts';
import { Dispatcher, type ManagerList } from './dispatcher/dispatcher.ts';
import { Expulsion } from './expulsion.ts';
import { WITHDRAWAL_TIMEOUT_MS } from './group-entry.ts';
import { GroupService } from './group-service.ts';
import { ImageDistribution } from './image-distribution.ts';
import { LeaderRooms, type Room } from './leader-rooms.ts';
import { LockFollower } from './lock-follower.ts';
import { LogBroker } from './logbroker/log-broker.ts';
import type { KeptManagerKeys } from './manager-keys.ts';
import type { ManagerOptions, ManagerOrigin } from './manager-options.ts';
import { ManagerPlace } from './manager-place.ts';
import { ConnectionTracer } from './netproof/connection-tracer.ts';
import { NetworkProver } from './netproof/network-prover.ts';
import { Orchestrator } from './orchestrator/orchestrator.ts';
import { RaftSettingsFollower } from './raft-settings-follower.ts';
import { hasRaftState, loadIdentityKey, openRaft, removeRaftState } from './raft-start.ts';
import type { Disk } from './raftnode/disk.ts';
import type { RaftMember } from './raftnode/membership.ts';
import type { RaftNodeStatus } from './raftnode/node-options.ts';
import type { RaftNode } from './raftnode/raft-node.ts';
import { RegistryCredentials } from './registry-credentials.ts';
import { RemoteContainers } from './remote-containers.ts';
import { RoleManager } from './role-manager.ts';
import { PlacementExplainer } from './scheduler/explain-placement.ts';
import { Scheduler } from './scheduler/scheduler.ts';
import type { FollowerOptions } from './store/follower.ts';
import { MemoryStore } from './store/store.ts';

export class Manager implements ManagerList, LeaderLocator {
  readonly store: MemoryStore;
  readonly logs: LogBroker;
  readonly containers: RemoteContainers;
  readonly images: ImageDistribution;
  readonly networkProver: NetworkProver;
  readonly connectionTracer: ConnectionTracer;
  readonly #options: ManagerOptions;
  readonly #scope = new Scope();
  readonly #background: TaskSet;
  readonly #rooms: LeaderRooms<{ readonly dispatcher: Dispatcher }>;
  readonly #leader: LeaderCaller;
  readonly #changeListeners = new Set<() => void>();
  #raft: RaftNode | null = null;
  #keys: KeptManagerKeys | null = null;
  /** removed before it knew that it had been added */
  #expelled = false;
  #authority: Authority | null = null;
  #control: ControlApi | null = null;
  #leading = false;

  constructor(options: ManagerOptions) {
    this.#options = options;
    const { clock, random, pool, log, onFailure, nodeId } = options;
    this.#background = new TaskSet(onFailure);
    this.#rooms = new LeaderRooms({
      compose: () => this.#composeRooms(),
      clock,
      random,
      log: log.child({ component: 'manager', nodeId }),
      onFailure,
    });
    this.#leader = new LeaderCaller({
      locator: this,
      pool: { client: (leader) => pool.peer(leader) },
      clock,
      self: () => this.#self(),
    });
    this.store = new MemoryStore({
      ...{ proposer: null, clock, random },
      onTooLarge: (err) => log.error({ err }, 'a write is too large for the log, and left out'),
    });
    this.images = new ImageDistribution({
      store: this.store,
      readBarrier: (signal) => this.#requireRaft().readBarrier(signal),
      pool,
      nodeId,
      address: options.address,
    });
    this.logs = new LogBroker({
      store: this.store,
      pool,
      clock,
      log: log.child({ component: 'logbroker' }),
    });
    this.containers = new RemoteContainers({ store: this.store, pool, self: nodeId });
    this.networkProver = new NetworkProver({ store: this.store, pool });
    this.connectionTracer = new ConnectionTracer({ store: this.store, pool });
  }

  /** True when this directory holds the state of a manager. */
  static hasState(disk: Disk, dataDir: string): Promise<boolean> {
    return hasRaftState(disk, dataDir);
  }

  /** See `loadIdentityKey`. */
  static identityKey(
    disk: Disk,
    dataDir: string,
    unlockKey: Uint8Array | null,
  ): Promise<Uint8Array> {
    return loadIdentityKey(disk, dataDir, unlockKey);
  }

  /** Forgets the state of a manager, if there is any. */
  static removeState(disk: Disk, dataDir: string): Promise<void> {
    return removeRaftState(disk, dataDir);
  }

  /** For the node of this manager itself, as the authority gives it to others. */
  issueCertificate(
    request: IssueCertificateRequest,
    signal?: AbortSignal,
  ): Promise<IssuedCertificate> {
    if (!this.#authority) throw new SkepError('unavailable', 'manager is starting');
    return this.#authority.issue(request, { peer: this.#self(), forwarded: false }, signal);
  }

  get control(): ControlApi {
    if (!this.#control) throw new SkepError('unavailable', 'manager is starting');
    return this.#control;
  }

  /**
   * A first start (bootstrap, join) that fails leaves no state behind, unless it was aborted. A restart of a manager whose
   * join was cut short goes on joining in the background. Rejects with `not-in-swarm` when the cluster
   * itself was never completed: nothing here is worth keeping then.
   */
  async start(origin: ManagerOrigin, signal?: AbortSignal): Promise<void> {
    const { disk, dataDir } = this.#options;
    // What lies here without the node's being a manager is the rest of an attempt that was cut short.
    if (origin.kind !== 'restart') await Manager.removeState(disk, dataDir);
    try {
      const { raft, keys } = await openRaft(this.#options, this.store, origin);
      this.#raft = raft;
      this.#keys = keys;
      this.store.setProposer(raft);
      this.#register();
      await this.#scope.start(this.#expulsion());
      await this.#scope.start(new RaftSettingsFollower({ ...this.#parts('raft-settings'), raft }));
      this.#scope.defer(raft.onLeadershipChange((leads) => this.#onLeadership(leads)));
      this.#scope.defer(raft.onMembersChange(() => this.#tellChange()));
      this.#scope.defer(() => this.#rooms.stop());
      await this.#scope.start(raft);
      this.#scope.defer(() => this.#background.stop());
      await this.#scope.start(this.#clusterEvents());
      await this.#scope.start(this.#lockFollower(raft, keys));
      await this.#takePlace(raft, origin, signal);
    } catch (err) {
      await this.#scope.close();
      if (origin.kind !== 'restart' && !signal?.aborted) await Manager.removeState(disk, dataDir);
      throw err;
    }
  }

  raftStatus(): RaftNodeStatus {
    return this.#requireRaft().status();
  }

  /** The log of this manager goes on under a new key. See `RaftNode.rotateKey`. */
  rotateKey(): Promise<void> {
    return this.#requireRaft().rotateKey();
  }

  /** Hands leadership over, if it has it, and stops. */
  stop(): Promise<void> {
    return this.#scope.close();
  }

  /** What an operator must see to; null when all is well. */
  get trouble(): string | null {
    if (!this.#raft?.status().diskFull) return null;
    return `no space left for the raft log in ${this.#options.dataDir}: this manager answers reads only until there is`;
  }

  /** Seals the key of the node's certificate; null while the cluster is not locked. */
  get identityKey(): Uint8Array | null {
    return this.unlockKey && (this.#keys?.keys.identityKey ?? null);
  }

  /** Opens this manager's keys on the disk; null while they are not locked. */
  get unlockKey(): Uint8Array | null {
    return this.#keys?.lock.key ?? null;
  }

  /** True once the other managers removed this one from their group. */
  get removed(): boolean {
    return this.#expelled || (this.#raft?.removed ?? false);
  }

  /**
   * Leaves the group of managers, if it is one of several and they can do without this one. Best
   * effort: resolves with whether it did, within WITHDRAWAL_TIMEOUT_MS.
   */
  async withdraw(): Promise<boolean> {
    const raft = this.#requireRaft();
    if (this.removed || this.members().length <= 1) return false;
    const { clock, log } = this.#options;
    const request = { raftId: this.#raftId };
    try {
      await withDeadline(
        { clock, limitMs: WITHDRAWAL_TIMEOUT_MS, action: 'withdraw from the managers' },
        (signal) =>
          this.#leader.run({
            method: removeMember,
            request,
            local: () => raft.removeMember(request.raftId, signal).then(() => null),
            caller: null,
            signal,
          }),
      );
      return true;
    } catch (err) {
      log.warn({ reason: describeError(err) }, 'the other managers keep this one in their group');
      return false;
    }
  }

  /** How full is what may not grow without limit: docs/design/control-plane.md names all of it. */
  queues(): QueueState[] {
    const { current } = this.#rooms;
    return [
      ...this.store.queues(),
      ...this.logs.queues(),
      ...(current ? current.dispatcher.queues() : []),
    ];
  }

  isLeader(): boolean {
    return this.#leading;
  }

  leaderAddress(): string | null {
    return this.#raft?.leader()?.address ?? null;
  }

  members(): readonly RaftMember[] {
    return this.#raft?.members() ?? [];
  }

  managers(): readonly ManagerPeer[] {
    return this.members().map(({ nodeId, address }) => ({ nodeId, address }));
  }

  /** Told when the leader, the members or an address of theirs may be another. */
  onChange(listener: () => void): () => void {
    this.#changeListeners.add(listener);
    return () => this.#changeListeners.delete(listener);
  }

  #register(): void {
    const { server, clock, random } = this.#options;
    const log = this.#options.log;
    const leader = this.#leader;
    const raft = this.#requireRaft();
    const external = new ExternalCaClient(this.#options);
    const authority = new Authority({
      store: this.store,
      ...{ leader, external },
      clock,
      random,
      log: log.child({ component: 'ca' }),
    });
    const control = new ControlApi({
      store: this.store,
      leader,
      membership: {
        members: () =>
          this.members().map((member) => ({ ...member, nodeId: asId<NodeId>(member.nodeId) })),
      },
      readBarrier: async (signal) => {
        await raft.readBarrier(signal);
      },
      explainer: new PlacementExplainer({ store: this.store, clock }),
      external,
      clock,
      random,
    });
    this.#control = control;
    this.#authority = authority;
    const agents = this.#agentEntry();
    this.#scope.defer(authority.register(server));
    this.#scope.defer(control.register(server));
    const attachments = new Attachments({ store: this.store, leader, clock });
    this.#scope.defer(attachments.register(server));
    this.#scope.defer(this.#groupService().register(server));
    this.#scope.defer(this.images.register(server));
    this.#scope.defer(
      server.handleUnary(exchangeToken, (request, { signal, ...caller }) =>
        this.#exchangeToken(request, caller, signal),
      ),
    );
    this.#scope.defer(
      server.handleDuplex(dispatcherSession, (stream, context) => agents.serve(stream, context)),
    );
  }

  /** For this node itself, as managers do it for others. */
  exchangeToken(request: TokenRequest, signal?: AbortSignal): Promise<TokenGrant> {
    return this.#exchangeToken(request, null, signal);
  }

  async #exchangeToken(
    request: TokenRequest,
    caller: LeaderCall<TokenRequest, TokenGrant>['caller'],
    signal?: AbortSignal,
  ): Promise<TokenGrant> {
    const { registryLogins } = this.#options;
    if (!registryLogins) throw new SkepError('unimplemented', 'exchange a registry token');
    const local = (): Promise<TokenGrant> => registryLogins.exchange(request, signal);
    const timeoutMs = EXCHANGE_TIMEOUT_MS;
    const call = { method: exchangeToken, request, local, caller, timeoutMs, signal };
    return (await this.#leader.run(call)).response;
  }

  #takePlace(raft: RaftNode, origin: ManagerOrigin, signal?: AbortSignal): Promise<void> {
    const place = new ManagerPlace({
      ...{ manager: this.#options, store: this.store, raft, raftId: this.#raftId },
      ...{ background: this.#background, self: () => this.#self() },
      isLeading: () => this.#leading,
      roomsSettled: () => this.#rooms.settled(),
      expelled: () => {
        this.#expelled = true;
        this.#options.onRemoved();
      },
    });
    return place.take(origin, signal);
  }

  /** What each room is given. */
  #parts(component: string): FollowerOptions {
    const { clock, random, log, onFailure } = this.#options;
    return { store: this.store, clock, random, onFailure, log: log.child({ component }) };
  }

  #lockFollower(raft: RaftNode, keys: KeptManagerKeys): LockFollower {
    return new LockFollower({
      ...this.#parts('lock'),
      keys,
      rotateKey: () => raft.rotateKey(),
      changed: () => this.#options.onLockChanged?.(),
    });
  }

  /** After Raft, so that what it applies again at its start is no news. */
  #clusterEvents(): ClusterEvents {
    const tell = this.#options.onClusterEvent ?? ((): void => {});
    return new ClusterEvents({ ...this.#parts('events'), tell });
  }

  #expulsion(): Expulsion {
    const { server } = this.#options;
    return new Expulsion({
      ...this.#parts('expulsion'),
      disconnect: (nodeId) => server.disconnect(nodeId),
      disconnectCalls: (nodeId) => server.disconnectCalls(nodeId),
    });
  }

  #agentEntry(): AgentEntry {
    return new AgentEntry({
      dispatcher: () => this.#rooms.current?.dispatcher,
      isFollower: () => !this.#leading && this.leaderAddress() !== null,
      notLeader: (action) => this.#notLeader(action),
      clock: this.#options.clock,
    });
  }

  #notLeader(action: string): SkepError {
    const leaderAddress = this.leaderAddress();
    const details = leaderAddress === null ? {} : { leaderAddress };
    return new SkepError('not-leader', `${action}: this manager is not the leader`, { details });
  }

  #onLeadership(leads: boolean): void {
    this.#leading = leads;
    this.#rooms.lead(leads);
    this.#tellChange();
  }

  #tellChange(): void {
    for (const listener of [...this.#changeListeners]) listener();
  }

  #composeRooms(): { rooms: { dispatcher: Dispatcher }; all: readonly Room[] } {
    const dispatcher = new Dispatcher({ ...this.#parts('dispatcher'), managers: this });
    const all: Room[] = [
      new Allocator(this.#parts('allocator')),
      new Orchestrator(this.#parts('orchestrator')),
      new Scheduler(this.#parts('scheduler')),
      new RoleManager({ ...this.#parts('roles'), group: this.#groupService() }),
      new CertificateReconciler(this.#parts('ca')),
      dispatcher,
    ];
    const { registryLogins: logins } = this.#options;
    if (logins) all.push(new RegistryCredentials({ ...this.#parts('registries'), logins }));
    return { rooms: { dispatcher }, all };
  }

  #groupService(): GroupService {
    return new GroupService({
      raft: this.#requireRaft(),
      store: this.store,
      isLeader: () => this.#leading,
      notLeader: (action) => this.#notLeader(action),
    });
  }

  /** This manager as a caller of others. */
  #self(): Peer {
    const { nodeId, clusterId, address } = this.#options;
    return { nodeId, role: 'manager', clusterId, address };
  }

  get #raftId(): number {
    return this.#keys?.keys.raftId ?? 0;
  }

  #requireRaft(): RaftNode {
    if (!this.#raft) throw new SkepError('unavailable', 'manager is starting');
    return this.#raft;
  }
}
