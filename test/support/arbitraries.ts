/** Random model objects for property tests: every field over its whole range, complete by type. */
import fc from 'fast-check';
import type {
  AssignmentChange,
  AssignmentKind,
  AssignmentsByKind,
} from '../../common/model/assignment.ts';
import { assignmentKey } from '../../common/model/assignment.ts';
import type { Cluster, RootRotation } from '../../common/model/cluster.ts';
import type { AnyId } from '../../common/model/ids.ts';
import type { IpamConfig, Network } from '../../common/model/network.ts';
import type { Node } from '../../common/model/node.ts';
import type { ObjectKind, ObjectsByKind } from '../../common/model/object-kinds.ts';
import type { Meta } from '../../common/model/objects.ts';
import type { Config, Secret } from '../../common/model/secret.ts';
import type {
  ContainerSpec,
  DeviceRate,
  Endpoint,
  EndpointSpec,
  GenericResource,
  Mount,
  PortConfig,
  Service,
  ServiceMode,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
} from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import { TASK_STATES } from '../../common/model/task-state.ts';

type Arbitraries<T> = { [K in keyof T]-?: fc.Arbitrary<T[K]> };

function record<T extends object>(fields: Arbitraries<T>): fc.Arbitrary<T> {
  return fc.record(fields as never, { noNullPrototype: true }) as unknown as fc.Arbitrary<T>;
}

const text = fc.string({ unit: 'binary', maxLength: 12 });
const texts = fc.array(text, { maxLength: 3 });
const textMap = fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true });
const bytes = fc.uint8Array({ maxLength: 20 });
const flag = fc.boolean();
const count = fc.maxSafeNat();
const integer = fc.maxSafeInteger();
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const someOf = <T>(item: fc.Arbitrary<T>) => fc.array(item, { maxLength: 2 });
const orNull = <T>(item: fc.Arbitrary<T>) => fc.option(item, { nil: null });

function id<T extends AnyId>(): fc.Arbitrary<T> {
  return fc.string({ unit: fc.constantFrom(...'0123abyz'), minLength: 25, maxLength: 25 }) as never;
}

const meta = record<Meta>({ version: count, createdAtMs: integer, updatedAtMs: integer });

const port = record<PortConfig>({
  name: text,
  protocol: fc.constantFrom('tcp', 'udp', 'sctp'),
  targetPort: uint32,
  publishedPort: uint32,
  publishMode: fc.constantFrom('ingress', 'host'),
  hostIp: fc.constantFrom('', '127.0.0.1', '10.0.0.5', 'fd00::5'),
});

const endpointSpec = record<EndpointSpec>({
  mode: fc.constantFrom('vip', 'dnsrr'),
  ports: someOf(port),
});

const endpoint = record<Endpoint>({
  spec: endpointSpec,
  ports: someOf(port),
  virtualIps: someOf(record<Endpoint['virtualIps'][number]>({ networkId: id(), address: text })),
});

const generic = record<GenericResource>({ kind: text, value: fc.oneof(integer, text) });

const mount = record<Mount>({
  type: fc.constantFrom('bind', 'volume', 'tmpfs', 'cluster'),
  source: text,
  target: text,
  readOnly: flag,
  bind: orNull(
    record<NonNullable<Mount['bind']>>({
      propagation: text,
      nonRecursive: flag,
      createMountpoint: flag,
      readOnlyNonRecursive: flag,
      readOnlyForceRecursive: flag,
    }),
  ),
  volume: orNull(
    record<NonNullable<Mount['volume']>>({
      noCopy: flag,
      labels: textMap,
      driver: text,
      driverOptions: textMap,
      subpath: text,
    }),
  ),
  tmpfs: orNull(
    record<NonNullable<Mount['tmpfs']>>({
      sizeBytes: integer,
      mode: uint32,
      options: fc.subarray(['exec', 'suid', 'uid=7']),
    }),
  ),
});

type File = ContainerSpec['secrets'][number]['file'];
const file = record<File>({ name: text, uid: text, gid: text, mode: uint32 });
const logDriver = record<NonNullable<TaskSpec['logDriver']>>({ name: text, options: textMap });

const container = record<ContainerSpec>({
  image: text,
  labels: textMap,
  command: texts,
  args: texts,
  hostname: text,
  domainname: text,
  env: texts,
  workdir: text,
  user: text,
  groups: texts,
  tty: flag,
  openStdin: flag,
  readOnly: flag,
  init: orNull(flag),
  stopSignal: text,
  stopGracePeriodNanos: orNull(integer),
  healthcheck: orNull(
    record<NonNullable<ContainerSpec['healthcheck']>>({
      test: texts,
      intervalNanos: integer,
      timeoutNanos: integer,
      startPeriodNanos: integer,
      startIntervalNanos: integer,
      retries: integer,
    }),
  ),
  mounts: someOf(mount),
  secrets: someOf(
    record<ContainerSpec['secrets'][number]>({ secretId: id(), secretName: text, file }),
  ),
  configs: someOf(
    record<ContainerSpec['configs'][number]>({
      configId: id(),
      configName: text,
      file: orNull(file),
    }),
  ),
  hosts: texts,
  dns: record<ContainerSpec['dns']>({ nameservers: texts, search: texts, options: texts }),
  sysctls: textMap,
  capabilityAdd: texts,
  capabilityDrop: texts,
  ulimits: someOf(
    record<ContainerSpec['ulimits'][number]>({ name: text, soft: integer, hard: integer }),
  ),
  oomScoreAdj: integer,
  privileges: orNull(
    record<NonNullable<ContainerSpec['privileges']>>({
      noNewPrivileges: flag,
      seccomp: record<NonNullable<ContainerSpec['privileges']>['seccomp']>({
        mode: fc.constantFrom('default', 'unconfined', 'custom'),
        profile: text,
      }),
      apparmor: record<NonNullable<ContainerSpec['privileges']>['apparmor']>({
        mode: fc.constantFrom('default', 'disabled', 'custom'),
        profile: text,
      }),
    }),
  ),
  isolation: orNull(
    record<NonNullable<ContainerSpec['isolation']>>({
      privileged: flag,
      devices: someOf(
        record<NonNullable<ContainerSpec['isolation']>['devices'][number]>({
          hostPath: text,
          containerPath: text,
          permissions: text,
        }),
      ),
      deviceRules: texts,
      pid: fc.constantFrom('private', 'host'),
      ipc: fc.constantFrom('private', 'host', 'none'),
      uts: fc.constantFrom('private', 'host'),
      cgroup: fc.constantFrom('private', 'host'),
      user: fc.constantFrom('default', 'private', 'host'),
      deviceRequests: someOf(
        record<NonNullable<ContainerSpec['isolation']>['deviceRequests'][number]>({
          driver: text,
          count: fc.integer({ min: -1 }),
          deviceIds: texts,
          capabilities: someOf(texts),
        }),
      ),
      runtime: text,
    }),
  ),
  registryAuth: orNull(text),
});

const deviceRates = someOf(record<DeviceRate>({ path: text, rate: integer }));

const taskSpec = record<TaskSpec>({
  container,
  resources: record<TaskSpec['resources']>({
    limits: record<TaskSpec['resources']['limits']>({
      nanoCpus: integer,
      memoryBytes: integer,
      pids: integer,
    }),
    reservations: record<TaskSpec['resources']['reservations']>({
      nanoCpus: integer,
      memoryBytes: integer,
      generic: someOf(generic),
    }),
    swapBytes: orNull(integer),
    memorySwappiness: orNull(integer),
    kernel: orNull(
      record<NonNullable<TaskSpec['resources']['kernel']>>({
        cpuShares: integer,
        cpusetCpus: text,
        cpusetMems: text,
        blockIo: record<NonNullable<TaskSpec['resources']['kernel']>['blockIo']>({
          weight: integer,
          readBps: deviceRates,
          writeBps: deviceRates,
          readIops: deviceRates,
          writeIops: deviceRates,
        }),
        oomKillDisable: flag,
      }),
    ),
  }),
  restart: orNull(
    record<NonNullable<TaskSpec['restart']>>({
      condition: fc.constantFrom('none', 'on-failure', 'any'),
      delayNanos: integer,
      maxAttempts: integer,
      windowNanos: integer,
    }),
  ),
  placement: record<TaskSpec['placement']>({
    constraints: texts,
    preferences: someOf(record<{ readonly spreadOver: string }>({ spreadOver: text })),
    maxReplicas: integer,
    platforms: someOf(
      record<TaskSpec['placement']['platforms'][number]>({ architecture: text, os: text }),
    ),
  }),
  networks: someOf(
    record<TaskSpec['networks'][number]>({
      target: text,
      aliases: texts,
      driverOptions: textMap,
      addresses: texts,
    }),
  ),
  logDriver: orNull(logDriver),
  forceUpdate: integer,
  runtime: text,
});

const update = record<UpdateConfig>({
  parallelism: integer,
  delayNanos: integer,
  failureAction: fc.constantFrom('pause', 'continue', 'rollback'),
  monitorNanos: integer,
  maxFailureRatio: fc.double({ min: 0, max: 1, noNaN: true }).map(Math.abs), // -0 is 0 on the wire
  order: fc.constantFrom('stop-first', 'start-first'),
});

const mode: fc.Arbitrary<ServiceMode> = fc.oneof(
  fc.record({ kind: fc.constant('replicated' as const), replicas: integer }),
  fc.constant({ kind: 'global' as const }),
  fc.record({
    kind: fc.constant('replicated-job' as const),
    maxConcurrent: integer,
    totalCompletions: integer,
  }),
  fc.constant({ kind: 'global-job' as const }),
);

const serviceSpec = record<ServiceSpec>({
  name: text,
  labels: textMap,
  task: taskSpec,
  mode: mode.map((value) => ({ ...value })),
  update: orNull(update),
  rollback: orNull(update),
  endpoint: endpointSpec,
});

const service = record<Service>({
  id: id(),
  meta,
  spec: serviceSpec,
  specVersion: count,
  previousSpec: orNull(serviceSpec),
  previousSpecVersion: orNull(count),
  endpoint: orNull(endpoint),
  updateStatus: orNull(
    record<NonNullable<Service['updateStatus']>>({
      state: fc.constantFrom(
        'updating',
        'paused',
        'completed',
        'rollback_started',
        'rollback_paused',
        'rollback_completed',
      ),
      startedAtMs: integer,
      completedAtMs: orNull(integer),
      message: text,
    }),
  ),
  jobStatus: orNull(
    record<NonNullable<Service['jobStatus']>>({ iteration: integer, lastExecutionMs: integer }),
  ),
});

const task = record<Task>({
  id: id(),
  meta,
  serviceId: id(),
  slot: orNull(uint32),
  nodeId: orNull(id()),
  spec: taskSpec,
  specVersion: count,
  serviceAnnotations: record<Task['serviceAnnotations']>({ name: text, labels: textMap }),
  status: record<Task['status']>({
    state: fc.constantFrom(...TASK_STATES),
    timestampMs: integer,
    message: text,
    err: text,
    container: orNull(
      record<NonNullable<Task['status']['container']>>({
        containerId: text,
        pid: integer,
        exitCode: integer,
        oomKilled: flag,
      }),
    ),
    hostPorts: someOf(port),
    localAddresses: someOf(
      record<Task['status']['localAddresses'][number]>({ networkId: id(), address: text }),
    ),
    appliedAtMs: integer,
  }),
  desiredState: fc.constantFrom('ready', 'running', 'complete', 'shutdown', 'remove'),
  networks: someOf(
    record<Task['networks'][number]>({ networkId: id(), addresses: texts, aliases: texts }),
  ),
  endpoint: orNull(endpoint),
  logDriver: orNull(logDriver),
  assignedGenericResources: someOf(generic),
  jobIteration: orNull(integer),
  moving: fc.constantFrom<Task['moving']>(null, 'start-first', 'stop-first'),
  hasForerunnersPlace: flag,
});

const node = record<Node>({
  id: id(),
  meta,
  spec: record<Node['spec']>({
    name: text,
    labels: textMap,
    desiredRole: fc.constantFrom('worker', 'manager'),
    availability: fc.constantFrom('active', 'pause', 'drain'),
  }),
  description: orNull(
    record<NonNullable<Node['description']>>({
      hostname: text,
      platform: record<NonNullable<Node['description']>['platform']>({
        architecture: text,
        os: text,
      }),
      nanoCpus: integer,
      memoryBytes: integer,
      generic: someOf(generic),
      engineVersion: text,
      engineLabels: textMap,
      plugins: someOf(
        record<NonNullable<Node['description']>['plugins'][number]>({ type: text, name: text }),
      ),
      address: text,
      dataPathAddress: text,
      encryptionKey: text,
      underlayMtu: uint32,
      devices: someOf(text),
      tlsInfo: orNull(
        record<NonNullable<NonNullable<Node['description']>['tlsInfo']>>({
          trustRootPem: text,
          certIssuerSubject: bytes,
          certIssuerPublicKey: bytes,
        }),
      ),
    }),
  ),
  status: record<Node['status']>({
    state: fc.constantFrom('unknown', 'down', 'ready', 'disconnected'),
    message: text,
    address: text,
  }),
  role: fc.constantFrom('worker', 'manager'),
  attachments: someOf(record<Node['attachments'][number]>({ networkId: id(), address: text })),
  containerAttachments: someOf(
    record<Node['containerAttachments'][number]>({
      networkId: id(),
      containerId: text,
      containerName: text,
      hostname: text,
      aliases: texts,
      wanted: text,
      address: text,
      problem: text,
    }),
  ),
  attachmentsSequence: integer,
  certificate: orNull(bytes),
  certificatesEndMs: integer,
  renewCertificate: flag,
});

const ipam = record<IpamConfig>({ subnet: text, gateway: text, range: text, reserved: textMap });

const network = record<Network>({
  id: id(),
  meta,
  spec: record<Network['spec']>({
    name: text,
    labels: textMap,
    driver: text,
    driverOptions: textMap,
    internal: flag,
    attachable: flag,
    ingress: flag,
    ipv6: flag,
    ipam: record<Network['spec']['ipam']>({
      driver: text,
      options: textMap,
      configs: someOf(ipam),
    }),
    configOnly: flag,
    configFrom: text,
  }),
  ipam: someOf(ipam),
  vxlanId: orNull(uint32),
});

const cluster = record<Cluster>({
  id: id(),
  meta,
  spec: record<Cluster['spec']>({
    name: text,
    labels: textMap,
    taskHistoryLimit: integer,
    raft: record<Cluster['spec']['raft']>({
      snapshotInterval: integer,
      keepOldSnapshots: integer,
      logEntriesForSlowFollowers: integer,
      electionTicks: integer,
      heartbeatTicks: integer,
    }),
    dispatcherHeartbeatNanos: integer,
    nodeCertExpiryNanos: integer,
    autoLockManagers: flag,
    forceRotate: integer,
    externalCas: someOf(
      record<Cluster['spec']['externalCas'][number]>({
        protocol: fc.constant('cfssl'),
        url: text,
        options: textMap,
        certPem: text,
      }),
    ),
    taskLogDriver: orNull(logDriver),
  }),
  rootCa: record<Cluster['rootCa']>({
    certPem: text,
    keyPem: text,
    certDigest: text,
    joinTokens: record<Cluster['rootCa']['joinTokens']>({ worker: text, manager: text }),
    rotation: orNull(record<RootRotation>({ certPem: text, keyPem: text, crossSignedPem: text })),
    bridgePem: text,
    lastForcedRotation: integer,
  }),
  defaultAddressPool: texts,
  subnetSize: uint32,
  dataPathPort: uint32,
  blockedNodes: fc.dictionary(text, integer, { maxKeys: 2, noNullPrototype: true }),
  unlockKey: text,
  unlockKeyVersion: uint32,
});

const secret = record<Secret>({
  id: id(),
  meta,
  spec: record<Secret['spec']>({
    name: text,
    labels: textMap,
    data: bytes,
    templateDriver: text,
    driver: text,
  }),
});

const config = record<Config>({
  id: id(),
  meta,
  spec: record<Config['spec']>({ name: text, labels: textMap, data: bytes, templateDriver: text }),
});

/** An arbitrary of every kind of stored object. */
export const objectArbitraries: { readonly [K in ObjectKind]: fc.Arbitrary<ObjectsByKind[K]> } = {
  cluster,
  node,
  service,
  task,
  network,
  secret,
  config,
};

/** An arbitrary of every kind of assignment item. */
export const assignmentArbitraries: {
  readonly [K in AssignmentKind]: fc.Arbitrary<AssignmentsByKind[K]>;
} = {
  task,
  secret: record<AssignmentsByKind['secret']>({
    id: id(),
    name: text,
    data: bytes,
    templateDriver: text,
  }),
  config: record<AssignmentsByKind['config']>({
    id: id(),
    name: text,
    data: bytes,
    templateDriver: text,
  }),
  network: record<AssignmentsByKind['network']>({
    id: id(),
    name: text,
    driver: text,
    vxlanId: uint32,
    subnet: text,
    gateway: text,
    internal: flag,
    ingress: flag,
    mtu: uint32,
    dataPathPort: uint32,
    encrypted: flag,
    subnet6: text,
    underlayMtu: uint32,
    local: orNull(
      record<NonNullable<AssignmentsByKind['network']['local']>>({
        driverOptions: textMap,
        configFrom: text,
        ipam: someOf(ipam),
      }),
    ),
  }),
  endpoint: record<AssignmentsByKind['endpoint']>({
    networkId: id(),
    taskId: id(),
    serviceId: id(),
    serviceName: text,
    slot: uint32,
    nodeId: id(),
    hostAddress: text,
    address: text,
    hostname: text,
    containerName: text,
    aliases: texts,
    serving: flag,
  }),
  serviceEntry: record<AssignmentsByKind['serviceEntry']>({
    networkId: id(),
    serviceId: id(),
    name: text,
    aliases: texts,
    mode: fc.constantFrom('vip', 'dnsrr'),
    virtualIp: orNull(text),
    clientAffinity: flag,
    weight: orNull(uint32),
    hostPorts: fc.array(
      record<AssignmentsByKind['serviceEntry']['hostPorts'][number]>({
        protocol: fc.constantFrom('tcp', 'udp', 'sctp'),
        name: text,
        targetPort: uint32,
      }),
      { maxLength: 3 },
    ),
  }),
  port: record<AssignmentsByKind['port']>({
    protocol: fc.constantFrom('tcp', 'udp', 'sctp'),
    publishedPort: uint32,
    targetPort: uint32,
    serviceId: id(),
    name: text,
    clientAffinity: flag,
    localOnly: flag,
    hostIp: fc.constantFrom('', '10.0.0.5', 'fd00::5'),
  }),
  peer: record<AssignmentsByKind['peer']>({
    networkId: id(),
    nodeId: id(),
    hostAddress: text,
    address: text,
    encryptionKey: text,
    masquerades: flag,
  }),
};

/** A change of an item of `kind`. */
export function assignmentChange<K extends AssignmentKind>(
  kind: K,
): fc.Arbitrary<AssignmentChange> {
  const versions = fc.constantFrom(0, ...(kind === 'task' ? [] : [1, 2 ** 40]));
  const set = fc.tuple(assignmentArbitraries[kind], versions).map(([item, version]) => ({
    action: 'set',
    kind,
    key: assignmentKey(kind, item),
    item,
    ...(version > 0 && { version }),
  }));
  const remove = text.map((key) => ({ action: 'remove', kind, key }));
  return fc.oneof(set, remove) as unknown as fc.Arbitrary<AssignmentChange>;
}
