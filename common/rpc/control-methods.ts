/** The methods by which managers pass writes of the control API to the leader. */
import { skep } from '../../proto/gen/skep.js';
import type { Cluster, ClusterSpec } from '../model/cluster.ts';
import { asId, type NodeId } from '../model/ids.ts';
import type { Network, NetworkSpec } from '../model/network.ts';
import type { Node, NodeSpec } from '../model/node.ts';
import type { Config, ConfigSpec, Secret, SecretSpec } from '../model/secret.ts';
import type { Service, ServiceSpec } from '../model/service.ts';
import type { MoveOrder, Task } from '../model/task.ts';
import * as cluster from '../wire/cluster.ts';
import * as network from '../wire/network.ts';
import * as node from '../wire/node.ts';
import {
  enumTable,
  int64,
  intFromProto,
  listFromProto,
  requiredMessage,
  text,
  type WireInt,
} from '../wire/scalars.ts';
import * as secret from '../wire/secret.ts';
import * as service from '../wire/service.ts';
import * as task from '../wire/task.ts';
import { codec, type GeneratedMessage } from './codec.ts';
import { type Codec, type UnaryMethod, unary } from './method.ts';

/** Whose registry credentials an update keeps when it brings none. */
export type RegistryAuthSource = 'spec' | 'previous-spec';

export interface CreateRequest<Spec> {
  readonly spec: Spec;
}

export interface UpdateRequest<Spec> {
  /** id, name or unique prefix of an id */
  readonly ref: string;
  /** that the caller read */
  readonly version: number;
  readonly spec: Spec;
}

export interface UpdateServiceRequest extends UpdateRequest<ServiceSpec> {
  /** back to the previous spec; `spec` is checked, and not used */
  readonly rollback: boolean;
  readonly registryAuthFrom: RegistryAuthSource;
}

export interface UpdateClusterRequest {
  readonly version: number;
  readonly spec: ClusterSpec;
  readonly rotateWorkerToken: boolean;
  readonly rotateManagerToken: boolean;
  readonly rotateUnlockKey: boolean;
  /** the trust root that is wanted, PEM; '' = the present one, or as `spec.forceRotate` says */
  readonly signingCertPem: string;
  /** its key; '' = external authorities have it */
  readonly signingKeyPem: string;
}

export interface RemoveRequest {
  readonly ref: string;
  readonly force: boolean;
}

export interface MoveTaskRequest {
  /** id of a task, or the start of one */
  readonly ref: string;
  /** `none` calls a move off */
  readonly order: MoveOrder | 'none';
}

/** What Raft says of a manager, as the leader sees it. */
export interface ManagerStatus {
  readonly nodeId: NodeId;
  /** `IP:port` of its RPC server */
  readonly address: string;
  readonly leader: boolean;
  readonly reachable: boolean;
}

const registryAuthTable = enumTable<RegistryAuthSource, skep.RegistryAuthSource>(
  'registry auth source',
  {
    spec: skep.RegistryAuthSource.REGISTRY_AUTH_SOURCE_SPEC,
    'previous-spec': skep.RegistryAuthSource.REGISTRY_AUTH_SOURCE_PREVIOUS_SPEC,
  },
);

/** Both directions of one type. */
interface Converter<T, Properties> {
  readonly to: (value: T) => Properties;
  readonly from: (properties: Properties) => T;
}

function createCodec<Spec, P>(
  message: GeneratedMessage<{ spec?: P | null }>,
  spec: Converter<Spec, P>,
): Codec<CreateRequest<Spec>> {
  return codec<CreateRequest<Spec>, { spec?: P | null }>(
    message,
    (request) => ({ spec: spec.to(request.spec) }),
    (m) => ({ spec: spec.from(requiredMessage(m.spec, 'spec')) }),
  );
}

interface UpdateProperties<P> {
  ref?: string | null;
  version?: WireInt;
  spec?: P | null;
}

function updateToProto<Spec, P>(request: UpdateRequest<Spec>, spec: Converter<Spec, P>) {
  return {
    ref: text(request.ref),
    version: int64(request.version, 'version'),
    spec: spec.to(request.spec),
  };
}

function updateFromProto<Spec, P>(
  m: UpdateProperties<P>,
  spec: Converter<Spec, P>,
): UpdateRequest<Spec> {
  return {
    ref: m.ref ?? '',
    version: intFromProto(m.version, 'version'),
    spec: spec.from(requiredMessage(m.spec, 'spec')),
  };
}

function updateCodec<Spec, P>(
  message: GeneratedMessage<UpdateProperties<P>>,
  spec: Converter<Spec, P>,
): Codec<UpdateRequest<Spec>> {
  return codec<UpdateRequest<Spec>, UpdateProperties<P>>(
    message,
    (request) => updateToProto(request, spec),
    (m) => updateFromProto(m, spec),
  );
}

function objectCodec<T, P>(message: GeneratedMessage<P>, object: Converter<T, P>): Codec<T> {
  return codec<T, P>(message, object.to, object.from);
}

const removeRequest = codec<RemoveRequest, skep.RemoveRequest.$Properties>(
  skep.RemoveRequest,
  ({ ref, force }) => ({ ref: text(ref), force }),
  (m) => ({ ref: m.ref ?? '', force: m.force ?? false }),
);

const moveTaskRequest = codec<MoveTaskRequest, skep.MoveTaskRequest.$Properties>(
  skep.MoveTaskRequest,
  ({ ref, order }) => ({
    ref: text(ref),
    stopFirst: order === 'stop-first',
    callOff: order === 'none',
  }),
  (m) => ({
    ref: m.ref ?? '',
    order: m.callOff ? 'none' : m.stopFirst ? 'stop-first' : 'start-first',
  }),
);

/** The id of what was removed. */
const removedId = codec<string, skep.Removed.$Properties>(
  skep.Removed,
  (id) => ({ id: text(id) }),
  (m) => m.id ?? '',
);

const serviceSpec = { to: service.serviceSpecToProto, from: service.serviceSpecFromProto };
const networkSpec = { to: network.networkSpecToProto, from: network.networkSpecFromProto };
const secretSpec = { to: secret.secretSpecToProto, from: secret.secretSpecFromProto };
const configSpec = { to: secret.configSpecToProto, from: secret.configSpecFromProto };
const nodeSpec = { to: node.nodeSpecToProto, from: node.nodeSpecFromProto };
const clusterSpec = { to: cluster.clusterSpecToProto, from: cluster.clusterSpecFromProto };

const serviceObject = objectCodec<Service, skep.Service.$Properties>(skep.Service, {
  to: service.serviceToProto,
  from: service.serviceFromProto,
});
const secretObject = objectCodec<Secret, skep.Secret.$Properties>(skep.Secret, {
  to: secret.secretToProto,
  from: secret.secretFromProto,
});
const configObject = objectCodec<Config, skep.Config.$Properties>(skep.Config, {
  to: secret.configToProto,
  from: secret.configFromProto,
});

const updateServiceRequest = codec<UpdateServiceRequest, skep.UpdateServiceRequest.$Properties>(
  skep.UpdateServiceRequest,
  (request) => ({
    ...updateToProto(request, serviceSpec),
    rollback: request.rollback,
    registryAuthFrom: registryAuthTable.toProto(request.registryAuthFrom),
  }),
  (m) => ({
    ...updateFromProto(m, serviceSpec),
    rollback: m.rollback ?? false,
    registryAuthFrom: registryAuthTable.fromProto(m.registryAuthFrom),
  }),
);

const updateClusterRequest = codec<UpdateClusterRequest, skep.UpdateClusterRequest.$Properties>(
  skep.UpdateClusterRequest,
  (request) => ({
    version: int64(request.version, 'version'),
    spec: clusterSpec.to(request.spec),
    rotateWorkerToken: request.rotateWorkerToken,
    rotateManagerToken: request.rotateManagerToken,
    rotateUnlockKey: request.rotateUnlockKey,
    signingCertPem: text(request.signingCertPem),
    signingKeyPem: text(request.signingKeyPem),
  }),
  (m) => ({
    version: intFromProto(m.version, 'version'),
    spec: clusterSpec.from(requiredMessage(m.spec, 'spec')),
    rotateWorkerToken: m.rotateWorkerToken ?? false,
    rotateManagerToken: m.rotateManagerToken ?? false,
    rotateUnlockKey: m.rotateUnlockKey ?? false,
    signingCertPem: m.signingCertPem ?? '',
    signingKeyPem: m.signingKeyPem ?? '',
  }),
);

function control<Req, Res>(
  name: string,
  request: Codec<Req>,
  response: Codec<Res>,
): UnaryMethod<Req, Res> {
  return unary({
    path: `/skep.Control/${name}`,
    roles: ['manager'],
    needsCurrentManager: true,
    request,
    response,
  });
}

/** Every write, by verb. */
export const controlMethods = {
  createService: control(
    'CreateService',
    createCodec<ServiceSpec, skep.ServiceSpec.$Properties>(skep.CreateServiceRequest, serviceSpec),
    serviceObject,
  ),
  updateService: control('UpdateService', updateServiceRequest, serviceObject),
  removeService: control('RemoveService', removeRequest, removedId),
  createNetwork: control(
    'CreateNetwork',
    createCodec<NetworkSpec, skep.NetworkSpec.$Properties>(skep.CreateNetworkRequest, networkSpec),
    objectCodec<Network, skep.Network.$Properties>(skep.Network, {
      to: network.networkToProto,
      from: network.networkFromProto,
    }),
  ),
  removeNetwork: control('RemoveNetwork', removeRequest, removedId),
  createSecret: control(
    'CreateSecret',
    createCodec<SecretSpec, skep.SecretSpec.$Properties>(skep.CreateSecretRequest, secretSpec),
    secretObject,
  ),
  updateSecret: control(
    'UpdateSecret',
    updateCodec<SecretSpec, skep.SecretSpec.$Properties>(skep.UpdateSecretRequest, secretSpec),
    secretObject,
  ),
  removeSecret: control('RemoveSecret', removeRequest, removedId),
  createConfig: control(
    'CreateConfig',
    createCodec<ConfigSpec, skep.ConfigSpec.$Properties>(skep.CreateConfigRequest, configSpec),
    configObject,
  ),
  updateConfig: control(
    'UpdateConfig',
    updateCodec<ConfigSpec, skep.ConfigSpec.$Properties>(skep.UpdateConfigRequest, configSpec),
    configObject,
  ),
  removeConfig: control('RemoveConfig', removeRequest, removedId),
  updateNode: control(
    'UpdateNode',
    updateCodec<NodeSpec, skep.NodeSpec.$Properties>(skep.UpdateNodeRequest, nodeSpec),
    objectCodec<Node, skep.Node.$Properties>(skep.Node, {
      to: node.nodeToProto,
      from: node.nodeFromProto,
    }),
  ),
  removeNode: control('RemoveNode', removeRequest, removedId),
  updateCluster: control(
    'UpdateCluster',
    updateClusterRequest,
    objectCodec<Cluster, skep.Cluster.$Properties>(skep.Cluster, {
      to: cluster.clusterToProto,
      from: cluster.clusterFromProto,
    }),
  ),
  removeTask: control('RemoveTask', removeRequest, removedId),
  moveTask: control(
    'MoveTask',
    moveTaskRequest,
    objectCodec<Task, skep.Task.$Properties>(skep.Task, {
      to: task.taskToProto,
      from: task.taskFromProto,
    }),
  ),
} as const;

/** The managers as the leader sees them: the one read that only it can answer. */
export const listManagers = unary<null, readonly ManagerStatus[]>({
  path: '/skep.Control/ListManagers',
  roles: ['manager'],
  needsCurrentManager: true,
  request: codec<null, skep.ListManagersRequest.$Properties>(
    skep.ListManagersRequest,
    () => ({}),
    () => null,
  ),
  response: codec<readonly ManagerStatus[], skep.ListManagersResponse.$Properties>(
    skep.ListManagersResponse,
    (managers) => ({
      managers: managers.map((manager) => ({
        nodeId: text(manager.nodeId),
        address: text(manager.address),
        leader: manager.leader,
        reachable: manager.reachable,
      })),
    }),
    (m) =>
      listFromProto(m.managers, (manager) => ({
        nodeId: asId<NodeId>(manager.nodeId ?? ''),
        address: manager.address ?? '',
        leader: manager.leader ?? false,
        reachable: manager.reachable ?? false,
      })),
  ),
});
