/**
 * The Engine API as typed calls. One method per endpoint; no policy, no printing. Names and ids are
 * both accepted wherever the daemon accepts both. The calls of containers are in container-calls.ts.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import type { ChangeJson, EventJson } from '../../common/model/engine-json/event.ts';
import type {
  ImageHistoryJson,
  ImageSummaryJson,
  ImagesPruneJson,
} from '../../common/model/engine-json/image.ts';
import type {
  NetworkConnectJson,
  NetworkCreateJson,
  NetworkJson,
  NetworkProofJson,
  NetworkTraceJson,
} from '../../common/model/engine-json/network.ts';
import type { NodeJson, NodeSpecJson } from '../../common/model/engine-json/node.ts';
import type { SecretJson, SecretSpecJson } from '../../common/model/engine-json/secret.ts';
import type {
  ServiceExplanationJson,
  ServiceJson,
  ServiceSpecJson,
} from '../../common/model/engine-json/service.ts';
import type { StackPlanJson, StackRequestJson } from '../../common/model/engine-json/stack.ts';
import type {
  SwarmInitJson,
  SwarmJoinJson,
  SwarmJson,
  SwarmSpecJson,
} from '../../common/model/engine-json/swarm.ts';
import type {
  DiskUsageJson,
  EngineVersionJson,
  InfoJson,
} from '../../common/model/engine-json/system.ts';
import type { TaskJson, TaskMoveJson } from '../../common/model/engine-json/task.ts';
import type { VolumeJson } from '../../common/model/engine-json/volume.ts';
import { ContainerCalls } from './container-calls.ts';
import type { ClientTls } from './endpoint.ts';
import { encodeFilters, type FilterMap } from './filter-query.ts';
import { sentEvents } from './server-sent-events.ts';
import { type Query, Transport } from './transport.ts';

export interface ProgressJson {
  readonly stream?: string;
  readonly status?: string;
  readonly id?: string;
  readonly progress?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly error?: string;
  readonly errorDetail?: { readonly message?: string };
}

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

export interface ServiceWarnings {
  readonly Warnings?: readonly string[] | null;
}

export interface CreateServiceOptions {
  /** base64url JSON for the image's registry */
  readonly registryAuth?: string;
}

/** Of an empty object. */
const NO_CREDENTIALS = 'e30=';
const enc = encodeURIComponent;
/** Image names keep their slashes. */
const encName = (name: string): string => name.split('/').map(enc).join('/');
const authHeader = (auth: string | undefined): { headers?: Record<string, string> } =>
  auth === undefined ? {} : { headers: { 'X-Registry-Auth': auth } };

export class EngineClient extends ContainerCalls {
  readonly #http: Transport;

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
    this.#http = transport;
  }

  get host(): string {
    return this.#http.host;
  }

  close(): void {
    this.#http.close();
  }

  #get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    return this.#http.call('GET', path, { query, ...(signal && { signal }) });
  }

  #post<T>(path: string, query: Query = {}, body?: unknown): Promise<T> {
    return this.#http.call('POST', path, { query, ...(body !== undefined && { body }) });
  }

  async #delete(path: string, query: Query = {}): Promise<void> {
    await this.#http.call('DELETE', path, { query });
  }

  // ---- system

  /** A connection of bytes to the daemon. */
  dial(): Promise<Duplex> {
    return this.#http.dial();
  }

  /** Resolves when the daemon answers; its headers say what it is. */
  async ping(signal?: AbortSignal): Promise<{ readonly swarm: string; readonly api: string }> {
    const response = await this.#http.stream('GET', '/_ping', signal ? { signal } : {});
    response.resume();
    const header = (name: string): string => String(response.headers[name] ?? '');
    return { swarm: header('swarm'), api: header('api-version') };
  }

  info(): Promise<InfoJson> {
    return this.#get('/info');
  }

  version(): Promise<EngineVersionJson> {
    return this.#get('/version');
  }

  /** Goes on until `until`, or until `signal` aborts. */
  events(query: EventQuery, signal?: AbortSignal): AsyncIterable<EventJson> {
    const { since, until } = query;
    return this.#http.jsonLines('GET', '/events', {
      query: { since, until, filters: encodeFilters(query.filters) },
      ...(signal && { signal }),
    });
  }

  diskUsage(): Promise<DiskUsageJson> {
    return this.#get('/system/df');
  }

  /**
   * Changes of the cluster's objects, with what they were before; until `signal` aborts.
   * @param onReady called when no change from then on is missed
   */
  async *watch(
    filters: FilterMap,
    signal?: AbortSignal,
    onReady: () => void = () => {},
  ): AsyncIterable<ChangeJson> {
    const body = await this.#http.stream('GET', '/skep/watch', {
      query: { filters: encodeFilters(filters), previous: true },
      ...(signal && { signal }),
    });
    body.setEncoding('utf8');
    for await (const { name, data } of sentEvents(body as AsyncIterable<string>)) {
      if (name === 'error') throw new Error((JSON.parse(data) as { Message: string }).Message);
      if (name === 'ready') onReady();
      if (name === 'commit') yield* (JSON.parse(data) as { Changes: ChangeJson[] }).Changes;
    }
  }

  // ---- swarm

  swarmInit(request: SwarmInitJson): Promise<string> {
    return this.#post('/swarm/init', {}, request);
  }

  async swarmJoin(request: SwarmJoinJson): Promise<void> {
    await this.#post('/swarm/join', {}, request);
  }

  async swarmLeave(force: boolean): Promise<void> {
    await this.#post('/swarm/leave', force ? { force: true } : {});
  }

  swarm(): Promise<SwarmJson> {
    return this.#get('/swarm');
  }

  async swarmUpdate(
    version: number,
    spec: SwarmSpecJson,
    rotate: { readonly worker?: boolean; readonly manager?: boolean; readonly unlockKey?: boolean },
  ): Promise<void> {
    const query = {
      version,
      rotateWorkerToken: String(rotate.worker ?? false),
      rotateManagerToken: String(rotate.manager ?? false),
      rotateManagerUnlockKey: String(rotate.unlockKey ?? false),
    };
    await this.#post('/swarm/update', query, spec);
  }

  unlockKey(): Promise<{ readonly UnlockKey: string }> {
    return this.#get('/swarm/unlockkey');
  }

  async unlock(key: string): Promise<void> {
    await this.#post('/swarm/unlock', {}, { UnlockKey: key });
  }

  // ---- nodes

  nodes(filters?: FilterMap): Promise<readonly NodeJson[]> {
    return this.#get('/nodes', { filters: encodeFilters(filters) });
  }

  node(ref: string): Promise<NodeJson> {
    return this.#get(`/nodes/${enc(ref)}`);
  }

  async nodeUpdate(id: string, version: number, spec: NodeSpecJson): Promise<void> {
    await this.#post(`/nodes/${enc(id)}/update`, { version }, spec);
  }

  nodeRemove(ref: string, force: boolean): Promise<void> {
    return this.#delete(`/nodes/${enc(ref)}`, force ? { force } : {});
  }

  /** Compares every node's network with its tables; `repair` puts it right. */
  networkProofs(repair: boolean): Promise<readonly NetworkProofJson[]> {
    return this.#post('/skep/net/verify', { repair: String(repair) });
  }

  /** The way of a connection to a service, from a node or a task. */
  networkTrace(service: string, from: string): Promise<NetworkTraceJson> {
    return this.#get('/skep/net/trace', { service, from });
  }

  // ---- services and tasks

  services(filters?: FilterMap, status = false): Promise<readonly ServiceJson[]> {
    const query = { filters: encodeFilters(filters), ...(status && { status: 'true' }) };
    return this.#get('/services', query);
  }

  serviceExplanation(ref: string): Promise<ServiceExplanationJson> {
    return this.#get(`/skep/services/${enc(ref)}/explain`);
  }

  service(ref: string, insertDefaults = false): Promise<ServiceJson> {
    return this.#get(`/services/${enc(ref)}`, { insertDefaults: String(insertDefaults) });
  }

  serviceCreate(
    spec: ServiceSpecJson,
    options: CreateServiceOptions = {},
  ): Promise<{ readonly ID: string } & ServiceWarnings> {
    const auth = authHeader(options.registryAuth);
    return this.#http.call('POST', '/services/create', { body: spec, ...auth });
  }

  serviceUpdate(
    id: string,
    version: number,
    spec: ServiceSpecJson,
    options: CreateServiceOptions & { readonly rollback?: boolean } = {},
  ): Promise<ServiceWarnings> {
    const query = {
      version,
      ...(options.registryAuth === undefined && { registryAuthFrom: 'spec' }),
      ...(options.rollback && { rollback: 'previous' }),
    };
    const auth = authHeader(options.registryAuth);
    const path = `/services/${enc(id)}/update`;
    return this.#http.call('POST', path, { query, body: spec, ...auth });
  }

  serviceRemove(ref: string): Promise<void> {
    return this.#delete(`/services/${enc(ref)}`);
  }

  tasks(filters?: FilterMap): Promise<readonly TaskJson[]> {
    return this.#get('/tasks', { filters: encodeFilters(filters) });
  }

  task(ref: string): Promise<TaskJson> {
    return this.#get(`/tasks/${enc(ref)}`);
  }

  /** It goes elsewhere as soon as another has taken its place, or before; `none` = it stays after all. */
  async taskMove(id: string, order: 'start-first' | 'stop-first' | 'none'): Promise<void> {
    await this.#post(`/skep/tasks/${enc(id)}/move`, {}, { Order: order });
  }

  /** Tasks that would better be elsewhere, at most `max`. */
  async rebalance(max: number): Promise<readonly TaskMoveJson[]> {
    const answer = await this.#get<{ readonly Moves: readonly TaskMoveJson[] }>('/skep/rebalance', {
      max,
    });
    return answer.Moves;
  }

  /** What a deployment would change. */
  stackPlan(stack: string, request: StackRequestJson): Promise<StackPlanJson> {
    return this.#post(`/skep/stacks/${enc(stack)}/plan`, {}, request);
  }

  /** @param kind of object that `ref` names */
  logs(
    kind: 'services' | 'tasks' | 'containers',
    ref: string,
    query: LogQuery,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    return this.#http.stream('GET', `/${kind}/${enc(ref)}/logs`, {
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
      ...(signal && { signal }),
    });
  }

  /** What the registry says of an image name. */
  distribution(
    image: string,
    registryAuth?: string,
  ): Promise<{
    readonly Descriptor: { readonly digest: string };
    readonly Platforms?: readonly { readonly architecture: string; readonly os: string }[] | null;
  }> {
    const path = `/distribution/${encName(image)}/json`;
    return this.#http.call('GET', path, authHeader(registryAuth));
  }

  // ---- networks

  networks(filters?: FilterMap): Promise<readonly NetworkJson[]> {
    return this.#get('/networks', { filters: encodeFilters(filters) });
  }

  network(ref: string, options: { scope?: string; verbose?: boolean } = {}): Promise<NetworkJson> {
    const query = { scope: options.scope, ...(options.verbose && { verbose: 'true' }) };
    return this.#get(`/networks/${enc(ref)}`, query);
  }

  networkCreate(
    spec: NetworkCreateJson,
  ): Promise<{ readonly Id: string; readonly Warning?: string }> {
    return this.#post('/networks/create', {}, spec);
  }

  networksPrune(
    filters: FilterMap,
  ): Promise<{ readonly NetworksDeleted: readonly string[] | null }> {
    return this.#post('/networks/prune', { filters: encodeFilters(filters) });
  }

  networkConnect(ref: string, request: NetworkConnectJson): Promise<void> {
    return this.#post(`/networks/${enc(ref)}/connect`, {}, request);
  }

  networkDisconnect(ref: string, container: string, force: boolean): Promise<void> {
    const request = { Container: container, Force: force };
    return this.#post(`/networks/${enc(ref)}/disconnect`, {}, request);
  }

  networkRemove(ref: string): Promise<void> {
    return this.#delete(`/networks/${enc(ref)}`);
  }

  // ---- secrets and configs

  secrets(kind: 'secrets' | 'configs', filters?: FilterMap): Promise<readonly SecretJson[]> {
    return this.#get(`/${kind}`, { filters: encodeFilters(filters) });
  }

  secret(kind: 'secrets' | 'configs', ref: string): Promise<SecretJson> {
    return this.#get(`/${kind}/${enc(ref)}`);
  }

  secretCreate(
    kind: 'secrets' | 'configs',
    spec: SecretSpecJson,
  ): Promise<{ readonly ID: string }> {
    return this.#post(`/${kind}/create`, {}, spec);
  }

  async secretUpdate(
    kind: 'secrets' | 'configs',
    id: string,
    version: number,
    spec: SecretSpecJson,
  ): Promise<void> {
    await this.#post(`/${kind}/${enc(id)}/update`, { version }, spec);
  }

  secretRemove(kind: 'secrets' | 'configs', ref: string): Promise<void> {
    return this.#delete(`/${kind}/${enc(ref)}`);
  }

  // ---- volumes

  async volumes(filters?: FilterMap): Promise<readonly VolumeJson[]> {
    const answer = await this.#get<{ readonly Volumes: readonly VolumeJson[] | null }>('/volumes', {
      filters: encodeFilters(filters),
    });
    return answer.Volumes ?? [];
  }

  volume(name: string): Promise<VolumeJson> {
    return this.#get(`/volumes/${enc(name)}`);
  }

  volumeCreate(request: {
    readonly Name: string;
    readonly Driver: string;
    readonly DriverOpts: Readonly<Record<string, string>>;
    readonly Labels: Readonly<Record<string, string>>;
  }): Promise<VolumeJson> {
    return this.#post('/volumes/create', {}, request);
  }

  volumesPrune(filters: FilterMap): Promise<{ readonly VolumesDeleted: readonly string[] | null }> {
    return this.#post('/volumes/prune', { filters: encodeFilters(filters) });
  }

  volumeRemove(name: string, force: boolean): Promise<void> {
    return this.#delete(`/volumes/${enc(name)}`, force ? { force } : {});
  }

  // ---- images

  images(filters?: FilterMap): Promise<readonly ImageSummaryJson[]> {
    return this.#get('/images/json', { filters: encodeFilters(filters) });
  }

  image(name: string): Promise<object> {
    return this.#get(`/images/${encName(name)}/json`);
  }

  imageHistory(name: string): Promise<readonly ImageHistoryJson[]> {
    return this.#get(`/images/${encName(name)}/history`);
  }

  imagesPrune(filters: FilterMap): Promise<ImagesPruneJson> {
    return this.#post('/images/prune', { filters: encodeFilters(filters) });
  }

  /** @param tar of a file system; an empty repository = without a name */
  imageImport(
    tar: Readable,
    options: {
      /** where the daemon gets it; `-` = from `tar` */
      readonly source: string;
      readonly repository: string;
      readonly tag: string;
      readonly message: string;
      readonly changes: readonly string[];
    },
  ): AsyncIterable<ProgressJson> {
    const { source: fromSrc, repository: repo, tag, message, changes } = options;
    const query = { fromSrc, repo, tag, message, changes };
    return this.#http.jsonLines('POST', '/images/create', { query, body: tar });
  }

  /** One tar of all of them. */
  imagesSave(names: readonly string[]): Promise<IncomingMessage> {
    return this.#http.stream('GET', '/images/get', { query: { names } });
  }

  imageLoad(tar: Readable): AsyncIterable<ProgressJson> {
    return this.#http.jsonLines('POST', '/images/load', { query: { quiet: true }, body: tar });
  }

  /** @param name repository, @param tag tag or digest, @param allPlatforms with the images of others */
  imagePull(
    name: string,
    tag: string,
    registryAuth?: string,
    allPlatforms = false,
  ): AsyncIterable<ProgressJson> {
    const query = { fromImage: name, tag, ...(allPlatforms && { allPlatforms }) };
    return this.#http.jsonLines('POST', '/images/create', { query, ...authHeader(registryAuth) });
  }

  /** @param tag null = all of the repository */
  imagePush(name: string, tag: string | null, registryAuth?: string): AsyncIterable<ProgressJson> {
    const query = { ...(tag !== null && { tag }) };
    // Docker's daemon wants the header, with or without credentials.
    const auth = authHeader(registryAuth ?? NO_CREDENTIALS);
    return this.#http.jsonLines('POST', `/images/${encName(name)}/push`, { query, ...auth });
  }

  /** Its progress tells of each image and of what is damaged. */
  imagesVerify(): AsyncIterable<ProgressJson> {
    return this.#http.jsonLines('POST', '/skep/verify-images');
  }

  /** To every node of the cluster; its progress tells of each. */
  imageDistribute(name: string): AsyncIterable<ProgressJson> {
    return this.#http.jsonLines('POST', `/skep/images/${encName(name)}/distribute`);
  }

  /** Asks the registry whether it lets this user in. */
  login(credentials: {
    readonly username: string;
    readonly password: string;
    readonly serveraddress: string;
  }): Promise<{ readonly Status: string; readonly IdentityToken?: string }> {
    return this.#post('/auth', {}, credentials);
  }

  imageTag(name: string, repository: string, tag: string): Promise<void> {
    return this.#post(`/images/${encName(name)}/tag`, { repo: repository, tag });
  }

  imageRemove(
    name: string,
    force: boolean,
  ): Promise<readonly { readonly Untagged?: string; readonly Deleted?: string }[]> {
    const query = force ? { force } : {};
    return this.#http.call('DELETE', `/images/${encName(name)}`, { query });
  }
}
