/**
 * Composes the rooms of a manager. The store, the API and the log broker are there on every manager;
 * allocator, orchestrators, scheduler, dispatcher and role manager while it leads.
 */
import { join } from 'node:path';
import type { Clock } from '../common/base/clock.ts';
import { hasCode, SkepError } from '../common/base/errors.ts';
import { type OnFailure, Scope } from '../common/base/lifecycle.ts';
import type { Logger } from '../common/base/log.ts';
import type { Random } from '../common/base/random.ts';
import { asId, type NodeId } from '../common/model/ids.ts';
import type { AgentMessage, DispatcherMessage, ManagerPeer } from '../common/model/session.ts';
import { dispatcherSession } from '../common/rpc/dispatcher-method.ts';
import { LeaderCaller, type LeaderLocator } from '../common/rpc/leader.ts';
import { addMember, listMembers } from '../common/rpc/membership-methods.ts';
import type { Peer } from '../common/rpc/peer.ts';
import type { RpcClientPool } from '../common/rpc/pool.ts';
import type { CallContext, RpcServer } from '../common/rpc/server.ts';
import type { RpcStream } from '../common/rpc/stream.ts';
import { Allocator } from './allocator/allocator.ts';
import { Authority } from './ca/authority.ts';
import type { NewCluster } from './ca/bootstrap.ts';
import { ControlApi } from './controlapi/control-api.ts';
import { Dispatcher, type ManagerList } from './dispatcher/dispatcher.ts';
import { Expulsion } from './expulsion.ts';
import { LogBroker } from './logbroker/log-broker.ts';
import {
  loadManagerKeys,
  type ManagerKeys,
  newManagerKeys,
  saveManagerKeys,
} from './manager-files.ts';
import { Orchestrator } from './orchestrator/orchestrator.ts';
import { GrpcTransport } from './raftnode/grpc-transport.ts';
import type { RaftMember } from './raftnode/membership.ts';
import { NodeDisk } from './raftnode/node-disk.ts';
import type { RaftNodeOptions } from './raftnode/node-options.ts';
import { RaftNode } from './raftnode/raft-node.ts';
import { RoleManager } from './role-manager.ts';
import { Scheduler } from './scheduler/scheduler.ts';
import { MemoryStore } from './store/store.ts';

export interface ManagerOptions {
  readonly dataDir: string;
  readonly nodeId: NodeId;
  readonly clusterId: string;
  /** `IP:port` where the other managers reach this one */
  readonly address: string;
  readonly server: RpcServer;
  readonly pool: RpcClientPool;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
  /** This node was removed from the group of managers. */
  readonly onRemoved: () => void;
}

/** How this manager comes to its state. */
export type ManagerOrigin =
  | { readonly kind: 'bootstrap'; readonly cluster: NewCluster }
  | { readonly kind: 'join'; readonly managerAddresses: readonly string[] }
  | { readonly kind: 'restart'; readonly forceNewCluster: boolean };

interface Room {
  start(): Promise<void>;
  stop(): Promise<void>;
}

const JOIN_TIMEOUT_MS = 20_000;

export class Manager implements ManagerList, LeaderLocator {
  readonly store: MemoryStore;
  readonly logs: LogBroker;
  readonly #options: ManagerOptions;
  readonly #scope = new Scope();
  readonly #changeListeners = new Set<() => void>();
  #raft: RaftNode | null = null;
  #control: ControlApi | null = null;
  #leading = false;
  #rooms: readonly Room[] = [];
  #dispatcher: Dispatcher | null = null;
  /** leadership changes are carried out one after the other */
  #transition: Promise<void> = Promise.resolve();

  constructor(options: ManagerOptions) {
    this.#options = options;
    const { clock, random, pool, log } = options;
    this.store = new MemoryStore({ proposer: null, clock, random });
    this.logs = new LogBroker({
      store: this.store,
      pool,
      clock,
      log: log.child({ component: 'logbroker' }),
    });
  }

  /** True when this directory holds the state of a manager. */
  static async hasState(dataDir: string): Promise<boolean> {
    return (await loadManagerKeys(keysPath(dataDir))) !== null;
  }

  get control(): ControlApi {
    if (!this.#control) throw new SkepError('unavailable', 'manager is starting');
    return this.#control;
  }

  async start(origin: ManagerOrigin): Promise<void> {
    try {
      const raft = await this.#openRaft(origin);
      this.#raft = raft;
      this.store.setProposer(raft);
      this.#register();
      await this.#scope.start(this.#expulsion());
      this.#scope.defer(raft.onLeadershipChange((leads) => this.#onLeadership(leads)));
      this.#scope.defer(() => this.#stopLeading());
      await this.#scope.start(raft);
      await this.#enter(origin);
    } catch (err) {
      await this.#scope.close();
      throw err;
    }
  }

  /** Hands leadership over, if it has it, and stops. */
  stop(): Promise<void> {
    return this.#scope.close();
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

  onChange(listener: () => void): () => void {
    this.#changeListeners.add(listener);
    return () => this.#changeListeners.delete(listener);
  }

  async #openRaft(origin: ManagerOrigin): Promise<RaftNode> {
    const { dataDir, random } = this.#options;
    const path = keysPath(dataDir);
    if (origin.kind === 'restart') {
      const keys = await loadManagerKeys(path);
      if (!keys) throw new SkepError('data-loss', `start manager: ${path} is missing`);
      return RaftNode.restart(this.#raftOptions(keys), { forceNewCluster: origin.forceNewCluster });
    }
    const keys = newManagerKeys(random);
    if (origin.kind === 'bootstrap') {
      const raft = await RaftNode.bootstrap(this.#raftOptions(keys));
      await saveManagerKeys(path, keys);
      return raft;
    }
    const members = await this.#membersOf(origin.managerAddresses);
    const raft = await RaftNode.join(this.#raftOptions(keys), members);
    await saveManagerKeys(path, keys);
    return raft;
  }

  #raftOptions(keys: ManagerKeys): RaftNodeOptions {
    const { dataDir, nodeId, clusterId, address, clock, random, onFailure, onRemoved } =
      this.#options;
    const log = this.#options.log.child({ component: 'raft' });
    return {
      dir: join(dataDir, 'raft'),
      raftId: keys.raftId,
      nodeId,
      address,
      clusterId,
      dek: keys.dek,
      stateMachine: this.store,
      transport: new GrpcTransport({
        server: this.#options.server,
        pool: this.#options.pool,
        clock,
        random,
        log,
      }),
      disk: new NodeDisk(),
      clock,
      random,
      log,
      onFailure,
      onRemoved,
    };
  }

  /** What follows the start of Raft: the first objects, or entering an existing group. */
  async #enter(origin: ManagerOrigin): Promise<void> {
    if (origin.kind === 'bootstrap') {
      const { cluster, node } = origin.cluster;
      await this.#whenLeading();
      await this.store.update((tx) => {
        tx.create('cluster', cluster);
        tx.create('node', node);
      });
    } else if (origin.kind === 'join') {
      const { raftId } = this.#requireRaft().status();
      const { nodeId, address, clock } = this.#options;
      const caller = new LeaderCaller({
        self: () => this.#self(),
        locator: this.#remoteLeader(),
        pool: this.#options.pool,
        clock,
      });
      await caller.run({
        method: addMember,
        request: { raftId, nodeId, address, learner: true },
        local: () => Promise.reject(new SkepError('internal', 'a joining manager leads nothing')),
        caller: null,
        timeoutMs: JOIN_TIMEOUT_MS,
      });
      await this.#requireRaft().readBarrier(AbortSignal.timeout(JOIN_TIMEOUT_MS));
    }
  }

  /** While joining, the group's members say who leads; asking any of them leads to it. */
  #remoteLeader(): LeaderLocator {
    return {
      isLeader: () => false,
      leaderAddress: () => {
        const own = this.#options.address;
        const others = this.members().filter(({ address }) => address !== own);
        return (others.find(({ leader }) => leader) ?? others[0])?.address ?? null;
      },
    };
  }

  async #membersOf(addresses: readonly string[]): Promise<readonly RaftMember[]> {
    let failure: unknown = new SkepError('unavailable', 'join managers: no manager is known');
    for (const address of addresses) {
      try {
        const members = await this.#options.pool.client(address).unary(listMembers, null);
        return members.map((member) => ({ ...member, reachable: true, leader: false }));
      } catch (err) {
        failure = err;
      }
    }
    throw failure;
  }

  #register(): void {
    const { server, pool, clock, random } = this.#options;
    const log = this.#options.log;
    const leader = new LeaderCaller({ locator: this, pool, clock, self: () => this.#self() });
    const raft = this.#requireRaft();
    const authority = new Authority({
      store: this.store,
      leader,
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
      clock,
      random,
    });
    this.#control = control;
    this.#scope.defer(authority.register(server));
    this.#scope.defer(control.register(server));
    this.#scope.defer(
      server.handleUnary(listMembers, async () => this.members().map((member) => ({ ...member }))),
    );
    this.#scope.defer(
      server.handleUnary(addMember, async (request, context) => {
        if (!this.#leading) throw this.#notLeader('add manager');
        if (context.peer.nodeId !== request.nodeId) {
          throw new SkepError('permission-denied', 'add manager: a node may only add itself');
        }
        await this.#dropFormerMember(request.nodeId, request.raftId, context.signal);
        await raft.addMember(request, context.signal);
        this.#announceMembers();
        return null;
      }),
    );
    this.#scope.defer(
      server.handleDuplex(dispatcherSession, (stream, context) =>
        this.#serveAgent(stream, context),
      ),
    );
  }

  #expulsion(): Expulsion {
    const { server, clock, random, onFailure } = this.#options;
    const log = this.#options.log.child({ component: 'expulsion' });
    const disconnect = (nodeId: string): void => server.disconnect(nodeId);
    return new Expulsion({ store: this.store, clock, random, onFailure, log, disconnect });
  }

  /** A node that lost its manager's state joins again under a new id; its old member is dead. */
  async #dropFormerMember(nodeId: string, raftId: number, signal: AbortSignal): Promise<void> {
    const former = this.members().find(
      (member) => member.nodeId === nodeId && member.raftId !== raftId,
    );
    if (former) await this.#requireRaft().removeMember(former.raftId, signal);
  }

  async #serveAgent(
    stream: RpcStream<AgentMessage, DispatcherMessage>,
    context: CallContext,
  ): Promise<void> {
    const dispatcher = this.#dispatcher;
    if (!dispatcher) throw this.#notLeader('agent session');
    const { peer, signal } = context;
    if (peer.nodeId === null)
      throw new SkepError('unauthenticated', 'agent session: no certificate');
    await dispatcher.serve(
      peer.nodeId,
      peer.address,
      { send: (message) => void stream.write(message), receive: (abort) => stream.next(abort) },
      signal,
    );
  }

  #notLeader(action: string): SkepError {
    const leaderAddress = this.leaderAddress();
    const details = leaderAddress === null ? {} : { leaderAddress };
    return new SkepError('not-leader', `${action}: this manager is not the leader`, { details });
  }

  #onLeadership(leads: boolean): void {
    this.#leading = leads;
    this.#transition = this.#transition.then(async () => {
      try {
        if (leads) await this.#startLeading();
        else await this.#stopLeading();
      } catch (err) {
        if (!hasCode(err, 'not-leader', 'no-leader', 'unavailable')) this.#options.onFailure(err);
      }
    });
  }

  async #startLeading(): Promise<void> {
    if (!this.#leading || this.#rooms.length > 0) return;
    const { clock, random, log, onFailure } = this.#options;
    const parts = { store: this.store, clock, random, onFailure };
    const named = (component: string): typeof parts & { log: Logger } => ({
      ...parts,
      log: log.child({ component }),
    });
    const dispatcher = new Dispatcher({ ...named('dispatcher'), managers: this });
    const rooms: readonly Room[] = [
      new Allocator(named('allocator')),
      new Orchestrator(named('orchestrator')),
      new Scheduler(named('scheduler')),
      new RoleManager({ ...named('roles'), group: this.#group() }),
      dispatcher,
    ];
    this.#rooms = rooms;
    for (const room of rooms) await room.start();
    this.#dispatcher = dispatcher;
    log.info({ nodeId: this.#options.nodeId }, 'leading');
  }

  async #stopLeading(): Promise<void> {
    const rooms = this.#rooms;
    this.#rooms = [];
    this.#dispatcher = null;
    if (rooms.length === 0) return;
    await Promise.all(rooms.map((room) => room.stop()));
    this.#options.log.info({ nodeId: this.#options.nodeId }, 'no longer leading');
  }

  #group(): ConstructorParameters<typeof RoleManager>[0]['group'] {
    const memberOf = (nodeId: NodeId): RaftMember | undefined =>
      this.members().find((member) => member.nodeId === nodeId);
    return {
      has: (nodeId) => memberOf(nodeId) !== undefined,
      remove: async (nodeId, signal) => {
        const member = memberOf(nodeId);
        if (!member) return;
        await this.#requireRaft().removeMember(member.raftId, signal);
        this.#announceMembers();
      },
    };
  }

  /** This manager as a caller of others. */
  #self(): Peer {
    const { nodeId, clusterId, address } = this.#options;
    return { nodeId, role: 'manager', clusterId, address };
  }

  #announceMembers(): void {
    for (const listener of [...this.#changeListeners]) listener();
  }

  #requireRaft(): RaftNode {
    if (!this.#raft) throw new SkepError('unavailable', 'manager is starting');
    return this.#raft;
  }

  async #whenLeading(): Promise<void> {
    const raft = this.#requireRaft();
    while (!this.#leading) {
      await raft.readBarrier(AbortSignal.timeout(JOIN_TIMEOUT_MS));
      await this.#transition;
    }
  }
}

function keysPath(dataDir: string): string {
  return join(dataDir, 'raft', 'manager.json');
}
