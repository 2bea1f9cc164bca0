/**
 * Networks of the cluster whose links each node makes for itself (bridge, macvlan, ipvlan): the places of this node's tasks in them,
 * over restarts of the daemon too. A network is known here while a task is in it. Knows neither overlays nor names.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../common/base/clock.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { NodeSmallFiles } from '../../common/base/small-files.ts';
import type { AssignedNetwork, AssignmentChange } from '../../common/model/assignment.ts';
import { asId, type NetworkId, type NodeId, type TaskId } from '../../common/model/ids.ts';
import { joinsNodes, type NetworkSpec } from '../../common/model/network.ts';
import { refuseWayOutOptions } from '../../common/model/node-network.ts';
import type { LocalAddress } from '../../common/model/task.ts';
import type { ClusterTables } from './cluster-tables.ts';
import type { ConfigByName } from './config-network.ts';
import type { Ipv4Forwarding } from './ipv4-forwarding.ts';
import { type LocalNetwork, OF_THE_CLUSTER } from './local-network.ts';
import { LocalNetworkStore } from './local-network-store.ts';
import { LocalNetworks, type RunningPlace } from './local-networks.ts';
import type { LocalSeat } from './local-plan.ts';
import { LocalPorts } from './local-ports.ts';
import type { DriftCounts, Subject } from './self-proof.ts';

/** This node's own networks, as far as they matter to those of the cluster. */
export interface OwnNetworks {
  readonly config: ConfigByName;
  readonly subnets: readonly string[];
}

export interface NodeMadeOptions {
  /** `<data-dir>/network/made`; created */
  readonly dir: string;
  readonly forwarding: Ipv4Forwarding;
  readonly own: OwnNetworks;
  /** the cluster still has it */
  readonly isTold: (networkId: NetworkId) => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** What a task is to have of one of them. */
export interface MadeWish {
  readonly network: AssignedNetwork;
  /** in the task, e.g. `eth0` */
  readonly link: string;
  /** nothing else leads out of the task */
  readonly isWayOut: boolean;
}

/** What the network is to have may be that of one which was removed, until the last task in that one has ended. */
export class OldNetworkError extends SkepError {
  constructor({ name }: AssignedNetwork, old: LocalNetwork, cause: unknown) {
    const words = `network ${name}: tasks are still in network ${old.spec.name} (${old.id}), which was removed`;
    super('unavailable', words, { cause });
  }
}

/** On disk: with what tells whether the namespace is still that of the task. */
interface Place {
  readonly netnsPath: string;
  readonly netnsInode: number;
  readonly seats: readonly LocalSeat[];
}

export class NodeMadeNetworks {
  readonly #networks: LocalNetworks;
  readonly #placesDir: string;
  readonly #files = new NodeSmallFiles();
  readonly #isTold: NodeMadeOptions['isTold'];
  readonly #log: Logger;
  readonly #seats = new Map<TaskId, readonly LocalSeat[]>();
  #isStarted = false;

  constructor({ dir, own, isTold, forwarding, clock, random, log }: NodeMadeOptions) {
    this.#placesDir = join(dir, 'places');
    this.#isTold = isTold;
    this.#log = log;
    this.#networks = new LocalNetworks({
      ...{ forwarding, clock, random, log, kind: OF_THE_CLUSTER },
      store: new LocalNetworkStore(join(dir, 'networks'), log),
      ports: new LocalPorts(random, log), // ports of tasks are held elsewhere
      others: {
        configOf: (name) => configIn(own, name),
        otherSubnets: () => own.subnets,
        namesOfOthers: true,
      },
    });
  }

  /** Takes up the tasks that run from before this daemon; links of others go. Idempotent. */
  async start(): Promise<void> {
    if (this.#isStarted) return;
    const running = new Map<string, RunningPlace>();
    for (const name of await this.#files.list(this.#placesDir)) {
      const taskId = asId<TaskId>(name);
      const place = await this.#read(taskId);
      if (place && inodeOf(place.netnsPath) === place.netnsInode) {
        running.set(taskId, { ...place, ports: [] });
        this.#seats.set(taskId, place.seats);
      } else await this.#files.remove(this.#fileOf(taskId));
    }
    this.#isStarted = true;
    try {
      await this.#networks.start(running);
      await this.#forgetUnused();
    } catch (err) {
      // What the kernel refuses now is tried again with whatever is next.
      this.#log.error({ err }, 'networks that this node makes are not looked at');
    }
  }

  async #read(taskId: TaskId): Promise<Place | null> {
    try {
      return JSON.parse((await this.#files.read(this.#fileOf(taskId))) ?? '') as Place;
    } catch (err) {
      this.#log.error({ taskId, err }, 'places of a task are damaged, its networks are let go');
      return null;
    }
  }

  /** Leaves everything in the kernel as it is. */
  async stop(): Promise<void> {
    await this.#networks.stop();
    this.#seats.clear();
    this.#isStarted = false;
  }

  /** The subnets in which tasks may have addresses. */
  get subnets(): readonly string[] {
    return this.#networks.subnets;
  }

  /** One of them takes what it is from this node's configuration network of that name. */
  usesConfig(name: string): boolean {
    return this.#networks.usesConfig(name);
  }

  /** What a task has there. */
  addressesOf(taskId: TaskId): LocalAddress[] {
    return (this.#seats.get(taskId) ?? []).map(({ networkId, address, prefixLength }) => ({
      networkId: asId<NetworkId>(networkId),
      address: `${address}/${prefixLength}`,
    }));
  }

  /**
   * Gives a task that does not run yet its places, all or nothing; one that has them keeps them. Rejects with `not-found` when the
   * configuration network is not here, with an `OldNetworkError` for what can be tried again, else as the node's own networks do.
   */
  async attach(taskId: TaskId, netnsPath: string, wishes: readonly MadeWish[]): Promise<void> {
    if (wishes.length === 0 || this.#seats.has(taskId)) return;
    try {
      for (const { network } of wishes) await this.#ensure(network);
      const endpoints = wishes.map(({ network, link, isWayOut }) => {
        return { networkId: network.id, address: '', mac: '', link, isWayOut };
      });
      const { seats } = await this.#networks.attach(taskId, netnsPath, endpoints, []);
      this.#seats.set(taskId, seats);
      const place: Place = { netnsPath, netnsInode: inodeOf(netnsPath) ?? 0, seats };
      await this.#files.replace(this.#fileOf(taskId), JSON.stringify(place));
    } catch (err) {
      await this.#takeBack(taskId);
      throw err;
    }
  }

  /** What an attach that failed has made. Never rejects: why it failed is what must be told. */
  async #takeBack(taskId: TaskId): Promise<void> {
    const steps = [
      () => this.#networks.detach(taskId),
      () => this.detach(taskId),
      () => this.#forgetUnused(),
    ];
    for (const step of steps) {
      await step().catch((err: unknown) => {
        this.#log.error({ taskId, err }, 'networks of a task that failed are not taken back whole');
      });
    }
  }

  /** Known by what it is now, unless a task is in it. */
  async #ensure(network: AssignedNetwork): Promise<void> {
    if (this.#networks.get(network.id)) {
      if (this.#networks.usersOf(network.id).length > 0) return;
      await this.#networks.remove(network.id);
    }
    try {
      await this.#networks.create(specOf(network), network.id);
    } catch (err) {
      const old = this.#networks.list().find(({ id }) => !this.#isTold(asId<NetworkId>(id)));
      if (old && hasCode(err, 'permission-denied')) throw new OldNetworkError(network, old, err);
      throw err;
    }
  }

  /** Idempotent. */
  async detach(taskId: TaskId): Promise<void> {
    if (!this.#seats.has(taskId)) return;
    await this.#networks.detach(taskId);
    this.#seats.delete(taskId);
    await this.#files.remove(this.#fileOf(taskId));
    await this.#forgetUnused();
  }

  /** What they are told to be may be another thing by the next task. */
  async #forgetUnused(): Promise<void> {
    for (const { id } of this.#networks.list()) {
      if (this.#networks.usersOf(id).length === 0) await this.#networks.remove(id);
    }
  }

  /** Takes all of them out of the kernel, and stops; also after `stop`. Tasks must have ended. */
  async removeAll(): Promise<void> {
    await this.start();
    try {
      for (const taskId of [...this.#seats.keys()]) await this.detach(taskId);
      await this.#forgetUnused();
    } finally {
      await this.stop();
    }
  }

  /** What is to be compared with the kernel, for a proof that was asked for. */
  subjects(): Subject[] {
    return this.#networks.subjects();
  }

  /** What the self-proof found since this daemon started. */
  get drifts(): DriftCounts {
    return this.#networks.drifts;
  }

  #fileOf(taskId: TaskId): string {
    return join(this.#placesDir, taskId);
  }
}

/** Throws `unimplemented` for one with options that do nothing here. */
function configIn(own: OwnNetworks, name: string): LocalNetwork | null {
  const config = own.config(name);
  if (config) refuseWayOutOptions(config.spec);
  return config;
}

/** null = there is none any more */
function inodeOf(path: string): number | null {
  try {
    return statSync(path).ino;
  } catch {
    return null;
  }
}

function specOf({ name, driver, internal, local }: AssignedNetwork): NetworkSpec {
  if (!local) throw new SkepError('internal', `network ${name}: its links are not made by nodes`);
  return {
    ...{ name, labels: {}, driver, driverOptions: local.driverOptions, internal },
    ...{ attachable: false, ingress: false, ipv6: false, configOnly: false },
    ipam: { driver: 'default', options: {}, configs: local.ipam },
    configFrom: local.configFrom,
  };
}

/** Without seats on other nodes in networks that do not join nodes: what is told there has names on its own node alone. */
export function withoutFarSeats(
  changes: readonly AssignmentChange[],
  tables: ClusterTables,
  nodeId: NodeId,
): readonly AssignmentChange[] {
  const apart = new Set<NetworkId>();
  const note = (network: AssignedNetwork | null): void => {
    if (network && !joinsNodes(network)) apart.add(network.id);
  };
  for (const { network } of tables.networks.values()) note(network);
  for (const change of changes) {
    if (change.action === 'set' && change.kind === 'network') note(change.item);
  }
  if (apart.size === 0) return changes;
  return changes.filter((change) => {
    if (change.action !== 'set' || change.kind !== 'endpoint') return true;
    return change.item.nodeId === nodeId || !apart.has(change.item.networkId);
  });
}
