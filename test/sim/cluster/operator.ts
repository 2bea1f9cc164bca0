/**
 * Who looks after the machines: adds some, takes some away for good, and removes the nodes of those that
 * are gone. Knows nothing of services.
 */
import { hasCode } from '../../../common/base/errors.ts';
import type { SeededRandom } from '../../../common/base/random.ts';
import { type NodeId, newId } from '../../../common/model/ids.ts';
import type { Node, NodeRole } from '../../../common/model/node.ts';
import type { Task } from '../../../common/model/task.ts';
import { isBefore } from '../../../common/model/task-state.ts';
import type { ControlApi } from '../../../manager/controlapi/control-api.ts';
import type { ReadView } from '../../../manager/store/types.ts';
import { aNode, aNodeSpec } from '../../support/builders.ts';
import { WORLD } from '../clock.ts';
import { addressOf, type Host } from './host.ts';
import type { ClusterWorld } from './world.ts';

/** Machines that there ever are. */
const MACHINES_MAX = 9;
/** Fewer are left alone. */
const MACHINES_MIN = 3;
const AGAIN_MS = 1_000;

export class Operator {
  readonly #world: ClusterWorld;
  readonly #random: SeededRandom;

  constructor(world: ClusterWorld) {
    this.#world = world;
    this.#random = world.fork();
  }

  /**
   * A new machine joins, as the CA admits it; the certificate itself is not simulated. Null when nobody leads; a node
   * that nobody is may be left then.
   */
  async join(role: NodeRole): Promise<Host | null> {
    const world = this.#world;
    const store = world.leader()?.daemon?.manager?.store;
    if (store === undefined) return null;
    const nodeId = newId<NodeId>(this.#random);
    await store.update((tx) => tx.create('node', newNode(nodeId, role)));
    const managerAddresses = world.managers().map(({ id }) => addressOf(id));
    const host = world.addHost(role, nodeId);
    void world.start(host, role === 'manager' ? { kind: 'join', managerAddresses } : null);
    return host;
  }

  async joinOne(): Promise<string> {
    if (this.#world.hosts.size >= MACHINES_MAX) return '';
    return ` machine ${(await this.join('worker'))?.id ?? 'none'}`;
  }

  /** A worker leaves, in order or because its machine is broken. */
  takeAway(): string {
    const host = this.#any(this.#removable());
    if (host === undefined) return '';
    const isBroken = this.#random.below(2) === 0;
    if (isBroken) {
      host.lost = this.#world.plan.keepsLost;
      this.#loses(host, 'crash');
    }
    if (!isBroken) host.whenAwake(() => void this.#leaves(host));
    return ` machine ${host.id}, ${isBroken ? 'broken' : 'in order'}`;
  }

  /**
   * A machine breaks for good with a task half started that an update has sent there; nobody asks for anything else any
   * more. False = there is no such machine now.
   */
  breaksHalfStarted(): boolean {
    const host = this.#removable().find(({ nodeId }) =>
      this.#world.view((view) =>
        view.tasksByNode(nodeId).some((task) => isHalfUpdated(view, task)),
      ),
    );
    if (host === undefined) return false;
    host.lost = true;
    this.#loses(host, 'crash');
    return true;
  }

  /** The node of a machine that is gone, or of none. */
  async removeNode(control: ControlApi): Promise<string> {
    const node = this.#any(this.#orphans());
    if (node === undefined) return '';
    return ` ${await control.removeNode(node.id, this.#random.below(2) === 0)}`;
  }

  /** When all faults are over: every such node is removed, sooner or later, but for those that nobody removes. */
  cleanUp(): void {
    const world = this.#world;
    for (const host of world.hosts.values()) {
      if (host.isUp && !host.gone && this.#isStranded(host)) this.#loses(host, 'kill');
    }
    const control = world.leader()?.control;
    for (const { id } of control ? this.#orphans() : []) {
      control!.removeNode(id, true).catch((err: unknown) => {
        const isUsual = hasCode(
          err,
          'not-found',
          'unavailable',
          'no-leader',
          'failed-precondition',
        );
        if (!isUsual) world.surprise(err);
      });
    }
    world.clock.schedule(AGAIN_MS, WORLD, 'client', () => this.cleanUp());
  }

  async #leaves(host: Host): Promise<void> {
    const { life } = host;
    const hasLeft = await host.leave().catch(() => false);
    if (hasLeft && host.life === life) this.#loses(host, 'kill');
  }

  /**
   * It was cut off while all managers that it knows were replaced: it would have to join anew. So would a manager that was
   * removed meanwhile, and ended before it was a worker: nobody whom its log names can tell it.
   */
  #isStranded(host: Host): boolean {
    const leader = this.#world.leader()?.daemon?.manager;
    if (!leader) return false;
    const members = leader.members();
    const addresses = members.map(({ address }) => address);
    const own = host.daemon?.manager;
    if (!own) return host.role === 'worker' && !host.knows(addresses);
    const isMember = members.some(({ nodeId }) => nodeId === host.nodeId);
    return (
      !isMember && !own.removed && !own.members().some((one) => addresses.includes(one.address))
    );
  }

  #loses(host: Host, how: 'crash' | 'kill'): void {
    host.gone = true;
    this.#world.end(host, how, 'gone for good');
    host.containers.crash();
  }

  #removable(): Host[] {
    const { hosts } = this.#world;
    const there = [...hosts.values()].filter(({ gone }) => !gone);
    if (there.length <= MACHINES_MIN) return [];
    return there.filter(({ role, daemon, isUp, paused, nodeId }) => {
      const node = this.#world.view((view) => view.get('node', nodeId));
      const isWorker = role === 'worker' && node?.spec.desiredRole === 'worker';
      return isWorker && daemon !== null && daemon.manager === null && isUp && !paused;
    });
  }

  #orphans(): Node[] {
    const kept = new Set(
      [...this.#world.hosts.values()]
        .filter(({ gone, lost }) => !gone || lost)
        .map(({ nodeId }) => nodeId),
    );
    return this.#world.view((view) => view.list('node').filter(({ id }) => !kept.has(id)));
  }

  #any<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.#random.below(items.length)];
  }
}

function isHalfUpdated(view: ReadView, { serviceId, specVersion, status }: Task): boolean {
  const service = view.get('service', serviceId);
  const isUpdating = service?.updateStatus?.state === 'updating';
  const isHalfStarted = !isBefore(status.state, 'assigned') && isBefore(status.state, 'running');
  return isUpdating && isHalfStarted && specVersion === service.specVersion;
}

/** Before its agent's first session. */
export function newNode(id: NodeId, role: NodeRole): Node {
  return aNode({
    ...{ id, role, description: null },
    spec: aNodeSpec({ desiredRole: role }),
    status: { state: 'unknown', message: 'waiting for the first session', address: '' },
  });
}
