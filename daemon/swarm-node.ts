/**
 * This machine's part in clusters: none, worker or manager, and the steps between (init, join, leave),
 * one at a time. What goes on inside a membership is Membership's.
 */
import type { Duplex } from 'node:stream';
import { withDeadline } from '../common/base/deadline.ts';
import { describeError, hasCode, SkepError } from '../common/base/errors.ts';
import type { Availability, NodeRole } from '../common/model/node.ts';
import type { ManagerPeer } from '../common/model/session.ts';
import { ExternalCaClient } from '../common/pki/external-ca.ts';
import type { Identity, StoredIdentity } from '../common/pki/identity.ts';
import { parseUnlockKey } from '../common/pki/unlock-key.ts';
import { joinThroughAny } from '../common/rpc/join-cluster.ts';
import { type CreateClusterOptions, createCluster } from '../manager/ca/bootstrap.ts';
import { Manager } from '../manager/manager.ts';
import type { ManagerOrigin } from '../manager/manager-options.ts';
import { parseHostPort, requireKnownHosts } from './addresses.ts';
import { notAManager } from './engineapi/no-manager.ts';
import { leaveRefusal } from './leave-refusal.ts';
import { Membership, wasNeverMade } from './membership.ts';
import { MembershipFiles } from './membership-files.ts';
import {
  type AddressFlags,
  addressesAtStart,
  chooseAddresses,
  type NodeAddresses,
} from './node-addresses.ts';
import { passingIdentity } from './passing-identity.ts';
import {
  type StalledMembership,
  stalledBy,
  stalledError,
  stalledLeaveRefusal,
  stalledReason,
} from './stalled-membership.ts';
import type { SwarmNodeOptions } from './swarm-node-options.ts';

const LISTED_LIMIT_MS = 20_000;
/** What a manager says of the others when it is to leave is worth no longer wait. */
const LEADER_LIMIT_MS = 3_000;
/** Docker's words. */
const JOIN_TIMEOUT =
  'Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the "docker info" command to see the current swarm status of your node.';

export interface InitRequest {
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  /** IP or interface; '' = the advertised address */
  readonly dataPathAddress: string;
  readonly forceNewCluster: boolean;
  readonly cluster: Pick<
    CreateClusterOptions,
    'spec' | 'defaultAddressPool' | 'subnetSize' | 'dataPathPort' | 'availability'
  >;
}

export interface JoinRequest {
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  /** IP or interface; '' = the advertised address */
  readonly dataPathAddress: string;
  readonly remoteAddresses: readonly string[];
  readonly token: string;
  readonly availability: Availability;
}

export interface SwarmState {
  readonly local: 'inactive' | 'pending' | 'active' | 'locked' | 'error';
  readonly nodeId: string;
  /** IP */
  readonly nodeAddress: string;
  readonly role: NodeRole | null;
  /** What an operator must know; '' when all is well. */
  readonly error: string;
}

export class SwarmNode {
  readonly #options: SwarmNodeOptions;
  readonly #files: MembershipFiles;
  #membership: Membership | null = null;
  /** INVARIANT: null while there is a `#membership`. */
  #stalled: StalledMembership | null = null;
  #busy: string | null = null;
  #error = '';

  constructor(options: SwarmNodeOptions) {
    this.#options = options;
    this.#files = new MembershipFiles(options.dataDir, options.random);
  }

  /**
   * Takes up the membership of an earlier life, if there was one. One that cannot be taken up is shown
   * by `state`, and may be left.
   */
  async start(): Promise<void> {
    const identity = await this.#files.loadIdentity();
    if (identity) await this.#takeUpOrShow(identity, await this.#addressesAtStart());
  }

  /** What lies on the disk, or why not. Throws what another start may not meet. */
  async #takeUpOrShow(
    identity: StoredIdentity,
    addresses: NodeAddresses,
    unlockKey?: Uint8Array,
  ): Promise<void> {
    try {
      await this.#takeUp(identity, addresses, unlockKey);
    } catch (err) {
      const reason = describeError(err);
      if (wasNeverMade(err)) {
        this.#options.log.error({ reason }, 'this node is in no cluster');
        await this.#files.forget();
        return;
      }
      this.#stalled = stalledBy(identity, addresses, err);
      if (!this.#stalled) throw err;
      this.#options.log.error({ reason }, "this node's part in the cluster cannot be taken up");
    }
  }

  /** Tasks go on running. */
  async stop(): Promise<void> {
    await this.#membership?.close();
    this.#membership = null;
  }

  state(): SwarmState {
    const membership = this.#membership;
    if (this.#stalled) return stalledState(this.#stalled);
    if (!membership) {
      const local = this.#busy === 'join' ? 'pending' : this.#error ? 'error' : 'inactive';
      return { local, nodeId: '', nodeAddress: '', role: null, error: this.#error };
    }
    const { nodeId } = membership.identity.current;
    const { host } = parseHostPort(membership.addresses.advertise);
    const role = membership.manager ? 'manager' : 'worker';
    return { local: 'active', nodeId, nodeAddress: host, role, error: membership.trouble };
  }

  /** Managers that this node knows, for `docker info`. */
  remoteManagers(): readonly ManagerPeer[] {
    return this.#membership?.remoteManagers() ?? [];
  }

  /** The manager on this node. Throws `not-in-swarm` or `not-a-manager` with Docker's words. */
  requireManager(): Manager {
    if (this.#stalled) throw stalledError(this.#stalled);
    if (!this.#membership) {
      throw new SkepError(
        'not-in-swarm',
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
      );
    }
    const { manager } = this.#membership;
    if (!manager || manager.removed) throw notAManager();
    return manager;
  }

  /** To what a manager answers for users of workers. Throws `unavailable`, or `not-a-manager` when none allows it. */
  connectToManager(signal: AbortSignal): Promise<Duplex> {
    if (!this.#membership) this.requireManager();
    return this.#membership!.connectToManager(signal);
  }

  get manager(): Manager | null {
    return this.#membership?.manager ?? null;
  }

  /** Makes a cluster of this one node; resolves with its id. */
  init(request: InitRequest): Promise<string> {
    return this.#exclusively('init', async () => {
      if (request.forceNewCluster) return this.#forceNewCluster();
      this.#requireOutside();
      const { clock, random, log } = this.#options;
      const addresses = chooseAddresses(request, this.#flags, []);
      const cluster = await createCluster({
        ...{ ...request.cluster, random, nowMs: clock.wallMs() },
        external: {
          signer: (current) => new ExternalCaClient({ credentials: { current }, clock }),
          nowMs: () => clock.wallMs(),
          failed: ({ url }, err) =>
            log.warn({ url, reason: describeError(err) }, 'external CA did not sign'),
        },
      });
      await this.#files.save(cluster.identity, addresses);
      await this.#enterOrForget(cluster.identity, addresses, { kind: 'bootstrap', cluster });
      const { nodeId } = cluster.identity;
      if (!(await this.#isListed())) log.warn({ nodeId }, 'new cluster does not list its node yet');
      return nodeId;
    });
  }

  /**
   * Resolves when the managers list this node as ready, by its name: who joins nodes goes on with what is done to them.
   * Rejects with `unavailable` when that takes too long; it is a node of the cluster all the same.
   */
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
      const addresses = chooseAddresses(request, this.#flags, remotes);
      await requireKnownHosts(remotes, clock);
      const { token, availability } = request;
      const identity = await joinThroughAny(remotes, { token, availability, clock });
      await this.#files.save(identity, addresses);
      const origin: ManagerOrigin | null =
        identity.role === 'manager' ? { kind: 'join', managerAddresses: remotes } : null;
      await this.#enterOrForget(identity, addresses, origin);
      if (!(await this.#isListed())) throw new SkepError('unavailable', JOIN_TIMEOUT);
    });
  }

  /**
   * Takes up the membership of a locked manager. Throws `conflict` when it is not locked,
   * `invalid-argument` for what is no key, `unauthenticated` for the wrong one.
   */
  unlock(unlockKey: string): Promise<void> {
    return this.#exclusively('unlock', async () => {
      const stalled = this.#stalled;
      if (stalled?.kind !== 'locked') {
        this.requireManager();
        throw new SkepError('conflict', 'swarm is not locked');
      }
      const { identity, addresses } = stalled;
      const key = parseUnlockKey(unlockKey);
      try {
        await this.#takeUp(identity, addresses, key);
      } catch (err) {
        if (!hasCode(err, 'unauthenticated')) throw err;
        const words = 'swarm could not be unlocked: invalid key provided';
        throw new SkepError('unauthenticated', words);
      }
      this.#stalled = null;
    });
  }

  /** Ends every task and forgets the cluster. Managers need `force`. */
  leave(force: boolean): Promise<void> {
    return this.#exclusively('leave', async () => {
      if (this.#stalled) await this.#enterToLeave(this.#stalled, force);
      const membership = this.#membership;
      if (!membership) {
        throw new SkepError('not-in-swarm', 'This node is not part of a swarm');
      }
      if (membership.manager && !force) {
        throw leaveRefusal(await this.#votersSeenBy(membership.manager));
      }
      await membership.leave();
      this.#membership = null;
      await this.#files.forget();
    });
  }

  async #forceNewCluster(): Promise<string> {
    const membership = this.#membership;
    if (this.#stalled) throw stalledError(this.#stalled);
    if (!membership?.manager) {
      throw new SkepError(
        'not-a-manager',
        'force a new cluster: this node has no state of a manager',
      );
    }
    const { current } = membership.identity;
    const { addresses } = membership;
    const unlockKey = membership.manager.unlockKey;
    const stored = await this.#files.loadIdentity();
    await membership.close();
    this.#membership = null;
    try {
      await this.#enter(current, addresses, {
        kind: 'restart',
        forceNewCluster: true,
        managerAddresses: [],
        ...(unlockKey && { unlockKey }),
      });
    } catch (err) {
      // It has a membership all the same, which an init or a join would write over.
      if (stored) await this.#goOn(stored, addresses, unlockKey ?? undefined);
      throw err;
    }
    return current.nodeId;
  }

  /** With what lies on the disk; a daemon that cannot ends. */
  async #goOn(
    stored: StoredIdentity,
    addresses: NodeAddresses,
    unlockKey?: Uint8Array,
  ): Promise<void> {
    try {
      await this.#takeUpOrShow(stored, addresses, unlockKey);
    } catch (err) {
      this.#options.onFailure(err);
    }
  }

  /** A membership that lies on the disk. */
  async #takeUp(
    stored: StoredIdentity,
    addresses: NodeAddresses,
    unlockKey?: Uint8Array,
  ): Promise<void> {
    const { disk, dataDir } = this.#options;
    const sealKey = stored.isSealed
      ? await Manager.identityKey(disk, dataDir, unlockKey ?? null)
      : null;
    const identity = stored.open(sealKey);
    await this.#enter(
      identity,
      addresses,
      await this.#originAtStart(identity, addresses, unlockKey),
    );
  }

  /** Only a worker in a cluster knows what is to be removed; a manager's state is not needed for it. */
  async #enterToLeave(stalled: StalledMembership, force: boolean): Promise<void> {
    if (!force) throw stalledLeaveRefusal(stalled);
    const identity = await passingIdentity(stalled.identity, this.#options);
    await this.#enter(identity, stalled.addresses, null);
    this.#stalled = null;
  }

  #requireOutside(): void {
    if (!this.#membership && !this.#stalled) return;
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

  /** As the leader sees them; null = there is none that answers. */
  async #votersSeenBy(
    manager: Manager,
  ): Promise<readonly { readonly reachable: boolean }[] | null> {
    const { clock } = this.#options;
    const limit = { clock, limitMs: LEADER_LIMIT_MS, action: 'ask the leader for the managers' };
    const learners = new Set<string>();
    for (const { nodeId, learner } of manager.members()) if (learner) learners.add(nodeId);
    try {
      const all = await withDeadline(limit, (signal) => manager.control.listManagers(signal));
      return all.filter(({ nodeId }) => !learners.has(nodeId));
    } catch (err) {
      if (!(err instanceof SkepError)) throw err;
      return null;
    }
  }

  /** Waits for it, so long as Docker does. */
  async #isListed(): Promise<boolean> {
    const { clock, worker } = this.#options;
    try {
      const limit = { clock, limitMs: LISTED_LIMIT_MS, action: 'wait for the managers' };
      await withDeadline(limit, (signal) => worker.whenGreeted(signal));
      return true;
    } catch (err) {
      if (!hasCode(err, 'deadline-exceeded')) throw err;
      return false;
    }
  }

  get #flags(): AddressFlags {
    const { listenAddress, advertiseAddress } = this.#options;
    return { listenAddress, advertiseAddress };
  }

  async #addressesAtStart(): Promise<NodeAddresses> {
    const kept = await this.#files.loadAddresses();
    const now = addressesAtStart(kept, this.#flags);
    if (now === kept) return kept; // a full disk does not keep a node from starting
    await this.#files.saveAddresses(now);
    if (now.advertise !== kept.advertise) {
      const { log } = this.#options;
      log.info({ from: kept.advertise, to: now.advertise }, 'this node has a new address');
    }
    return now;
  }

  /** A first entry that fails leaves nothing behind. */
  async #enterOrForget(
    identity: Identity,
    addresses: NodeAddresses,
    origin: ManagerOrigin | null,
  ): Promise<void> {
    try {
      await this.#enter(identity, addresses, origin, true);
    } catch (err) {
      await this.#files.forget();
      throw err;
    }
  }

  async #enter(
    identity: Identity,
    addresses: NodeAddresses,
    origin: ManagerOrigin | null,
    isNew = false,
  ): Promise<void> {
    const parts = { ...this.#options, files: this.#files, isNew };
    this.#membership = await Membership.enter(parts, identity, addresses, origin);
  }

  /** A worker's certificate beside a manager's state: a demotion was cut short. */
  async #originAtStart(
    identity: Identity,
    addresses: NodeAddresses,
    unlockKey?: Uint8Array,
  ): Promise<ManagerOrigin | null> {
    const { disk, dataDir } = this.#options;
    if (identity.role === 'worker') {
      await Manager.removeState(disk, dataDir);
      return null;
    }
    if (!(await Manager.hasState(disk, dataDir))) return null;
    const managerAddresses = [...(await this.#files.loadManagers()), ...addresses.managers];
    const origin = { kind: 'restart', forceNewCluster: false, managerAddresses } as const;
    return unlockKey ? { ...origin, unlockKey } : origin;
  }
}

function stalledState(stalled: StalledMembership): SwarmState {
  const { kind, identity, addresses } = stalled;
  const { nodeId, role } = identity;
  const nodeAddress = parseHostPort(addresses.advertise).host;
  return { local: kind, nodeId, nodeAddress, role, error: stalledReason(stalled) };
}
