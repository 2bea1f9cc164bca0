/**
 * This machine's part in a cluster: none, worker or manager, and the steps between. Owns identity,
 * RPC server, manager and the worker's membership; one step at a time.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../common/base/clock.ts';
import { describeError, hasCode, SkepError } from '../common/base/errors.ts';
import { type OnFailure, Scope, TaskSet } from '../common/base/lifecycle.ts';
import type { Logger } from '../common/base/log.ts';
import type { Random } from '../common/base/random.ts';
import type { Availability, NodeDescription, NodeRole } from '../common/model/node.ts';
import type { DispatcherMessage } from '../common/model/session.ts';
import {
  type Identity,
  IdentityHolder,
  loadIdentity,
  removeIdentity,
  renewalTimeMs,
  saveIdentity,
} from '../common/pki/identity.ts';
import { joinCluster, renewIdentity } from '../common/rpc/join-cluster.ts';
import { RpcClientPool } from '../common/rpc/pool.ts';
import { RpcServer } from '../common/rpc/server.ts';
import { type CreateClusterOptions, createCluster } from '../manager/ca/bootstrap.ts';
import { Manager, type ManagerOrigin } from '../manager/manager.ts';
import type { Worker } from '../worker/worker.ts';
import { chooseAdvertiseAddress, parseHostPort } from './addresses.ts';

export interface SwarmNodeOptions {
  readonly dataDir: string;
  readonly hostname: string;
  /** of the daemon's flags; empty = not given */
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  readonly worker: Worker;
  readonly describe: (address: string, identity: Identity) => NodeDescription;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

export interface InitRequest {
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  readonly forceNewCluster: boolean;
  readonly cluster: Pick<
    CreateClusterOptions,
    'spec' | 'defaultAddressPool' | 'subnetSize' | 'dataPathPort' | 'availability'
  >;
}

export interface JoinRequest {
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  readonly remoteAddresses: readonly string[];
  readonly token: string;
  readonly availability: Availability;
}

/** Where this node listens and is reached; kept over restarts. */
interface Addresses {
  readonly listen: string;
  readonly advertise: string;
  readonly managers: readonly string[];
}

interface Membership {
  readonly identity: IdentityHolder;
  readonly addresses: Addresses;
  readonly server: RpcServer;
  readonly pool: RpcClientPool;
  readonly scope: Scope;
  manager: Manager | null;
}

export interface SwarmState {
  readonly local: 'inactive' | 'pending' | 'active' | 'error';
  readonly nodeId: string;
  /** IP */
  readonly nodeAddress: string;
  readonly role: NodeRole | null;
  readonly error: string;
}

const DEFAULT_LISTEN = '0.0.0.0:2377';
const RENEWAL_RETRY_MS = 5_000;

export class SwarmNode {
  readonly #options: SwarmNodeOptions;
  readonly #background: TaskSet;
  #membership: Membership | null = null;
  #busy: string | null = null;
  #error = '';
  #roleChange: Promise<void> = Promise.resolve();
  #wantedRole: NodeRole | null = null;

  constructor(options: SwarmNodeOptions) {
    this.#options = options;
    this.#background = new TaskSet(options.onFailure);
  }

  /** Takes up the membership of an earlier life, if there was one. */
  async start(): Promise<void> {
    const { dataDir } = this.#options;
    const identity = await loadIdentity(this.#certificates);
    if (!identity) return;
    const addresses = await this.#loadAddresses();
    const isManager = await Manager.hasState(dataDir);
    await this.#enter(
      identity,
      addresses,
      isManager ? { kind: 'restart', forceNewCluster: false } : null,
    );
  }

  /** Tasks go on running. */
  async stop(): Promise<void> {
    await this.#background.stop();
    await this.#roleChange;
    await this.#membership?.scope.close();
    this.#membership = null;
  }

  state(): SwarmState {
    const membership = this.#membership;
    if (!membership) {
      const local = this.#busy === 'join' ? 'pending' : this.#error ? 'error' : 'inactive';
      return { local, nodeId: '', nodeAddress: '', role: null, error: this.#error };
    }
    const { nodeId } = membership.identity.current;
    const { host } = parseHostPort(membership.addresses.advertise);
    const role = membership.manager ? 'manager' : 'worker';
    return { local: 'active', nodeId, nodeAddress: host, role, error: '' };
  }

  /** Managers that this node knows, for `docker info`. */
  remoteManagers(): readonly { nodeId: string; address: string }[] {
    return this.#membership?.manager?.managers() ?? [];
  }

  /** The manager on this node. Throws `not-in-swarm` or `not-a-manager` with Docker's words. */
  requireManager(): Manager {
    if (!this.#membership) {
      throw new SkepError(
        'not-in-swarm',
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
      );
    }
    if (!this.#membership.manager) {
      throw new SkepError(
        'not-a-manager',
        "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.",
      );
    }
    return this.#membership.manager;
  }

  get manager(): Manager | null {
    return this.#membership?.manager ?? null;
  }

  /** Makes a cluster of this one node; resolves with its id. */
  init(request: InitRequest): Promise<string> {
    return this.#exclusively('init', async () => {
      if (request.forceNewCluster) return this.#forceNewCluster();
      this.#requireOutside();
      const { clock, random } = this.#options;
      const addresses = this.#addressesFor(request, []);
      const cluster = await createCluster({ ...request.cluster, random, nowMs: clock.wallMs() });
      await this.#persist(cluster.identity, addresses);
      await this.#enterOrForget(cluster.identity, addresses, { kind: 'bootstrap', cluster });
      return cluster.identity.nodeId;
    });
  }

  join(request: JoinRequest): Promise<void> {
    return this.#exclusively('join', async () => {
      this.#requireOutside();
      const { clock } = this.#options;
      const remotes = request.remoteAddresses.map((text) => {
        const { host, port } = parseHostPort(text);
        return `${host}:${port}`;
      });
      if (remotes.length === 0) {
        throw new SkepError('invalid-argument', 'at least 1 RemoteAddr is required to join');
      }
      const addresses = this.#addressesFor(request, remotes);
      const identity = await joinFirst(remotes, (remoteAddress) =>
        joinCluster({
          remoteAddress,
          token: request.token,
          availability: request.availability,
          clock,
        }),
      );
      await this.#persist(identity, addresses);
      const origin: ManagerOrigin | null =
        identity.role === 'manager' ? { kind: 'join', managerAddresses: remotes } : null;
      await this.#enterOrForget(identity, addresses, origin);
    });
  }

  /** Ends every task and forgets the cluster. Managers need `force`. */
  leave(force: boolean): Promise<void> {
    return this.#exclusively('leave', async () => {
      const membership = this.#membership;
      if (!membership) {
        throw new SkepError('not-in-swarm', 'This node is not part of a swarm');
      }
      if (membership.manager && !force) throw leaveRefusal(membership.manager);
      await this.#options.worker.leave();
      await membership.scope.close();
      this.#membership = null;
      await this.#forget();
    });
  }

  async #forceNewCluster(): Promise<string> {
    const membership = this.#membership;
    if (!membership?.manager) {
      throw new SkepError(
        'not-a-manager',
        'force a new cluster: this node has no state of a manager',
      );
    }
    const { current } = membership.identity;
    const { addresses } = membership;
    await this.#options.worker.suspend();
    await membership.scope.close();
    this.#membership = null;
    await this.#enter(current, addresses, { kind: 'restart', forceNewCluster: true });
    return current.nodeId;
  }

  #requireOutside(): void {
    if (!this.#membership) return;
    throw new SkepError(
      'in-swarm',
      'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.',
    );
  }

  async #exclusively<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (this.#busy) {
      throw new SkepError('conflict', `swarm ${what}: 'swarm ${this.#busy}' is under way`);
    }
    this.#busy = what;
    try {
      const result = await work();
      this.#error = '';
      return result;
    } finally {
      this.#busy = null;
    }
  }

  #addressesFor(
    request: { readonly listenAddress: string; readonly advertiseAddress: string },
    managers: readonly string[],
  ): Addresses {
    const { listenAddress, advertiseAddress } = this.#options;
    const asked = request.listenAddress === DEFAULT_LISTEN ? '' : request.listenAddress;
    const listen = parseHostPort(asked || listenAddress || DEFAULT_LISTEN);
    const advertise = chooseAdvertiseAddress(
      request.advertiseAddress || advertiseAddress,
      listen.host,
    );
    return {
      listen: `${listen.host}:${listen.port}`,
      advertise: `${advertise}:${listen.port}`,
      managers,
    };
  }

  /** A first entry that fails leaves nothing behind. */
  async #enterOrForget(
    identity: Identity,
    addresses: Addresses,
    origin: ManagerOrigin | null,
  ): Promise<void> {
    try {
      await this.#enter(identity, addresses, origin);
    } catch (err) {
      await this.#forget();
      throw err;
    }
  }

  async #enter(
    identity: Identity,
    addresses: Addresses,
    origin: ManagerOrigin | null,
  ): Promise<void> {
    const { clock, log, onFailure, worker } = this.#options;
    const scope = new Scope();
    try {
      const holder = new IdentityHolder(identity);
      const server = new RpcServer({
        credentials: holder,
        logger: log.child({ component: 'rpc' }),
        onFailure,
        isBlocked: (nodeId) => this.#isBlocked(nodeId),
      });
      scope.defer(() => server.stop());
      const pool = new RpcClientPool({ credentials: holder, clock });
      scope.defer(() => pool.close());
      const membership: Membership = {
        identity: holder,
        addresses,
        server,
        pool,
        scope,
        manager: null,
      };
      scope.defer(async () => membership.manager?.stop());
      scope.defer(worker.register(server));
      const { host, port } = parseHostPort(addresses.listen);
      await server.listen(host, port);
      if (origin) await this.#startManager(membership, origin);
      this.#membership = membership;
      scope.defer(() => worker.suspend());
      await this.#startWorker(membership);
      this.#background.run((signal) => this.#renewInTime(membership, signal));
    } catch (err) {
      this.#membership = null;
      await scope.close();
      throw err;
    }
  }

  async #startManager(membership: Membership, origin: ManagerOrigin): Promise<void> {
    const { dataDir, clock, random, log, onFailure } = this.#options;
    const { identity, addresses, server, pool } = membership;
    const manager = new Manager({
      dataDir,
      nodeId: identity.current.nodeId,
      clusterId: identity.current.clusterId,
      address: addresses.advertise,
      server,
      pool,
      clock,
      random,
      log,
      onFailure,
      onRemoved: () => this.#onRemoved(membership),
    });
    await manager.start(origin);
    membership.manager = manager;
  }

  async #startWorker(membership: Membership): Promise<void> {
    const { identity, addresses, pool } = membership;
    const { host } = parseHostPort(addresses.advertise);
    await this.#options.worker.join({
      nodeId: identity.current.nodeId,
      vtepAddress: host,
      pool,
      managerAddresses: [...addresses.managers, addresses.advertise],
      describe: () => this.#options.describe(addresses.advertise, identity.current),
      onSession: (message) => this.#onSession(membership, message),
    });
  }

  #isBlocked(nodeId: string): boolean {
    const manager = this.#membership?.manager;
    if (!manager) return false;
    return manager.store.view((view) => {
      const blocked = view.list('cluster')[0]?.blockedNodes ?? {};
      return Object.hasOwn(blocked, nodeId);
    });
  }

  #onSession(
    membership: Membership,
    message: Extract<DispatcherMessage, { kind: 'session' }>,
  ): void {
    this.#follow(membership, message.nodeSpec.desiredRole);
  }

  /** Raft says that this node is no member any more: the rest of a demotion. */
  #onRemoved(membership: Membership): void {
    this.#follow(membership, 'worker');
  }

  /** Role changes, one after the other; the last wish wins. */
  #follow(membership: Membership, role: NodeRole): void {
    const has: NodeRole = membership.manager ? 'manager' : 'worker';
    if (this.#membership !== membership || role === (this.#wantedRole ?? has)) return;
    this.#wantedRole = role;
    this.#background.run((signal) => {
      this.#roleChange = this.#roleChange.then(() => this.#changeRole(membership, role, signal));
      return this.#roleChange;
    });
  }

  async #changeRole(membership: Membership, role: NodeRole, signal: AbortSignal): Promise<void> {
    const { log, clock, dataDir } = this.#options;
    while (this.#wantedRole === role && !signal.aborted) {
      try {
        await this.#renew(membership, signal);
        if (membership.identity.current.role === role) {
          if (role === 'manager' && !membership.manager) {
            const managerAddresses = await this.#knownManagers(membership);
            await this.#startManager(membership, { kind: 'join', managerAddresses });
          } else if (role === 'worker' && membership.manager) {
            const { manager } = membership;
            membership.manager = null;
            await manager.stop();
            await rm(join(dataDir, 'raft'), { recursive: true, force: true });
          }
          this.#wantedRole = null;
          log.info({ role }, 'role changed');
          return;
        }
      } catch (err) {
        if (signal.aborted) return;
        log.warn({ role, err }, 'role change failed, will be retried');
      }
      await clock.sleep(RENEWAL_RETRY_MS / 5, signal).catch(() => {}); // stopping: the loop ends
    }
  }

  async #knownManagers(membership: Membership): Promise<readonly string[]> {
    const file = join(this.#options.dataDir, 'agent', 'managers.json');
    try {
      return JSON.parse(await readFile(file, 'utf8')) as string[];
    } catch {
      return membership.addresses.managers;
    }
  }

  async #renewInTime(membership: Membership, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#options;
    for (;;) {
      const dueMs = renewalTimeMs(membership.identity.current, random);
      while (clock.wallMs() < dueMs) {
        // Long sleeps in parts: a timer holds at most 2^31 ms, and the wall clock may be set.
        await clock.sleep(Math.min(3_600_000, Math.max(1_000, dueMs - clock.wallMs())), signal);
        if (this.#membership !== membership) return;
      }
      try {
        await this.#renew(membership, signal);
      } catch (err) {
        log.warn({ reason: describeError(err) }, 'certificate renewal failed, will be retried');
        await clock.sleep(RENEWAL_RETRY_MS, signal);
      }
    }
  }

  async #renew(membership: Membership, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const { identity, pool } = membership;
    const managers = await this.#knownManagers(membership);
    let failure: unknown = new SkepError('unavailable', 'renew certificate: no manager is known');
    for (const address of managers) {
      try {
        const client = pool.client(address);
        const renewed = await renewIdentity({ client, identity: identity.current, clock, signal });
        await saveIdentity(this.#certificates, renewed);
        identity.rotate(renewed);
        return;
      } catch (err) {
        if (signal.aborted) throw signal.reason;
        failure = err;
        if (hasCode(err, 'permission-denied')) break;
      }
    }
    throw failure;
  }

  get #certificates(): string {
    return join(this.#options.dataDir, 'certificates');
  }

  get #addressesFile(): string {
    return join(this.#options.dataDir, 'swarm.json');
  }

  async #persist(identity: Identity, addresses: Addresses): Promise<void> {
    await writeFile(`${this.#addressesFile}.new`, JSON.stringify(addresses));
    await rename(`${this.#addressesFile}.new`, this.#addressesFile);
    await saveIdentity(this.#certificates, identity);
  }

  async #loadAddresses(): Promise<Addresses> {
    try {
      return JSON.parse(await readFile(this.#addressesFile, 'utf8')) as Addresses;
    } catch (err) {
      throw new SkepError('data-loss', `read ${this.#addressesFile}`, { cause: err });
    }
  }

  async #forget(): Promise<void> {
    const { dataDir } = this.#options;
    await removeIdentity(this.#certificates);
    await rm(this.#addressesFile, { force: true });
    await rm(join(dataDir, 'raft'), { recursive: true, force: true });
    await rm(join(dataDir, 'agent'), { recursive: true, force: true });
  }
}

/** The first remote that answers decides, also when it refuses the token. */
async function joinFirst(
  remotes: readonly string[],
  attempt: (remote: string) => Promise<Identity>,
): Promise<Identity> {
  let failure: unknown = null;
  for (const remote of remotes) {
    try {
      return await attempt(remote);
    } catch (err) {
      if (!hasCode(err, 'unavailable', 'deadline-exceeded')) throw err;
      failure = err;
    }
  }
  throw failure;
}

/** Docker's words for the three situations. */
function leaveRefusal(manager: Manager): SkepError {
  const start =
    'You are attempting to leave the swarm on a node that is participating as a manager. ';
  const voters = manager.members().filter(({ learner }) => !learner).length;
  const middle =
    voters <= 1
      ? 'Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. '
      : voters <= 2
        ? 'Removing this node leaves 1 managers out of 2. Without a Raft quorum your swarm will be inaccessible. The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message.'
        : 'The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message.';
  return new SkepError('unavailable', start + middle);
}
