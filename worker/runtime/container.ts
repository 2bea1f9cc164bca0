/**
 * One container of this daemon: its shim's connection, its states, its end. Knows its own directory
 * and group; which containers exist is the runtime's business.
 */
import type { Socket } from 'node:net';
import { abortable } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { endsWithin } from '../../common/base/deadline.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import { NativeError } from '../../native/ffi/library.ts';
import {
  ATTACH_VERSION,
  decodeExit,
  decodeHello,
  FRAME,
  type Frame,
  type Hello,
  PROTOCOL_VERSION,
} from '../../native/ffi/shim-protocol.ts';
import type { TaskCgroup } from './cgroup/cgroup.ts';
import { CommandError } from './exec-session.ts';
import { identityOf, isAlive, type ProcessIdentity } from './process-identity.ts';
import { nobodyListens, ShimConnection } from './shim-connection.ts';
import {
  type ExitRecord,
  exitRecordOf,
  nanosToMs,
  readExit,
  readState,
  type ShimState,
  writeExit,
} from './task-files.ts';

/**
 * `created`: namespaces and mounts exist, the init waits. `running`: the command was executed.
 * `exited`: the init ended; nothing of the container runs. Only forward: what runs again is a new one
 * over the same directory.
 */
export type ContainerStatus = 'created' | 'running' | 'exited';

export interface ContainerState {
  readonly id: string;
  /** host pid of the init; 0 when ended */
  readonly pid: number;
  readonly status: ContainerStatus;
  /** null until exited */
  readonly exit: ExitRecord | null;
  readonly createdAtMs: number;
  readonly startedAtMs: number | null;
  /** /proc/<pid>/ns/net; null when ended */
  readonly netnsPath: string | null;
  /** every process of it is frozen */
  readonly paused: boolean;
}

/** Why a container is not resized, by what its shim says. */
const NO_RESIZE: Readonly<Record<string, string>> = {
  ENOTTY: 'has no terminal',
  EBADF: 'has left its terminal',
};

const SIGKILL = 9;
/** How long the start of a daemon waits for a shim's answer; later it is awaited in the background. */
const ADOPT_WAIT_MS = 250;
/** Between looks after a container whose shim cannot be reached: doubled each time up to the most. */
const LOOK_FIRST_MS = 50;
const LOOK_MAX_MS = 5000;
/** A shim answers at once; one that does not is stopped or stuck. */
const ANSWER_MS = 2000;
/** A shim ends within 2 s of its container (FINISH_MS of native/src/shim/main.c). */
const SHIM_END_MS = 3000;
const SHIM_LOOK_MS = 2;
/** After the last process of a container is gone, its shim has this long to say how it ended. */
const END_WAIT_MS = 5000;

export interface ContainerOptions {
  readonly id: string;
  readonly taskDir: string;
  readonly cgroup: TaskCgroup;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * INVARIANTS
 * - Killed unasked only when its shim is known to be gone: nobody has its socket open and its process
 *   has ended. Trouble of ours, or a shim that does not answer, leaves the container as it is.
 * - While there is no connection and no exit, one loop (`#supervise`) looks for either.
 */
export class Container {
  readonly id: string;
  readonly taskDir: string;
  readonly cgroup: TaskCgroup;
  readonly #clock: Clock;
  readonly #log: Logger;
  #status: ContainerStatus = 'created';
  #pid = 0;
  #createdAtMs = 0;
  #startedAtMs: number | null = null;
  #exit: ExitRecord | null = null;
  #paused = false;
  #connection: ShimConnection | null = null;
  /** null = not known (yet) */
  #shim: ProcessIdentity | null = null;
  #init: ProcessIdentity | null = null;
  /** the attempt to connect that is under way; never rejects */
  #attempt: Promise<unknown> | null = null;
  /** ends the pause between two looks */
  #wake = new AbortController();
  #detached = false;
  readonly whenExited: Promise<ExitRecord>;
  #resolveExited: (record: ExitRecord) => void = () => {};
  /** once a connection has ended */
  readonly #letGo: Promise<void>;
  #resolveLetGo: () => void = () => {};

  constructor(options: ContainerOptions) {
    this.id = options.id;
    this.taskDir = options.taskDir;
    this.cgroup = options.cgroup;
    this.#clock = options.clock;
    this.#log = options.log;
    this.whenExited = new Promise((resolve) => {
      this.#resolveExited = resolve;
    });
    this.#letGo = new Promise((resolve) => {
      this.#resolveLetGo = resolve;
    });
  }

  get state(): ContainerState {
    return {
      id: this.id,
      pid: this.#pid,
      status: this.#status,
      exit: this.#exit,
      createdAtMs: this.#createdAtMs,
      startedAtMs: this.#startedAtMs,
      netnsPath: this.#pid === 0 ? null : `/proc/${this.#pid}/ns/net`,
      paused: this.#paused,
    };
  }

  /**
   * Has a spare shim make the container and takes it over; `beforeUse` comes when its init waits. Rejects
   * with what the kernel said (`ShimConnection.create`).
   */
  async make(socket: Socket, spec: Uint8Array, beforeUse = async (): Promise<void> => {}) {
    let isOurs = false;
    let isClosed = false;
    const connection = await ShimConnection.create(socket, spec, this.#clock, {
      onFrame: (frame) => this.#onFrame(frame),
      onClose: () => {
        isClosed = true;
        if (isOurs) this.#onClose();
      },
    });
    await beforeUse();
    isOurs = true;
    this.#use(connection);
    if (isClosed) this.#onClose();
  }

  /**
   * Takes over a container of an earlier daemon: its exit when it has ended, else its shim's
   * connection. A live container without a shim is killed and reported; one whose shim cannot be
   * reached stays as its files have it, and is looked after in the background. False: the directory
   * is what a create left that was cut short.
   */
  async adopt(): Promise<boolean> {
    const state = await this.#readState();
    if (await this.#takeExit()) {
      this.#shim = state?.shim ?? null;
      this.#createdAtMs = state?.createdAtMs ?? this.#createdAtMs;
      return true;
    }
    if (state !== null) {
      await this.#takeState(state);
      await endsWithin(this.#clock, ADOPT_WAIT_MS, this.#supervise());
      // The shim writes its state while the init is still at work: nobody was told of that container.
      return this.#exit !== null || this.#connection?.hello.createdAtNanos !== 0n;
    }
    // The disk was full when the shim wrote, or there never was a container: the shim knows.
    try {
      await this.#connect();
    } catch (err) {
      if (await this.#takeExit()) return true;
      if (nobodyListens(err)) return false;
      void this.#supervise();
      return true;
    }
    return this.#createdAtMs > 0 || this.#status !== 'created';
  }

  /**
   * Resolves after the command was executed; rejects with a `CommandError` after its failed start. A start
   * that an earlier daemon asked for is the same one: its outcome is waited for, and a failed one rejects
   * with a plain error.
   */
  async start(): Promise<void> {
    if (this.#status !== 'created') {
      throw new SkepError('conflict', `start container ${this.id}: it is ${this.#status}`);
    }
    try {
      await this.request(FRAME.start, new Uint8Array(0));
    } catch (err) {
      if (!(err instanceof NativeError)) throw err;
      if (err.errno !== 'EBUSY' || err.syscall !== 'shim') {
        await this.whenExited;
        throw new CommandError('start container', err); // whose it is, the task says
      }
      await this.#untilStarted();
    }
    // A shim of an older release said nothing before its reply; a short command may have ended.
    this.#startedAtMs ??= (await this.#readState())?.startedAtMs ?? this.#clock.wallMs();
    if (this.#exit === null) this.#status = 'running';
  }

  /** The shim tells the outcome only to whom asked for the start; its hello to each new connection has it. */
  async #untilStarted(): Promise<void> {
    while (this.#exit === null) {
      if (this.#detached) throw new SkepError('unavailable', `start container ${this.id}: let go`);
      const hello = await this.#greeting();
      if (hello?.status === 'running' && this.#exit === null) {
        this.#takeHello(hello);
        return;
      }
      await endsWithin(this.#clock, LOOK_FIRST_MS, this.whenExited);
    }
    const { error } = this.#exit;
    if (error !== null) throw new SkepError('internal', `start container ${this.id}: ${error}`);
  }

  /** null while its shim cannot be reached: what that means, `#supervise` finds out. */
  async #greeting(): Promise<Hello | null> {
    const nobody = { onFrame: () => {}, onClose: () => {} };
    try {
      const connection = await ShimConnection.connect(this.taskDir, this.#clock, nobody);
      connection.close();
      return connection.hello;
    } catch {
      return null;
    }
  }

  wait(signal?: AbortSignal): Promise<ExitRecord> {
    return abortable(this.whenExited, signal);
  }

  /** Through the shim; past it when it cannot be reached or does not answer. Rejects with `conflict` after the end. */
  async signal(signo: number): Promise<void> {
    await this.#attempt;
    if (this.#connection === null && this.#exit === null) {
      await this.#signalDirectly(signo);
      return;
    }
    const payload = Buffer.alloc(4);
    payload.writeInt32LE(signo, 0);
    const answer = this.request(FRAME.signal, payload);
    if (!(await endsWithin(this.#clock, ANSWER_MS, answer))) await this.#signalDirectly(signo);
  }

  /** Of its protocol; while it cannot be reached it is taken for one of ours. */
  get shimVersion(): number {
    return this.#connection?.hello.version ?? PROTOCOL_VERSION;
  }

  /** Of its terminal. Rejects with `conflict` when it has none, or after its end. */
  async resize(rows: number, columns: number): Promise<void> {
    if (this.shimVersion < ATTACH_VERSION) {
      throw new SkepError('unimplemented', `resize: container ${this.id} is of an older release`);
    }
    const payload = Buffer.alloc(4);
    payload.writeUInt16LE(rows, 0);
    payload.writeUInt16LE(columns, 2);
    try {
      await this.request(FRAME.resize, payload);
    } catch (err) {
      const why = err instanceof NativeError ? NO_RESIZE[err.errno] : undefined;
      if (why === undefined) throw err;
      throw new SkepError('conflict', `resize container ${this.id}: it ${why}`, { cause: err });
    }
  }

  /**
   * A request on the control connection. Rejects with `conflict` when the container has ended, with
   * `unavailable` when its shim cannot be reached.
   */
  async request(type: number, payload: Uint8Array): Promise<number> {
    await this.#attempt;
    if (this.#exit !== null) throw this.#notRunning();
    if (this.#connection === null) {
      throw new SkepError('unavailable', `the shim of container ${this.id} cannot be reached`);
    }
    return this.#connection.request(type, payload);
  }

  /**
   * SIGKILL to every process; resolves when they are gone and the exit is known. A shim that does not
   * tell it within 5 s is killed too, and its supervision counts as lost. Rejects with `deadline-exceeded`
   * when a process survives.
   */
  async kill(): Promise<void> {
    await this.cgroup.killAll();
    this.#wake.abort();
    if (await endsWithin(this.#clock, END_WAIT_MS, this.whenExited)) return;
    if (this.#shim !== null && isAlive(this.#shim)) process.kill(this.#shim.pid, SIGKILL);
    await this.#giveUp('its shim did not tell its end');
  }

  /** Rejects with `conflict` unless it runs. */
  async pause(): Promise<void> {
    if (this.#status !== 'running') throw this.#notRunning();
    await this.cgroup.freeze();
    this.#paused = this.#exit === null;
  }

  async unpause(): Promise<void> {
    if (this.#status !== 'running') throw this.#notRunning();
    await this.cgroup.thaw();
    this.#paused = false;
  }

  /**
   * Of one that has ended: nothing of it runs, and its shim, whose last act is to take its socket away,
   * is gone. A shim that stays is killed.
   */
  async finish(): Promise<void> {
    await this.cgroup.killAll();
    await this.#whenLetGo();
    const deadlineMs = this.#clock.monotonicMs() + SHIM_END_MS;
    while (this.#shim !== null && isAlive(this.#shim)) {
      if (this.#clock.monotonicMs() > deadlineMs) process.kill(this.#shim.pid, SIGKILL);
      await this.#clock.sleep(SHIM_LOOK_MS);
    }
    this.detach();
    await this.cgroup.remove();
  }

  /** Of one that has ended: its groups go, and its shim has written its last. */
  async removeGroups(): Promise<void> {
    await Promise.all([this.#whenLetGo(), this.cgroup.remove()]);
    this.detach();
  }

  /** Lets go of the shim; the container runs on. */
  detach(): void {
    this.#detached = true;
    this.#wake.abort();
    this.#connection?.close();
  }

  async #connect(): Promise<void> {
    const connecting = ShimConnection.connect(this.taskDir, this.#clock, {
      onFrame: (frame) => this.#onFrame(frame),
      onClose: () => this.#onClose(),
    });
    const attempt = connecting.then((connection) => this.#use(connection));
    this.#attempt = attempt.catch(() => {});
    try {
      await attempt;
    } finally {
      this.#attempt = null;
    }
  }

  #use(connection: ShimConnection): void {
    if (this.#exit !== null || this.#detached) {
      connection.close(); // its exit came right behind the hello
      return;
    }
    this.#connection = connection;
    const { hello } = connection;
    this.#takeHello(hello);
    this.#shim ??= identityOf(hello.shimPid);
    this.#init ??= identityOf(hello.initPid);
  }

  #takeHello(hello: Hello): void {
    this.#pid = hello.initPid;
    if (hello.status === 'running') this.#status = 'running';
    if (hello.createdAtNanos !== null) this.#createdAtMs = nanosToMs(hello.createdAtNanos);
    if (hello.status === 'running' && hello.startedAtNanos !== null) {
      this.#startedAtMs = nanosToMs(hello.startedAtNanos);
    }
  }

  /** Damage is the same as none: the shim knows better. */
  async #readState(): Promise<ShimState | null> {
    try {
      return await readState(this.taskDir);
    } catch (err) {
      if (!hasCode(err, 'data-loss')) throw err;
      this.#log.warn({ taskId: this.id, err }, 'state of container is damaged');
      return null;
    }
  }

  async #takeState(state: ShimState): Promise<void> {
    this.#createdAtMs = state.createdAtMs;
    this.#startedAtMs = state.startedAtMs;
    if (state.startedAtMs !== null) this.#status = 'running';
    this.#shim = state.shim;
    this.#init = state.init;
    this.#pid = isAlive(state.init) ? state.init.pid : 0;
    this.#paused = this.cgroup.frozen();
  }

  #onFrame(frame: Frame): void {
    // After the end its process is nobody's, or another one's.
    if (frame.type === FRAME.hello && this.#exit === null)
      this.#takeHello(decodeHello(frame.payload));
    if (frame.type !== FRAME.exit) return;
    const exit = decodeExit(frame.payload);
    if (exit !== null) this.#ended(exitRecordOf(exit));
    // Else an older shim: its file is in place, and it closes the connection now.
  }

  /** Its exit is on disk, or waits for room there: then the shim closes its connections. */
  async #whenLetGo(): Promise<void> {
    if (this.#connection !== null) await endsWithin(this.#clock, SHIM_END_MS, this.#letGo);
  }

  #onClose(): void {
    this.#connection = null;
    this.#resolveLetGo();
    if (this.#exit === null) void this.#supervise();
  }

  /** Looks until there is a connection or an exit. Never rejects. */
  async #supervise(): Promise<void> {
    let pauseMs = LOOK_FIRST_MS;
    let told = '';
    while (!this.#detached && this.#exit === null) {
      try {
        if (await this.#look()) break;
      } catch (err) {
        const words = err instanceof Error ? err.message : String(err);
        if (words !== told) {
          this.#log.warn({ taskId: this.id, err }, 'shim of container cannot be reached, goes on');
        }
        told = words;
      }
      if (this.#detached || this.#exit !== null) break;
      this.#wake = new AbortController();
      await this.#clock.sleep(pauseMs, this.#wake.signal).catch(() => {});
      pauseMs = Math.min(pauseMs * 2, LOOK_MAX_MS);
    }
    if (told !== '' && this.#connection !== null) {
      this.#log.info({ taskId: this.id }, 'shim of container is reached again');
    }
  }

  /** True when there is a connection or an exit now. Rejects when the shim cannot be reached. */
  async #look(): Promise<boolean> {
    if (await this.#takeExit()) return true;
    try {
      await this.#connect();
      return true;
    } catch (err) {
      if (this.#exit !== null || this.#detached) return true;
      if (!nobodyListens(err)) throw err;
      if (this.#shim !== null && isAlive(this.#shim)) return false; // it is just ending
    }
    // Its last act may have been the exit.
    if (!(await this.#takeExit()) && !this.#detached)
      await this.#giveUp('the shim ended unexpectedly');
    return true;
  }

  async #takeExit(): Promise<boolean> {
    const record = await readExit(this.taskDir);
    if (record !== null) this.#ended(record);
    return record !== null;
  }

  #ended(record: ExitRecord): void {
    if (this.#exit !== null || this.#detached) return;
    this.#exit = record;
    this.#status = 'exited';
    this.#pid = 0;
    this.#paused = false;
    if (record.startedAtMs > 0) this.#startedAtMs = record.startedAtMs;
    this.#wake.abort();
    this.#resolveExited(record);
  }

  /** Nobody supervises it any more, so nobody would see it end: kill it, and say why. */
  async #giveUp(why: string): Promise<void> {
    this.#log.warn({ taskId: this.id, why }, 'supervision of container was lost');
    await this.cgroup.killAll();
    const record: ExitRecord = {
      exitCode: 128 + SIGKILL,
      signal: SIGKILL,
      oomKilled: false,
      error: `supervision was lost: ${why}`,
      startedAtMs: this.#startedAtMs ?? 0,
      finishedAtMs: this.#clock.wallMs(),
    };
    try {
      await writeExit(this.taskDir, record);
    } catch (err) {
      // The next daemon comes to the same end.
      this.#log.warn({ taskId: this.id, err }, 'exit of container cannot be written');
    }
    this.#ended(record);
  }

  async #signalDirectly(signo: number): Promise<void> {
    if (this.#init === null || !isAlive(this.#init)) throw this.#notRunning();
    try {
      process.kill(this.#init.pid, signo);
    } catch (err) {
      if (err instanceof Error && 'code' in err && err.code === 'ESRCH') throw this.#notRunning();
      throw err;
    }
  }

  #notRunning(): SkepError {
    const words = `container ${this.id} is not running: it is ${this.#status}`;
    return new SkepError('conflict', words);
  }
}
