/**
 * A connection to a daemon on another machine by ssh: the client of the system runs `skep system dial-stdio` there,
 * whose input and output are the connection. One process for each connection; keys, agents and jumps are ssh's.
 */
import type { ChildProcessByStdio } from 'node:child_process';
import { Duplex, type Readable, type Writable } from 'node:stream';
import { SkepError } from '../../common/base/errors.ts';
import type { Endpoint } from './endpoint.ts';

const CONNECT_LIMIT_S = 30;
const WORDS_CHARS_MAX = 4_096;

type SshEndpoint = Extract<Endpoint, { kind: 'ssh' }>;

export function sshConnection(endpoint: SshEndpoint): Duplex {
  const { spawn } = process.getBuiltinModule('node:child_process');
  const child = spawn('ssh', sshArguments(endpoint), { stdio: ['pipe', 'pipe', 'pipe'] });
  return new ProcessConnection(child, `ssh ${endpoint.host}`);
}

/**
 * The input and output of a process as a connection. A pipe that breaks says nothing of why: what the process said, and how
 * it ended, is what the connection fails with.
 */
class ProcessConnection extends Duplex {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;

  constructor(child: ChildProcessByStdio<Writable, Readable, Readable>, action: string) {
    super({ allowHalfOpen: true });
    this.#child = child;
    let words = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      words = (words + text).slice(-WORDS_CHARS_MAX);
    });
    const fail = (why: string): void => {
      this.destroy(new SkepError('unavailable', `${action}: ${words.trim() || why}`));
    };
    child.stdin.on('error', () => {}); // its end tells
    child.stdout.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) child.stdout.pause();
    });
    child.once('error', (err) => fail(err.message));
    child.once('close', (code) => {
      if (code === 0) this.push(null);
      else fail(`it ended with status ${code}`);
    });
  }

  override _read(): void {
    this.#child.stdout.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#child.stdin.write(chunk, (err) => {
      if (!err) done();
    });
  }

  override _final(done: () => void): void {
    this.#child.stdin.end();
    done();
  }

  override _destroy(err: Error | null, done: (err: Error | null) => void): void {
    this.#child.kill();
    done(err);
  }
}

/** As Docker's client calls it. */
export function sshArguments(endpoint: SshEndpoint): readonly string[] {
  const { user, host, port, path } = endpoint;
  return [
    ...['-o', `ConnectTimeout=${CONNECT_LIMIT_S}`, '-T'],
    ...(user === null ? [] : ['-l', user]),
    ...(port === null ? [] : ['-p', String(port)]),
    ...['--', host, 'skep'],
    ...(path === null ? [] : ['--host', `unix://${path}`]),
    ...['system', 'dial-stdio'],
  ];
}
