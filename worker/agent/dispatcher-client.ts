/**
 * Opens the agent's stream to the leader: remembers the managers it was told of, follows a manager
 * that names the leader, else asks one after the other.
 */
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import { type Random, shuffled } from '../../common/base/random.ts';
import { NodeSmallFiles, type SmallFiles } from '../../common/base/small-files.ts';
import type { AgentMessage, DispatcherMessage } from '../../common/model/session.ts';
import { dispatcherSession } from '../../common/rpc/dispatcher-method.ts';
import type { RpcStream } from '../../common/rpc/stream.ts';
import type { DispatcherDialer, DispatcherSession } from './agent.ts';

type DispatcherStream = RpcStream<DispatcherMessage, AgentMessage>;

/**
 * A manager that knows no leader is asked so many times in all before another one is: it hears of the election's
 * outcome, and a connection to each manager would be a handshake each, from every agent of the cluster at once.
 */
const LEADERLESS_ANSWERS_MAX = 2;
/** A manager that lives ends the stream in a round trip; one that does not is not waited for. */
const PAUSE_LIMIT_MS = 500;

/** What is needed of `RpcClientPool`. */
export interface DispatcherConnections {
  session(address: string): {
    duplex(
      method: typeof dispatcherSession,
      options: { readonly signal: AbortSignal; readonly isNamedLeader: boolean },
    ): Promise<DispatcherStream>;
  };
}

export interface DispatcherClientOptions {
  readonly pool: DispatcherConnections;
  /** where the managers' addresses are kept over restarts; null = they are not */
  readonly file: string | null;
  readonly files?: SmallFiles;
  /** known before the first session, e.g. the one that this node joined by */
  readonly seedAddresses: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export class DispatcherClient implements DispatcherDialer {
  readonly #options: DispatcherClientOptions;
  readonly #files: SmallFiles;
  #addresses: readonly string[];
  /** where the leader was last seen or said to be */
  #leader: string | null = null;
  /** the leader by another manager's word, which was not tried since */
  #named: string | null = null;
  /** the last one that could not be reached, did not answer heartbeats or is no manager: to be asked when the others were */
  #unreachable: string | null = null;
  /** answers in a row by managers that knew no leader */
  #leaderless = 0;
  #saving: Promise<void> = Promise.resolve();

  constructor(options: DispatcherClientOptions) {
    this.#options = options;
    this.#files = options.files ?? new NodeSmallFiles();
    this.#addresses = options.seedAddresses;
  }

  /** Reads the remembered managers. */
  async load(): Promise<void> {
    const { file, seedAddresses, log } = this.#options;
    if (file === null) return;
    try {
      const text = await this.#files.read(file);
      if (text !== null)
        this.#addresses = [...new Set([...parseAddresses(text), ...seedAddresses])];
    } catch (err) {
      log.warn({ err }, 'remembered managers unreadable');
    }
  }

  /**
   * A manager that is not the leader ends the stream with its first answer, naming the leader. `signal` breaks off
   * opening only: an open session is ended by its `close`, after a word of farewell (`pause`) if there is one.
   */
  async open(signal: AbortSignal): Promise<DispatcherSession> {
    const opening = abortWith(signal);
    try {
      return await this.#open(opening.signal);
    } finally {
      opening.release();
    }
  }

  async #open(signal: AbortSignal): Promise<DispatcherSession> {
    const candidates = this.#candidates();
    let failure: unknown = new SkepError('unavailable', 'open agent session: no manager is known');
    for (const address of candidates) {
      const isNamedLeader = address === this.#named;
      this.#named = null;
      try {
        const stream = await this.#options.pool
          .session(address)
          .duplex(dispatcherSession, { signal, isNamedLeader });
        this.#leader = address;
        return new StreamSession(stream, this.#options.clock, (err, wasHeard) => {
          if (!wasHeard || !hasCode(err, 'unavailable')) this.#failed(address, err);
          // Else only the connection may be gone, and the others may be: it is asked first once more.
        });
      } catch (err) {
        if (signal.aborted) throw signal.reason;
        this.#failed(address, err);
        this.#unreachable = address;
        failure = err;
      }
    }
    throw failure;
  }

  learnManagers(managers: readonly { nodeId: string; address: string }[]): void {
    const addresses = managers.map(({ address }) => address);
    if (addresses.length === 0 || addresses.join() === this.#addresses.join()) return;
    this.#addresses = addresses;
    this.#saving = this.#saving.then(() => this.#save(addresses));
  }

  /** Resolves when what was learned so far is on disk: nothing is written after that. */
  saved(): Promise<void> {
    return this.#saving;
  }

  #candidates(): readonly string[] {
    const others = shuffled(this.#addresses, this.#options.random);
    const first = this.#leader === null ? [] : [this.#leader];
    const last = others.filter((address) => address === this.#unreachable);
    return [...new Set([...first, ...others.filter((it) => it !== this.#unreachable), ...last])];
  }

  #failed(address: string, err: unknown): void {
    const wasAnswer = hasCode(err, 'not-leader');
    // Silent, or no manager any more: a node goes on listening, and a stream to it is open before it refuses.
    if (hasCode(err, 'deadline-exceeded', 'unimplemented')) this.#unreachable = address;
    const named = wasAnswer ? err.details['leaderAddress'] : undefined;
    this.#leaderless = wasAnswer && !named ? this.#leaderless + 1 : 0;
    if (named) {
      this.#leader = named;
      this.#named = named;
    } else if (this.#leaderless % LEADERLESS_ANSWERS_MAX > 0) {
      this.#leader = address;
    } else if (this.#leader === address) {
      this.#leader = null;
    }
  }

  async #save(addresses: readonly string[]): Promise<void> {
    const { file, log } = this.#options;
    if (file === null) return;
    try {
      await this.#files.replace(file, JSON.stringify(addresses));
    } catch (err) {
      log.warn({ err }, 'managers could not be remembered');
    }
  }
}

function parseAddresses(text: string): string[] {
  const addresses: unknown = JSON.parse(text);
  if (Array.isArray(addresses) && addresses.every((address) => typeof address === 'string')) {
    return addresses;
  }
  throw new SkepError('data-loss', 'read remembered managers: not a list of addresses');
}

class StreamSession implements DispatcherSession {
  readonly #stream: DispatcherStream;
  readonly #clock: Clock;
  /** `wasHeard`: the manager had said something before. */
  readonly #onFailure: (err: unknown, wasHeard: boolean) => void;
  #wasHeard = false;

  constructor(
    stream: DispatcherStream,
    clock: Clock,
    onFailure: (err: unknown, wasHeard: boolean) => void,
  ) {
    this.#stream = stream;
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  send(message: AgentMessage): boolean {
    try {
      return this.#stream.write(message);
    } catch (err) {
      // The reader is told of the same failure and ends the session.
      this.#stream.cancel(err);
      return false;
    }
  }

  async receive(signal: AbortSignal): Promise<DispatcherMessage | null> {
    try {
      const message = await this.#stream.next(signal);
      this.#wasHeard = true;
      return message;
    } catch (err) {
      if (!signal.aborted) this.#onFailure(err, this.#wasHeard);
      throw err;
    }
  }

  close(reason?: unknown): void {
    this.#stream.cancel(reason);
  }

  async pause(): Promise<void> {
    const over = new AbortController();
    const timer = this.#clock.setTimer(PAUSE_LIMIT_MS, () => over.abort());
    try {
      this.#stream.write({ kind: 'pause' });
      this.#stream.end();
      while ((await this.#stream.next(over.signal)) !== null); // what was under way is of no use now
    } catch {
      // The session had failed already, or nobody answers.
    } finally {
      timer.cancel();
    }
  }
}
