/**
 * What people do by hand to the container of a task: signals, a pause, the wait for its end. What comes of its end its service
 * decides, as of any other; it never runs again. Writes nothing down: a pause lasts as long as the daemon runs.
 */
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { CancelledError } from '../../common/base/lifecycle.ts';
import type { TellEvent } from '../../common/model/engine-event.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { ContainerSpec } from '../../common/model/service.ts';
import { ContainerEvents } from '../executor/container-events.ts';
import { stopSignalOf } from '../executor/container-maker.ts';
import { SIGKILL } from '../executor/signals.ts';
import { stopContainer } from '../executor/stop-container.ts';
import type { ImageRecord } from '../images/image-store.ts';
import type { NativeRuntime } from '../runtime/native-runtime.ts';
import {
  requireKillable,
  requirePausable,
  requirePaused,
  requireRemovable,
  requireStoppable,
  type Subject,
  type Verdict,
} from './lifecycle.ts';
import { graceMsOf, type RemoveOptions, type StopOptions } from './stop-options.ts';
import type { WaitCondition, WaitResult } from './waiters.ts';

export interface TaskContainerParts {
  readonly runtime: Pick<NativeRuntime, 'get' | 'signal' | 'killAll' | 'wait' | 'freeze' | 'thaw'>;
  readonly clock: Clock;
  readonly tell: TellEvent;
}

/** A container of a task as it is now. */
export interface TaskSubject extends Subject {
  /** how the runtime knows it */
  readonly runtimeId: string;
  /** of its events */
  readonly attributes: StringMap;
  readonly spec: { readonly container: ContainerSpec };
  readonly image: ImageRecord | null;
  readonly exit: { readonly exitCode: number } | null;
}

/** How often it is looked whether one is gone: that happens when its task's history does, which nobody waits for in haste. */
const GONE_PERIOD_MS = 500;

export class TaskContainers {
  readonly #parts: TaskContainerParts;
  readonly #life = new AbortController();

  constructor(parts: TaskContainerParts) {
    this.#parts = parts;
  }

  /** For one request. */
  of(info: TaskSubject): TaskContainer {
    return new TaskContainer(info, this.#parts, this.#life.signal);
  }

  /** Stops that wait for an end wait no longer. */
  stop(): void {
    this.#life.abort(new CancelledError());
  }
}

export class TaskContainer {
  readonly #info: TaskSubject;
  readonly #parts: TaskContainerParts;
  /** Whoever asked for a stop may leave before it is done. */
  readonly #life: AbortSignal;
  readonly #events: ContainerEvents;

  constructor(info: TaskSubject, parts: TaskContainerParts, life: AbortSignal) {
    this.#info = info;
    this.#parts = parts;
    this.#life = life;
    const { id, attributes } = info;
    this.#events = new ContainerEvents(
      { id, attributes: () => attributes, networks: () => [] },
      parts.tell,
    );
  }

  /** Resolves when it has ended. */
  async stop(options: StopOptions): Promise<Verdict> {
    if (requireStoppable(this.#info) === 'nothing-to-do') return 'nothing-to-do';
    const { runtime, clock } = this.#parts;
    const { runtimeId: containerId, spec, image, condition } = this.#info;
    if (condition === 'paused') await this.unpause();
    await stopContainer(
      {
        ...{ runtime, clock, containerId },
        signo: options.signo ?? stopSignalOf(spec, image ?? undefined),
        graceMs: graceMsOf(options, spec.container),
        onSignal: (signo) => this.#events.signalled(signo),
      },
      this.#life,
    );
    this.#events.stopped();
    return 'go';
  }

  /** A signal to its process; SIGKILL to all of them, and resolves when they are gone. @param as how the user named it */
  async kill(signo: number, as: string): Promise<void> {
    requireKillable(this.#info, as);
    const { runtime } = this.#parts;
    const { runtimeId } = this.#info;
    this.#events.signalled(signo);
    await (signo === SIGKILL ? runtime.killAll(runtimeId) : runtime.signal(runtimeId, signo));
  }

  async pause(): Promise<void> {
    requirePausable(this.#info);
    await this.#parts.runtime.freeze(this.#info.runtimeId);
    this.#events.did('pause');
  }

  async unpause(): Promise<void> {
    requirePaused(this.#info);
    await this.#parts.runtime.thaw(this.#info.runtimeId);
    this.#events.did('unpause');
  }

  async wait(until: WaitCondition, signal: AbortSignal): Promise<WaitResult> {
    const { runtime, clock } = this.#parts;
    const { runtimeId, exit } = this.#info;
    const hasEnded = exit !== null;
    const { exitCode } = exit ?? (await runtime.wait(runtimeId, signal));
    const isOver = until === 'not-running' || (until === 'next-exit' && !hasEnded);
    while (!isOver && runtime.get(runtimeId)) await clock.sleep(GONE_PERIOD_MS, signal);
    return { exitCode };
  }

  /** Ends it; what is left of it goes with its task. */
  async remove({ force }: Pick<RemoveOptions, 'force'>): Promise<void> {
    requireRemovable(this.#info, force);
    if (this.#info.exit !== null) {
      const words = `cannot remove container ${this.#info.id}: what is left of a task goes with its service's history`;
      throw new SkepError('conflict', words);
    }
    this.#events.signalled(SIGKILL);
    await this.#parts.runtime.killAll(this.#info.runtimeId);
  }
}
