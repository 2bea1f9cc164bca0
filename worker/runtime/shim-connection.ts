/**
 * One connection to a shim: hello, requests with their replies, everything else to a listener. Knows
 * the protocol, not what a container or an exec is.
 */
import { closeSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import {
  decodeHello,
  decodeReply,
  encodeFrame,
  encodeRequest,
  FRAME,
  type Frame,
  FrameDecoder,
  type Hello,
} from '../../native/ffi/shim-protocol.ts';

export interface ShimListener {
  /** Frames other than hello and replies, in order. */
  onFrame(frame: Frame): void;
  /** Once, after the last frame. */
  onClose(): void;
}

interface Waiter {
  readonly resolve: (result: number) => void;
  readonly reject: (err: unknown) => void;
}

const NO_BYTES = new Uint8Array(0);
/** A shim says hello at once; one that does not is stopped or stuck. */
const HELLO_MS = 2000;
/** Of a container that is made: mounts of a slow disk included. What takes longer is stuck. */
const CREATE_MS = 30_000;

export class ShimConnection {
  readonly hello: Hello;
  readonly #socket: Socket;
  readonly #waiters = new Map<number, Waiter>();
  #nextRequest = 1;
  #closed = false;

  private constructor(socket: Socket, hello: Hello) {
    this.#socket = socket;
    this.hello = hello;
  }

  /**
   * Connects to the shim of `taskDir` and waits 2 s for its hello. Rejects with `unavailable` when
   * it cannot be reached (see `nobodyListens`), with `deadline-exceeded` when it does not answer,
   * with `failed-precondition` when it speaks a newer version.
   */
  static async connect(
    taskDir: string,
    clock: Clock,
    listener: ShimListener,
  ): Promise<ShimConnection> {
    const what = `connect to shim of ${taskDir}`;
    return ShimConnection.#greeted(await connectSocket(taskDir), what, HELLO_MS, clock, listener);
  }

  /**
   * Has a spare shim make the container of this spec, after `FRAME.prepare`; resolves when its init waits.
   * Rejects with the `NativeError` of the failing step, or with `deadline-exceeded`: something may be left
   * running then, to be killed by its group.
   */
  static create(
    socket: Socket,
    spec: Uint8Array,
    clock: Clock,
    listener: ShimListener,
  ): Promise<ShimConnection> {
    socket.write(encodeFrame(FRAME.create, spec));
    return ShimConnection.#greeted(socket, 'create by shim', CREATE_MS, clock, listener);
  }

  static #greeted(
    socket: Socket,
    what: string,
    withinMs: number,
    clock: Clock,
    listener: ShimListener,
  ): Promise<ShimConnection> {
    // It was closed before anybody listened: no event comes any more.
    if (socket.destroyed) return Promise.reject(closedUngreeted(what));
    return new Promise((resolve, reject) => {
      const limit = clock.setTimer(withinMs, () => {
        reject(new SkepError('deadline-exceeded', `${what}: no hello in ${withinMs} ms`));
        socket.destroy();
      });
      const decoder = new FrameDecoder();
      let connection: ShimConnection | null = null;
      const onFrame = (frame: Frame): void => {
        if (connection !== null) connection.#dispatch(frame, listener);
        else {
          connection = new ShimConnection(socket, helloOf(frame));
          limit.cancel();
          resolve(connection);
        }
      };
      socket.on('data', (chunk: Buffer) => {
        try {
          for (const frame of decoder.push(chunk)) onFrame(frame);
        } catch (err) {
          reject(err);
          socket.destroy();
        }
      });
      socket.on('error', () => {}); // 'close' follows and tells everything
      socket.on('close', () => {
        limit.cancel();
        reject(closedUngreeted(what));
        if (connection !== null) connection.#onClose(listener);
      });
      socket.resume();
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Rejects with the shim's `NativeError`, or with `unavailable` when the connection ends first. */
  request(type: number, payload: Uint8Array = NO_BYTES): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(connectionLost());
        return;
      }
      const request = this.#nextRequest++;
      this.#waiters.set(request, { resolve, reject });
      this.#socket.write(encodeRequest(type, request, payload));
    });
  }

  /** A frame without a reply; `done` is called when the socket took it. */
  send(type: number, payload: Uint8Array, done: (err?: Error | null) => void = () => {}): void {
    if (this.#closed) done(connectionLost());
    else this.#socket.write(encodeFrame(type, payload), done);
  }

  /** Back-pressure: no frames until `resume`. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }

  #dispatch(frame: Frame, listener: ShimListener): void {
    if (frame.type !== FRAME.reply) {
      listener.onFrame(frame);
      return;
    }
    const reply = decodeReply(frame.payload);
    const waiter = this.#waiters.get(reply.request);
    this.#waiters.delete(reply.request);
    if (reply.error !== null) waiter?.reject(reply.error);
    else waiter?.resolve(reply.result);
  }

  #onClose(listener: ShimListener): void {
    this.#closed = true;
    for (const waiter of this.#waiters.values()) waiter.reject(connectionLost());
    this.#waiters.clear();
    listener.onClose();
  }
}

function closedUngreeted(what: string): SkepError {
  return new SkepError('unavailable', `${what}: closed without a hello`);
}

function connectionLost(): SkepError {
  return new SkepError('unavailable', 'talk to shim: the connection is closed');
}

/**
 * True for an error of `connect` which says that no process has the socket open. Every other says
 * nothing about the shim: it may be stopped, of another version, or we are short of descriptors.
 */
export function nobodyListens(err: unknown): boolean {
  const cause = err instanceof SkepError ? err.cause : null;
  const code = cause instanceof Error && 'code' in cause ? cause.code : null;
  return code === 'ECONNREFUSED' || code === 'ENOENT';
}

function helloOf(frame: Frame): Hello {
  if (frame.type === FRAME.hello) return decodeHello(frame.payload);
  const error = frame.type === FRAME.reply ? decodeReply(frame.payload).error : null;
  if (error !== null) throw error;
  throw new SkepError('data-loss', 'read from shim: the first frame is not a hello');
}

/** Through the directory's descriptor: a socket path may have 107 characters only. */
async function connectSocket(taskDir: string): Promise<Socket> {
  let directory: number;
  try {
    directory = openSync(taskDir, 'r');
  } catch (err) {
    throw new SkepError('unavailable', `connect to shim of ${taskDir}`, { cause: err });
  }
  try {
    return await new Promise<Socket>((resolve, reject) => {
      const socket = connect({ path: `/proc/self/fd/${directory}/sock` });
      const onError = (err: Error): void => {
        reject(new SkepError('unavailable', `connect to shim of ${taskDir}`, { cause: err }));
      };
      socket.once('error', onError);
      socket.once('connect', () => {
        socket.removeListener('error', onError);
        resolve(socket);
      });
    });
  } finally {
    closeSync(directory);
  }
}
