/** Containers, of tasks and outside of services, as Docker's JSON. */
import { networkModeOf as modeOfTask } from '../../../common/model/predefined-networks.ts';
import {
  type ContainerSpec,
  DEFAULT_ISOLATION,
  NO_KERNEL_RESOURCES,
  type ResourceRequirements,
} from '../../../common/model/service.ts';
import type { ContainerInfo, ShownPort } from '../../../worker/container-view.ts';
import type { JsonObject } from '../../../worker/containers/definition.ts';
import { cleanPath } from '../../../worker/executor/mounts.ts';
import { DEFAULT_SHM_BYTES } from '../../../worker/runtime/defaults.ts';
import { NEWEST_MINOR } from './api-versions.ts';
import { isoTime } from './common.ts';
import { healthToJson } from './container-spec.ts';
import { imageHealthToJson, setOf } from './image.ts';
import { isolationToJson, kernelResourcesToJson } from './isolation.ts';
import { parseLink } from './links.ts';
import { endpointToJson, ipv6ToJson } from './local-network.ts';
import { JsonReader } from './reader.ts';
import { some } from './some.ts';

const ENDED_BY_ERROR = 255;
const SHM = '/dev/shm';

/** The id of a network by its name, where the name is not the id. */
export type NetworkIdOf = (name: string) => string;

/** One row of `docker ps`. */
export function containerRowToJson(
  info: ContainerInfo,
  nowMs: number,
  networkIdOf: NetworkIdOf,
  apiMinor = NEWEST_MINOR,
): { readonly Created: number } & object {
  const row = {
    Id: info.id,
    Names: [`/${info.name}`],
    Image: info.spec.container.image,
    ImageID: info.image?.id ?? '',
    Command: argvOf(info).join(' '),
    Created: Math.floor(info.createdAtMs / 1000),
    Ports: portRowsOf(info),
    Labels: info.labels,
    State: info.condition,
    Status: statusText(info, nowMs),
    HostConfig: { NetworkMode: networkModeOf(info) },
    NetworkSettings: { Networks: networksOf(info, networkIdOf, apiMinor) },
    Mounts: mountsOf(info),
  };
  return row;
}

export function containerToJson(
  info: ContainerInfo,
  networkIdOf: NetworkIdOf,
  apiMinor = NEWEST_MINOR,
): object {
  const { condition, exit, health } = info;
  const argv = argvOf(info);
  const onBridge = info.networks.find(({ name }) => name === 'bridge');
  const isUp = condition === 'running' || condition === 'paused' || condition === 'restarting';
  const { shown } = info;
  return {
    Id: info.id,
    Created: isoTime(info.createdAtMs),
    Path: argv[0] ?? '',
    Args: argv.slice(1),
    State: {
      Status: condition,
      Running: isUp,
      Paused: condition === 'paused',
      Restarting: condition === 'restarting',
      OOMKilled: exit?.oomKilled ?? false,
      Dead: condition === 'dead',
      Pid: info.pid,
      ExitCode: exit?.exitCode ?? 0,
      Error: exit?.error ?? '',
      StartedAt: isoTime(info.startedAtMs ?? 0),
      FinishedAt: isoTime(exit?.finishedAtMs ?? 0),
      ...(health && {
        Health: {
          Status: health.status,
          FailingStreak: health.failingStreak,
          Log: health.log.map((result) => ({
            Start: isoTime(result.startedAtMs),
            End: isoTime(result.endedAtMs),
            ExitCode: result.exitCode,
            Output: result.output,
          })),
        },
      }),
    },
    Image: info.image?.id ?? '',
    Name: `/${info.name}`,
    RestartCount: info.restartCount,
    Driver: 'overlay2',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    HostConfig: {
      ...hostConfigOf(info),
      ...saidOf(shown?.hostConfig ?? {}),
      NanoCpus: isLimitedByQuota(info) ? 0 : info.spec.resources.limits.nanoCpus,
      MemorySwap: memorySwapOf(info.spec.resources),
      ShmSize: shmBytesOf(info),
      Links: linksOf(info),
      Runtime: info.spec.container.isolation?.runtime ?? '',
    },
    Mounts: mountsOf(info),
    Config: { ...shown?.config, ...configOf(info) },
    NetworkSettings: {
      Bridge: '',
      SandboxID: '',
      SandboxKey: '',
      Ports: portsOf(info),
      ...{ HairpinMode: false, LinkLocalIPv6Address: '', LinkLocalIPv6PrefixLen: 0 },
      ...{ SecondaryIPAddresses: null, SecondaryIPv6Addresses: null, ...ipv6ToJson() },
      // Of the network `bridge`, where clients from before networks look.
      IPAddress: onBridge?.address ?? '',
      IPPrefixLen: onBridge?.prefixLength ?? 0,
      Gateway: onBridge?.gateway ?? '',
      MacAddress: onBridge?.mac ?? '',
      Networks: networksOf(info, networkIdOf, apiMinor),
    },
  };
}

/** Without what clients send to say nothing: what holds then is shown, as in Docker. */
function saidOf(hostConfig: Readonly<Record<string, unknown>>): object {
  const said = Object.entries(hostConfig).filter(([name, value]) => {
    if (name === 'CgroupnsMode') return value !== '';
    if (name === 'MemorySwappiness') return value !== -1;
    // With the node's options, where they hold.
    return name !== 'LogConfig';
  });
  return Object.fromEntries(said);
}

function hostConfigOf(info: ContainerInfo): object {
  const { container, resources } = info.spec;
  return {
    NetworkMode: networkModeOf(info),
    Memory: resources.limits.memoryBytes,
    PidsLimit: resources.limits.pids || null,
    RestartPolicy: { Name: '', MaximumRetryCount: 0 },
    AutoRemove: false,
    Binds: null,
    PortBindings: {},
    CapAdd: container.capabilityAdd,
    CapDrop: container.capabilityDrop,
    ReadonlyRootfs: container.readOnly,
    ...isolationOf(container, resources),
    LogConfig: { Type: info.logDriver.name, Config: info.logDriver.options },
  };
}

/** Bytes of memory and swap together; -1 = as much swap as there is, 0 = no limit. */
function memorySwapOf({ limits: { memoryBytes }, swapBytes }: ResourceRequirements): number {
  if (swapBytes !== null && swapBytes < 0) return -1;
  return memoryBytes === 0 ? 0 : memoryBytes + (swapBytes ?? 0);
}

/** A task's size is that of a tmpfs. */
function shmBytesOf({ spec, shown }: ContainerInfo): number {
  const asked = new JsonReader(shown?.hostConfig ?? {}).integer('ShmSize');
  const own = spec.container.mounts.find(({ target }) => cleanPath(target) === SHM);
  return asked || own?.tmpfs?.sizeBytes || DEFAULT_SHM_BYTES;
}

/** In Docker a limit of CPU is either a number of CPUs, or a quota in a period. */
function isLimitedByQuota({ shown }: ContainerInfo): boolean {
  return shown !== null && new JsonReader(shown.hostConfig).integer('CpuQuota') > 0;
}

/** With its image's words where it has none of its own, as in Docker. */
function configOf(info: ContainerInfo): object {
  const { container } = info.spec;
  const image = info.image?.config ?? null;
  const isOwnEntrypoint = container.command.length > 0;
  const imageCmd = isOwnEntrypoint ? [] : (image?.cmd ?? []);
  return {
    Hostname: info.hostname,
    Domainname: container.domainname,
    User: container.user || (image?.user ?? ''),
    Tty: container.tty,
    OpenStdin: container.openStdin,
    Env: image ? mergedEnv(image.env, container.env) : container.env,
    Cmd: container.args.length > 0 ? container.args : imageCmd,
    Entrypoint: isOwnEntrypoint ? container.command : (image?.entrypoint ?? container.command),
    Image: container.image,
    WorkingDir: container.workdir || (image?.workingDir ?? ''),
    Labels: info.labels,
    ...some('ExposedPorts', setOf(exposedOf(info))),
    ...some('Volumes', setOf([...givenNames(info, 'Volumes'), ...(image?.volumes ?? [])])),
    ...some('Healthcheck', {
      ...(image?.healthcheck && imageHealthToJson(image.healthcheck)),
      ...(container.healthcheck && healthToJson(container.healthcheck)),
    }),
    ...some('StopSignal', container.stopSignal || image?.stopSignal),
  };
}

/** The names of a field of what its client sent, which is a set. */
function givenNames({ shown }: ContainerInfo, field: 'ExposedPorts' | 'Volumes'): string[] {
  return Object.keys((shown?.config[field] ?? {}) as object);
}

/** What an image made of the container says of running it. */
export function imageConfigOf(info: ContainerInfo): Readonly<Record<string, unknown>> {
  const config = configOf(info) as Readonly<Record<string, unknown>>;
  const given = info.shown?.config ?? {};
  const kept = ['User', 'Env', 'Cmd', 'Entrypoint', 'WorkingDir', 'StopSignal', 'Healthcheck'];
  const out: Record<string, unknown> = {};
  for (const name of kept) if (isSaid(config[name])) out[name] = config[name];
  for (const name of ['ExposedPorts', 'Volumes']) if (isSaid(given[name])) out[name] = given[name];
  if (info.plain && isSaid(info.labels)) out['Labels'] = info.labels;
  return out;
}

function isSaid(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

function mergedEnv(image: readonly string[], own: readonly string[]): readonly string[] {
  const nameOf = (entry: string): string => entry.split('=', 1)[0] ?? '';
  const given = new Set(own.map(nameOf));
  return [...own, ...image.filter((entry) => !given.has(nameOf(entry)))];
}

/** What is of the container alone in Docker, and of a service's spec here. */
function isolationOf(container: ContainerSpec, resources: ResourceRequirements): object {
  const isolation = container.isolation ?? DEFAULT_ISOLATION;
  const unlessPrivate = (mode: string): string => (mode === 'private' ? '' : mode);
  return {
    ...isolationToJson(isolation),
    PidMode: unlessPrivate(isolation.pid),
    UTSMode: unlessPrivate(isolation.uts),
    ...kernelResourcesToJson(resources.kernel ?? NO_KERNEL_RESOURCES),
    MemoryReservation: resources.reservations.memoryBytes,
    MemorySwappiness: resources.memorySwappiness,
    Init: container.init,
    OomScoreAdj: container.oomScoreAdj,
    Sysctls: container.sysctls,
    Ulimits: container.ulimits.map(({ name, soft, hard }) => ({
      Name: name,
      Soft: soft,
      Hard: hard,
    })),
  };
}

/** Of the network `bridge`, as Docker has them; in others they are an endpoint's. */
function linksOf({ name, plain, shown }: ContainerInfo): readonly string[] | null {
  const links = plain?.record.definition.links ?? [];
  if (links.length === 0) return null;
  const given = new JsonReader(shown?.hostConfig ?? {}).strings('Links').map(parseLink);
  return given.map(({ target, alias }) => `/${target}:/${name}/${alias}`);
}

function networkModeOf({ shown, task }: ContainerInfo): string {
  const mode = shown?.hostConfig['NetworkMode'];
  const networks = task?.spec.networks ?? [];
  const ofTask = modeOfTask(networks);
  if (ofTask === 'service') return networks[0]!.target; // with the name of the service
  if (ofTask !== 'cluster') return ofTask;
  return typeof mode === 'string' && mode !== '' ? mode : 'default';
}

function argvOf(info: ContainerInfo): readonly string[] {
  const { command, args } = info.spec.container;
  const image = info.image?.config;
  const entrypoint = command.length > 0 ? command : (image?.entrypoint ?? []);
  const rest = args.length > 0 ? args : command.length > 0 ? [] : (image?.cmd ?? []);
  return [...entrypoint, ...rest];
}

function statusText(info: ContainerInfo, nowMs: number): string {
  const { condition, health, exit } = info;
  const since = (ms: number | null | undefined): string => humanDuration(nowMs - (ms ?? nowMs));
  const ended = `(${exit?.exitCode ?? ENDED_BY_ERROR}) ${since(exit?.finishedAtMs)} ago`;
  switch (condition) {
    case 'created':
      return 'Created';
    case 'running': {
      const note = health
        ? ` (${health.status === 'starting' ? 'health: starting' : health.status})`
        : '';
      return `Up ${since(info.startedAtMs)}${note}`;
    }
    case 'paused':
      return `Up ${since(info.startedAtMs)} (Paused)`;
    case 'restarting':
      return `Restarting ${ended}`;
    case 'exited':
      return `Exited ${ended}`;
    case 'removing':
      return 'Removal In Progress';
    case 'dead':
      return 'Dead';
  }
}

/** The words of Docker's go-units: `5 seconds`, `About a minute`, `3 hours`, ... */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(seconds / 3600);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}

function networksOf(
  info: ContainerInfo,
  networkIdOf: NetworkIdOf,
  apiMinor: number,
): Record<string, object> {
  const out: Record<string, object> = {};
  for (const network of info.networks) {
    const networkId = network.networkId ?? networkIdOf(network.name);
    out[network.name] = endpointToJson(info, network, networkId, apiMinor);
  }
  return out;
}

/** By its client, its image, and of a task by its ports of mode `host`. */
function exposedOf(info: ContainerInfo): readonly string[] {
  const ofTask = info.task ? info.ports.map(keyOf) : [];
  const ofImage = info.image?.config.exposedPorts ?? [];
  return [...new Set([...givenNames(info, 'ExposedPorts'), ...ofImage, ...ofTask])];
}

function keyOf({ targetPort, protocol }: ShownPort): string {
  return `${targetPort}/${protocol}`;
}

function portRowsOf(info: ContainerInfo): object[] {
  const published = new Set(info.ports.map(keyOf));
  const exposed = exposedOf(info).filter((key) => !published.has(key) && info.pid > 0);
  return [
    ...info.ports.map((port) => ({
      IP: port.hostIp,
      PrivatePort: port.targetPort,
      PublicPort: port.hostPort,
      Type: port.protocol,
    })),
    ...exposed.map((key) => ({
      PrivatePort: Number.parseInt(key, 10),
      Type: key.split('/')[1] ?? 'tcp',
    })),
  ];
}

function portsOf(info: ContainerInfo): Record<string, object[] | null> {
  const out: Record<string, object[] | null> = {};
  if (info.pid === 0) return out;
  for (const key of exposedOf(info)) out[key] = null;
  for (const port of info.ports) {
    const binding = { HostIp: port.hostIp, HostPort: String(port.hostPort) };
    out[keyOf(port)] = [...(out[keyOf(port)] ?? []), binding];
  }
  return out;
}

/** Of `--tmpfs` and `--shm-size`, which have fields of their own: Docker tells them there alone. */
function memoryTargets({ Tmpfs, ShmSize }: JsonObject): ReadonlySet<string> {
  const targets = Object.keys((Tmpfs ?? {}) as object).map(cleanPath);
  return new Set([...targets, ...(ShmSize ? [SHM] : [])]);
}

/** Volumes by their real names, so that a client can give them to the next container. */
function mountsOf({ spec, volumes, shown }: ContainerInfo): object[] {
  const toldElsewhere = memoryTargets(shown?.hostConfig ?? {});
  const listed = spec.container.mounts.filter(
    ({ type, target }) => type !== 'tmpfs' || !toldElsewhere.has(cleanPath(target)),
  );
  const given = listed.map((mount) => {
    const target = cleanPath(mount.target);
    const volume = volumes.find((one) => one.target === target);
    const source = volume?.name ?? mount.source;
    return {
      Type: mount.type,
      ...some('Name', mount.type === 'volume' ? source : ''),
      Source: volume?.path ?? source,
      Destination: mount.target,
      Driver: mount.type === 'volume' ? 'local' : '',
      RW: !mount.readOnly,
      Mode: '',
      Propagation: mount.type === 'bind' ? mount.bind?.propagation || 'rprivate' : '',
    };
  });
  const targets = new Set(spec.container.mounts.map(({ target }) => cleanPath(target)));
  const ofImage = volumes.filter(({ target }) => !targets.has(target));
  return [
    ...given,
    ...ofImage.map(({ name, path, target, readOnly }) => ({
      Type: 'volume',
      Name: name,
      Source: path,
      Destination: target,
      Driver: 'local',
      RW: !readOnly,
      Mode: '',
      Propagation: '',
    })),
  ];
}
