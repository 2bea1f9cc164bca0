/**
 * The streams of a container's own process, for whoever is attached: output from now on, input into
 * it. Giving one up leaves the container as it is.
 */
import { Readable, type Writable } from 'node:stream';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { ATTACH_VERSION, FRAME, type Frame } from '../../native/ffi/shim-protocol.ts';
import { ShimConnection } from './shim-connection.ts';
import { stdinWriter } from './stdin-writer.ts';

export interface AttachSession {
  /**
   * The container's input; goes nowhere when it has none. Its end is the end of the container's
   * input, but for a terminal, which stays open.
   */
  readonly stdin: Writable;
  /**
   * Both must be read (or resumed): a reader that does not read holds the container's output up, and
   * is cut off after 10 s. With a terminal all is on stdout. They end with the container, or when
   * this session is closed.
   */
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Idempotent. */
  close(): void;
}

export class ShimAttachSession implements AttachSession {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  #connection: ShimConnection | null = null;

  private constructor() {
    const read = (): void => this.#connection?.resume();
    this.stdout = new Readable({ read });
    this.stderr = new Readable({ read });
    this.stdin = stdinWriter(() => this.#connection);
  }

  /** Rejects with `unimplemented` when the shim is of a release that cannot be attached to. */
  static async open(taskDir: string, clock: Clock): Promise<ShimAttachSession> {
    const session = new ShimAttachSession();
    const connection = await ShimConnection.connect(taskDir, clock, {
      onFrame: (frame) => session.#onFrame(frame),
      onClose: () => session.#onClose(),
    });
    session.#connection = connection;
    if (connection.hello.version < ATTACH_VERSION) {
      session.close();
      throw new SkepError('unimplemented', 'attach: the container was started by an older release');
    }
    try {
      await connection.request(FRAME.attach, new Uint8Array(0));
    } catch (err) {
      session.close();
      throw err;
    }
    return session;
  }

  close(): void {
    this.#connection?.close();
  }

  #onFrame(frame: Frame): void {
    if (frame.type === FRAME.stdout) this.#output(this.stdout, frame.payload);
    else if (frame.type === FRAME.stderr) this.#output(this.stderr, frame.payload);
    else if (frame.type === FRAME.exit) this.close();
  }

  #output(stream: Readable, bytes: Buffer): void {
    if (!stream.push(bytes)) this.#connection?.pause();
  }

  #onClose(): void {
    this.stdout.push(null);
    this.stderr.push(null);
    this.stdin.destroy();
  }
}
