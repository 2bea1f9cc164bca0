/** Messages and queues stay within their limits, and who is to wait for an agent does. */
import type { QueueState } from '../../../../common/base/queue.ts';
import type { AgentMessage, DispatcherMessage } from '../../../../common/model/session.ts';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import type { Host } from '../host.ts';
import type { Process } from '../wires.ts';
import type { ClusterWorld } from '../world.ts';

const STATUSES_MAX = 200;
const CHANGES_MAX = 100;

export class BoundedMessages implements ClusterChecker {
  readonly number = 10;
  readonly name = 'messages and queues are bounded';
  readonly #world: ClusterWorld;
  /** Agents whose last assignments filled what may be under way to them, and who have not taken it since. */
  readonly #full = new WeakSet<Process>();

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  heard(_host: Host, message: AgentMessage, by: Host): void {
    this.#look(by);
    if (message.kind !== 'statuses') return;
    expect(
      message.updates.length <= STATUSES_MAX,
      () => `${message.updates.length} statuses in one message`,
    );
  }

  told(host: Host, message: DispatcherMessage): void {
    this.#look(host);
    if (message.kind !== 'assignments') return;
    expect(
      message.changes.length <= CHANGES_MAX,
      () => `${message.changes.length} changes in one message`,
    );
  }

  committed(): void {
    for (const host of this.#world.hosts.values()) this.#look(host);
  }

  writing(
    client: Process,
    { kind }: DispatcherMessage,
    pendingBytes: number,
    isFull: boolean,
  ): void {
    if (pendingBytes < this.#world.plan.agentHighWaterBytes) this.#full.delete(client);
    if (kind !== 'assignments') return;
    expect(!this.#full.has(client), () => {
      return `machine ${client.host} is told more while ${pendingBytes} bytes are under way to it`;
    });
    if (isFull) this.#full.add(client);
  }

  #look({ id, daemon }: Host): void {
    const queues: readonly QueueState[] = [
      ...(daemon?.manager?.queues() ?? []),
      ...(daemon?.reporter?.queues() ?? []),
    ];
    for (const { name, length, limit } of queues) {
      expect(length <= limit, () => `machine ${id} has ${length} ${name}, of at most ${limit}`);
    }
  }
}
