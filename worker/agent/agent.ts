/**
 * The node's side of the conversation with the dispatcher: keeps one session open, heartbeats, puts
 * assignments in force and reports statuses. Tasks go on whether or not there is a session.
 */
import { abortable } from '../../common/base/abort-with.ts';
import { Backoff } from '../../common/base/backoff.ts';
import type { Clock, Timer } from '../../common/base/clock.ts';
import { describeError, hasCode, SkepError } from '../../common/base/errors.ts';
import { type OnFailure, TaskSet } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { NodeDescription } from '../../common/model/node.ts';
import type { AgentMessage, DispatcherMessage } from '../../common/model/session.ts';
import { type AssembledSet, AssignmentAssembly, Resync } from './assignment-assembly.ts';
import type { EndpointDrains } from './endpoint-drains.ts';
import { Pulse } from './pulse.ts';
import type { StatusReporter } from './status-reporter.ts';
import type { TaskManager } from './task-manager.ts';

/** One open stream to the leader's dispatcher. */
export interface DispatcherSession {
  /** False when the stream cannot take more now; the message was queued all the same. */
  send(message: AgentMessage): boolean;
  /** The next message; null when the stream ended. Rejects when it broke. */
  receive(signal: AbortSignal): Promise<DispatcherMessage | null>;
  /** Breaks it off: a pending `receive` rejects with `reason`. Idempotent. */
  close(reason?: unknown): void;
  /** Says `pause`, and resolves when the manager has it, or has not answered in PAUSE_LIMIT_MS; then closes. */
  pause(): Promise<void>;
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
  /** Told of each heartbeat that was answered: how long that took, ms. */
  readonly onHeartbeat?: (elapsedMs: number) => void;
  /** Told whom the managers call drained, and when there are managers to say so. */
  readonly drains?: Pick<EndpointDrains, 'drained' | 'sessionBegan' | 'sessionEnded'>;
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
/** Statuses wait this long for others to share their message; of each task only the newest goes. */
const NEWS_DELAY_MS = 10;
/** From the first word on a stream to the manager's: it registers the node meanwhile, maybe with thousands. */
const GREETING_LIMIT_MS = 15_000;

interface SessionParts {
  readonly pulse: Pulse;
  readonly greeting: Timer;
  readonly news: News;
  readonly resync: Resync;
}

export class Agent {
  readonly #options: AgentOptions;
  readonly #background: TaskSet;
  readonly #backoff: Backoff;
  readonly #refusedBackoff: Backoff;
  readonly #firstGreeting: Promise<void>;
  #greeted: () => void = () => {};
  #refusal = '';
  #connected = false;
  #sessions = 0;
  #differences = 0;
  /** sends the description of this node if it is another than the last one; null without a session */
  #describe: (() => void) | null = null;
  /** the end of the conversation is for good (leaving the swarm): nothing is said of coming back */
  #leaving = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#background = new TaskSet(options.onFailure);
    this.#backoff = new Backoff(RECONNECT, options.random);
    this.#refusedBackoff = new Backoff(REFUSED, options.random);
    this.#firstGreeting = new Promise((resolve) => {
      this.#greeted = resolve;
    });
  }

  /** The managers' last word when they refuse this node, for people; '' while they do not. */
  get refusal(): string {
    return this.#refusal;
  }

  /** True from a manager's first word in a session to the session's end. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Resolves at the first greeting of a manager: the cluster knows this node's words by then. Rejects with `signal.reason`. */
  whenGreeted(signal: AbortSignal): Promise<void> {
    return abortable(this.#firstGreeting, signal);
  }

  /** Sessions so far in which a manager greeted this node. */
  get sessions(): number {
    return this.#sessions;
  }

  /** Sets so far whose checksum was not the manager's. */
  get differences(): number {
    return this.#differences;
  }

  /** What `describe` says changed: the managers are told at once, rather than at the next look. */
  describeAgain(): void {
    this.#describe?.();
  }

  /** Resumes local tasks, then talks to the managers in the background. */
  async start(): Promise<void> {
    await this.#options.tasks.start();
    this.#background.run((signal) => this.#keepSession(signal));
  }

  /**
   * Ends the conversation for good (the node leaves). No more assignments from when this resolves; tasks are
   * still looked after. Idempotent.
   */
  endSession(): Promise<void> {
    this.#leaving = true;
    return this.#background.stop();
  }

  /** Tasks go on running, and the managers are told that this node will be back. */
  async stop(): Promise<void> {
    await this.#background.stop();
    await this.#options.tasks.stop();
  }

  async #keepSession(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    while (!signal.aborted) {
      try {
        const session = await this.#options.dialer.open(signal);
        try {
          await this.#serve(session, signal);
        } catch (err) {
          if (!this.#leaving) await session.pause(); // no word reaches a manager that broke it off
          throw err;
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
    if (!this.#connected) {
      this.#sessions++;
      this.#options.drains?.sessionBegan();
    }
    this.#connected = true;
    this.#greeted();
    this.#refusal = '';
    this.#refusedBackoff.reset();
  }

  async #serve(session: DispatcherSession, signal: AbortSignal): Promise<void> {
    const { clock, describe, reporter, tasks } = this.#options;
    let description = describe();
    reporter.reset();
    tasks.reportAll();
    const reports = reporter.takeAll();
    session.send({ kind: 'hello', description, reports: reports.length });
    for (const batch of reports) session.send({ kind: 'statuses', ...batch, appliedRevision: 0 });
    const pulse = new Pulse({
      clock,
      random: this.#options.random,
      beat: () => session.send({ kind: 'heartbeat' }),
      onAnswer: (elapsedMs) => this.#options.onHeartbeat?.(elapsedMs),
      onSilence: () => session.close(silentManager('heartbeats')),
    });
    const greeting = clock.setTimer(GREETING_LIMIT_MS, () => {
      session.close(silentManager('the registration of this node'));
    });
    const tellDescription = (): void => {
      const now = describe();
      if (JSON.stringify(now) === JSON.stringify(description)) return;
      description = now;
      session.send({ kind: 'description', description });
    };
    this.#describe = tellDescription;
    const describing = clock.setPeriodic(DESCRIBE_PERIOD_MS, tellDescription);
    const news = new News(clock, session, reporter);
    const resync = new Resync(clock, () => session.send({ kind: 'resync' }));
    try {
      reporter.setListener(() => news.wake());
      await this.#receive(session, { pulse, greeting, news, resync }, signal);
    } finally {
      this.#connected = false;
      this.#describe = null;
      this.#options.drains?.sessionEnded();
      reporter.setListener(null);
      news.stop();
      resync.stop();
      greeting.cancel();
      describing.cancel();
      pulse.stop();
    }
  }

  /** A set that cannot be put in force ends the session: the next one brings the whole set again. */
  async #apply({ changes, complete }: AssembledSet): Promise<void> {
    try {
      await this.#options.tasks.apply(changes, complete);
    } catch (err) {
      this.#options.log.error({ err }, 'assignments could not be put in force');
      throw err;
    }
  }

  #noteDifference({ revision, complete, difference }: AssembledSet): void {
    if (difference === null) return;
    this.#differences++;
    const fields = { revision, complete, ...difference };
    this.#options.log.warn(fields, 'assignments differ from their checksum');
  }

  async #receive(
    session: DispatcherSession,
    { pulse, greeting, news, resync }: SessionParts,
    signal: AbortSignal,
  ): Promise<void> {
    const { reporter, dialer, onSession } = this.#options;
    const assembly = new AssignmentAssembly();
    for (;;) {
      const message = await session.receive(signal);
      if (message === null) return;
      switch (message.kind) {
        case 'session':
          greeting.cancel();
          this.#accepted();
          pulse.setPeriod(message.heartbeatPeriodMs);
          dialer.learnManagers(message.managers);
          onSession(message);
          break;
        case 'assignments': {
          const set = assembly.add(message);
          if (!set) break;
          this.#noteDifference(set);
          if (!resync.isUsable(set)) break;
          await this.#apply(set);
          // Not before: a node whose network cannot be programmed must not come back at once for ever.
          this.#backoff.reset();
          news.applied(set.revision);
          break;
        }
        case 'heartbeat-heard':
          pulse.answered();
          reporter.stored(message.storedSequence);
          break;
        case 'drained':
          this.#options.drains?.drained(message.taskIds);
          break;
      }
    }
  }
}

/**
 * What a session has to tell the dispatcher besides heartbeats: statuses, and the revision in force. Gathered for
 * NEWS_DELAY_MS, so that most of it goes in one message.
 */
class News {
  readonly #clock: Clock;
  readonly #session: DispatcherSession;
  readonly #reporter: StatusReporter;
  #appliedRevision = 0;
  #timer: Timer | null = null;

  constructor(clock: Clock, session: DispatcherSession, reporter: StatusReporter) {
    this.#clock = clock;
    this.#session = session;
    this.#reporter = reporter;
  }

  applied(revision: number): void {
    this.#appliedRevision = revision;
    this.wake();
  }

  /** There are statuses to be sent. */
  wake(): void {
    this.#timer ??= this.#clock.setTimer(NEWS_DELAY_MS, () => {
      this.#timer = null;
      this.#send();
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #send(): void {
    for (const batch of this.#reporter.takeAll()) {
      const appliedRevision = this.#takeApplied();
      this.#session.send({ kind: 'statuses', ...batch, appliedRevision });
    }
    const revision = this.#takeApplied();
    if (revision > 0) this.#session.send({ kind: 'applied', revision });
  }

  #takeApplied(): number {
    const revision = this.#appliedRevision;
    this.#appliedRevision = 0;
    return revision;
  }
}

function silentManager(what: string): SkepError {
  return new SkepError('deadline-exceeded', `agent session: the manager does not answer ${what}`);
}
