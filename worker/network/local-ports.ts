/**
 * Ports of this host that containers outside of services publish: chooses numbers and holds each by a
 * bound socket, so that nobody else takes it. Knows nothing of rules.
 */
import { createServer } from 'node:net';
import { SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { SHORT_ID_CHARS } from '../../common/model/container-id.ts';
import { type PublishedPort, sharesPort } from '../../common/model/host-ip.ts';
import { NativeError } from '../../native/ffi/library.ts';
import { bindInNetns, closeFd, OWN_NAMESPACE } from '../../native/ffi/net/sockets.ts';
import { portHolder } from './port-holder.ts';

export interface PortWish {
  readonly protocol: 'tcp' | 'udp';
  readonly targetPort: number;
  /** '' = every address of the host */
  readonly hostIp: string;
  /** the first free one of these; 0 to 0 = any */
  readonly firstHostPort: number;
  readonly lastHostPort: number;
}

export interface BoundPort {
  readonly protocol: 'tcp' | 'udp';
  readonly targetPort: number;
  /** '0.0.0.0' = every address of the host */
  readonly hostIp: string;
  readonly hostPort: number;
}

/** A port of the host that nobody else can take. */
export interface HeldPort {
  release(): void;
}

/** Null when it is taken. */
export type HoldPort = (port: BoundPort) => Promise<HeldPort | null>;

export interface LocalPortsOptions {
  /** what of the cluster has the port on this node; null = nothing */
  readonly clusterHolder?: (port: PublishedPort) => string | null;
  readonly hold?: HoldPort;
  /** for people: which process of this host listens there */
  readonly nameProcess?: typeof portHolder;
}

/** The range that Linux gives to outgoing connections, minus what the routing mesh hands out. */
const EPHEMERAL_FIRST = 32_768;
const EPHEMERAL_LAST = 60_999;
const ATTEMPTS = 64;
const ANY_ADDRESS = '0.0.0.0';

export class LocalPorts {
  readonly #random: Random;
  readonly #log: Logger;
  readonly #options: LocalPortsOptions;
  readonly #held = new Map<string, { readonly port: BoundPort; readonly held: HeldPort }[]>();

  constructor(random: Random, log: Logger, options: LocalPortsOptions = {}) {
    this.#random = random;
    this.#log = log;
    this.#options = options;
  }

  /** `container ID` that publishes the port on an address that `wanted` would have too; null = none */
  holderOf(wanted: PublishedPort): string | null {
    for (const [holder, ports] of this.#held) {
      const has = ports.some(({ port }) => sharesPort(publishedOf(port), wanted));
      if (has) return `container ${holder.slice(0, SHORT_ID_CHARS)}`;
    }
    return null;
  }

  /** In the order of `wishes`. All or nothing: rejects with `conflict` when one is taken. */
  async claim(holder: string, wishes: readonly PortWish[]): Promise<BoundPort[]> {
    try {
      const bound: BoundPort[] = [];
      for (const wish of wishes) bound.push(await this.#claimOne(holder, wish));
      return bound;
    } catch (err) {
      this.release(holder);
      throw err;
    }
  }

  /**
   * Those that `holder` had before a restart. One that somebody took meanwhile, or whose address this
   * host has no longer, is left to the rules. Never rejects.
   */
  async reclaim(holder: string, ports: readonly BoundPort[]): Promise<void> {
    for (const port of ports) {
      try {
        await this.#take(holder, port);
      } catch (err) {
        this.#log.warn({ containerId: holder, port, err }, 'published port is not held');
      }
    }
  }

  release(holder: string): void {
    for (const { held } of this.#held.get(holder) ?? []) held.release();
    this.#held.delete(holder);
  }

  /** Lets go of the sockets only. */
  close(): void {
    for (const holder of [...this.#held.keys()]) this.release(holder);
  }

  async #claimOne(holder: string, wish: PortWish): Promise<BoundPort> {
    for (const hostPort of this.#candidates(wish)) {
      const port = {
        protocol: wish.protocol,
        targetPort: wish.targetPort,
        hostIp: wish.hostIp || ANY_ADDRESS,
        hostPort,
      };
      const isFree = this.#clusterHolder(port) === null;
      if (isFree && (await this.#take(holder, port))) return port;
    }
    throw this.#allocated(wish);
  }

  #clusterHolder(port: BoundPort): string | null {
    return this.#options.clusterHolder?.(publishedOf(port)) ?? null;
  }

  #allocated(wish: PortWish): SkepError {
    const { hostIp, firstHostPort, lastHostPort } = wish;
    const range = firstHostPort === lastHostPort ? '' : `-${lastHostPort}`;
    const place = `${hostIp || ANY_ADDRESS}:${firstHostPort}${range}`;
    const words = `Bind for ${place} failed: port is already allocated`;
    if (range !== '' || firstHostPort === 0) return new SkepError('conflict', words);
    const { protocol, targetPort } = wish;
    const port = { protocol, targetPort, hostIp, hostPort: firstHostPort };
    const holder =
      this.#clusterHolder(port) ??
      this.holderOf(publishedOf(port)) ??
      (this.#options.nameProcess ?? portHolder)(protocol, firstHostPort);
    return new SkepError('conflict', `${words}: ${holder} has it`);
  }

  *#candidates({ firstHostPort, lastHostPort }: PortWish): Iterable<number> {
    if (firstHostPort === 0) {
      for (let i = 0; i < ATTEMPTS; i++) {
        yield EPHEMERAL_FIRST + this.#random.below(EPHEMERAL_LAST - EPHEMERAL_FIRST);
      }
      return;
    }
    for (let port = firstHostPort; port <= lastHostPort; port++) yield port;
  }

  async #take(holder: string, port: BoundPort): Promise<boolean> {
    const held = await (this.#options.hold ?? holdPort)(port);
    if (held === null) return false;
    this.#held.set(holder, [...(this.#held.get(holder) ?? []), { port, held }]);
    return true;
  }
}

/** In the words of the cluster, where no address means every one. */
function publishedOf({ protocol, hostIp, hostPort }: BoundPort): PublishedPort {
  return { protocol, publishedPort: hostPort, hostIp: hostIp === ANY_ADDRESS ? '' : hostIp };
}

/**
 * By a socket. One for streams must listen, or another would get the same port; whoever comes there
 * past our rules is turned away.
 */
async function holdPort({ protocol, hostIp, hostPort }: BoundPort): Promise<HeldPort | null> {
  let fd: number;
  try {
    fd = await bindInNetns(OWN_NAMESPACE, protocol, hostIp, hostPort);
  } catch (err) {
    if (!(err instanceof NativeError)) throw err;
    if (err.errno === 'EADDRINUSE') return null;
    if (err.errno !== 'EADDRNOTAVAIL') throw err;
    const words = `listen on ${hostIp}:${hostPort}: cannot assign requested address`;
    throw new SkepError('invalid-argument', words, { cause: err });
  }
  if (protocol === 'udp') return { release: () => closeFd(fd) };
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve) => {
    server.once('error', () => resolve(null)); // somebody listened first
    server.listen({ fd, exclusive: true }, () => {
      server.removeAllListeners('error');
      server.on('error', () => {}); // accept failures (descriptor limit): it goes on
      server.unref();
      resolve({ release: () => server.close() });
    });
  });
}
