/** The calls of a cluster's objects: itself, its nodes, services, tasks, stacks, secrets and configs. */
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
import type { TaskJson, TaskMoveJson } from '../../common/model/engine-json/task.ts';
import { authHeader, enc } from './api-calls.ts';
import { encodeFilters, type FilterMap } from './filter-query.ts';
import { ImageCalls } from './image-calls.ts';

export interface ServiceWarnings {
  readonly Warnings?: readonly string[] | null;
}

export interface CreateServiceOptions {
  /** base64url JSON for the image's registry */
  readonly registryAuth?: string;
}

export class ClusterCalls extends ImageCalls {
  // ---- swarm

  swarmInit(request: SwarmInitJson): Promise<string> {
    return this.post('/swarm/init', {}, request);
  }

  async swarmJoin(request: SwarmJoinJson): Promise<void> {
    await this.post('/swarm/join', {}, request);
  }

  async swarmLeave(force: boolean): Promise<void> {
    await this.post('/swarm/leave', force ? { force: true } : {});
  }

  swarm(): Promise<SwarmJson> {
    return this.get('/swarm');
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
    await this.post('/swarm/update', query, spec);
  }

  unlockKey(): Promise<{ readonly UnlockKey: string }> {
    return this.get('/swarm/unlockkey');
  }

  async unlock(key: string): Promise<void> {
    await this.post('/swarm/unlock', {}, { UnlockKey: key });
  }

  // ---- nodes

  nodes(filters?: FilterMap): Promise<readonly NodeJson[]> {
    return this.get('/nodes', { filters: encodeFilters(filters) });
  }

  node(ref: string): Promise<NodeJson> {
    return this.get(`/nodes/${enc(ref)}`);
  }

  async nodeUpdate(id: string, version: number, spec: NodeSpecJson): Promise<void> {
    await this.post(`/nodes/${enc(id)}/update`, { version }, spec);
  }

  nodeRemove(ref: string, force: boolean): Promise<void> {
    return this.delete(`/nodes/${enc(ref)}`, force ? { force } : {});
  }

  // ---- services and tasks

  services(filters?: FilterMap, status = false): Promise<readonly ServiceJson[]> {
    const query = { filters: encodeFilters(filters), ...(status && { status: 'true' }) };
    return this.get('/services', query);
  }

  serviceExplanation(ref: string): Promise<ServiceExplanationJson> {
    return this.get(`/skep/services/${enc(ref)}/explain`);
  }

  service(ref: string, insertDefaults = false): Promise<ServiceJson> {
    return this.get(`/services/${enc(ref)}`, { insertDefaults: String(insertDefaults) });
  }

  serviceCreate(
    spec: ServiceSpecJson,
    options: CreateServiceOptions = {},
  ): Promise<{ readonly ID: string } & ServiceWarnings> {
    const auth = authHeader(options.registryAuth);
    return this.http.call('POST', '/services/create', { body: withAddresses(spec), ...auth });
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
    return this.http.call('POST', path, { query, body: withAddresses(spec), ...auth });
  }

  serviceRemove(ref: string): Promise<void> {
    return this.delete(`/services/${enc(ref)}`);
  }

  tasks(filters?: FilterMap): Promise<readonly TaskJson[]> {
    return this.get('/tasks', { filters: encodeFilters(filters) });
  }

  task(ref: string): Promise<TaskJson> {
    return this.get(`/tasks/${enc(ref)}`);
  }

  /** It goes elsewhere as soon as another has taken its place, or before; `none` = it stays after all. */
  async taskMove(id: string, order: 'start-first' | 'stop-first' | 'none'): Promise<void> {
    await this.post(`/skep/tasks/${enc(id)}/move`, {}, { Order: order });
  }

  /** Tasks that would better be elsewhere, at most `max`. */
  async rebalance(max: number): Promise<readonly TaskMoveJson[]> {
    const answer = await this.get<{ readonly Moves: readonly TaskMoveJson[] }>('/skep/rebalance', {
      max,
    });
    return answer.Moves;
  }

  /** What a deployment would change. */
  stackPlan(stack: string, request: StackRequestJson): Promise<StackPlanJson> {
    return this.post(`/skep/stacks/${enc(stack)}/plan`, {}, request);
  }

  // ---- secrets and configs

  secrets(kind: 'secrets' | 'configs', filters?: FilterMap): Promise<readonly SecretJson[]> {
    return this.get(`/${kind}`, { filters: encodeFilters(filters) });
  }

  secret(kind: 'secrets' | 'configs', ref: string): Promise<SecretJson> {
    return this.get(`/${kind}/${enc(ref)}`);
  }

  secretCreate(
    kind: 'secrets' | 'configs',
    spec: SecretSpecJson,
  ): Promise<{ readonly ID: string }> {
    return this.post(`/${kind}/create`, {}, spec);
  }

  async secretUpdate(
    kind: 'secrets' | 'configs',
    id: string,
    version: number,
    spec: SecretSpecJson,
  ): Promise<void> {
    await this.post(`/${kind}/${enc(id)}/update`, { version }, spec);
  }

  secretRemove(kind: 'secrets' | 'configs', ref: string): Promise<void> {
    return this.delete(`/${kind}/${enc(ref)}`);
  }
}

/** Says of each port and each network which address it has: where nothing is said, an update leaves that as it is. */
function withAddresses(spec: ServiceSpecJson): ServiceSpecJson {
  const { EndpointSpec: endpoint, TaskTemplate: task } = spec;
  const ports = endpoint?.Ports?.map((port) => ({ HostIp: '', ...port }));
  const networks = task.Networks?.map((network) => ({ IPAMConfig: {}, ...network }));
  return {
    ...spec,
    ...(ports && { EndpointSpec: { ...endpoint, Ports: ports } }),
    ...(networks && { TaskTemplate: { ...task, Networks: networks } }),
  };
}
