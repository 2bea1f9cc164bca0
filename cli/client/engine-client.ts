/**
 * The Engine API as typed calls. One method per endpoint; no policy, no printing. Names and ids are
 * both accepted wherever the daemon accepts both. Here are the calls of the daemon itself, networks and
 * volumes; those of containers, images and a cluster's objects are in files of their own.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import { SkepError } from '../../common/base/errors.ts';
import type { ChangeJson, EventJson } from '../../common/model/engine-json/event.ts';
import type {
  NetworkConnectJson,
  NetworkCreateJson,
  NetworkJson,
  NetworkProofJson,
  NetworkTraceJson,
} from '../../common/model/engine-json/network.ts';
import type {
  DiskUsageJson,
  EngineVersionJson,
  InfoJson,
} from '../../common/model/engine-json/system.ts';
import type { VolumeJson } from '../../common/model/engine-json/volume.ts';
import { enc } from './api-calls.ts';
import { ClusterCalls } from './cluster-calls.ts';
import type { ClientTls } from './endpoint.ts';
import { encodeFilters, type FilterMap } from './filter-query.ts';
import { sentEvents } from './server-sent-events.ts';
import { Transport } from './transport.ts';

export interface LogQuery {
  readonly follow?: boolean;
  readonly tail?: string;
  readonly since?: string;
  readonly until?: string;
  readonly timestamps?: boolean;
  readonly details?: boolean;
}

export interface EventQuery {
  /** unix seconds */
  readonly since?: string;
  readonly until?: string;
  readonly filters?: FilterMap;
}

export interface WatchOptions {
  /** ends it */
  readonly signal?: AbortSignal;
  /** with what the objects were before */
  readonly previous?: boolean;
  /** called when no change from then on is missed */
  readonly onReady?: () => void;
}

export class EngineClient extends ClusterCalls {
  readonly #tls: ClientTls | null;

  /**
   * @param host see `parseEndpoint`
   * @param signal aborts every call
   * @param tls for TCP; null = plain
   * @param transport the way to that host
   */
  constructor(
    host: string,
    signal?: AbortSignal,
    tls: ClientTls | null = null,
    transport = new Transport(host, signal, tls),
  ) {
    super(transport);
    this.#tls = tls;
  }

  /** The common name in the certificate that the daemon is shown; null = it is shown none. */
  get certificateName(): string | null {
    const cert = this.#tls?.cert;
    if (cert === undefined) return null;
    const { X509Certificate } = process.getBuiltinModule('node:crypto'); // others start sooner without it
    return /^CN=(.*)$/m.exec(new X509Certificate(cert).subject)?.[1] ?? null;
  }

  get host(): string {
    return this.http.host;
  }

  close(): void {
    this.http.close();
  }

  // ---- system

  /** A connection of bytes to the daemon. */
  dial(): Promise<Duplex> {
    return this.http.dial();
  }

  /** Resolves when the daemon answers; its headers say what it is. */
  async ping(signal?: AbortSignal): Promise<{ readonly swarm: string; readonly api: string }> {
    const response = await this.http.stream('GET', '/_ping', signal ? { signal } : {});
    response.resume();
    const header = (name: string): string => String(response.headers[name] ?? '');
    return { swarm: header('swarm'), api: header('api-version') };
  }

  info(): Promise<InfoJson> {
    return this.get('/info');
  }

  version(): Promise<EngineVersionJson> {
    return this.get('/version');
  }

  /** Goes on until `until`, or until `signal` aborts. */
  events(query: EventQuery, signal?: AbortSignal): AsyncIterable<EventJson> {
    const { since, until } = query;
    return this.http.jsonLines('GET', '/events', {
      query: { since, until, filters: encodeFilters(query.filters) },
      ...(signal && { signal }),
    });
  }

  diskUsage(): Promise<DiskUsageJson> {
    return this.get('/system/df');
  }

  /** Changes of the cluster's objects. Throws `SkepError` when the daemon says that it cannot go on. */
  async *watch(
    filters: FilterMap,
    { signal, previous = false, onReady = () => {} }: WatchOptions,
  ): AsyncIterable<ChangeJson> {
    const body = await this.http.stream('GET', '/skep/watch', {
      query: { filters: encodeFilters(filters), ...(previous && { previous }) },
      ...(signal && { signal }),
    });
    body.setEncoding('utf8');
    for await (const { name, data } of sentEvents(body as AsyncIterable<string>)) {
      if (name === 'error') {
        throw new SkepError('unavailable', (JSON.parse(data) as { Message: string }).Message);
      }
      if (name === 'ready') onReady();
      if (name === 'commit') yield* (JSON.parse(data) as { Changes: ChangeJson[] }).Changes;
    }
  }

  /** @param kind of object that `ref` names */
  logs(
    kind: 'services' | 'tasks' | 'containers',
    ref: string,
    query: LogQuery,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    return this.http.stream('GET', `/${kind}/${enc(ref)}/logs`, {
      query: {
        stdout: true,
        stderr: true,
        ...(query.follow && { follow: true }),
        ...(query.details && { details: true }),
        ...(query.timestamps && { timestamps: true }),
        since: query.since,
        until: query.until,
        tail: query.tail ?? 'all',
      },
      ...(query.follow && { lasts: true }),
      ...(signal && { signal }),
    });
  }

  // ---- networks

  networks(filters?: FilterMap): Promise<readonly NetworkJson[]> {
    return this.get('/networks', { filters: encodeFilters(filters) });
  }

  network(ref: string, options: { scope?: string; verbose?: boolean } = {}): Promise<NetworkJson> {
    const query = { scope: options.scope, ...(options.verbose && { verbose: 'true' }) };
    return this.get(`/networks/${enc(ref)}`, query);
  }

  networkCreate(
    spec: NetworkCreateJson,
  ): Promise<{ readonly Id: string; readonly Warning?: string }> {
    return this.post('/networks/create', {}, spec);
  }

  networksPrune(
    filters: FilterMap,
  ): Promise<{ readonly NetworksDeleted: readonly string[] | null }> {
    return this.post('/networks/prune', { filters: encodeFilters(filters) });
  }

  networkConnect(ref: string, request: NetworkConnectJson): Promise<void> {
    return this.post(`/networks/${enc(ref)}/connect`, {}, request);
  }

  networkDisconnect(ref: string, container: string, force: boolean): Promise<void> {
    const request = { Container: container, Force: force };
    return this.post(`/networks/${enc(ref)}/disconnect`, {}, request);
  }

  networkRemove(ref: string): Promise<void> {
    return this.delete(`/networks/${enc(ref)}`);
  }

  /** Compares every node's network with its tables; `repair` puts it right. */
  networkProofs(repair: boolean): Promise<readonly NetworkProofJson[]> {
    return this.post('/skep/net/verify', { repair: String(repair) });
  }

  /** The way of a connection to a service, from a node or a task. */
  networkTrace(service: string, from: string): Promise<NetworkTraceJson> {
    return this.get('/skep/net/trace', { service, from });
  }

  // ---- volumes

  async volumes(filters?: FilterMap): Promise<readonly VolumeJson[]> {
    const answer = await this.get<{ readonly Volumes: readonly VolumeJson[] | null }>('/volumes', {
      filters: encodeFilters(filters),
    });
    return answer.Volumes ?? [];
  }

  volume(name: string): Promise<VolumeJson> {
    return this.get(`/volumes/${enc(name)}`);
  }

  volumeCreate(request: {
    readonly Name: string;
    readonly Driver: string;
    readonly DriverOpts: Readonly<Record<string, string>>;
    readonly Labels: Readonly<Record<string, string>>;
  }): Promise<VolumeJson> {
    return this.post('/volumes/create', {}, request);
  }

  volumesPrune(filters: FilterMap): Promise<{ readonly VolumesDeleted: readonly string[] | null }> {
    return this.post('/volumes/prune', { filters: encodeFilters(filters) });
  }

  volumeRemove(name: string, force: boolean): Promise<void> {
    return this.delete(`/volumes/${enc(name)}`, force ? { force } : {});
  }

  /** A tar of all that is in it. */
  volumeExport(name: string): Promise<IncomingMessage> {
    return this.http.stream('GET', `/skep/volumes/${enc(name)}/archive`);
  }

  /** Fills a volume, made when there is none. @param force also one that is not empty */
  async volumeImport(name: string, tar: Readable, force: boolean): Promise<void> {
    const query = force ? { force } : {};
    await this.http.call('PUT', `/skep/volumes/${enc(name)}/archive`, { query, body: tar });
  }
}
