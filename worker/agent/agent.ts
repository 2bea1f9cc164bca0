/**
 * The node's side of the conversation with the dispatcher: keeps one session open, heartbeats, puts
 * assignments in force and reports statuses. Tasks go on whether or not there is a session.
 */
import { Backoff } from '../../common/base/backoff.ts';
import type { Clock } from '../../common/base/clock.ts';
import { describeError, hasCode, SkepError } from '../../common/base/errors.ts';
import { type OnFailure, TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { AssignmentChange } from '../../common/model/assignment.ts';
import type { NodeDescription } from '../../common/model/node.ts';
import type { AgentMessage, DispatcherMessage } from '../../common/model/session.ts';
import type { StatusReporter } from './status-reporter.ts';
import type { TaskManager } from './task-manager.ts';

/** One open stream to the leader's dispatcher. */
export interface DispatcherSession {
  /** False when the stream cannot take more now; the message was queued all the same. */
  send(message: AgentMessage): boolean;
  /** The next message; null when the stream ended. Rejects when it broke. */
  receive(signal: AbortSignal): Promise<DispatcherMessage | null>;
  close(): void;
}

/** Finds the leader among the managers it knows. */
export interface DispatcherDialer {
  open(signal: AbortSignal): Promise<DispatcherSession>;
  /** The managers named by the last session; remembered over restarts. */
  learnManagers(managers: readonly { nodeId: string; address: string }[]): void;
}

export interface AgentOptions {
  readonly dialer: DispatcherDialer;
  readonly tasks: TaskManager;
  readonly reporter: StatusReporter;
  readonly describe: () => NodeDescription;
  /** Told of each session message: roles, labels, trust root. */
  readonly onSession: (message: Extract<DispatcherMessage, { kind: 'session' }>) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly onFailure: OnFailure;
}

/** Swarm: first delay up to 100 ms, at most 8 s; ours is capped lower, so that fail-over shows soon. */
const RECONNECT = { baseMs: 100, maxMs: 5_000 };
/** Managers that refuse this node will hardly change their mind: it was removed from the swarm. */
const REFUSED = { baseMs: 100, maxMs: 60_000 };
/** A changed description is sent at the next look; Swarm looks as often. */
const DESCRIBE_PERIOD_MS = 20_000;
const HEARTBEAT_DEFAULT_MS = 5_000;
/** Heartbeats are spread by +-10 %, so that a thousand agents do not beat as one. */
const HEARTBEAT_JITTER = 0.1;

export class Agent {
  readonly #options: AgentOptions;
  readonly #background: TaskSet;
  readonly #backoff: Backoff;
  readonly #refusedBackoff: Backoff;
  #refusal = '';

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#background = new TaskSet(options.onFailure);
    this.#backoff = new Backoff(RECONNECT, options.random);
    this.#refusedBackoff = new Backoff(REFUSED, options.random);
  }

  /** The managers' last word when they refuse this node, for people; '' while they do not. */
  get refusal(): string {
    return this.#refusal;
  }

  /** Resumes local tasks, then talks to the managers in the background. */
  async start(): Promise<void> {
    await this.#options.tasks.start();
    this.#background.run((signal) => this.#sessions(signal));
  }

  /** No more assignments from when this resolves; tasks are still looked after. Idempotent. */
  endSession(): Promise<void> {
    return this.#background.stop();
  }

  /** Tasks go on running. */
  async stop(): Promise<void> {
    await this.endSession();
    await this.#options.tasks.stop();
  }

  async #sessions(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    while (!signal.aborted) {
      try {
        const session = await this.#options.dialer.open(signal);
        try {
          await this.#serve(session, signal);
        } finally {
          session.close();
        }
      } catch (err) {
        if (signal.aborted) return;
        if (hasCode(err, 'permission-denied', 'not-found')) this.#refused(describeError(err));
        else log.info({ reason: describeError(err) }, 'session ended');
      }
      const backoff = this.#refusal === '' ? this.#backoff : this.#refusedBackoff;
      if (!signal.aborted) await clock.sleep(backoff.nextDelayMs(), signal);
    }
  }

  #refused(reason: string): void {
    if (this.#refusal === '') this.#options.log.error({ reason }, 'managers refuse this node');
    this.#refusal = reason;
  }

  #accepted(): void {
    this.#refusal = '';
    this.#refusedBackoff.reset();
  }

  async #serve(session: DispatcherSession, signal: AbortSignal): Promise<void> {
    const { clock, describe, reporter, tasks } = this.#options;
    let description = describe();
    session.send({ kind: 'hello', description });
    const pulse = new Pulse(clock, this.#options.random, () => session.send({ kind: 'heartbeat' }));
    const describing = clock.setPeriodic(DESCRIBE_PERIOD_MS, () => {
      const now = describe();
      if (JSON.stringify(now) === JSON.stringify(description)) return;
      description = now;
      session.send({ kind: 'description', description });
    });
    try {
      reporter.reset();
      tasks.reportAll();
      reporter.setListener(() => sendStatuses(session, reporter));
      await this.#receive(session, pulse, signal);
    } finally {
      reporter.setListener(null);
      describing.cancel();
      pulse.stop();
    }
  }

  /** A set that cannot be put in force ends the session: the next one brings the whole set again. */
  async #apply(set: { changes: readonly AssignmentChange[]; complete: boolean }): Promise<void> {
    try {
      await this.#options.tasks.apply(set.changes, set.complete);
    } catch (err) {
      this.#options.log.error({ err }, 'assignments could not be put in force');
      throw err;
    }
  }

  async #receive(session: DispatcherSession, pulse: Pulse, signal: AbortSignal): Promise<void> {
    const { reporter, dialer, onSession } = this.#options;
    const assembly = new AssignmentAssembly();
    for (;;) {
      const message = await session.receive(signal);
      if (message === null) return;
      switch (message.kind) {
        case 'session':
          this.#accepted();
          pulse.setPeriod(message.heartbeatPeriodMs);
          dialer.learnManagers(message.managers);
          onSession(message);
          break;
        case 'assignments': {
          const set = assembly.add(message);
          if (!set) break;
          await this.#apply(set);
          // Not before: a node whose network cannot be programmed must not come back at once for ever.
          this.#backoff.reset();
          session.send({ kind: 'applied', revision: set.revision });
          break;
        }
        case 'statuses-stored':
          reporter.stored(message.sequence);
          sendStatuses(session, reporter);
          break;
      }
    }
  }
}

function sendStatuses(session: DispatcherSession, reporter: StatusReporter): void {
  for (let batch = reporter.take(); batch; batch = reporter.take()) {
    session.send({ kind: 'statuses', ...batch });
  }
}

/** Puts the parts of a set together and checks that steps follow one another. */
export class AssignmentAssembly {
  #revision: number | null = null;
  #parts: AssignmentChange[] = [];

  /** The whole step when its last part came, else null. A gap in the sequence ends the session. */
  add(
    message: Extract<DispatcherMessage, { kind: 'assignments' }>,
  ): { changes: readonly AssignmentChange[]; complete: boolean; revision: number } | null {
    if (!message.complete && message.appliesTo !== this.#revision) {
      throw new SkepError(
        'unavailable',
        `apply assignments: step from ${message.appliesTo}, but this node is at ${this.#revision}`,
      );
    }
    this.#parts.push(...message.changes);
    if (!message.last) return null;
    const changes = this.#parts;
    this.#parts = [];
    this.#revision = message.resultsIn;
    return { changes, complete: message.complete, revision: message.resultsIn };
  }
}

/** Sends heartbeats at a period that the dispatcher chooses. */
class Pulse {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #beat: () => void;
  #periodMs = HEARTBEAT_DEFAULT_MS;
  #timer: { cancel(): void } | null = null;

  constructor(clock: Clock, random: Random, beat: () => void) {
    this.#clock = clock;
    this.#random = random;
    this.#beat = beat;
    this.#schedule();
  }

  setPeriod(periodMs: number): void {
    if (periodMs === this.#periodMs) return;
    this.#periodMs = periodMs;
    this.stop();
    this.#schedule();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #schedule(): void {
    const spread = 1 + HEARTBEAT_JITTER * (2 * this.#random.unit() - 1);
    this.#timer = this.#clock.setTimer(this.#periodMs * spread, () => {
      this.#beat();
      this.#schedule();
    });
  }
}
