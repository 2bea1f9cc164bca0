/**
 * Passes queries on to other nameservers and keeps what they answer. Knows nothing of the cluster's
 * names.
 */
import type { Clock } from '../../common/base/clock.ts';
import type { Random } from '../../common/base/random.ts';
import { OWN_NAMESPACE } from '../../native/ffi/net/sockets.ts';
import { DnsAsker } from './dns-asker.ts';
import { DnsCache } from './dns-cache.ts';
import { emptyAnswer, type Question, RCODE } from './dns-message.ts';
import { RESOLVER_ADDRESS } from './name-files.ts';

/** Resolvers in tasks give up after 5 s: two servers must fit. */
const SERVER_TIMEOUT_MS = 2_000;
const SERVERS_MAX = 3;
/** Open questions, beyond which queries are refused (as Docker does): of the node, for each has a socket. */
const CONCURRENT_MAX = 1_024;
/** Of one task: what it asks of servers that are dead must not cost others their names. */
const CONCURRENT_OF_ONE_MAX = 256;

/** Whom a task's questions go to. */
export interface Upstream {
  readonly servers: readonly string[];
  /**
   * From where they are asked: a task's own from its namespace, for they may be in its networks alone, and go no way that
   * it could not go itself; those of the host from the daemon's.
   */
  readonly nsPath: string;
}

/**
 * A task's own nameservers; null = it has none. The resolver that forwards is none of them: asked from the task's namespace
 * it would ask itself, again and again.
 */
export function ownUpstream(nameservers: readonly string[], nsPath: string): Upstream | null {
  const servers = nameservers.filter((server) => server !== RESOLVER_ADDRESS);
  return servers.length === 0 ? null : { servers, nsPath };
}

export class DnsForwarder {
  readonly #asker: DnsAsker;
  readonly #cache: DnsCache;
  #inFlight = 0;
  /** who asks -> open questions; nobody who has none */
  readonly #inFlightOf = new Map<string, number>();

  constructor(clock: Clock, random: Random) {
    this.#asker = new DnsAsker(clock, random, SERVER_TIMEOUT_MS);
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
    upstream: Upstream,
    transport: 'udp' | 'tcp',
  ): Promise<Buffer> {
    if (!question) return this.#ask(asker, query, question, upstream, transport);
    // The same address may be another server's in the networks of another task.
    const from = upstream.nsPath === OWN_NAMESPACE ? '' : asker;
    const key = DnsCache.keyOf(query, question, [from, ...upstream.servers], transport);
    const known = this.#cache.get(key, query, question);
    if (known) return known;
    const answer = await this.#ask(asker, query, question, upstream, transport);
    this.#cache.put(key, answer, question);
    return answer;
  }

  async #ask(
    asker: string,
    query: Buffer,
    question: Question | null,
    { servers, nsPath }: Upstream,
    transport: 'udp' | 'tcp',
  ): Promise<Buffer> {
    const isTooMuch =
      this.#inFlight >= CONCURRENT_MAX || this.#openOf(asker) >= CONCURRENT_OF_ONE_MAX;
    if (isTooMuch) return emptyAnswer(query, question, RCODE.refused);
    this.#count(asker, 1);
    try {
      for (const server of servers.slice(0, SERVERS_MAX)) {
        const answer = await this.#asker.ask(query, server, transport, nsPath);
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
}
