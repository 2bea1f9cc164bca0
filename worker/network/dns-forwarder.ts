/**
 * Passes queries on to other nameservers, from sockets in the daemon's own namespace, and keeps what
 * they answer. Knows nothing of the cluster's names.
 */
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import type { Clock } from '../../common/base/clock.ts';
import type { Random } from '../../common/base/random.ts';
import { DnsCache } from './dns-cache.ts';
import { emptyAnswer, type Question, RCODE } from './dns-message.ts';

/** Resolvers in tasks give up after 5 s: two servers must fit. */
const SERVER_TIMEOUT_MS = 2_000;
const SERVERS_MAX = 3;
/** Open questions, beyond which queries are refused (as Docker does): of the node, for each has a socket. */
const CONCURRENT_MAX = 1_024;
/** Of one task: what it asks of servers that are dead must not cost others their names. */
const CONCURRENT_OF_ONE_MAX = 256;
const DNS_PORT = 53;

export class DnsForwarder {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #cache: DnsCache;
  #inFlight = 0;
  /** who asks -> open questions; nobody who has none */
  readonly #inFlightOf = new Map<string, number>();

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
    this.#cache = new DnsCache(clock);
  }

  /**
   * What is known still, or the first answer among `servers`, else SERVFAIL. Never rejects.
   * @param asker id of the task or container
   */
  async forward(
    asker: string,
    query: Buffer,
    question: Question | null,
    servers: readonly string[],
    transport: 'udp' | 'tcp',
  ): Promise<Buffer> {
    if (!question) return this.#ask(asker, query, question, servers, transport);
    const key = DnsCache.keyOf(query, question, servers, transport);
    const known = this.#cache.get(key, query, question);
    if (known) return known;
    const answer = await this.#ask(asker, query, question, servers, transport);
    this.#cache.put(key, answer, question);
    return answer;
  }

  async #ask(
    asker: string,
    query: Buffer,
    question: Question | null,
    servers: readonly string[],
    transport: 'udp' | 'tcp',
  ): Promise<Buffer> {
    const isTooMuch =
      this.#inFlight >= CONCURRENT_MAX || this.#openOf(asker) >= CONCURRENT_OF_ONE_MAX;
    if (isTooMuch) return emptyAnswer(query, question, RCODE.refused);
    this.#count(asker, 1);
    try {
      for (const server of servers.slice(0, SERVERS_MAX)) {
        const ask = transport === 'udp' ? this.#askUdp : this.#askTcp;
        const answer = await ask.call(this, query, server);
        if (answer && (answer.readUInt16BE(2) & 0xf) !== RCODE.serverFailure) return answer;
      }
      return emptyAnswer(query, question, RCODE.serverFailure);
    } finally {
      this.#count(asker, -1);
    }
  }

  #openOf(asker: string): number {
    return this.#inFlightOf.get(asker) ?? 0;
  }

  #count(asker: string, step: 1 | -1): void {
    this.#inFlight += step;
    const open = this.#openOf(asker) + step;
    if (open > 0) this.#inFlightOf.set(asker, open);
    else this.#inFlightOf.delete(asker);
  }

  /** null = no usable answer in time. A fresh port and id per query: answers are hard to forge. */
  #askUdp(query: Buffer, server: string): Promise<Buffer | null> {
    const outgoing = this.#withFreshId(query);
    return new Promise((resolve) => {
      const socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
      let done = false;
      const finish = (answer: Buffer | null): void => {
        if (done) return;
        done = true;
        timer.cancel();
        socket.close();
        resolve(answer && this.#withId(answer, query));
      };
      const timer = this.#clock.setTimer(SERVER_TIMEOUT_MS, () => finish(null));
      socket.on('error', () => finish(null));
      socket.on('message', (message) => {
        if (answers(message, outgoing)) finish(message);
      });
      // Called with an error, too: no route to it, for one.
      socket.connect(DNS_PORT, server, (err?: unknown) => {
        if (err) finish(null);
        else socket.send(outgoing);
      });
    });
  }

  #askTcp(query: Buffer, server: string): Promise<Buffer | null> {
    const outgoing = this.#withFreshId(query);
    return new Promise((resolve) => {
      const socket = connect({ host: server, port: DNS_PORT });
      const frames = new DnsFrames();
      let done = false;
      const finish = (answer: Buffer | null): void => {
        if (done) return;
        done = true;
        timer.cancel();
        socket.destroy();
        resolve(answer && this.#withId(answer, query));
      };
      const timer = this.#clock.setTimer(SERVER_TIMEOUT_MS, () => finish(null));
      socket.on('error', () => finish(null));
      socket.on('close', () => finish(null));
      socket.on('data', (chunk) => {
        for (const message of frames.push(chunk)) {
          if (answers(message, outgoing)) finish(message);
        }
      });
      socket.write(frameOf(outgoing));
    });
  }

  #withFreshId(query: Buffer): Buffer {
    const copy = Buffer.from(query);
    copy.writeUInt16BE(this.#random.below(0x10000), 0);
    return copy;
  }

  #withId(answer: Buffer, query: Buffer): Buffer {
    answer.writeUInt16BE(query.readUInt16BE(0), 0);
    return answer;
  }
}

function answers(message: Buffer, query: Buffer): boolean {
  return (
    message.length >= 12 &&
    (message.readUInt16BE(2) & 0x8000) !== 0 &&
    message.readUInt16BE(0) === query.readUInt16BE(0)
  );
}

/** A message with its two length bytes, as DNS over TCP has it. */
export function frameOf(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** Splits a TCP stream into messages; at most one incomplete message (64 KiB) is held. */
export class DnsFrames {
  #rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Buffer[] {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const messages: Buffer[] = [];
    while (this.#rest.length >= 2) {
      const end = 2 + this.#rest.readUInt16BE(0);
      if (this.#rest.length < end) break;
      messages.push(this.#rest.subarray(2, end));
      this.#rest = this.#rest.subarray(end);
    }
    return messages;
  }
}
