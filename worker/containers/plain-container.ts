/**
 * One container outside of services: its states over many runs, its restarts, its end. Knows how a
 * container is driven; which ones there are is the room's business.
 */
import { describeError, SkepError } from '../../common/base/errors.ts';
import { CancelledError } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import { Serial } from '../../common/base/serial.ts';
import type { StringMap } from '../../common/model/objects.ts';
import type { ResourceRequirements } from '../../common/model/service.ts';
import { ContainerEvents, type EventNetwork } from '../executor/container-events.ts';
import { stopSignalOf } from '../executor/container-maker.ts';
import { startFrom } from '../executor/foreign-image.ts';
import { type HealthReport, healthCheckOf, healthOfImage } from '../executor/health.ts';
import { HealthWatch } from '../executor/health-watch.ts';
import { probeIn } from '../executor/probe.ts';
import { SIGKILL } from '../executor/signals.ts';
import { ignoreGone, stopContainer } from '../executor/stop-container.ts';
import type { ImageRecord } from '../images/image-store.ts';
import type { NetworkedContainer } from '../network/container-networks.ts';
import type { EndpointWish } from '../network/container-place.ts';
import { CommandError } from '../runtime/exec-session.ts';
import type { AttachSession, ContainerState, ExitRecord } from '../runtime/native-runtime.ts';
import type { ContainerParts } from './container-parts.ts';
import type { ContainerDefinition, JsonObject, RestartRule } from './definition.ts';
import { eventNetworks } from './event-networks.ts';
import { attachNetwork, limitsOf, readyContainer } from './launch.ts';
import {
  type Condition,
  requireAnswering,
  requireKillable,
  requirePausable,
  requirePaused,
  requireRemovable,
  requireStartable,
  requireStoppable,
  type Subject,
  type Verdict,
} from './lifecycle.ts';
import { hostnameForOthers, hostnameOf } from './name-texts.ts';
import {
  connectNetwork,
  disconnectNetwork,
  type SeatedContainer,
  writeNames,
} from './network-places.ts';
import { NextStart } from './next-start.ts';
import { joinedOf, type PeerOf } from './peers.ts';
import { bestEffort, RecordKeeper } from './record-keeper.ts';
import type { ContainerRecord } from './record-store.ts';
import { releaseContainer } from './release.ts';
import { startsWithDaemon } from './restart-policy.ts';
import { graceMsOf, type RemoveOptions, type StopOptions } from './stop-options.ts';
import { ContainerWaiters, type WaitCondition, type WaitResult } from './waiters.ts';

export interface PlainContainerOptions {
  readonly record: ContainerRecord;
  readonly parts: ContainerParts;
  readonly peerOf: PeerOf;
  /** it runs, with the addresses that it has now */
  readonly onStarted: () => void;
  readonly onRemoved: () => void;
}

export interface UpdateOptions {
  readonly resources: ResourceRequirements;
  readonly cpuPeriodUs: number;
  readonly restart: RestartRule;
  /** as it is to be shown from now on */
  readonly hostConfig: JsonObject;
}

/** What a shell has for a command that could not be run for another reason than the two. */
const START_FAILED = 128;

/**
 * INVARIANTS
 * - What changes the record or the runtime's container runs in `#serial`, but for signals.
 * - Each run has a number; its end is dealt with once, whoever learns of it first.
 */
export class PlainContainer {
  readonly id: string;
  readonly #parts: ContainerParts;
  readonly #options: PlainContainerOptions;
  readonly #log: Logger;
  readonly #events: ContainerEvents;
  readonly #watch: HealthWatch;
  /** streams that are about to be attached */
  readonly #opening = new Set<Promise<void>>();
  readonly #waiters = new ContainerWaiters();
  readonly #life = new AbortController();
  readonly #keeper: RecordKeeper;
  readonly #nextStart: NextStart;
  readonly #serial = new Serial();
  #run = 0;
  /** the run that a removal by force ends; -1 = none */
  #killedRun = -1;
  /** a person starts it again right behind its end */
  #isRestarting = false;

  constructor(options: PlainContainerOptions) {
    const { record, parts } = options;
    this.id = record.id;
    this.#options = options;
    this.#parts = parts;
    this.#log = parts.log.child({ containerId: record.id });
    this.#keeper = new RecordKeeper(record, parts.records, this.#log);
    this.#nextStart = new NextStart(parts.clock);
    const attributes = (): StringMap => this.attributes;
    const networks = (): EventNetwork[] => this.#networks;
    this.#events = new ContainerEvents({ id: this.id, attributes, networks }, parts.tell);
    this.#watch = new HealthWatch(parts.clock, this.#log, (status) => this.#events.health(status));
  }

  get record(): ContainerRecord {
    return this.#keeper.record;
  }

  /** undefined: its files are gone. */
  get state(): ContainerState | undefined {
    return this.#parts.runtime.get(this.id);
  }

  get image(): ImageRecord | undefined {
    return this.#parts.images.get(this.record.imageId);
  }

  get health(): HealthReport | null {
    return this.#watch.report;
  }

  get condition(): Condition {
    const { phase } = this.record;
    return phase === 'running' && this.state?.paused ? 'paused' : phase;
  }

  /** The user's labels over the image's. */
  get labels(): StringMap {
    return { ...this.image?.config.labels, ...this.#definition.container.labels };
  }

  /** Of its events. */
  get attributes(): StringMap {
    const { image } = this.#definition.container;
    return { ...this.labels, image, name: this.record.name };
  }

  /** Once, for a record that was read. Takes up what runs, and what is to run, unless a person did meanwhile. */
  resume(): Promise<void> {
    return this.#serial.run(() => this.#resume());
  }

  /** Lets go of it; it runs on. */
  async close(): Promise<void> {
    this.#life.abort(new CancelledError());
    this.#nextStart.forget();
    this.#watch.end();
    await this.#serial.idle();
  }

  created(): void {
    this.#events.created();
  }

  start(): Promise<Verdict> {
    return this.#serial.run(async () => {
      if (requireStartable(this.#subject) === 'nothing-to-do') return 'nothing-to-do';
      this.#nextStart.forget();
      await this.#keeper.put({ isStopped: false, restartCount: 0 });
      await this.#launch();
      return 'go';
    });
  }

  /** Resolves when it has ended. */
  stop(options: StopOptions): Promise<Verdict> {
    return this.#serial.run(() => this.#stop(options));
  }

  restart(options: StopOptions): Promise<void> {
    return this.#serial.run(async () => {
      this.#isRestarting = true;
      try {
        await this.#stop(options);
        requireStartable(this.#subject);
        this.#nextStart.forget();
        await this.#keeper.put({ isStopped: false, restartCount: 0 });
        await this.#launch();
      } finally {
        this.#isRestarting = false;
      }
      this.#events.did('restart');
    });
  }

  /**
   * A signal to its process; SIGKILL to all of them, and resolves when they are gone. After a stop
   * signal or SIGKILL its restart rule rests. @param as how the user named the container
   */
  async kill(signo: number, as: string): Promise<void> {
    requireKillable(this.#subject, as);
    const run = this.#run;
    if (signo === SIGKILL || signo === this.#stopSignal)
      await this.#keeper.put({ isStopped: true });
    this.#events.signalled(signo);
    if (signo !== SIGKILL) {
      await this.#parts.runtime.signal(this.id, signo);
      return;
    }
    await this.#parts.runtime.killAll(this.id);
    const exit = await this.#parts.runtime.wait(this.id, this.#life.signal);
    await this.#serial.run(() => this.#ended(exit, run));
  }

  async pause(): Promise<void> {
    requirePausable(this.#subject);
    await this.#parts.runtime.freeze(this.id);
    await this.#keeper.keep({ isPaused: true });
    this.#events.did('pause');
  }

  async unpause(): Promise<void> {
    requirePaused(this.#subject);
    await this.#parts.runtime.thaw(this.id);
    await this.#keeper.keep({ isPaused: false });
    this.#events.did('unpause');
  }

  /** All of it goes but for volumes that somebody may want yet. */
  async remove({ force, volumes }: RemoveOptions): Promise<void> {
    requireRemovable(this.#subject, force);
    if (this.record.phase === 'running' || this.record.phase === 'restarting') {
      await this.#keeper.put({ isStopped: true });
      // At once, though a stop with a long grace may be under way.
      await this.#killToRemove();
    }
    await this.#serial.run(async () => {
      if (this.record.phase === 'removing') return; // it went by itself meanwhile
      requireRemovable(this.#subject, force); // it may have been started meanwhile
      this.#nextStart.forget();
      const run = this.#run;
      this.#isRestarting = true; // whatever its rules are, it is we who remove it
      if (this.record.phase === 'running') {
        await this.#killToRemove();
        await this.#ended(await this.#parts.runtime.wait(this.id, this.#life.signal), run);
      }
      await this.#remove(volumes);
    });
  }

  /** All of its processes, if it has any. Told once for each run. */
  async #killToRemove(): Promise<void> {
    if (this.record.phase === 'running' && this.#killedRun !== this.#run) {
      this.#killedRun = this.#run;
      this.#events.signalled(SIGKILL);
    }
    await ignoreGone(this.#parts.runtime.killAll(this.id));
  }

  /** The name is free: its owner has seen to that. */
  rename(name: string): Promise<void> {
    return this.#serial.run(async () => {
      const oldName = `/${this.record.name}`;
      await this.#keeper.put({ name });
      this.#events.did('rename', { oldName });
    });
  }

  /** Limits of what runs change at once. */
  update({ resources, cpuPeriodUs, restart, hostConfig }: UpdateOptions): Promise<void> {
    return this.#serial.run(async () => {
      const definition = {
        ...this.#definition,
        resources,
        cpuPeriodUs,
        restart,
        shown: { ...this.#definition.shown, hostConfig },
      };
      const limits = await limitsOf(this.#parts, definition);
      if (this.state && this.state.status !== 'exited') {
        await this.#parts.runtime.updateResources(this.id, { ...limits, devices: [] });
      }
      await this.#keeper.put({ definition });
      this.#events.did('update');
    });
  }

  /** A place in one more network: at once if it runs, else from its next start on. */
  connect(asked: EndpointWish): Promise<void> {
    return this.#serial.run(() => this.#move(() => connectNetwork(this.#seated, asked)));
  }

  /** Out of a network, as `connect`. Rejects with `permission-denied` when it is not in it. */
  disconnect(name: string): Promise<void> {
    return this.#serial.run(() => this.#move(() => disconnectNetwork(this.#seated, name)));
  }

  async #move(work: () => Promise<void>): Promise<void> {
    const before = this.#networks;
    await work();
    this.#events.moved(before);
  }

  get #networks(): EventNetwork[] {
    return eventNetworks(this.record, this.#parts.driverOf);
  }

  /** One that it has a link to may have another address now. */
  linkedStarted(containerId: string): void {
    const { links = [] } = this.#definition;
    if (!links.some((link) => link.containerId === containerId)) return;
    this.#background(() =>
      this.#serial.run(async () => {
        if (this.record.phase === 'running') await writeNames(this.#seated);
      }),
    );
  }

  /**
   * Its link of that name goes, from the names of one that runs at once. Rejects with `not-found` when it has none.
   *
   * @param hostConfig as it is to be shown from now on
   */
  unlink(alias: string, hostConfig: JsonObject): Promise<void> {
    return this.#serial.run(async () => {
      const { links = [], shown } = this.#definition;
      const left = links.filter((link) => link.alias !== alias);
      if (left.length === links.length) {
        throw new SkepError('not-found', `No such link: /${this.record.name}/${alias}`);
      }
      const definition = { ...this.#definition, links: left, shown: { ...shown, hostConfig } };
      await this.#keeper.put({ definition });
      if (this.record.phase === 'running') await writeNames(this.#seated);
    });
  }

  /** While it does not run, and until `work` is done. Rejects with `conflict` when it does. */
  whileAtRest<T>(work: () => Promise<T>): Promise<T> {
    return this.#serial.run(async () => {
      if (this.state?.status === 'exited') return work();
      const words = `container ${this.id} was started meanwhile: try again`;
      throw new SkepError('conflict', words);
    });
  }

  /** Its streams from now on, or from its next start on when it does not run. */
  async attach(signal: AbortSignal): Promise<AttachSession> {
    const subject = this.#subject;
    if (subject.condition === 'paused') requireAnswering(subject, 'attach');
    this.#events.did('attach');
    const isThere = this.state && this.state.status !== 'exited';
    if (!isThere || this.#isMadeAnew) return this.#waiters.forStreams(signal);
    const session = this.#parts.runtime.attach(this.id);
    const opening = session.then(
      () => {},
      () => {}, // told to who attaches
    );
    this.#opening.add(opening);
    void opening.then(() => this.#opening.delete(opening));
    return session;
  }

  /** A client left its streams by the keys for that. */
  detached(): void {
    this.#events.did('detach');
  }

  async wait(until: WaitCondition, signal: AbortSignal): Promise<WaitResult> {
    const isUp = this.record.phase === 'running' || this.record.phase === 'restarting';
    if (until === 'not-running' && !isUp) return this.#lastResult;
    return until === 'removed' ? this.#waiters.forRemoval(signal) : this.#waiters.forExit(signal);
  }

  /** null while it does not run */
  get networked(): NetworkedContainer | null {
    const netnsPath = this.state?.netnsPath ?? null;
    if (netnsPath === null) return null;
    const { nameservers } = this.#definition.container.dns;
    const hostname = this.hostnameForOthers;
    return { id: this.id, name: this.record.name, hostname, netnsPath, nameservers };
  }

  get #seated(): SeatedContainer {
    const { networked, hostname } = this;
    const { peerOf } = this.#options;
    return { keeper: this.#keeper, parts: this.#parts, hostname, networked, peerOf };
  }

  get #definition(): ContainerDefinition {
    return this.record.definition;
  }

  get #subject(): Subject {
    return { id: this.id, name: this.record.name, condition: this.condition };
  }

  get #lastResult(): WaitResult {
    return { exitCode: this.record.exit?.exitCode ?? 0 };
  }

  get #stopSignal(): number {
    return stopSignalOf(this.#definition, this.image);
  }

  get hostname(): string {
    return hostnameOf(this.#definition, this.id, this.#parts.hostname());
  }

  /** What others in its networks call it, besides its name and their own words. */
  get hostnameForOthers(): string {
    return hostnameForOthers(this.#definition, this.id);
  }

  async #resume(): Promise<void> {
    if (this.#run > 0) return; // it was started, or is removed
    const { phase, definition, isStopped, exit } = this.record;
    const { state } = this;
    if (phase === 'removing') return this.#remove(this.record.removesVolumes);
    if (state?.status === 'running') {
      const { startedAtMs, paused } = state;
      await this.#keeper.keep({ phase: 'running', startedAtMs, isPaused: paused });
      this.#supervise();
    } else if (phase === 'running' && state?.exit) {
      await this.#ended(state.exit, this.#run);
    } else if (phase === 'running' && !state) {
      const lost = { exitCode: START_FAILED, oomKilled: false, error: 'its files are gone' };
      await this.#keeper.put({ phase: 'exited', exit: { ...lost, finishedAtMs: 0 }, place: null });
    } else if (
      phase === 'running' ||
      phase === 'restarting' ||
      (phase === 'exited' && exit !== null && startsWithDaemon(definition.restart, isStopped))
    ) {
      await this.#launchAgain();
    }
  }

  /** One whose start failed has ended, or is what it was before. */
  async #launch(): Promise<void> {
    const { runtime } = this.#parts;
    try {
      const isAnew = this.#isMadeAnew;
      const { netnsPath } = await readyContainer(this.#parts, this.record, {
        isAnew,
        peerOf: this.#options.peerOf,
      });
      const { peerOf } = this.#options;
      const place = await attachNetwork(this.#parts, this.record, this.hostname, netnsPath, peerOf);
      await this.#keeper.put({ phase: 'running', place, exit: null, isPaused: false });
      this.#events.connected();
      await this.#waiters.opened(() => runtime.attach(this.id));
      // A client that attached before it asked for the start misses nothing of a short command either.
      await Promise.all(this.#opening);
      await this.#sizeTerminal(); // before its command asks
      const { startedAtMs } = await startFrom(this.image, runtime, this.id);
      await this.#keeper.keep({ startedAtMs }); // the runtime knows it too
      this.#events.started();
      this.#supervise();
      this.#options.onStarted();
    } catch (err) {
      if (this.#life.signal.aborted) throw err;
      await this.#failed(err);
      throw err;
    }
  }

  /** A shim of an earlier release cannot do it, and runs the container as well. */
  async #sizeTerminal(): Promise<void> {
    const size = this.#definition.consoleSize ?? null;
    if (size === null) return;
    const sizing = this.#parts.runtime.resize(this.id, ...size);
    await bestEffort(this.#log, 'terminal could not be given its size', sizing);
  }

  /** By its rule: nobody waits for it. */
  async #launchAgain(): Promise<void> {
    try {
      await this.#launch();
    } catch (err) {
      if (!this.#life.signal.aborted) this.#log.warn({ err }, 'container could not be restarted');
    }
  }

  /** Never rejects: the caller has the reason, and nothing may hide it. */
  async #failed(err: unknown): Promise<void> {
    const { startedAtMs, definition } = this.record;
    if (this.state?.status === 'running') {
      const killing = ignoreGone(this.#parts.runtime.killAll(this.id));
      await bestEffort(this.#log, 'container whose start failed could not be ended', killing);
    }
    await this.#detach();
    this.#events.disconnected();
    await this.#keeper.keep({
      phase: startedAtMs === null ? 'created' : 'exited',
      place: null,
      exit: {
        exitCode: err instanceof CommandError ? err.exitCode : START_FAILED,
        oomKilled: false,
        error: describeError(err),
        finishedAtMs: this.#parts.clock.wallMs(),
      },
    });
    if (!definition.autoRemove) return;
    await bestEffort(
      this.#log,
      'container whose start failed could not be removed',
      this.#remove(),
    );
  }

  /** What stays is taken away by its next start or its removal. */
  #detach(): Promise<void> {
    const detaching = this.#parts.networks.detach(this.id);
    return bestEffort(this.#log, 'container could not be taken off its networks', detaching);
  }

  /** At its start: the containers of which it has something may be other processes by then. */
  get #isMadeAnew(): boolean {
    const { links = [] } = this.#definition;
    const needsOthers = links.length > 0 || joinedOf(this.#definition).size > 0;
    return needsOthers && this.state?.status === 'created';
  }

  #supervise(): void {
    const run = ++this.#run;
    this.#beginHealth();
    this.#background(async () => {
      const exit = await this.#parts.runtime.wait(this.id, this.#life.signal);
      await this.#serial.run(() => this.#ended(exit, run));
    });
  }

  #beginHealth(): void {
    const { runtime, clock } = this.#parts;
    const image = healthOfImage(this.image?.config.healthcheck ?? null);
    const check = healthCheckOf(this.#definition.container.healthcheck, image);
    if (check) this.#watch.begin(check, probeIn(runtime, this.id, clock), { goesOn: true });
  }

  /** What the end of run number `run` means. */
  async #ended(exit: ExitRecord, run: number): Promise<void> {
    if (run !== this.#run || this.record.phase !== 'running') return;
    this.#run++;
    this.#watch.end();
    await this.#detach(); // before anybody is told: a waiter may want its ports at once
    this.#events.died(exit);
    this.#events.disconnected();
    const { definition, restartCount } = this.record;
    const delayMs = this.#nextStart.delayMs(this.record, exit);
    await this.#keeper.keep({
      phase: delayMs === null ? 'exited' : 'restarting',
      place: null,
      restartCount: delayMs === null ? restartCount : restartCount + 1,
      exit: {
        exitCode: exit.exitCode,
        oomKilled: exit.oomKilled,
        error: exit.error ?? '',
        finishedAtMs: exit.finishedAtMs,
      },
    });
    this.#waiters.exited(this.#lastResult);
    if (delayMs !== null) this.#startIn(delayMs);
    else if (definition.autoRemove && !this.#isRestarting) await this.#remove();
  }

  #startIn(delayMs: number): void {
    this.#nextStart.set(delayMs, () => {
      this.#background(() =>
        this.#serial.run(async () => {
          if (this.record.phase === 'restarting') await this.#launchAgain();
        }),
      );
    });
  }

  async #stop({ graceMs, signo }: StopOptions): Promise<Verdict> {
    if (requireStoppable(this.#subject) === 'nothing-to-do') return 'nothing-to-do';
    const { runtime, clock } = this.#parts;
    await this.#keeper.put({ isStopped: true });
    if (this.record.phase === 'restarting') {
      this.#nextStart.forget();
      await this.#keeper.put({ phase: 'exited' });
      return 'go';
    }
    if (this.condition === 'paused') await this.unpause();
    const run = this.#run;
    const exit = await stopContainer(
      {
        runtime,
        clock,
        containerId: this.id,
        signo: signo ?? this.#stopSignal,
        graceMs: graceMsOf({ graceMs }, this.#definition.container),
        onSignal: (number) => this.#events.signalled(number),
      },
      this.#life.signal,
    );
    await this.#ended(exit, run);
    this.#events.stopped();
    return 'go';
  }

  /** @param wantsVolumes false = its anonymous volumes stay, unless it was made to go when it ends */
  async #remove(wantsVolumes = false): Promise<void> {
    this.#run++;
    this.#watch.end();
    const removesVolumes = wantsVolumes || this.#definition.autoRemove;
    try {
      await this.#keeper.put({ phase: 'removing', removesVolumes });
      await releaseContainer(this.#parts, this.id, { keepsVolumes: !removesVolumes });
      await this.#parts.records.remove(this.id);
    } catch (err) {
      await this.#keeper.keep({ phase: 'dead' });
      this.#waiters.notRemoved({ ...this.#lastResult, error: describeError(err) });
      throw err;
    }
    this.#options.onRemoved();
    this.#events.destroyed();
    const gone = new SkepError('not-found', `No such container: ${this.id}`);
    this.#waiters.removed(this.#lastResult, gone);
  }

  #background(work: () => Promise<void>): void {
    work().catch((err: unknown) => {
      if (this.#life.signal.aborted) return;
      this.#log.error({ err }, 'container could not be looked after');
    });
  }
}
