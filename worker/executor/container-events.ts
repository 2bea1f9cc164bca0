/** The life of one task's container in the words of Docker's events. Decides nothing. */
import { containerIdOf } from '../../common/model/container-id.ts';
import { containerAttributes } from '../../common/model/container-labels.ts';
import type { TellEvent } from '../../common/model/engine-event.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { Task } from '../../common/model/task.ts';
import type { ExitRecord } from '../runtime/native-runtime.ts';
import type { HealthStatus } from './health.ts';

export class ContainerEvents {
  readonly #task: Task;
  readonly #tell: TellEvent;
  #isDead = false;

  constructor(task: Task, tell: TellEvent) {
    this.#task = task;
    this.#tell = tell;
  }

  created(): void {
    this.#say('create');
  }

  started(): void {
    this.#say('start');
  }

  signalled(signo: number): void {
    this.#say('kill', { signal: String(signo) });
  }

  /** Told once, whoever learns of it first. */
  died({ exitCode, oomKilled, startedAtMs, finishedAtMs }: ExitRecord): void {
    if (this.#isDead) return;
    this.#isDead = true;
    if (oomKilled) this.#say('oom');
    const ranMs = startedAtMs > 0 ? finishedAtMs - startedAtMs : 0;
    const seconds = Math.max(0, Math.floor(ranMs / 1000));
    this.#say('die', { exitCode: String(exitCode), execDuration: String(seconds) });
  }

  stopped(): void {
    this.#say('stop');
  }

  destroyed(): void {
    this.#say('destroy');
  }

  health(status: HealthStatus): void {
    if (status !== 'starting') this.#say(`health_status: ${status}`);
  }

  connected(): void {
    this.#network('connect');
  }

  disconnected(): void {
    this.#network('disconnect');
  }

  #network(action: string): void {
    const attributes = { container: containerIdOf(this.#task.id), type: 'overlay' };
    for (const { networkId } of this.#task.networks) {
      this.#tell({ type: 'network', action, id: networkId, attributes });
    }
  }

  #say(action: string, more: StringMap = {}): void {
    this.#tell({
      type: 'container',
      action,
      id: containerIdOf(this.#task.id),
      attributes: containerAttributes(this.#task, more),
    });
  }
}
