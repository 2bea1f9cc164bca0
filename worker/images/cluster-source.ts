/**
 * An image whose content comes through the managers: each blob has one manager that fetches it from its
 * registry, once, for all nodes that ask. What the managers cannot give comes from the registry itself.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../../common/base/clock.ts';
import { hasCode } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { BlobOrigin } from '../../common/model/blob.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { isSha256Digest } from '../../common/model/image-reference.ts';
import type { ExchangeToken } from '../../common/model/registry-token.ts';
import type { RpcCalls } from '../../common/rpc/pool.ts';
import { AnsweredError } from '../../common/rpc/status.ts';
import type { BlobBody, BlobName, ImageSource } from './image-source.ts';
import { PeerSource } from './peer-source.ts';

/** The nodes that images can come from and go to, while this node is part of a cluster. */
export interface ClusterPeers {
  /** `IP:port` of all managers that are known, this node among them when it is one */
  managers(): Promise<readonly string[]>;
  /** this node's own `IP:port` */
  readonly self: string;
  /** Whether this node is a manager, which others may ask for content. */
  readonly isManager: boolean;
  /** Throws unless the caller of this method is one of the managers now. */
  requireManager(path: string, nodeId: NodeId | null): void;
  /** calls to a manager */
  manager(address: string): Pick<RpcCalls, 'serverStream'>;
  node(nodeId: string, address: string): Pick<RpcCalls, 'serverStream'>;
  /** References that services want, now or after a rollback; null = no manager says. */
  wantedImages(signal: AbortSignal): Promise<readonly string[] | null>;
  /** by the leader */
  readonly exchangeToken: ExchangeToken;
  /** other nodes on which images of this repository run; none where this node is no manager */
  holders(domain: string, path: string): readonly { nodeId: string; address: string }[];
}

/** A manager that could not be reached is not asked again so soon. */
const UNREACHABLE_MS = 30_000;

/** The managers in the order in which they are to fetch this blob: the same on each node, another for each blob. */
export function rankManagers(addresses: readonly string[], digest: string): string[] {
  const weight = (address: string): string =>
    createHash('sha256').update(`${address} ${digest}`).digest('hex');
  const weights = new Map(addresses.map((address) => [address, weight(address)]));
  return [...weights.keys()].sort((a, b) => (weights.get(a)! < weights.get(b)! ? -1 : 1));
}

/** Which managers could not be reached just now. */
export class ReachableManagers {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #untilMs = new Map<string, number>();

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  has(address: string): boolean {
    return (this.#untilMs.get(address) ?? 0) <= this.#clock.monotonicMs();
  }

  lost(address: string): void {
    this.#untilMs.set(address, this.#clock.monotonicMs() + UNREACHABLE_MS);
  }
}

/** Nodes that are asked for a blob before its registry is. */
const HOLDERS_MAX = 2;

/** Where a manager finds what is of this repository before it asks the registry. */
export function holderSources(
  peers: ClusterPeers,
  { domain, path }: Pick<BlobOrigin, 'domain' | 'path'>,
): { readonly name: string; readonly source: ImageSource }[] {
  const holders = peers.holders(domain, path).slice(0, HOLDERS_MAX);
  return holders.map(({ nodeId, address }) => ({
    name: address,
    source: new PeerSource(peers.node(nodeId, address), null),
  }));
}

export interface ClusterSourceOptions {
  readonly peers: ClusterPeers;
  readonly reachable: ReachableManagers;
  readonly registry: ImageSource;
  readonly origin: Omit<BlobOrigin, 'sizeBytes' | 'isManifest'>;
  readonly log: Logger;
}

export class ClusterSource implements ImageSource {
  readonly #options: ClusterSourceOptions;

  constructor(options: ClusterSourceOptions) {
    this.#options = options;
  }

  /** What a tag means only the registry can say. */
  manifest(reference: string, signal?: AbortSignal): Promise<Buffer> {
    const read = (source: ImageSource): Promise<Buffer> => source.manifest(reference, signal);
    if (!isSha256Digest(reference)) return read(this.#options.registry);
    return this.#first(reference, read, signal);
  }

  blob(
    blob: BlobName,
    offset: number,
    signal?: AbortSignal,
  ): Promise<{ body: BlobBody; offset: number }> {
    return this.#first(blob.digest, (source) => source.blob(blob, offset, signal), signal);
  }

  async #first<T>(
    digest: string,
    read: (source: ImageSource) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const { peers, reachable, registry, origin, log } = this.#options;
    for (const address of rankManagers(await peers.managers(), digest)) {
      if (address === peers.self) return this.#asItsManager(digest, read, signal);
      if (!reachable.has(address)) continue;
      try {
        return await read(new PeerSource(peers.manager(address), origin));
      } catch (err) {
        signal?.throwIfAborted();
        log.debug({ err, address, digest }, 'manager does not give a blob');
        // One that answered tried the registry itself, which may be what is unavailable: its words are learned there.
        if (err instanceof AnsweredError || !hasCode(err, 'unavailable', 'deadline-exceeded'))
          break;
        reachable.lost(address);
      }
    }
    return read(registry);
  }

  /** It is this node that is to fetch it. */
  async #asItsManager<T>(
    digest: string,
    read: (source: ImageSource) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const { peers, registry, origin, log } = this.#options;
    for (const { name, source } of holderSources(peers, origin)) {
      try {
        return await read(source);
      } catch (err) {
        signal?.throwIfAborted();
        log.debug({ err, address: name, digest }, 'node does not give a blob');
      }
    }
    return read(registry);
  }
}
