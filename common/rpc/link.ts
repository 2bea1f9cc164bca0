/**
 * A link: messages of one method, both ways, on a TLS connection of its own. For what managers tell each other
 * and agents all the time: cheaper than a gRPC stream, and sent before `write` returns (docs/decisions/0056, 0063).
 * One end of it, the same for client and server; knows not who may speak.
 */
import type { TLSSocket } from 'node:tls';
import type { Clock, Timer } from '../base/clock.ts';
import { CODE_STATUS, type ErrorCode, SkepError } from '../base/errors.ts';
import { encodeFrame, type Frame, FrameDecoder } from './frames.ts';
import { LINK_LIMITS, STREAM_PENDING_BYTES_MAX } from './limits.ts';
import type { Codec } from './method.ts';
import { publicError } from './status.ts';

/** Name of the protocol in the TLS handshake (ALPN). */
export const LINK_PROTOCOL = 'skep-link';

/** The sending end of a link. */
export interface Link<Out> {
  /**
   * Sends a message before it returns, as far as the connection takes it. False = await `drained` before
   * the next one. Throws the link's failure, or `resource-exhausted` when far too much is queued.
   */
  write(message: Out): boolean;
  /** Resolves when `write` may go on; rejects with the link's failure. */
  drained(): Promise<void>;
  /** Resolves when the other end ended the link, rejects with what broke it or was told by the other end. */
  readonly ended: Promise<void>;
  /** Breaks the link off. Idempotent. */
  cancel(): void;
}

export interface LinkSocketOptions {
  readonly socket: TLSSocket;
  readonly clock: Clock;
  /** names the link in errors */
  readonly action: string;
  /** Frames but `alive` and `end`. What it throws ends the link, and the other end is told. */
  readonly receive: (frame: Frame, link: LinkSocket) => void;
}

/** Frames on a connection, and the watch over it: an end that is silent for too long is given up. */
export class LinkSocket {
  readonly ended: Promise<void>;
  readonly #options: LinkSocketOptions;
  readonly #decoder = new FrameDecoder(LINK_LIMITS.openBytesMax);
  /** null = not watched, see `stopWatch` */
  #watch: Timer | null;
  #failure: SkepError | null = null;
  /** The other end said that it ended well. */
  #isEnded = false;
  #isKnown = false;
  /** This end has said its last. What still comes is read and thrown away, for as long as a silent end is borne. */
  #isEnding = false;
  #silentTicks = 0;
  /** What waited for the other end at the last tick. */
  #unreadBytes = 0;

  constructor(options: LinkSocketOptions) {
    this.#options = options;
    const { socket, action } = options;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (cause) => {
      this.#failure ??= new SkepError('unavailable', action, { cause });
    });
    this.#watch = this.#startWatch();
    this.ended = new Promise((resolve, reject) => {
      socket.once('close', () => {
        this.#watch?.cancel();
        if (this.#failure === null && this.#isEnded) resolve();
        else reject(this.#broken());
      });
    });
    this.ended.catch(() => {}); // for those who ask
  }

  /** The other end is known. One that is not yet has no more time than a silent one, whatever it sends. */
  allowMessages(): void {
    this.#isKnown = true;
    this.#silentTicks = 0;
    this.#decoder.allowMessages();
  }

  /**
   * From now on the messages themselves tell whether the other end lives: this one does not say so, and gives nobody up
   * for silence, but for an end that does not close when the link is ending.
   */
  stopWatch(): void {
    this.#watch?.cancel();
    this.#watch = null;
  }

  /** Written and not yet taken by the kernel. */
  get waitingBytes(): number {
    return this.#options.socket.writableLength;
  }

  /** What comes waits in the kernel, and then at the other end. Not for a link that is watched. */
  pause(): void {
    this.#options.socket.pause();
  }

  resume(): void {
    this.#options.socket.resume();
  }

  /** As `Link.write`. */
  write(kind: 'open' | 'message' | 'last', body: Uint8Array): boolean {
    const { socket, action } = this.#options;
    if (this.#failure !== null || !socket.writable) throw this.#broken();
    const waiting = socket.writableLength;
    if (waiting > 0 && waiting + body.length > STREAM_PENDING_BYTES_MAX) {
      throw new SkepError(
        'resource-exhausted',
        `${action}: send: ${waiting} bytes wait for a slow peer, the limit is ${STREAM_PENDING_BYTES_MAX}`,
      );
    }
    return socket.write(encodeFrame(kind, body));
  }

  drained(): Promise<void> {
    const { socket } = this.#options;
    return new Promise((resolve, reject) => {
      if (this.#failure !== null || !socket.writable) reject(this.#broken());
      else if (!socket.writableNeedDrain) resolve();
      else {
        const settle = (): void => {
          socket.off('drain', settle);
          socket.off('close', settle);
          if (socket.writable) resolve();
          else reject(this.#broken());
        };
        socket.once('drain', settle);
        socket.once('close', settle);
      }
    });
  }

  /** Ends well, after what was written. Nothing is received any more. Idempotent. */
  end(): void {
    if (this.#isDeaf) return;
    this.#isEnding = true;
    this.#bearSilence();
    this.#options.socket.end(encodeFrame('end', Buffer.alloc(0)));
  }

  /**
   * Ends with an error that the other end is told. What it still sends is read and thrown away until it
   * has closed, or for as long as a silent end is borne: a connection that is closed with unread bytes is
   * reset, and the words might be lost.
   */
  refuse(err: unknown): void {
    const error = publicError(err);
    const { code, message, details } = error;
    this.#failure ??= error;
    const words = JSON.stringify({ code, message, details });
    this.#bearSilence();
    this.#options.socket.end(encodeFrame('end', Buffer.from(words)));
  }

  cancel(): void {
    const { socket, action } = this.#options;
    this.#failure ??= new SkepError('cancelled', `${action}: cancelled`);
    socket.destroy();
  }

  get #isDeaf(): boolean {
    return this.#failure !== null || this.#isEnding;
  }

  #startWatch(): Timer {
    return this.#options.clock.setPeriodic(LINK_LIMITS.alivePeriodMs, () => this.#tick());
  }

  /** The link is ending: the other end has its time to close, and what it still sends is read for that. */
  #bearSilence(): void {
    const { socket } = this.#options;
    if (this.#watch !== null || socket.destroyed) return;
    this.#silentTicks = 0;
    this.#watch = this.#startWatch();
    socket.resume();
  }

  #receive(chunk: Buffer): void {
    if (this.#isDeaf) return;
    if (this.#isKnown) this.#silentTicks = 0;
    try {
      this.#decoder.push(chunk, (frame) => {
        if (this.#isDeaf) return;
        if (frame.kind === 'end') this.#told(frame.body);
        else if (frame.kind !== 'alive') this.#options.receive(frame, this);
      });
    } catch (err) {
      this.refuse(err);
    }
  }

  #told(body: Buffer): void {
    this.#isEnded = true;
    if (body.length > 0) this.#failure = errorOfEnd(this.#options.action, body);
    this.#options.socket.destroy();
  }

  #tick(): void {
    const { socket, action } = this.#options;
    if (this.#isEnding && socket.writableLength < this.#unreadBytes) this.#silentTicks = 0; // it reads
    this.#unreadBytes = socket.writableLength;
    if (++this.#silentTicks > LINK_LIMITS.silentPeriodsMax) {
      this.#failure ??= new SkepError('unavailable', `${action}: the other end is silent`);
      socket.destroy();
    } else if (socket.writable && !socket.writableNeedDrain) {
      socket.write(ALIVE);
    }
  }

  #broken(): SkepError {
    this.#failure ??= new SkepError('unavailable', `${this.#options.action}: the link is closed`);
    return this.#failure;
  }
}

const ALIVE = encodeFrame('alive', Buffer.alloc(0));

/** The other end is a node of our cluster, or claims to be one: what it says is checked. */
function errorOfEnd(action: string, body: Buffer): SkepError {
  try {
    const { code, message, details } = JSON.parse(body.toString()) as Partial<SkepError>;
    if (Object.hasOwn(CODE_STATUS, String(code)) && typeof message === 'string') {
      return new SkepError(code as ErrorCode, message, { details: details ?? {} });
    }
  } catch {
    // told below
  }
  return new SkepError('unavailable', `${action}: the other end ended the link`);
}

/** Throws `invalid-argument`. */
export function decodeMessage<T>(
  codec: Pick<Codec<T>, 'decode'>,
  body: Uint8Array,
  action: string,
): T {
  try {
    return codec.decode(body);
  } catch (cause) {
    throw new SkepError('invalid-argument', `${action}: decode a message`, { cause });
  }
}
