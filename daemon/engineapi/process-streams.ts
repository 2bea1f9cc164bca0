/**
 * The streams of a process and a connection that was taken over for them: bytes both ways, in Docker's frames unless there is a
 * terminal. Knows neither execs nor containers.
 */
import type { Duplex, Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { describeError, SkepError } from '../../common/base/errors.ts';
import { DetachKeys } from '../../common/model/detach-keys.ts';
import { frame } from './frames.ts';

export interface ProcessStreams {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

export interface RelayRules {
  readonly tty: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** `ends`: the end of the client's input is that of the process's; `open`: others may write on; `none`: it is not read */
  readonly input: 'none' | 'open' | 'ends';
  /** of a terminal whose input is passed on: they leave it */
  readonly detachKeys: Buffer;
}

/** Aborted when the client's connection is closed. The HTTP layer no longer knows of it. */
export function whenGone(socket: Duplex): AbortSignal {
  const gone = new AbortController();
  const leave = (): void => gone.abort(new SkepError('cancelled', 'client went away'));
  socket.on('error', () => socket.destroy());
  if (socket.destroyed) leave();
  else socket.once('close', leave);
  return gone.signal;
}

/** Tells a client whose connection was taken over what went wrong, as Docker does. Throws `err` when it is none of those that are told to users. */
export function endWithWords(socket: Duplex, err: unknown, tty: boolean): void {
  if (!(err instanceof SkepError)) {
    socket.destroy();
    throw err;
  }
  const words = Buffer.from(`${describeError(err)}\r\n`);
  socket.resume();
  socket.end(tty ? words : frame('stderr', words));
}

/**
 * Resolves when the process's output has ended, or its client has left it by the detach keys: its output is
 * lost from then on. The connection is the caller's to end.
 */
export async function relay(
  socket: Duplex,
  process: ProcessStreams,
  rules: RelayRules,
): Promise<'ended' | 'detached'> {
  let isDetached = false;
  const detached = new Promise<'detached'>((resolve) => {
    if (rules.input === 'none') socket.resume();
    else
      passInput(socket, process.stdin, rules, () => {
        isDetached = true;
        // A client that took nothing more holds up what it leaves: a full pipe would block the process for good.
        process.stdout.resume();
        process.stderr.resume();
        resolve('detached');
      });
  });
  const passOutput = (stream: 'stdout' | 'stderr'): Promise<void> => {
    const source = process[stream];
    source.on('data', (chunk: Buffer) => {
      if (!rules[stream] || isDetached || socket.destroyed) return;
      if (socket.write(rules.tty ? chunk : frame(stream, chunk))) return;
      source.pause();
      socket.once('drain', () => source.resume());
    });
    return finished(source, { writable: false });
  };
  const outputs = Promise.all([passOutput('stdout'), passOutput('stderr')]);
  return Promise.race([detached, outputs.then((): 'ended' => 'ended')]);
}

/** Read on also when the process takes no more: the client's end is to be heard of. */
function passInput(
  socket: Duplex,
  stdin: Writable,
  { tty, input, detachKeys }: RelayRules,
  onDetached: () => void,
): void {
  const keys = tty ? new DetachKeys(detachKeys) : null;
  let isDetached = false;
  socket.on('data', (typed: Buffer) => {
    if (isDetached) return;
    const { passed: chunk, isDetached: leaves } = keys?.push(typed) ?? {
      passed: typed,
      isDetached: false,
    };
    if (leaves) {
      isDetached = true;
      onDetached();
    }
    if (stdin.destroyed || stdin.write(chunk)) return;
    socket.pause();
    const goOn = (): void => {
      stdin.off('drain', goOn).off('close', goOn);
      socket.resume();
    };
    stdin.on('drain', goOn).on('close', goOn);
  });
  socket.once('end', () => {
    if (input === 'ends' && !isDetached && !stdin.destroyed) stdin.end();
  });
}
