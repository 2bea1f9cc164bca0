/**
 * One container of this daemon: its shim's connection, its states, its end. Knows its own directory
 * and group; which containers exist is the runtime's business.
 */
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import { NativeError } from '../../native/ffi/library.ts';
import { FRAME } from '../../native/ffi/shim-protocol.ts';
import type { TaskCgroup } from './cgroup/cgroup.ts';
import { abortable, CommandError } from './exec-session.ts';
import { ShimConnection } from './shim-connection.ts';
import { type ExitRecord, readExit, readState, writeExit } from './task-files.ts';

/**
 * `created`: namespaces and mounts exist, the init waits. `running`: the command was executed.
 * `exited`: the init ended; nothing of the container runs. Only forward.
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
}

const SIGKILL = 9;

export interface ContainerOptions {
  readonly id: string;
  readonly taskDir: string;
  readonly cgroup: TaskCgroup;
  readonly clock: Clock;
  readonly log: Logger;
}

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
  #connection: ShimConnection | null = null;
  #detached = false;
  readonly whenExited: Promise<ExitRecord>;
  #resolveExited: (record: ExitRecord) => void = () => {};
  #rejectExited: (err: unknown) => void = () => {};

  constructor(options: ContainerOptions) {
    this.id = options.id;
    this.taskDir = options.taskDir;
    this.cgroup = options.cgroup;
    this.#clock = options.clock;
    this.#log = options.log;
    this.whenExited = new Promise((resolve, reject) => {
      this.#resolveExited = resolve;
      this.#rejectExited = reject;
    });
    this.whenExited.catch(() => {}); // whoever waits is told
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
    };
  }

  /**
   * Takes over a container whose shim was started just now or by an earlier daemon: its exit when it
   * has ended, its connection while it lives; a live container without a shim is killed and reported.
   */
  async attach(): Promise<void> {
    const state = await readState(this.taskDir);
    this.#createdAtMs = state?.createdAtMs ?? 0;
    this.#startedAtMs = state?.startedAtMs ?? null;
    if (await this.#takeExit()) return;
    try {
      const connection = await ShimConnection.connect(this.taskDir, {
        onFrame: (frame) => {
          if (frame.type === FRAME.exit) this.#settle();
        },
        onClose: () => this.#settle(),
      });
      this.#connection = connection;
      this.#pid = connection.hello.initPid;
      if (connection.hello.status === 'running') this.#status = 'running';
    } catch (err) {
      if (!(err instanceof SkepError)) throw err;
      if (!(await this.#takeExit())) await this.#giveUp(err);
    }
  }

  /** Resolves after the command was executed; rejects with a `CommandError` after its failed start. */
  async start(): Promise<void> {
    if (this.#status !== 'created' || this.#connection === null) {
      throw new SkepError('conflict', `start container ${this.id}: it is ${this.#status}`);
    }
    try {
      await this.#connection.request(FRAME.start);
    } catch (err) {
      if (!(err instanceof NativeError)) throw err;
      await this.whenExited;
      throw new CommandError(`start container ${this.id}`, err);
    }
    this.#startedAtMs = (await readState(this.taskDir))?.startedAtMs ?? null;
    // A short command may have ended while we were reading.
    if (this.#exit === null) this.#status = 'running';
  }

  wait(signal?: AbortSignal): Promise<ExitRecord> {
    return abortable(this.whenExited, signal);
  }

  async signal(signo: number): Promise<void> {
    const payload = Buffer.alloc(4);
    payload.writeInt32LE(signo, 0);
    await this.request(FRAME.signal, payload);
  }

  /** A request on the control connection. Rejects with `conflict` when the container has ended. */
  request(type: number, payload: Uint8Array): Promise<number> {
    if (this.#connection === null || this.#exit !== null) {
      return Promise.reject(
        new SkepError('conflict', `container ${this.id} is not running: it is ${this.#status}`),
      );
    }
    return this.#connection.request(type, payload);
  }

  /** Lets go of the shim; the container runs on. */
  detach(): void {
    this.#detached = true;
    this.#connection?.close();
  }

  /** The exit frame came or the connection ended: find out which end it was. */
  #settle(): void {
    if (this.#detached || this.#exit !== null) return;
    this.#takeExit()
      .then(async (taken) => {
        if (taken || this.#detached || this.#exit !== null) return;
        await this.#giveUp(new SkepError('unavailable', 'the connection to the shim was lost'));
      })
      .catch((err: unknown) => {
        this.#log.error({ taskId: this.id, err }, 'exit of container cannot be read');
        this.#rejectExited(err);
      });
  }

  async #takeExit(): Promise<boolean> {
    const record = await readExit(this.taskDir);
    if (record !== null && this.#exit === null) this.#ended(record);
    return record !== null;
  }

  #ended(record: ExitRecord): void {
    this.#exit = record;
    this.#status = 'exited';
    this.#pid = 0;
    if (record.startedAtMs > 0) this.#startedAtMs = record.startedAtMs;
    this.#connection?.close();
    this.#connection = null;
    this.#resolveExited(record);
  }

  /** Nobody supervises it any more, so nobody would see it end: kill it, and say why. */
  async #giveUp(cause: SkepError): Promise<void> {
    this.#log.warn({ taskId: this.id, err: cause }, 'supervision of container was lost');
    await this.cgroup.killAll();
    const record: ExitRecord = {
      exitCode: 128 + SIGKILL,
      signal: SIGKILL,
      oomKilled: false,
      error: 'supervision was lost: the shim ended unexpectedly',
      startedAtMs: this.#startedAtMs ?? 0,
      finishedAtMs: this.#clock.wallMs(),
    };
    await writeExit(this.taskDir, record);
    this.#ended(record);
  }
}
