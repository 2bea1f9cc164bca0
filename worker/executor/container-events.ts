/** The life of one container in the words of Docker's events. Decides nothing. */
import type { TellEvent } from '../../common/model/engine-event.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { ExitRecord } from '../runtime/native-runtime.ts';
import type { HealthStatus } from './health.ts';

export interface EventNetwork {
  readonly id: string;
  /** null = not known here (any more), as is its driver */
  readonly name: string | null;
  /** its driver */
  readonly type: string | null;
}

export interface EventSubject {
  /** 64 hexadecimal characters */
  readonly id: string;
  /** name, image and labels as they are now */
  readonly attributes: () => StringMap;
  readonly networks: () => readonly EventNetwork[];
}

export class ContainerEvents {
  readonly #subject: EventSubject;
  readonly #tell: TellEvent;
  #isDead = false;
  /** those that it was told to be in: by its end nobody may know them any more */
  #connected: readonly EventNetwork[] | null = null;

  constructor(subject: EventSubject, tell: TellEvent) {
    this.#subject = subject;
    this.#tell = tell;
  }

  created(): void {
    this.#say('create');
  }

  started(): void {
    this.#isDead = false;
    this.#say('start');
  }

  signalled(signo: number): void {
    this.#say('kill', { signal: String(signo) });
  }

  /** Told once for each start, whoever learns of it first. */
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
    this.#connected = this.#subject.networks();
    this.#network('connect', this.#connected);
  }

  disconnected(): void {
    this.#network('disconnect', this.#connected ?? this.#subject.networks());
    this.#connected = null;
  }

  /**
   * A person gave it a network, or took one.
   *
   * @param before those that it was in
   */
  moved(before: readonly EventNetwork[]): void {
    const now = this.#subject.networks();
    this.#network('disconnect', without(before, now));
    this.#network('connect', without(now, before));
    this.#connected = now;
  }

  /** What else a person did to it: `pause`, `rename`, ... */
  did(action: string, more: StringMap = {}): void {
    this.#say(action, more);
  }

  #network(action: string, networks: readonly EventNetwork[]): void {
    for (const { id, name, type } of networks) {
      const attributes = {
        container: this.#subject.id,
        ...(name !== null && { name }),
        ...(type !== null && { type }),
      };
      this.#tell({ type: 'network', action, id, attributes });
    }
  }

  #say(action: string, more: StringMap = {}): void {
    this.#tell({
      type: 'container',
      action,
      id: this.#subject.id,
      attributes: { ...this.#subject.attributes(), ...more },
    });
  }
}

function without(
  networks: readonly EventNetwork[],
  others: readonly EventNetwork[],
): readonly EventNetwork[] {
  return networks.filter(({ id }) => !others.some((other) => other.id === id));
}
