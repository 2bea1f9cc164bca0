/** An engine under comparison: the same calls of the Docker Engine API on its socket, and its command. Knows neither kind. */
import { request } from 'node:http';
import type { Readable } from 'node:stream';
import { type CommandResult, run } from '../support/cluster.ts';

/** The newest version that Debian's engine speaks. */
const API = '/v1.41';

export interface Answer {
  readonly status: number;
  /** parsed JSON, or null for an empty body */
  readonly body: unknown;
}

export class Engine {
  readonly name: string;
  readonly #socketPath: string;
  readonly #program: string;

  /** @param program its own command; default: that of its name */
  constructor(name: string, socketPath: string, program = name) {
    this.name = name;
    this.#socketPath = socketPath;
    this.#program = program;
  }

  /** Its command on its socket, with nothing in the environment but `env`. Never rejects for a status. */
  command(args: readonly string[], env: Readonly<Record<string, string>>): Promise<CommandResult> {
    const words = ['env', '-i', `PATH=${process.env['PATH'] ?? ''}`];
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const host = ['-H', `unix://${this.#socketPath}`];
    return run([...words, ...variables, this.#program, ...host, ...args]);
  }

  /** Never rejects for a status; rejects when there is no answer. */
  call(method: string, path: string, body?: unknown): Promise<Answer> {
    return this.#send(method, path, body === undefined ? null : JSON.stringify(body));
  }

  async load(archive: Readable): Promise<void> {
    const { status } = await this.#send('POST', '/images/load?quiet=1', archive);
    if (status !== 200) throw new Error(`${this.name}: images/load answered ${status}`);
  }

  /** The body of a GET that must succeed. */
  async get<T>(path: string): Promise<T> {
    const { status, body } = await this.call('GET', path);
    if (status !== 200) {
      throw new Error(`${this.name}: GET ${path} answered ${status}: ${JSON.stringify(body)}`);
    }
    return body as T;
  }

  #send(method: string, path: string, body: string | Readable | null): Promise<Answer> {
    const type = typeof body === 'string' ? 'application/json' : 'application/x-tar';
    return new Promise((resolve, reject) => {
      const headers = { Host: 'engine', ...(body !== null && { 'Content-Type': type }) };
      const sent = request(
        { socketPath: this.#socketPath, method, path: API + path, headers, agent: false },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.once('error', reject);
          response.once('end', () => {
            const text = Buffer.concat(chunks).toString();
            resolve({ status: response.statusCode ?? 0, body: parsed(text) });
          });
        },
      );
      sent.once('error', reject);
      if (body === null || typeof body === 'string') sent.end(body ?? undefined);
      else body.pipe(sent);
    });
  }
}

function parsed(text: string): unknown {
  if (text.trim() === '') return null;
  try {
    return JSON.parse(text);
  } catch {
    return text; // progress, one line each
  }
}
