/**
 * A node's part in one cluster, from entering to leaving: identity, RPC server, the manager when it is
 * one, the worker's membership, and the background work that must not outlive them.
 */
import type { Duplex } from 'node:stream';
import { EFFECT, hadNoEffect, hasCode, SkepError } from '../common/base/errors.ts';
import { Scope, TaskSet } from '../common/base/lifecycle.ts';
import type { NodeId } from '../common/model/ids.ts';
import type { NodeRole } from '../common/model/node.ts';
import type { TokenGrant, TokenRequest } from '../common/model/registry-token.ts';
import type { ManagerPeer } from '../common/model/session.ts';
import { CertificateRenewal } from '../common/pki/certificate-renewal.ts';
import { type Identity, IdentityHolder, remainingMs } from '../common/pki/identity.ts';
import { TrustFollower } from '../common/pki/trust-follower.ts';
import { EXCHANGE_TIMEOUT_MS, exchangeToken, wantedImages } from '../common/rpc/image-methods.ts';
import { type CertificateIssuer, issuerAt, renewIdentity } from '../common/rpc/join-cluster.ts';
import { clusterReads } from '../common/rpc/node-methods.ts';
import { requireCurrentManager } from '../common/rpc/peer.ts';
import { RpcClientPool } from '../common/rpc/pool.ts';
import { RpcServer } from '../common/rpc/server.ts';
import { StreamDuplex } from '../common/rpc/stream-duplex.ts';
import { Manager } from '../manager/manager.ts';
import type { ManagerOptions, ManagerOrigin } from '../manager/manager-options.ts';
import type { ClusterPeers } from '../worker/images/image-store.ts';
import { parseHostPort } from './addresses.ts';
import { READS_REFUSED } from './engineapi/worker-reads.ts';
import { KnownManagers } from './known-managers.ts';
import type { MembershipFiles } from './membership-files.ts';
import type { NodeAddresses } from './node-addresses.ts';
import { RoleFollower } from './role-follower.ts';
import type { SwarmNodeOptions } from './swarm-node-options.ts';

const SEAL_RETRY_MS = 5_000;
/** Docker's words. */
const EXPIRED = 'Swarm certificates have expired. To replace them, leave the swarm and join again.';

export interface MembershipParts extends SwarmNodeOptions {
  /** the cluster has just made or taken this node */
  readonly isNew: boolean;
  readonly files: MembershipFiles;
}

export class Membership {
  readonly identity: IdentityHolder;
  readonly addresses: NodeAddresses;
  readonly #parts: MembershipParts;
  readonly #scope = new Scope();
  readonly #tasks: TaskSet;
  readonly #server: RpcServer;
  readonly #pool: RpcClientPool;
  readonly #renewal: CertificateRenewal;
  readonly #role: RoleFollower;
  readonly #trust: TrustFollower;
  readonly #known: KnownManagers;
  #manager: Manager | null = null;
  #expiry: { readonly of: Identity; readonly atMs: number } | null = null;
  /** It serves before its start is over. */
  #startingManager: Manager | null = null;
  /** A manager may learn that it was removed before its start is over. */
  #starting: Promise<void> = Promise.resolve();

  /** Takes up the membership. `origin` = null: as a worker. A failure leaves nothing running. */
  static async enter(
    parts: MembershipParts,
    identity: Identity,
    addresses: NodeAddresses,
    origin: ManagerOrigin | null,
  ): Promise<Membership> {
    const membership = new Membership(parts, identity, addresses);
    try {
      await membership.#enter(origin);
    } catch (err) {
      await membership.close();
      throw err;
    }
    return membership;
  }

  private constructor(parts: MembershipParts, identity: Identity, addresses: NodeAddresses) {
    this.#parts = parts;
    this.identity = new IdentityHolder(identity);
    this.addresses = addresses;
    const { clock, random, log, onFailure } = parts;
    this.#tasks = new TaskSet(onFailure);
    this.#server = new RpcServer({
      credentials: this.identity,
      logger: log.child({ component: 'rpc' }),
      ...{ clock, onFailure },
      isBlocked: (nodeId) => this.#isBlocked(nodeId),
      isManager: (nodeId) => this.#isManager(nodeId),
      isWorker: (nodeId) => this.#isWorker(nodeId),
    });
    this.#known = new KnownManagers((nodeId) => {
      // To a manager a demoted one has an agent's session as well. Removed ones are cut off there by `Expulsion`.
      if (!this.#manager) this.#server.disconnect(nodeId);
    });
    this.#pool = new RpcClientPool({ credentials: this.identity, clock });
    this.#renewal = new CertificateRenewal({
      identity: this.identity,
      managers: () => this.#managers(),
      request: (address, current, signal) =>
        renewIdentity({ issue: this.#issuerAt(address), identity: current, clock, signal }),
      save: (renewed) => this.#saveIdentity(renewed),
      clock,
      random,
      log,
    });
    this.#trust = new TrustFollower({
      ...{ identity: this.identity, renewal: this.#renewal, tasks: this.#tasks },
      ...{ clock, random, log },
    });
    this.#scope.defer(this.identity.onChange(() => parts.worker.describeAgain()));
    this.#role = new RoleFollower({
      plays: () => (this.#manager && !this.#manager.removed ? 'manager' : 'worker'),
      renew: (signal) => this.#renewal.renew(signal),
      become: (role, signal) => this.#become(role, signal),
      tasks: this.#tasks,
      clock,
      random,
      log,
    });
  }

  get manager(): Manager | null {
    return this.#manager;
  }

  /** By this node's own group, or as the last session named them; a worker knows none before its first session. */
  remoteManagers(): readonly ManagerPeer[] {
    const manager = this.#manager;
    return manager && !manager.removed ? manager.managers() : this.#known.list();
  }

  /** What an operator must see to, for `docker info`; '' when all is well. */
  get trouble(): string {
    const { refusal } = this.#parts.worker;
    const refused =
      refusal === ''
        ? ''
        : `the managers refuse this node, which may leave the swarm and join anew: ${refusal}`;
    const isExpired = this.#expiresAtMs < this.#parts.clock.wallMs();
    return this.#manager?.trouble ?? (isExpired ? EXPIRED : refused);
  }

  /** Every `_ping` asks: a certificate is looked at once. */
  get #expiresAtMs(): number {
    const { current } = this.identity;
    if (this.#expiry?.of !== current) this.#expiry = { of: current, atMs: remainingMs(current, 0) };
    return this.#expiry.atMs;
  }

  /**
   * Ends every task and this node's part in the group of managers, then closes. After a failure it can
   * be called again. What is on disk is the caller's to remove.
   */
  async leave(): Promise<void> {
    await this.#tasks.stop();
    await this.#parts.worker.leave();
    await this.#manager?.withdraw();
    if (!this.#scope.closed) await this.#scope.close();
  }

  /** Tasks go on running. */
  close(): Promise<void> {
    return this.#scope.close();
  }

  /** The first that answers. Throws `unavailable` when none does, `not-a-manager` when none allows reads of workers. */
  async connectToManager(signal: AbortSignal): Promise<Duplex> {
    let cause: unknown = new SkepError('unavailable', 'no manager is known');
    for (const address of await this.#managers()) {
      try {
        const session = this.#pool.session(address);
        return new StreamDuplex(await session.duplex(clusterReads, { signal }));
      } catch (err) {
        signal.throwIfAborted();
        cause = err;
      }
    }
    if (!hasCode(cause, 'unimplemented')) {
      throw new SkepError('unavailable', 'reach a manager of the cluster', { cause });
    }
    throw new SkepError('not-a-manager', READS_REFUSED, { cause }); // of an older release
  }

  async #enter(origin: ManagerOrigin | null): Promise<void> {
    const { worker } = this.#parts;
    this.#scope.defer(() => this.#server.stop());
    this.#scope.defer(() => this.#pool.close());
    this.#scope.defer(async () => this.#manager?.stop());
    this.#scope.defer(worker.register(this.#server));
    this.#scope.defer(this.#parts.register(this.#server));
    const { host, port } = parseHostPort(this.addresses.listen);
    await this.#server.listen(host, port);
    if (origin) await this.#startManager(origin);
    this.#scope.defer(() => worker.suspend());
    this.#scope.defer(() => this.#tasks.stop());
    await this.#startWorker();
    this.#tasks.run((signal) => this.#renewal.keepRenewed(signal));
  }

  async #startManager(origin: ManagerOrigin, signal?: AbortSignal): Promise<void> {
    const { dataDir, disk, clock, random, log, onFailure, onClusterEvent } = this.#parts;
    const { nodeId, clusterId } = this.identity.current;
    const manager = new Manager({
      dataDir,
      nodeId,
      clusterId,
      address: this.addresses.advertise,
      server: this.#server,
      pool: this.#pool,
      credentials: this.identity,
      disk,
      clock,
      random,
      log,
      onFailure,
      onClusterEvent,
      registryLogins: this.#registryLogins(),
      onRemoved: () => this.#role.removed(),
      onLockChanged: () => this.#tasks.run((signal) => this.#followLock(signal)),
    });
    this.#startingManager = manager;
    const starting = manager.start(origin, signal).finally(() => {
      this.#startingManager = null;
    });
    const started = starting.then(() => {
      this.#manager = manager;
      // The process may have ended between the change of the lock and this.
      if (manager.identityKey) this.#tasks.run((abort) => this.#followLock(abort));
    });
    this.#starting = started.catch(() => {}); // told to this caller
    await started;
  }

  #registryLogins(): NonNullable<ManagerOptions['registryLogins']> {
    const { images } = this.#parts.worker;
    const { identities } = images;
    return {
      renew: async (domain, identityToken, signal) => {
        const user = { username: '', password: '', identityToken };
        return (await images.login(domain, user, signal)) ?? identityToken;
      },
      exchange: (...asked) => identities.exchangeForOthers(...asked),
      latest: (...asked) => identities.latest(...asked),
      onReplaced: (...asked) => identities.onReplaced(...asked),
    };
  }

  /** A leader asks itself: over the network nobody takes a certificate that has ended, nor does it take its own. */
  #issuerAt(address: string): CertificateIssuer {
    const manager = this.#manager;
    return address === this.addresses.advertise && manager?.isLeader()
      ? (request, signal) => manager.issueCertificate(request, signal)
      : issuerAt(this.#pool.client(address));
  }

  async #startWorker(): Promise<void> {
    const { advertise, dataPath, managers } = this.addresses;
    const { host } = parseHostPort(advertise);
    await this.#parts.worker.join({
      nodeId: this.identity.current.nodeId,
      vtepAddress: dataPath || host,
      pool: this.#pool,
      peers: this.#peers(),
      managerAddresses: this.#manager ? [...managers, advertise] : managers,
      isNew: this.#parts.isNew,
      describe: () => ({
        ...this.#parts.describe(advertise, this.identity.current),
        dataPathAddress: dataPath,
      }),
      onSession: (word) => {
        this.#known.learn(word.managers);
        this.#trust.follow(word);
        this.#role.follow(word.nodeSpec.desiredRole);
      },
    });
  }

  /** By the leader, through any manager that answers. */
  async #exchangeToken(request: TokenRequest, signal?: AbortSignal): Promise<TokenGrant> {
    if (this.#manager) return this.#manager.exchangeToken(request, signal);
    let cause: unknown = new SkepError('unavailable', 'no manager is known', {
      details: { [EFFECT]: 'none' },
    });
    const options = { timeoutMs: EXCHANGE_TIMEOUT_MS, ...(signal && { signal }) };
    for (const address of await this.#managers()) {
      try {
        return await this.#pool.client(address).unary(exchangeToken, request, options);
      } catch (err) {
        signal?.throwIfAborted();
        // Nobody else is asked for what may be done: the token may be void.
        if (!hadNoEffect(err)) throw err;
        cause = err;
      }
    }
    throw cause;
  }

  async #wantedImages(signal: AbortSignal): Promise<readonly string[] | null> {
    const managers = (await this.#managers()).map((address) => ({
      address,
      ask: async () =>
        (await this.#pool.client(address).unary(wantedImages, {}, { signal })).images,
    }));
    const own = this.#manager;
    if (own) managers.unshift({ address: 'self', ask: () => own.images.wanted(signal) });
    for (const { address, ask } of managers) {
      try {
        return await ask();
      } catch (err) {
        signal.throwIfAborted();
        this.#parts.log.debug({ err, address }, 'manager does not say which images are wanted');
      }
    }
    return null;
  }

  #peers(): ClusterPeers {
    const isManager = (): boolean => this.#manager !== null && !this.#manager.removed;
    return {
      get isManager() {
        return isManager();
      },
      requireManager: (path, nodeId) =>
        requireCurrentManager(path, nodeId, nodeId !== null && this.#isManager(nodeId)),
      // All nodes are to rank the same list: the one that the leader told, when there is one.
      managers: async () => {
        const told = await this.#parts.files.loadManagers();
        return told.length > 0 ? told : this.#managers();
      },
      self: this.addresses.advertise,
      manager: (address) => this.#pool.client(address),
      node: (nodeId, address) => this.#pool.client(address, { nodeId }),
      wantedImages: (signal) => this.#wantedImages(signal),
      exchangeToken: (...asked) => this.#exchangeToken(...asked),
      holders: (domain, path) => this.#manager?.images.holders(domain, path) ?? [],
    };
  }

  /** The key of the certificate is sealed as the manager's keys are. */
  async #followLock(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts;
    for (;;) {
      try {
        await this.#saveIdentity();
        return;
      } catch (err) {
        log.warn({ err }, 'the certificate is not sealed as the lock wants it, will be retried');
        await clock.sleep(SEAL_RETRY_MS, signal);
      }
    }
  }

  /** Sealed on a manager of a locked cluster. */
  #saveIdentity(identity: Identity = this.identity.current): Promise<void> {
    return this.#parts.files.saveIdentity(identity, this.#manager?.identityKey ?? null);
  }

  async #become(role: NodeRole, signal: AbortSignal): Promise<void> {
    await this.#starting;
    const manager = this.#manager;
    if (role === 'manager' && manager && !manager.removed) return;
    this.#manager = null;
    await manager?.stop();
    await this.#saveIdentity(); // what opens it goes with the state
    await Manager.removeState(this.#parts.disk, this.#parts.dataDir);
    if (role === 'worker') return;
    await this.#startManager({ kind: 'join', managerAddresses: await this.#managers() }, signal);
  }

  /** Of callers with a manager's certificate. Its own group knows best, also without a leader. */
  #isManager(nodeId: string): boolean | null {
    const manager = this.#manager;
    if (!manager || manager.removed) return this.#known.has(nodeId);
    return manager.managers().some((one) => one.nodeId === nodeId);
  }

  /** By the cluster, as far as this manager has it; a worker knows managers alone. */
  #isWorker(nodeId: NodeId): boolean {
    const manager = this.#manager ?? this.#startingManager;
    return manager?.store.view((view) => view.get('node', nodeId)?.role) === 'worker';
  }

  /** On a worker nobody is: it serves managers alone, and knows who they are. */
  #isBlocked(nodeId: string): boolean {
    const manager = this.#manager ?? this.#startingManager;
    if (!manager) return false;
    return manager.store.view((view) => {
      const blocked = view.list('cluster')[0]?.blockedNodes ?? {};
      return Object.hasOwn(blocked, nodeId);
    });
  }

  /** Managers to ask, those of the last session first. */
  async #managers(): Promise<readonly string[]> {
    const { managers, advertise } = this.addresses;
    const told = await this.#parts.files.loadManagers();
    return [...new Set([...told, ...managers, ...(this.#manager ? [advertise] : [])])];
  }
}

/** True for the failure of a manager whose cluster was never completed (see `Manager.start`). */
export function wasNeverMade(err: unknown): boolean {
  return hasCode(err, 'not-in-swarm');
}
