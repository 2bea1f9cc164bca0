/**
 * A command that runs inside a container beside its init: streams, exit code, signals. Lives as long
 * as its connection to the shim; closing it kills the command.
 */
import { Readable, type Writable } from 'node:stream';
import { abortable } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { NativeError } from '../../native/ffi/library.ts';
import { FRAME, type Frame } from '../../native/ffi/shim-protocol.ts';
import { ShimConnection } from './shim-connection.ts';
import { stdinWriter } from './stdin-writer.ts';
import { errorDetail, failureExitCode, failureWords, isWithoutDirectory } from './task-files.ts';

/** Of a size that could not be set. */
const NO_RESIZE: Readonly<Record<string, string>> = {
  ESRCH: 'is not running',
  ENOTTY: 'has no terminal',
};

/** A command that could not be run. */
export class CommandError extends SkepError {
  /** 127 = not found, 126 = cannot be executed */
  readonly exitCode: number;

  /** e.g. `ENOEXEC` */
  readonly errno: string;
  readonly #action: string;
  readonly #failure: NativeError;

  /** @param action what was attempted. @param further what is known of the reason; '' = nothing */
  constructor(action: string, failure: NativeError, further = '') {
    const { errno, syscall } = failure;
    const isCommand = syscall === 'execve' || isWithoutDirectory(errno, syscall);
    const words = failureWords(errno, syscall, errorDetail(failure));
    const all = [action, words, further].filter((part) => part !== '').join(': ');
    super(isCommand ? 'invalid-argument' : codeOf(failure), all, { cause: failure });
    this.exitCode = failureExitCode(errno, syscall);
    this.errno = errno;
    this.#action = action;
    this.#failure = failure;
  }

  /** The same, with what is known of the reason. */
  because(further: string): CommandError {
    return new CommandError(this.#action, this.#failure, further);
  }
}

/** A process that was killed before it had its command reads no more of what it is told. */
function codeOf({ errno }: NativeError): 'conflict' | 'internal' {
  return errno === 'EPIPE' ? 'conflict' : 'internal';
}

export interface ExecSession {
  /** in the host's numbers */
  readonly pid: number;
  /** Not open when the exec was made without stdin. */
  readonly stdin: Writable;
  /** Both outputs must be read (or resumed): the command waits for a reader of either. */
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves after the command's end; 128 + signal when signalled. */
  wait(signal?: AbortSignal): Promise<{ exitCode: number }>;
  /** Of its terminal. Rejects with `conflict` when it has none, or after its end. */
  resize(rows: number, columns: number): Promise<void>;
  kill(signo: number): Promise<void>;
  /** Gives up the command: it is killed if it still runs. Idempotent. */
  close(): void;
}

/** Sends requests that must not wait behind this session's own stdin. */
export type ControlRequest = (type: number, payload: Uint8Array) => Promise<number>;

export class ShimExecSession implements ExecSession {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  #pid = 0;
  #connection: ShimConnection | null = null;
  readonly #control: ControlRequest;
  readonly #end: Promise<{ exitCode: number }>;
  #resolveEnd: (end: { exitCode: number }) => void = () => {};
  #rejectEnd: (err: unknown) => void = () => {};

  private constructor(control: ControlRequest, withStdin: boolean) {
    this.#control = control;
    this.#end = new Promise((resolve, reject) => {
      this.#resolveEnd = resolve;
      this.#rejectEnd = reject;
    });
    this.#end.catch(() => {}); // whoever waits is told; nobody has to wait
    const read = (): void => this.#connection?.resume();
    this.stdout = new Readable({ read });
    this.stderr = new Readable({ read });
    this.stdin = stdinWriter(() => this.#connection);
    if (!withStdin) this.stdin.destroy();
  }

  /**
   * `payload` is an encoded process. Rejects with a `CommandError` when it cannot be run; `signal` gives it
   * up while it is being begun, not later.
   */
  static async start(
    taskDir: string,
    clock: Clock,
    payload: Uint8Array,
    withStdin: boolean,
    control: ControlRequest,
    signal?: AbortSignal,
  ): Promise<ShimExecSession> {
    const session = new ShimExecSession(control, withStdin);
    session.#connection = await ShimConnection.connect(taskDir, clock, {
      onFrame: (frame) => session.#onFrame(frame),
      onClose: () => session.#onClose(),
    });
    try {
      const request = session.#connection.request(FRAME.exec, payload);
      session.#pid = await abortable(request, signal);
    } catch (err) {
      session.close();
      if (err instanceof NativeError) throw new CommandError('exec', err);
      throw err;
    }
    return session;
  }

  get pid(): number {
    return this.#pid;
  }

  wait(signal?: AbortSignal): Promise<{ exitCode: number }> {
    return abortable(this.#end, signal);
  }

  async resize(rows: number, columns: number): Promise<void> {
    const payload = Buffer.alloc(8);
    payload.writeInt32LE(this.#pid, 0);
    payload.writeUInt16LE(rows, 4);
    payload.writeUInt16LE(columns, 6);
    try {
      await this.#control(FRAME.execResize, payload);
    } catch (err) {
      const why = err instanceof NativeError ? NO_RESIZE[err.errno] : undefined;
      if (why === undefined) throw err;
      throw new SkepError('conflict', `resize exec: it ${why}`, { cause: err });
    }
  }

  async kill(signo: number): Promise<void> {
    const payload = Buffer.alloc(8);
    payload.writeInt32LE(this.#pid, 0);
    payload.writeInt32LE(signo, 4);
    await this.#control(FRAME.execSignal, payload);
  }

  close(): void {
    this.#connection?.close();
  }

  #onFrame(frame: Frame): void {
    if (frame.type === FRAME.stdout) this.#output(this.stdout, frame.payload);
    else if (frame.type === FRAME.stderr) this.#output(this.stderr, frame.payload);
    else if (frame.type === FRAME.execExit) {
      this.#resolveEnd({ exitCode: frame.payload.readInt32LE(0) });
      this.close();
    }
  }

  #output(stream: Readable, bytes: Buffer): void {
    if (!stream.push(bytes)) this.#connection?.pause();
  }

  #onClose(): void {
    this.#rejectEnd(new SkepError('unavailable', 'wait for exec: the container ended meanwhile'));
    this.stdout.push(null);
    this.stderr.push(null);
    this.stdin.destroy();
  }
}
