/** Services: Docker's JSON and our model, both ways. */
import { deepEqual } from '../../../common/base/equal.ts';
import { SkepError } from '../../../common/base/errors.ts';
import { parseHostIp } from '../../../common/model/host-ip.ts';
import type { Network } from '../../../common/model/network.ts';
import type {
  EndpointSpec,
  GenericResource,
  PortConfig,
  ResourceRequirements,
  Resources,
  RestartPolicy,
  Service,
  ServiceMode,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
} from '../../../common/model/service.ts';
import { DEFAULT_RESTART_POLICY, DEFAULT_UPDATE_CONFIG } from '../../../common/model/service.ts';
import { isoTime } from './common.ts';
import { containerSpecFromJson, containerSpecToJson } from './container-spec.ts';
import { kernelResourcesFromJson, kernelResourcesToJson } from './isolation.ts';
import { ipv6Of } from './network.ts';
import type { JsonReader } from './reader.ts';
import { some } from './some.ts';

/** @param registryAuth the X-Registry-Auth header; null keeps none */
export function serviceSpecFromJson(json: JsonReader, registryAuth: string | null): ServiceSpec {
  const task = json.object('TaskTemplate');
  return {
    name: json.string('Name'),
    labels: json.stringMap('Labels'),
    task: { ...taskSpecFromJson(task, registryAuth), networks: networksFromJson(networksOf(json)) },
    mode: modeFromJson(json.object('Mode')),
    update: json.has('UpdateConfig') ? updateFromJson(json.object('UpdateConfig')) : null,
    rollback: json.has('RollbackConfig') ? updateFromJson(json.object('RollbackConfig')) : null,
    endpoint: endpointSpecFromJson(json.object('EndpointSpec')),
  };
}

/** Older clients put the networks beside the task template. */
function networksOf(json: JsonReader): JsonReader {
  const task = json.object('TaskTemplate');
  return task.has('Networks') ? task : json;
}

export function taskSpecFromJson(json: JsonReader, registryAuth: string | null): TaskSpec {
  json.refuse('PluginSpec', 'plugin services are not done yet');
  json.refuse('NetworkAttachmentSpec', 'network attachments are made by the daemon only');
  const placement = json.object('Placement');
  const log = json.object('LogDriver');
  return {
    container: containerSpecFromJson(json.object('ContainerSpec'), registryAuth),
    resources: resourcesFromJson(json.object('Resources')),
    restart: json.has('RestartPolicy') ? restartFromJson(json.object('RestartPolicy')) : null,
    placement: {
      constraints: placement.strings('Constraints'),
      preferences: placement
        .objects('Preferences')
        .map((item) => ({ spreadOver: item.object('Spread').string('SpreadDescriptor') })),
      maxReplicas: placement.integer('MaxReplicas'),
      platforms: placement
        .objects('Platforms')
        .map((item) => ({ architecture: item.string('Architecture'), os: item.string('OS') })),
    },
    networks: networksFromJson(json),
    logDriver: json.has('LogDriver')
      ? { name: log.string('Name'), options: log.stringMap('Options') }
      : null,
    forceUpdate: json.integer('ForceUpdate'),
    runtime: json.string('Runtime', 'container'),
  };
}

/** @param networkOf those in which it has virtual IPs */
export function serviceToJson(
  service: Service,
  networkOf: (id: string) => Network | undefined,
): object {
  const { updateStatus, endpoint } = service;
  return {
    ID: service.id,
    Version: { Index: service.meta.version },
    CreatedAt: isoTime(service.meta.createdAtMs),
    UpdatedAt: isoTime(service.meta.updatedAtMs),
    Spec: serviceSpecToJson(service.spec),
    ...(service.previousSpec ? { PreviousSpec: serviceSpecToJson(service.previousSpec) } : {}),
    Endpoint: {
      Spec: endpoint ? endpointSpecToJson(endpoint.spec) : {},
      ...some('Ports', endpoint?.ports.map(portToJson)),
      ...some(
        'VirtualIPs',
        endpoint?.virtualIps.flatMap(({ networkId, address }) => {
          const all = [address, ...ipv6Of(networkOf(networkId), [address])];
          return all.map((Addr) => ({ NetworkID: networkId, Addr }));
        }),
      ),
    },
    ...(updateStatus && {
      UpdateStatus: {
        State: updateStatus.state,
        StartedAt: isoTime(updateStatus.startedAtMs),
        ...(updateStatus.completedAtMs === null
          ? {}
          : { CompletedAt: isoTime(updateStatus.completedAtMs) }),
        Message: updateStatus.message,
      },
    }),
    ...(service.jobStatus && {
      JobStatus: {
        JobIteration: { Index: service.jobStatus.iteration },
        LastExecution: isoTime(service.jobStatus.lastExecutionMs),
      },
    }),
  };
}

export function serviceSpecToJson(spec: ServiceSpec): object {
  return {
    Name: spec.name,
    Labels: spec.labels,
    TaskTemplate: taskSpecToJson(spec.task),
    Mode: modeToJson(spec.mode),
    ...(spec.update && { UpdateConfig: updateToJson(spec.update) }),
    ...(spec.rollback && { RollbackConfig: updateToJson(spec.rollback) }),
    EndpointSpec: endpointSpecToJson(spec.endpoint),
  };
}

export function taskSpecToJson(task: TaskSpec): object {
  const { placement, logDriver } = task;
  return {
    ContainerSpec: containerSpecToJson(task.container),
    Resources: resourcesToJson(task.resources),
    ...(task.restart && { RestartPolicy: restartToJson(task.restart) }),
    Placement: {
      ...some('Constraints', placement.constraints),
      ...some(
        'Preferences',
        placement.preferences.map(({ spreadOver }) => ({
          Spread: { SpreadDescriptor: spreadOver },
        })),
      ),
      ...some('MaxReplicas', placement.maxReplicas),
      ...some(
        'Platforms',
        placement.platforms.map(({ architecture, os }) => ({ Architecture: architecture, OS: os })),
      ),
    },
    ...some(
      'Networks',
      task.networks.map(({ target, aliases, driverOptions, addresses }) => ({
        Target: target,
        ...some('Aliases', aliases),
        ...some('DriverOpts', driverOptions),
        ...(addresses[0] !== undefined && { IPAMConfig: { IPv4Address: addresses[0] } }),
      })),
    ),
    ...(logDriver && {
      LogDriver: { Name: logDriver.name, ...some('Options', logDriver.options) },
    }),
    ForceUpdate: task.forceUpdate,
    Runtime: task.runtime,
  };
}

export function portToJson(port: PortConfig): object {
  return {
    ...some('Name', port.name),
    Protocol: port.protocol,
    TargetPort: port.targetPort,
    ...some('PublishedPort', port.publishedPort),
    PublishMode: port.publishMode,
    ...some('HostIp', port.hostIp),
  };
}

function networksFromJson(json: JsonReader): TaskSpec['networks'] {
  return json.objects('Networks').map((item) => ({
    target: item.string('Target'),
    aliases: item.strings('Aliases'),
    driverOptions: item.stringMap('DriverOpts'),
    addresses: addressesFromJson(item.object('IPAMConfig')),
  }));
}

/** Ours: as networks of containers have it in Docker. */
function addressesFromJson(ipam: JsonReader): readonly string[] {
  ipam.refuse('IPv6Address', 'the IPv6 address of a task ends with its IPv4 address');
  ipam.refuse('LinkLocalIPs', 'link-local addresses are not done');
  const address = ipam.string('IPv4Address');
  return address === '' ? [] : [address];
}

function modeFromJson(json: JsonReader): ServiceMode {
  const given = ['Replicated', 'Global', 'ReplicatedJob', 'GlobalJob'].filter((m) => json.has(m));
  if (given.length > 1) {
    throw new SkepError(
      'invalid-argument',
      `must specify only one service mode: got ${given.join(', ')}`,
    );
  }
  if (json.has('Global')) return { kind: 'global' };
  if (json.has('GlobalJob')) return { kind: 'global-job' };
  if (json.has('ReplicatedJob')) {
    const job = json.object('ReplicatedJob');
    const maxConcurrent = job.integer('MaxConcurrent', 1);
    return {
      kind: 'replicated-job',
      maxConcurrent,
      totalCompletions: job.integer('TotalCompletions', maxConcurrent),
    };
  }
  // Clients leave Replicas out when the user gave none, but cannot read a spec without it.
  return { kind: 'replicated', replicas: json.object('Replicated').integer('Replicas', 1) };
}

function modeToJson(mode: ServiceMode): object {
  switch (mode.kind) {
    case 'replicated':
      return { Replicated: { Replicas: mode.replicas } };
    case 'global':
      return { Global: {} };
    case 'replicated-job':
      return {
        ReplicatedJob: {
          MaxConcurrent: mode.maxConcurrent,
          TotalCompletions: mode.totalCompletions,
        },
      };
    case 'global-job':
      return { GlobalJob: {} };
  }
}

function endpointSpecFromJson(json: JsonReader): EndpointSpec {
  return {
    mode: json.oneOf('Mode', ['vip', 'dnsrr'], 'vip'),
    ports: json.objects('Ports').map((port) => ({
      name: port.string('Name'),
      protocol: port.oneOf('Protocol', ['tcp', 'udp', 'sctp'], 'tcp'),
      targetPort: port.integer('TargetPort'),
      publishedPort: port.integer('PublishedPort'),
      publishMode: port.oneOf('PublishMode', ['ingress', 'host'], 'ingress'),
      hostIp: parseHostIp(port.string('HostIp')),
    })),
  };
}

/**
 * A spec whose ports and networks keep the addresses of `before` where the client said nothing of them: docker's own
 * reads a service and writes it back without, and a port of one address would answer on all.
 */
export function withKeptAddresses(
  spec: ServiceSpec,
  json: JsonReader,
  before: ServiceSpec,
): ServiceSpec {
  const told = json.object('EndpointSpec').objects('Ports');
  const isTold = (i: number): boolean => told[i]?.has('HostIp') ?? false;
  const isSame = (port: PortConfig, other: PortConfig): boolean =>
    deepEqual({ ...other, name: port.name }, port);
  const asked = spec.endpoint.ports;
  // Each address goes to one port: those that are told with theirs have them.
  const left = before.endpoint.ports.filter(
    (other) => !asked.some((port, i) => isTold(i) && isSame(port, other)),
  );
  const ports = asked.map((port, i) => {
    if (isTold(i)) return port;
    const at = left.findIndex((other) => isSame(port, { ...other, hostIp: '' }));
    if (at < 0) return port;
    const [kept] = left.splice(at, 1);
    return { ...port, hostIp: kept!.hostIp };
  });
  return {
    ...spec,
    endpoint: { ...spec.endpoint, ports },
    task: { ...spec.task, networks: withKeptSeats(spec.task.networks, json, before.task.networks) },
  };
}

function withKeptSeats(
  networks: TaskSpec['networks'],
  json: JsonReader,
  before: TaskSpec['networks'],
): TaskSpec['networks'] {
  const told = networksOf(json).objects('Networks');
  return networks.map((network, i) => {
    if (told[i]?.has('IPAMConfig')) return network;
    const same = before.find(({ target }) => target === network.target);
    return { ...network, addresses: same?.addresses ?? [] };
  });
}

function endpointSpecToJson(spec: EndpointSpec): object {
  return { Mode: spec.mode, ...some('Ports', spec.ports.map(portToJson)) };
}

function updateFromJson(json: JsonReader): UpdateConfig {
  const defaults = DEFAULT_UPDATE_CONFIG;
  return {
    parallelism: json.integer('Parallelism', 0),
    delayNanos: json.integer('Delay'),
    failureAction: json.oneOf('FailureAction', ['pause', 'continue', 'rollback'], 'pause'),
    monitorNanos: json.integer('Monitor') || defaults.monitorNanos,
    maxFailureRatio: json.number('MaxFailureRatio'),
    order: json.oneOf('Order', ['stop-first', 'start-first'], 'stop-first'),
  };
}

function updateToJson(update: UpdateConfig): object {
  return {
    Parallelism: update.parallelism,
    ...some('Delay', update.delayNanos),
    FailureAction: update.failureAction,
    Monitor: update.monitorNanos,
    MaxFailureRatio: update.maxFailureRatio,
    Order: update.order,
  };
}

function restartFromJson(json: JsonReader): RestartPolicy {
  const defaults = DEFAULT_RESTART_POLICY;
  return {
    condition: json.oneOf('Condition', ['none', 'on-failure', 'any'], 'any'),
    delayNanos: json.integer('Delay', defaults.delayNanos),
    maxAttempts: json.integer('MaxAttempts'),
    windowNanos: json.integer('Window'),
  };
}

function restartToJson(restart: RestartPolicy): object {
  return {
    Condition: restart.condition,
    Delay: restart.delayNanos,
    MaxAttempts: restart.maxAttempts,
    ...some('Window', restart.windowNanos),
  };
}

function resourcesFromJson(json: JsonReader): ResourceRequirements {
  const limits = json.object('Limits');
  const reservations = json.object('Reservations');
  return {
    limits: {
      nanoCpus: limits.integer('NanoCPUs'),
      memoryBytes: limits.integer('MemoryBytes'),
      pids: limits.integer('Pids'),
    },
    reservations: {
      nanoCpus: reservations.integer('NanoCPUs'),
      memoryBytes: reservations.integer('MemoryBytes'),
      generic: genericFromJson(reservations),
    },
    swapBytes: json.has('SwapBytes') ? json.integer('SwapBytes') : null,
    memorySwappiness: swappinessFromJson(json),
    kernel: kernelResourcesFromJson(json),
  };
}

/** Docker's -1 is its default, as when it is absent. */
function swappinessFromJson(json: JsonReader): number | null {
  const swappiness = json.integer('MemorySwappiness', -1);
  return swappiness === -1 ? null : swappiness;
}

function resourcesToJson(resources: ResourceRequirements): object {
  const { limits, reservations } = resources;
  return {
    Limits: {
      ...some('NanoCPUs', limits.nanoCpus),
      ...some('MemoryBytes', limits.memoryBytes),
      ...some('Pids', limits.pids),
    },
    Reservations: reservationsToJson(reservations),
    ...(resources.swapBytes === null ? {} : { SwapBytes: resources.swapBytes }),
    ...(resources.memorySwappiness === null
      ? {}
      : { MemorySwappiness: resources.memorySwappiness }),
    ...(resources.kernel && kernelResourcesToJson(resources.kernel)),
  };
}

function reservationsToJson(reservations: Resources): object {
  return {
    ...some('NanoCPUs', reservations.nanoCpus),
    ...some('MemoryBytes', reservations.memoryBytes),
    ...some('GenericResources', reservations.generic.map(genericToJson)),
  };
}

function genericFromJson(json: JsonReader): GenericResource[] {
  return json.objects('GenericResources').map((item) => {
    if (item.has('NamedResourceSpec')) {
      const named = item.object('NamedResourceSpec');
      return { kind: named.string('Kind'), value: named.string('Value') };
    }
    const discrete = item.object('DiscreteResourceSpec');
    return { kind: discrete.string('Kind'), value: discrete.integer('Value') };
  });
}

export function genericToJson(resource: GenericResource): object {
  const spec = { Kind: resource.kind, Value: resource.value };
  return typeof resource.value === 'string'
    ? { NamedResourceSpec: spec }
    : { DiscreteResourceSpec: spec };
}
