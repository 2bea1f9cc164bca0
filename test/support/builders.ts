/** Valid model objects for tests. Each takes overrides; ids are fresh unless given. */
import {
  type Cluster,
  DEFAULT_ADDRESS_POOL,
  DEFAULT_CLUSTER_SPEC,
  DEFAULT_DATA_PATH_PORT,
  DEFAULT_SUBNET_SIZE,
} from '../../common/model/cluster.ts';
import type { AnyId } from '../../common/model/ids.ts';
import type { Network, NetworkSpec } from '../../common/model/network.ts';
import type {
  ContainerAttachment,
  Node,
  NodeDescription,
  NodeSpec,
} from '../../common/model/node.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import type { Config, ConfigSpec, Secret, SecretSpec } from '../../common/model/secret.ts';
import {
  ANYWHERE,
  type ContainerSpec,
  type EndpointSpec,
  type NetworkAttachmentConfig,
  NO_RESOURCES,
  type PortConfig,
  type Service,
  type ServiceSpec,
  type TaskSpec,
} from '../../common/model/service.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';
import { A_ROOT_PEM } from './root-certificate.ts';

const ID_CHARS = 25;
let lastId = 0;

/** The id `<label>000...`: the same one for the same label (lower-case letters and digits). */
export function idOf<T extends AnyId>(label: string): T {
  return label.padEnd(ID_CHARS, '0').slice(0, ID_CHARS) as T;
}

/** An id that no other call returns. */
export function freshId<T extends AnyId>(label = 'x'): T {
  lastId++;
  return `${label}${String(lastId).padStart(ID_CHARS - label.length, '0')}` as T;
}

export function aContainerSpec(overrides: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    image: 'docker.io/library/busybox:1.36',
    labels: {},
    command: [],
    args: [],
    hostname: '',
    domainname: '',
    env: [],
    workdir: '',
    user: '',
    groups: [],
    tty: false,
    openStdin: false,
    readOnly: false,
    init: null,
    stopSignal: '',
    stopGracePeriodNanos: null,
    healthcheck: null,
    mounts: [],
    secrets: [],
    configs: [],
    hosts: [],
    dns: { nameservers: [], search: [], options: [] },
    sysctls: {},
    capabilityAdd: [],
    capabilityDrop: [],
    ulimits: [],
    oomScoreAdj: 0,
    privileges: null,
    isolation: null,
    registryAuth: null,
    ...overrides,
  };
}

export function aTaskSpec(overrides: Partial<TaskSpec> = {}): TaskSpec {
  return {
    container: aContainerSpec(),
    resources: NO_RESOURCES,
    restart: null,
    placement: ANYWHERE,
    networks: [],
    logDriver: null,
    forceUpdate: 0,
    runtime: 'container',
    ...overrides,
  };
}

export function aNetworkTarget(
  overrides: Partial<NetworkAttachmentConfig> = {},
): NetworkAttachmentConfig {
  return { target: freshId('net'), aliases: [], driverOptions: {}, addresses: [], ...overrides };
}

export function aPort(overrides: Partial<PortConfig> = {}): PortConfig {
  return {
    name: '',
    protocol: 'tcp',
    targetPort: 80,
    publishedPort: 0,
    publishMode: 'ingress',
    hostIp: '',
    ...overrides,
  };
}

export const NO_PORTS: EndpointSpec = { mode: 'vip', ports: [] };

/** One replica of a busybox. */
export function aServiceSpec(overrides: Partial<ServiceSpec> = {}): ServiceSpec {
  return {
    name: `service-${++lastId}`,
    labels: {},
    task: aTaskSpec(),
    mode: { kind: 'replicated', replicas: 1 },
    update: null,
    rollback: null,
    endpoint: NO_PORTS,
    ...overrides,
  };
}

/** As the control API stores it: not seen by the allocator yet. */
export function aService(overrides: Partial<Service> = {}): Service {
  return {
    id: freshId('svc'),
    meta: UNSTAMPED,
    spec: aServiceSpec(),
    specVersion: 0,
    previousSpec: null,
    previousSpecVersion: null,
    endpoint: null,
    updateStatus: null,
    jobStatus: null,
    ...overrides,
  };
}

export function aTaskStatus(overrides: Partial<TaskStatus> = {}): TaskStatus {
  return {
    state: 'new',
    timestampMs: 0,
    message: 'created',
    err: '',
    container: null,
    hostPorts: [],
    localAddresses: [],
    appliedAtMs: 0,
    ...overrides,
  };
}

/** NEW, in slot 1, of a service that need not exist. */
export function aTask(overrides: Partial<Task> = {}): Task {
  return {
    id: freshId('tsk'),
    meta: UNSTAMPED,
    serviceId: idOf('svc'),
    slot: 1,
    nodeId: null,
    spec: aTaskSpec(),
    specVersion: 0,
    serviceAnnotations: { name: 'web', labels: {} },
    status: aTaskStatus(),
    desiredState: 'running',
    networks: [],
    endpoint: null,
    logDriver: null,
    assignedGenericResources: [],
    jobIteration: null,
    moving: null,
    hasForerunnersPlace: false,
    ...overrides,
  };
}

/** A task with the words that its service has for it. */
export function aTaskOf(service: Service, overrides: Partial<Task> = {}): Task {
  return aTask({
    serviceId: service.id,
    spec: service.spec.task,
    specVersion: service.specVersion,
    serviceAnnotations: { name: service.spec.name, labels: service.spec.labels },
    endpoint: service.endpoint,
    ...overrides,
  });
}

export function aNodeSpec(overrides: Partial<NodeSpec> = {}): NodeSpec {
  return { name: '', labels: {}, desiredRole: 'worker', availability: 'active', ...overrides };
}

/** 4 CPUs, 8 GiB. */
export function aNodeDescription(overrides: Partial<NodeDescription> = {}): NodeDescription {
  return {
    hostname: `host-${++lastId}`,
    platform: { architecture: 'x86_64', os: 'linux' },
    nanoCpus: 4e9,
    memoryBytes: 8 * 2 ** 30,
    generic: [],
    engineVersion: '0.1.0',
    engineLabels: {},
    plugins: [],
    address: '192.0.2.1:2377',
    dataPathAddress: '',
    encryptionKey: '',
    underlayMtu: 0,
    devices: [],
    tlsInfo: null,
    ...overrides,
  };
}

/** A ready worker. */
export function aNode(overrides: Partial<Node> = {}): Node {
  return {
    id: freshId('nod'),
    meta: UNSTAMPED,
    spec: aNodeSpec(),
    description: aNodeDescription(),
    status: { state: 'ready', message: '', address: '192.0.2.1' },
    role: 'worker',
    attachments: [],
    containerAttachments: [],
    attachmentsSequence: 0,
    certificate: null,
    certificatesEndMs: 0,
    renewCertificate: false,
    ...overrides,
  };
}

/** As its node asks for it. */
export function aContainerAttachment(
  overrides: Partial<ContainerAttachment> & Pick<ContainerAttachment, 'networkId'>,
): ContainerAttachment {
  return {
    containerId: 'c0'.repeat(32),
    containerName: 'shell',
    hostname: 'c0c0c0c0c0c0',
    aliases: [],
    ...{ wanted: '', address: '', problem: '' },
    ...overrides,
  };
}

export function aNetworkSpec(overrides: Partial<NetworkSpec> = {}): NetworkSpec {
  return {
    name: `network-${++lastId}`,
    labels: {},
    driver: 'overlay',
    driverOptions: {},
    internal: false,
    attachable: false,
    ingress: false,
    ipv6: false,
    ipam: { driver: 'default', options: {}, configs: [] },
    configOnly: false,
    configFrom: '',
    ...overrides,
  };
}

/** An overlay network that is not allocated yet. */
export function aNetwork(overrides: Partial<Network> = {}): Network {
  return {
    id: freshId('net'),
    meta: UNSTAMPED,
    spec: aNetworkSpec(),
    ipam: [],
    vxlanId: null,
    ...overrides,
  };
}

export function aSecretSpec(overrides: Partial<SecretSpec> = {}): SecretSpec {
  return {
    name: `secret-${++lastId}`,
    labels: {},
    data: new TextEncoder().encode('hush'),
    templateDriver: '',
    driver: '',
    ...overrides,
  };
}

export function aSecret(overrides: Partial<Secret> = {}): Secret {
  return { id: freshId('sec'), meta: UNSTAMPED, spec: aSecretSpec(), ...overrides };
}

export function aConfigSpec(overrides: Partial<ConfigSpec> = {}): ConfigSpec {
  return {
    name: `config-${++lastId}`,
    labels: {},
    data: new TextEncoder().encode('key = value'),
    templateDriver: '',
    ...overrides,
  };
}

export function aConfig(overrides: Partial<Config> = {}): Config {
  return { id: freshId('cfg'), meta: UNSTAMPED, spec: aConfigSpec(), ...overrides };
}

/** With join tokens and a root key that are only text. */
export function aCluster(overrides: Partial<Cluster> = {}): Cluster {
  return {
    id: freshId('clu'),
    meta: UNSTAMPED,
    spec: DEFAULT_CLUSTER_SPEC,
    rootCa: {
      certPem: A_ROOT_PEM,
      keyPem: 'key',
      certDigest: 'digest',
      joinTokens: { worker: 'SWMTKN-1-digest-worker', manager: 'SWMTKN-1-digest-manager' },
      rotation: null,
      bridgePem: '',
      lastForcedRotation: 0,
    },
    defaultAddressPool: DEFAULT_ADDRESS_POOL,
    subnetSize: DEFAULT_SUBNET_SIZE,
    dataPathPort: DEFAULT_DATA_PATH_PORT,
    blockedNodes: {},
    unlockKey: '',
    unlockKeyVersion: 0,
    ...overrides,
  };
}
