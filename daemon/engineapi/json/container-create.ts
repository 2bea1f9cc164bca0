/** The body of `POST /containers/create` as what is to be made. */
import { SkepError } from '../../../common/base/errors.ts';
import { checkLogDriver, logDriverInForce } from '../../../common/model/log-driver.ts';
import {
  DEFAULT_ISOLATION,
  type Isolation,
  type LogDriver,
  type Mount,
  NO_RESOURCES,
} from '../../../common/model/service.ts';
import {
  type ContainerDefinition,
  endpointsOf,
  type JsonObject,
  type NetworkChoice,
} from '../../../worker/containers/definition.ts';
import { cleanPath } from '../../../worker/executor/mounts.ts';
import { DEFAULT_BRIDGE_ID } from '../../../worker/network/local-network.ts';
import { consoleSizeFromJson } from './console-size.ts';
import { healthFromJson } from './container-spec.ts';
import { endpointsFromJson } from './endpoint.ts';
import {
  anonymousMounts,
  cpuPeriodOf,
  limitsFromJson,
  mountsFromJson,
  privilegesFromOptions,
  refuseHostConfig,
  restartFromJson,
} from './host-config.ts';
import { isolationFromJson } from './isolation.ts';
import { parseLink } from './links.ts';
import { anyPort, portWishesOf, targetPortOf } from './port-bindings.ts';
import { JsonReader } from './reader.ts';

export interface CreateContext {
  /** ports that the image exposes, like `80/tcp` */
  readonly exposedByImage: readonly string[];
  /** the full id of another container */
  readonly containerId: (reference: string) => string;
  /** the same of one outside of services that a link may lead to */
  readonly linkedId: (reference: string) => string;
  /** of a network, as the worker takes it */
  readonly networkRef: (reference: string) => string;
  /** what another container has mounted, its anonymous volumes by their names */
  readonly mountsOf: (reference: string) => readonly Mount[];
  /** of containers that name none */
  readonly logDriver: LogDriver;
}

const NANOS_PER_SECOND = 1e9;
/** HOST_NAME_MAX of Linux. */
const HOSTNAME_BYTES_MAX = 64;
const EXPOSED = /^\d{1,5}(-\d{1,5})?(\/(tcp|udp|sctp))?$/i;

export function definitionFromJson(body: unknown, context: CreateContext): ContainerDefinition {
  const config = new JsonReader(body);
  const host = config.object('HostConfig');
  refuseHostConfig(host);
  const place = placeOf(config, host, context);
  const { network } = place;
  const restart = restartFromJson(host.object('RestartPolicy'));
  const autoRemove = host.boolean('AutoRemove');
  if (autoRemove && restart.name !== 'no') {
    const words = "can't create 'AutoRemove' container with restart policy";
    throw new SkepError('invalid-argument', words);
  }
  return {
    container: {
      image: config.string('Image'),
      labels: config.stringMap('Labels'),
      command: words(config, 'Entrypoint'),
      args: words(config, 'Cmd'),
      hostname: hostnameOf(config),
      domainname: config.string('Domainname'),
      env: config.strings('Env'),
      workdir: config.string('WorkingDir'),
      user: config.string('User'),
      groups: host.strings('GroupAdd'),
      tty: config.boolean('Tty'),
      openStdin: config.boolean('OpenStdin'),
      readOnly: host.boolean('ReadonlyRootfs'),
      init: host.has('Init') ? host.boolean('Init') : null,
      stopSignal: config.string('StopSignal'),
      stopGracePeriodNanos: config.has('StopTimeout')
        ? config.integer('StopTimeout') * NANOS_PER_SECOND
        : null,
      healthcheck: config.has('Healthcheck') ? healthFromJson(config.object('Healthcheck')) : null,
      mounts: mountsOf(config, host, context),
      secrets: [],
      configs: [],
      hosts: host.strings('ExtraHosts').map(hostLine),
      dns: {
        nameservers: host.strings('Dns'),
        search: host.strings('DnsSearch'),
        options: host.strings('DnsOptions'),
      },
      sysctls: host.stringMap('Sysctls'),
      capabilityAdd: host.strings('CapAdd'),
      capabilityDrop: host.strings('CapDrop'),
      ulimits: host.objects('Ulimits').map((limit) => ({
        name: limit.string('Name'),
        soft: limit.integer('Soft'),
        hard: limit.integer('Hard'),
      })),
      oomScoreAdj: host.integer('OomScoreAdj'),
      privileges: privilegesFromOptions(host.strings('SecurityOpt')),
      isolation: isolationOf(host),
      registryAuth: null,
    },
    resources: limitsFromJson(host, NO_RESOURCES),
    cpuPeriodUs: cpuPeriodOf(host),
    ...place,
    ...joinedOf(host, context),
    ports: network.kind === 'bridge' ? portsOf(config, host, context) : [],
    restart,
    autoRemove,
    logDriver: logDriverOf(host.object('LogConfig'), context.logDriver),
    stdinOnce: config.boolean('StdinOnce'),
    consoleSize: config.boolean('Tty') ? consoleSizeFromJson(host) : null,
    shown: { config: { ...shownConfig(body), ...exposedOf(config) }, hostConfig: host.value },
  };
}

/** Its own, and those of other containers (`NAME[:ro|:rw]`) where it has none itself. */
function mountsOf(config: JsonReader, host: JsonReader, context: CreateContext): Mount[] {
  const own = mountsFromJson(host);
  const taken = new Set(own.map(({ target }) => cleanPath(target)));
  for (const { reference, readOnly } of sharersOf(host)) {
    for (const mount of context.mountsOf(reference)) {
      const place = cleanPath(mount.target);
      if (taken.has(place)) continue;
      taken.add(place);
      own.push(readOnly ? { ...mount, readOnly } : mount);
    }
  }
  const anonymous = Object.keys((config.raw('Volumes') ?? {}) as object);
  return [...own, ...anonymousMounts(anonymous.filter((target) => !taken.has(cleanPath(target))))];
}

interface Sharer {
  readonly reference: string;
  readonly readOnly: boolean;
}

/** The containers whose mounts are asked for. Throws `invalid-argument`. */
export function sharersOf(host: JsonReader): Sharer[] {
  return host.strings('VolumesFrom').map((text) => {
    const [, reference = '', mode = 'rw'] = /^([^:]+)(?::(ro|rw|z|Z))?$/.exec(text) ?? [];
    if (reference === '') {
      throw new SkepError('invalid-argument', `invalid volume specification: '${text}'`);
    }
    return { reference, readOnly: mode === 'ro' };
  });
}

/** null = as the node logs. Throws as `checkLogDriver`. */
function logDriverOf(log: JsonReader, ofNode: LogDriver): LogDriver | null {
  const given = { name: log.string('Type'), options: log.stringMap('Config') };
  if (given.name === '' && Object.keys(given.options).length === 0) return null;
  const driver = logDriverInForce(given, ofNode);
  checkLogDriver(driver);
  return driver;
}

/** A list, or one word as older clients send it. */
function words(config: JsonReader, name: string): readonly string[] {
  const raw = config.raw(name);
  if (typeof raw === 'string') return raw === '' ? [] : [raw];
  const list = config.strings(name);
  return list.length === 1 && list[0] === '' ? [] : list;
}

/** `name:address` becomes the line of /etc/hosts. */
function hostLine(text: string): string {
  const at = text.search(/[:=]/);
  if (at < 1) throw new SkepError('invalid-argument', `bad format for add-host: "${text}"`);
  return `${text.slice(at + 1)} ${text.slice(0, at)}`;
}

const OF_CONTAINER = 'container:';

/** A namespace of another container is the definition's; here it is as any private one. */
function isolationOf(host: JsonReader): Isolation | null {
  const isOwn = (name: string): boolean =>
    host.string(name) === 'shareable' || host.string(name).startsWith(OF_CONTAINER);
  const own = ['PidMode', 'IpcMode'].filter(isOwn).map((name) => [name, ''] as const);
  const reader = new JsonReader({ ...host.value, ...Object.fromEntries(own) }, host.path);
  for (const [field, allowed] of [
    ['PidMode', ['', 'private', 'host']],
    ['IpcMode', ['', 'private', 'host', 'none']],
    ['UTSMode', ['', 'private', 'host']],
    ['CgroupnsMode', ['', 'private', 'host']],
  ] as const) {
    if (allowed.some((word) => word === reader.string(field))) continue;
    throw new SkepError('invalid-argument', `invalid ${field}: ${reader.string(field)}`);
  }
  return isolationFromJson(reader) ?? DEFAULT_ISOLATION;
}

/** What it has of other containers, and they of it. */
function joinedOf(
  host: JsonReader,
  context: CreateContext,
): Pick<ContainerDefinition, 'joined' | 'isIpcShareable'> {
  const idOf = (name: string): string | null => {
    const mode = host.string(name);
    if (!mode.startsWith(OF_CONTAINER)) return null;
    return context.containerId(mode.slice(OF_CONTAINER.length));
  };
  const joined = { pid: idOf('PidMode'), ipc: idOf('IpcMode') };
  return {
    ...((joined.pid !== null || joined.ipc !== null) && { joined }),
    ...(host.string('IpcMode') === 'shareable' && { isIpcShareable: true }),
  };
}

/** Its networks with its links: names of its own in a network that has names, else the container's. */
function placeOf(
  config: JsonReader,
  host: JsonReader,
  context: CreateContext,
): Pick<ContainerDefinition, 'network' | 'links'> {
  const network = networkOf(config, host, context);
  const words = host.strings('Links').map(parseLink);
  if (words.length === 0) return { network };
  if (network.kind !== 'bridge') {
    const mode =
      network.kind === 'container' ? 'container type network' : `${network.kind} type networking`;
    const why = `conflicting options: ${mode} can't be used with links. This would result in undefined behavior`;
    throw new SkepError('invalid-argument', why);
  }
  const [first, ...others] = endpointsOf({ network });
  if (first === undefined || first.network === DEFAULT_BRIDGE_ID) {
    const links = words.map(({ target, alias }) => {
      return { containerId: context.linkedId(target), alias };
    });
    return { network, links };
  }
  const links = [...(first.links ?? []), ...words];
  return { network: { kind: 'bridge', endpoints: [{ ...first, links }, ...others] } };
}

function networkOf(config: JsonReader, host: JsonReader, context: CreateContext): NetworkChoice {
  if (config.boolean('NetworkDisabled')) return { kind: 'none' };
  const mode = host.string('NetworkMode');
  if (mode.startsWith(OF_CONTAINER)) {
    refuseEndpoints(config, mode);
    refuseOwnNetworkWords(config, host);
    const containerId = context.containerId(mode.slice(OF_CONTAINER.length));
    return { kind: 'container', containerId };
  }
  if (mode === 'none' || mode === 'host') {
    refuseEndpoints(config, mode);
    return { kind: mode };
  }
  return { kind: 'bridge', endpoints: endpointsFromJson(config, host, context.networkRef) };
}

/** What is said of networks is not lost on a container that has none of its own. */
function refuseEndpoints(config: JsonReader, mode: string): void {
  const endpoints = config.object('NetworkingConfig').object('EndpointsConfig');
  const odd = endpoints.names.find((name) => name !== mode);
  const own = endpoints.object(mode);
  if (own.object('IPAMConfig').string('IPv4Address') !== '') {
    const words = 'user specified IP address is supported on user defined networks only';
    throw new SkepError('invalid-argument', words);
  }
  const mac = config.string('MacAddress') || own.string('MacAddress');
  if (odd === undefined && mac === '') return;
  const what = odd === undefined ? 'a MAC address' : `network ${odd}`;
  const words = `conflicting options: network ${mode} and ${what}`;
  throw new SkepError('invalid-argument', words);
}

/** Names, ports and files of the network are those of the container that it belongs to. */
function refuseOwnNetworkWords(config: JsonReader, host: JsonReader): void {
  const given: readonly (readonly [isGiven: boolean, words: string])[] = [
    [config.string('Hostname') !== '', 'hostname and the network mode'],
    [host.strings('Dns').length > 0, 'dns and the network mode'],
    [host.strings('ExtraHosts').length > 0, 'custom host-to-IP mapping and the network mode'],
    [
      host.object('PortBindings').names.length > 0,
      'port publishing and the container type network mode',
    ],
    [
      config.object('ExposedPorts').names.length > 0,
      'port exposing and the container type network mode',
    ],
  ];
  const conflict = given.find(([isGiven]) => isGiven);
  if (conflict) throw new SkepError('invalid-argument', `conflicting options: ${conflict[1]}`);
}

function portsOf(config: JsonReader, host: JsonReader, context: CreateContext) {
  const bindings = host.object('PortBindings');
  const wishes = portWishesOf(bindings, bindings.names);
  if (!host.boolean('PublishAllPorts')) return wishes;
  const taken = new Set(wishes.map(({ protocol, targetPort }) => `${targetPort}/${protocol}`));
  const exposed = [...config.object('ExposedPorts').names, ...context.exposedByImage];
  const further = [...new Set(exposed)].map(targetPortOf).filter(({ protocol, targetPort }) => {
    return !taken.has(`${targetPort}/${protocol}`);
  });
  return [...wishes, ...further.map(anyPort)];
}

/** Throws `invalid-argument` for what the kernel takes for no name of a host. */
function hostnameOf(config: JsonReader): string {
  const name = config.string('Hostname');
  if (Buffer.byteLength(name) <= HOSTNAME_BYTES_MAX) return name;
  const words = `invalid hostname: it is longer than ${HOSTNAME_BYTES_MAX} bytes`;
  throw new SkepError('invalid-argument', words);
}

/** As it is shown: a set. Throws `invalid-argument` for what is no port, also where none is published. */
function exposedOf(config: JsonReader): JsonObject {
  const ports = config.object('ExposedPorts');
  for (const key of ports.names) {
    ports.object(key); // refuses what is none
    if (EXPOSED.test(key)) continue;
    throw new SkepError('invalid-argument', `invalid port specification: "${key}"`);
  }
  if (ports.names.length === 0) return {};
  return { ExposedPorts: Object.fromEntries(ports.names.map((key) => [key, {}])) };
}

/** Without what lies beside it in the same document. */
function shownConfig(body: unknown): JsonObject {
  const { HostConfig: _host, NetworkingConfig: _networks, ...config } = body as JsonObject;
  return config;
}
