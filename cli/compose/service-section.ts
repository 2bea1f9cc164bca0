/** One entry of `services`: a service's spec. */
import { join } from 'node:path';
import type {
  ContainerSpecJson,
  HealthcheckJson,
  NetworkAttachmentJson,
  PortJson,
  UlimitJson,
} from '../../common/model/engine-json.ts';
import { parseImageReference } from '../../common/model/image-reference.ts';
import { checkName } from '../../common/model/names.ts';
import { type Deployment, deploySection, restartWord } from './deploy-section.ts';
import { normaliseCapabilities, parseEnvFile, parseExtraHost } from './files.ts';
import type { Item } from './item.ts';
import { mountSection } from './mount-section.ts';
import { PROTOCOLS, parseShortPorts } from './ports.ts';
import { nearestWord } from './problems.ts';
import {
  type Declaration,
  readNamedFile,
  type StackScope,
  scopedName,
  withNamespace,
} from './scope.ts';
import { splitShellWords } from './shell-words.ts';
import { type FileUse, IMAGE_LABEL, type StackService } from './stack.ts';
import { parseDurationNanos } from './values.ts';

const SERVICE_KEYS = {
  known: [
    'image',
    'command',
    'entrypoint',
    'environment',
    'env_file',
    'ports',
    'networks',
    'volumes',
    'tmpfs',
    'healthcheck',
    'hostname',
    'user',
    'group_add',
    'working_dir',
    'stop_grace_period',
    'stop_signal',
    'labels',
    'init',
    'read_only',
    'tty',
    'stdin_open',
    'extra_hosts',
    'dns',
    'dns_search',
    'dns_opt',
    'cap_add',
    'cap_drop',
    'sysctls',
    'ulimits',
    'oom_score_adj',
    'depends_on',
    'restart',
    'deploy',
    'secrets',
    'configs',
  ],
  undone: [
    'build',
    'cgroup',
    'cgroup_parent',
    'cgroupns_mode',
    'container_name',
    'credential_spec',
    'develop',
    'device_cgroup_rules',
    'devices',
    'domainname',
    'expose',
    'extends',
    'external_links',
    'ipc',
    'isolation',
    'links',
    'logging',
    'mac_address',
    'mem_limit',
    'memswap_limit',
    'mem_reservation',
    'cpus',
    'cpu_shares',
    'cpu_quota',
    'cpuset',
    'network_mode',
    'pid',
    'pids_limit',
    'platform',
    'privileged',
    'profiles',
    'pull_policy',
    'runtime',
    'scale',
    'security_opt',
    'shm_size',
    'stop_timeout',
    'storage_opt',
    'userns_mode',
    'volume_driver',
    'volumes_from',
  ],
};

type Fields = ReadonlyMap<string, Item>;

/** undefined when the service cannot be made; the reasons are noted. */
export function serviceSection(
  scope: StackScope,
  key: string,
  item: Item,
): StackService | undefined {
  const stack = scope.request.name;
  const name = scopedName(stack, key);
  item.attempt(() => checkName(name));
  if (!item.isMap) {
    item.problem(`${item.path} must be a mapping`);
    return undefined;
  }
  const fields = item.fields(SERVICE_KEYS);
  const image = imageOf(item, fields);
  const deploy = deploySection(fields.get('deploy'));
  const restart = fields.get('restart');
  const restartPolicy = deploy.restart ?? (restart && restartWord(restart));
  const networks = networksOf(scope, key, fields.get('networks'));
  const ports = portsOf(scope, fields.get('ports'));
  const container = containerOf(scope, fields, image);
  const secrets = filesOf('secret', scope.secrets, fields.get('secrets'));
  const configs = filesOf('config', scope.configs, fields.get('configs'));
  if (fields.has('depends_on')) dependsOn(scope, fields.get('depends_on')!);
  return {
    key,
    secrets,
    configs,
    spec: {
      Name: name,
      Labels: withNamespace(stack, { ...deploy.labels, [IMAGE_LABEL]: image }),
      TaskTemplate: {
        ContainerSpec: container,
        Resources: deploy.resources,
        ...(restartPolicy && { RestartPolicy: restartPolicy }),
        Placement: deploy.placement,
        Networks: networks,
        ForceUpdate: 0,
      },
      ...deployed(deploy, ports),
    },
  };
}

function deployed(deploy: Deployment, ports: readonly PortJson[]) {
  return {
    Mode: deploy.mode,
    ...(deploy.update && { UpdateConfig: deploy.update }),
    ...(deploy.rollback && { RollbackConfig: deploy.rollback }),
    EndpointSpec: {
      ...(deploy.endpointMode && { Mode: deploy.endpointMode }),
      ...(ports.length > 0 && { Ports: ports }),
    },
  };
}

function imageOf(item: Item, fields: Fields): string {
  const image = fields.get('image');
  if (!image) {
    item.problem(`${item.path}: image is required`);
    return '';
  }
  const text = image.text();
  if (text === '') image.problem(`${image.path}: image is empty`);
  else if (text !== undefined) image.attempt(() => parseImageReference(text));
  return text ?? '';
}

function containerOf(scope: StackScope, fields: Fields, image: string): ContainerSpecJson {
  const words = (name: string): readonly string[] | undefined => {
    const item = fields.get(name);
    if (!item || item.isNull) return undefined;
    return item.isList ? item.texts() : (item.parsed(splitShellWords) ?? []);
  };
  const text = (name: string): string | undefined => fields.get(name)?.text();
  const flag = (name: string): boolean | undefined => fields.get(name)?.boolean();
  const command = words('entrypoint');
  const args = words('command');
  const env = environmentOf(scope, fields);
  const health = healthOf(fields.get('healthcheck'));
  const mounts = mountSection(scope, fields.get('volumes'), fields.get('tmpfs'));
  const grace = fields.get('stop_grace_period')?.parsed(parseDurationNanos);
  const hosts = hostsOf(fields.get('extra_hosts'));
  const add = normaliseCapabilities(fields.get('cap_add')?.texts() ?? []);
  const drop = normaliseCapabilities(fields.get('cap_drop')?.texts() ?? []);
  const ulimits = ulimitsOf(fields.get('ulimits'));
  const oom = fields.get('oom_score_adj')?.integer();
  const init = flag('init');
  return {
    Image: image,
    Labels: withNamespace(scope.request.name, fields.get('labels')?.stringMap() ?? {}),
    ...(command && { Command: command }),
    ...(args && { Args: args }),
    ...some('Hostname', text('hostname')),
    ...some('Env', env),
    ...some('Dir', text('working_dir')),
    ...some('User', text('user')),
    ...some('Groups', fields.get('group_add')?.texts()),
    ...some('StopSignal', text('stop_signal')),
    ...(grace !== undefined && { StopGracePeriod: grace }),
    ...some('TTY', flag('tty')),
    ...some('OpenStdin', flag('stdin_open')),
    ...some('ReadOnly', flag('read_only')),
    ...(init !== undefined && { Init: init }),
    ...(health && { Healthcheck: health }),
    ...some('Mounts', mounts),
    ...some('Hosts', hosts),
    DNSConfig: {
      ...some('Nameservers', fields.get('dns')?.texts(true)),
      ...some('Search', fields.get('dns_search')?.texts(true)),
      ...some('Options', fields.get('dns_opt')?.texts()),
    },
    ...some('Sysctls', fields.get('sysctls')?.stringMap()),
    ...some('CapabilityAdd', add),
    ...some(
      'CapabilityDrop',
      drop.filter((name) => !add.includes(name)),
    ),
    ...some('Ulimits', ulimits),
    ...some('OomScoreAdj', oom),
  };
}

/** `{ [name]: value }` unless the value says nothing. */
function some(name: string, value: unknown): object {
  if (value === undefined || value === '' || value === false || value === 0) return {};
  if (Array.isArray(value) && value.length === 0) return {};
  if (typeof value === 'object' && value !== null && Object.keys(value).length === 0) return {};
  return { [name]: value };
}

/** Files first, `environment` over them; a name alone takes the client's value. Sorted. */
function environmentOf(scope: StackScope, fields: Fields): string[] {
  const { env } = scope.request;
  const values = new Map<string, string | null>();
  const files = fields.get('env_file');
  for (const item of files?.isList ? files.items() : files ? [files] : []) {
    for (const [key, value] of envFile(scope, item)) values.set(key, value);
  }
  for (const [key, value] of fields.get('environment')?.pairs() ?? []) {
    values.set(key, value ?? env[key] ?? null);
  }
  return [...values]
    .map(([key, value]) => (value === null ? key : `${key}=${value}`))
    .sort((a, b) => (a < b ? -1 : 1));
}

/** A path, or `{path, required}`. */
function envFile(scope: StackScope, item: Item): [string, string][] {
  const inner = item.isMap
    ? item.fields({ known: ['path', 'required'], undone: ['format'] })
    : null;
  const pathItem = inner ? inner.get('path') : item;
  const path = pathItem?.text();
  if (path === undefined || !pathItem) return [];
  if (inner?.get('required')?.boolean() === false) {
    try {
      scope.request.readFile(join(scope.request.dir, path));
    } catch {
      return [];
    }
  }
  const bytes = readNamedFile(scope, pathItem, path);
  if (bytes === null) return [];
  const text = Buffer.from(bytes).toString('utf8');
  return pathItem.attempt(() => parseEnvFile(text, path, scope.request.env)) ?? [];
}

const HEALTH_KEYS = {
  known: ['test', 'interval', 'timeout', 'retries', 'start_period', 'start_interval', 'disable'],
};

function healthOf(item: Item | undefined): HealthcheckJson | undefined {
  if (!item) return undefined;
  const fields = item.fields(HEALTH_KEYS);
  const test = fields.get('test');
  if (fields.get('disable')?.boolean() === true) {
    test?.problem(`${item.path}: test and disable cannot be set at the same time`);
    return { Test: ['NONE'] };
  }
  const duration = (name: string): number | undefined =>
    fields.get(name)?.parsed(parseDurationNanos);
  const [interval, timeout] = [duration('interval'), duration('timeout')];
  const [startPeriod, startInterval] = [duration('start_period'), duration('start_interval')];
  const retries = fields.get('retries')?.integer(0);
  return {
    ...(test && { Test: healthTest(test) }),
    ...some('Interval', interval),
    ...some('Timeout', timeout),
    ...some('StartPeriod', startPeriod),
    ...some('StartInterval', startInterval),
    ...some('Retries', retries),
  };
}

function healthTest(item: Item): readonly string[] {
  if (!item.isList) return ['CMD-SHELL', item.text() ?? ''];
  const words = item.texts();
  if (!['NONE', 'CMD', 'CMD-SHELL'].includes(words[0] ?? '')) {
    item.problem(`${item.path}: the first word of a list must be NONE, CMD or CMD-SHELL`);
  }
  return words;
}

const PORT_KEYS = {
  known: ['target', 'published', 'protocol', 'mode', 'name', 'host_ip', 'app_protocol'],
};

function portsOf(scope: StackScope, section: Item | undefined): PortJson[] {
  return (section?.items() ?? []).flatMap((item): readonly PortJson[] => {
    if (item.isMap) return longPort(scope, item);
    const short = item.parsed(parseShortPorts);
    if (short?.address) ignoredAddress(scope, item, short.address);
    return short?.ports ?? [];
  });
}

function ignoredAddress(scope: StackScope, item: Item, address: string): void {
  scope.warnings.add(
    `${item.path}: address ${address} is ignored: a published port answers on every node`,
  );
}

function longPort(scope: StackScope, item: Item): readonly PortJson[] {
  const fields = item.fields(PORT_KEYS);
  const target = fields.get('target');
  if (!target) {
    item.problem(`${item.path}: target is required`);
    return [];
  }
  const hostIp = fields.get('host_ip');
  if (hostIp) ignoredAddress(scope, hostIp, hostIp.text() ?? '');
  const name = fields.get('name')?.text();
  const protocol = fields.get('protocol')?.oneOf(PROTOCOLS) ?? 'tcp';
  const mode = fields.get('mode')?.oneOf(['ingress', 'host']) ?? 'ingress';
  const targetText = target.text() ?? '';
  const published = fields.get('published')?.text() ?? '';
  const text = published === '' || published === '0' ? targetText : `${published}:${targetText}`;
  const short = item.attempt(() => parseShortPorts(text));
  return (short?.ports ?? []).map((port) => ({
    ...some('Name', name),
    ...port,
    Protocol: protocol,
    PublishMode: mode,
  }));
}

const ATTACHMENT_KEYS = {
  known: ['aliases', 'driver_opts'],
  undone: [
    'ipv4_address',
    'ipv6_address',
    'link_local_ips',
    'mac_address',
    'priority',
    'gw_priority',
  ],
};

function networksOf(
  scope: StackScope,
  key: string,
  section: Item | undefined,
): NetworkAttachmentJson[] {
  const wanted: [string, Item | null][] =
    !section || section.isNull
      ? [['default', null]]
      : section.isList
        ? section.items().flatMap((item): [string, Item][] => {
            const name = item.text();
            return name === undefined ? [] : [[name, item]];
          })
        : section.entries();
  return wanted
    .flatMap(([name, item]): NetworkAttachmentJson[] => {
      const network = scope.networks.get(name);
      if (!network) {
        undefinedName(item, 'network', name, [...scope.networks.keys()]);
        return [];
      }
      scope.usedNetworks.add(name);
      const fields = item?.isMap ? item.fields(ATTACHMENT_KEYS) : null;
      const options = fields?.get('driver_opts')?.stringMap();
      return [
        {
          Target: network.name,
          Aliases: [...(fields?.get('aliases')?.texts() ?? []), key],
          ...some('DriverOpts', options),
        },
      ];
    })
    .sort((a, b) => (a.Target < b.Target ? -1 : 1));
}

function undefinedName(
  item: Item | null,
  kind: string,
  name: string,
  known: readonly string[],
): void {
  const near = nearestWord(name, known);
  const hint = near === null ? `declare it under the top-level ${kind}s` : `did you mean ${near}?`;
  item?.problem(`${item.path}: undefined ${kind} "${name}"; ${hint}`);
}

/** A map `name: address` or a list of `name:address`; as the API has them, `address name`. */
function hostsOf(item: Item | undefined): string[] {
  if (!item) return [];
  if (item.isList) {
    return item
      .items()
      .map((entry) => entry.parsed(parseExtraHost))
      .filter((text) => text !== undefined);
  }
  return item.entries().flatMap(([name, entry]) => {
    const addresses = entry.texts(true);
    return addresses.map((address) => `${address.replace(/^\[(.*)\]$/, '$1')} ${name}`);
  });
}

function ulimitsOf(item: Item | undefined): UlimitJson[] {
  return (item?.entries() ?? []).flatMap(([name, limit]): UlimitJson[] => {
    if (!limit.isMap) {
      const both = limit.integer(-1);
      return both === undefined ? [] : [{ Name: name, Soft: both, Hard: both }];
    }
    const fields = limit.fields({ known: ['soft', 'hard'] });
    const soft = fields.get('soft')?.integer(-1);
    const hard = fields.get('hard')?.integer(-1);
    if (soft !== undefined && hard !== undefined) return [{ Name: name, Soft: soft, Hard: hard }];
    limit.problem(`${limit.path}: soft and hard are both needed`);
    return [];
  });
}

/** Accepted and checked; the order of starting is not kept yet. */
function dependsOn(scope: StackScope, item: Item): void {
  scope.warnings.add(
    'depends_on does not order the start of services yet: each restarts until what it needs is there',
  );
  if (item.isList) item.texts();
  else item.entries();
}

const FILE_USE_KEYS = { known: ['source', 'target', 'uid', 'gid', 'mode'] };

function filesOf(
  kind: 'secret' | 'config',
  declared: ReadonlyMap<string, Declaration>,
  section: Item | undefined,
): FileUse[] {
  return (section?.items() ?? []).flatMap((item): FileUse[] => {
    const fields = item.isMap ? item.fields(FILE_USE_KEYS) : null;
    const sourceItem = fields ? fields.get('source') : item;
    const source = sourceItem?.text();
    if (source === undefined) {
      if (!sourceItem) item.problem(`${item.path}: source is required`);
      return [];
    }
    const declaration = declared.get(source);
    if (!declaration) {
      undefinedName(sourceItem ?? item, kind, source, [...declared.keys()]);
      return [];
    }
    // A config without a target stands at the root of the file system, a secret in /run/secrets.
    const target = fields?.get('target')?.text() ?? (kind === 'config' ? `/${source}` : source);
    return [
      {
        name: declaration.name,
        target,
        uid: fields?.get('uid')?.text() ?? '0',
        gid: fields?.get('gid')?.text() ?? '0',
        mode: fields?.get('mode')?.fileMode() ?? 0o444,
      },
    ];
  });
}
