/** The keys of a service: one entry says all that is known of a key. */
import { describeError } from '../../../common/base/errors.ts';
import { endpointOptionsOf, LINK_OPTION } from '../../../common/model/endpoint-options.ts';
import { LOG_DRIVERS } from '../../../common/model/log-driver.ts';
import { RECURSION_WORDS } from '../mounts.ts';
import { parseSecurityOption } from '../security-options.ts';
import { textOf, type Value } from '../tree.ts';
import { DEPLOY, DEVICE_REQUEST_KEYS, HOOK } from './deploy-keys.ts';
import { MOUNT_IDENTITIES, PORT_IDENTITIES, USE_IDENTITIES } from './identities.ts';
import {
  ANYTHING,
  COMMAND,
  COUNT,
  counted,
  DURATION,
  dict,
  either,
  FILE,
  FLAG,
  HOSTS,
  honoured,
  honouredFor,
  ignored,
  isOneOf,
  type Key,
  type KeyTable,
  list,
  map,
  mapped,
  matching,
  NAMES,
  NUMBER,
  nullable,
  OFF,
  ON,
  ONLY_FLAG,
  ONLY_NUMBER,
  OPTIONS,
  PAIRS,
  refused,
  refusedUnless,
  type Shape,
  section,
  set,
  TEXT,
  TEXT_LIST,
  TEXT_OR_SET,
  TEXT_SET,
  ULIMITS,
  type Verdict,
  words,
} from './key.ts';

const CONTAINER = 'ContainerSpec';

const FILE_USE = (kind: string): Key =>
  honoured(
    `${CONTAINER}.${kind}`,
    list(
      either(
        TEXT,
        map({
          source: honoured(`${CONTAINER}.${kind}`, TEXT),
          target: honoured(`${CONTAINER}.${kind}.File.Name`, TEXT),
          uid: honoured(`${CONTAINER}.${kind}.File.UID`, TEXT),
          gid: honoured(`${CONTAINER}.${kind}.File.GID`, TEXT),
          mode: honoured(`${CONTAINER}.${kind}.File.Mode`, NUMBER),
        }),
      ),
    ),
    USE_IDENTITIES,
  );

const PORT_KEYS: KeyTable = {
  target: honoured('EndpointSpec.Ports.TargetPort', COUNT),
  published: honoured('EndpointSpec.Ports.PublishedPort', COUNT),
  protocol: honoured('EndpointSpec.Ports.Protocol', TEXT),
  mode: honoured('EndpointSpec.Ports.PublishMode', TEXT),
  name: honoured('EndpointSpec.Ports.Name', TEXT),
  host_ip: honoured('EndpointSpec.Ports.HostIp', TEXT),
  app_protocol: ignored('no part of the cluster looks into what a port carries', TEXT),
};

const MOUNT = `${CONTAINER}.Mounts`;
const VOLUME_KEYS: KeyTable = {
  type: {
    ...honoured(`${MOUNT}.Type`, words('bind', 'volume', 'tmpfs', 'cluster', 'npipe', 'image')),
    judge: (value) =>
      isOneOf(value, ['cluster', 'npipe', 'image'])
        ? { kind: 'refused', why: `mounts of type ${textOf(value)} are not supported` }
        : null,
  },
  source: honoured(`${MOUNT}.Source`, { scalar: { types: ['string'], path: 'bind' } }),
  target: honoured(`${MOUNT}.Target`, TEXT),
  read_only: honoured(`${MOUNT}.ReadOnly`, FLAG),
  consistency: ignored('it concerns other systems than Linux', TEXT),
  bind: section(
    map({
      propagation: honoured(`${MOUNT}.BindOptions.Propagation`, TEXT),
      create_host_path: honoured(`${MOUNT}.BindOptions.CreateMountpoint`, FLAG),
      recursive: honoured(`${MOUNT}.BindOptions.NonRecursive`, words(...RECURSION_WORDS)),
      selinux: ignored('SELinux labels are not set', words('z', 'Z')),
    }),
  ),
  volume: section(
    map({
      labels: honoured(`${MOUNT}.VolumeOptions.Labels`, PAIRS, 'pairs'),
      nocopy: honoured(`${MOUNT}.VolumeOptions.NoCopy`, FLAG),
      subpath: honoured(`${MOUNT}.VolumeOptions.Subpath`, TEXT),
    }),
  ),
  tmpfs: section(
    map({
      size: honoured(`${MOUNT}.TmpfsOptions.SizeBytes`, {
        scalar: { types: ['integer', 'string'], least: 0 },
      }),
      mode: honoured(`${MOUNT}.TmpfsOptions.Mode`, NUMBER),
    }),
  ),
  image: section(map({ subpath: refused('mounts of images are not supported', TEXT) })),
};

/** By the words of the control API, which has the last one. */
function judgeAttachmentOptions(value: Value): Verdict | null {
  if (value.kind !== 'map') return null;
  const options = [...value.entries].map(([name, entry]) => [name, textOf(entry.value) ?? '']);
  return optionsVerdict(Object.fromEntries(options));
}

function judgeLinkName(value: Value): Verdict | null {
  return value.kind === 'scalar' ? optionsVerdict({ [LINK_OPTION]: value.text }) : null;
}

function optionsVerdict(options: Record<string, string>): Verdict | null {
  try {
    endpointOptionsOf(options);
    return null;
  } catch (err) {
    return { kind: 'refused', why: describeError(err) };
  }
}

const ATTACHMENT_KEYS: KeyTable = {
  aliases: honoured('Networks.Aliases', TEXT_SET),
  driver_opts: { ...honoured('Networks.DriverOpts', OPTIONS), judge: judgeAttachmentOptions },
  interface_name: { ...honoured('Networks.DriverOpts', TEXT), judge: judgeLinkName },
  ipv4_address: honoured('Networks.IPAMConfig.IPv4Address', TEXT),
  ipv6_address: refused('a task has the IPv6 address that ends with its IPv4 address', TEXT),
  link_local_ips: refused('link-local addresses cannot be given yet', TEXT_SET),
  mac_address: refused("MAC addresses follow from the cluster's own addresses", TEXT),
  priority: ignored("the order of a task's interfaces cannot be chosen yet", ONLY_NUMBER),
  gw_priority: ignored(
    'traffic to the outside has one way, whatever networks there are',
    ONLY_NUMBER,
  ),
};

const HOST_TOOLS = 'it concerns tools that work on the sources';

const BUILD: Shape = either(
  TEXT,
  map({
    context: section(TEXT),
    dockerfile: section(TEXT),
    dockerfile_inline: section(TEXT),
    entitlements: section(TEXT_LIST),
    args: section(PAIRS, 'pairs'),
    ssh: section(PAIRS, 'pairs'),
    labels: section(PAIRS, 'pairs'),
    cache_from: section(TEXT_LIST),
    cache_to: section(TEXT_LIST),
    no_cache: section(FLAG),
    additional_contexts: section(PAIRS, 'pairs'),
    network: section(TEXT),
    provenance: section(FLAG),
    sbom: section(FLAG),
    pull: section(FLAG),
    target: section(TEXT),
    shm_size: section(COUNT),
    extra_hosts: section(HOSTS, 'hosts'),
    isolation: section(TEXT),
    privileged: section(FLAG),
    secrets: FILE_USE('Secrets'),
    tags: section(TEXT_LIST),
    ulimits: section(ULIMITS),
    platforms: section(TEXT_LIST),
  }),
);

const WATCH: Shape = list(
  map(
    {
      path: section(TEXT),
      action: section(words('rebuild', 'sync', 'restart', 'sync+restart', 'sync+exec')),
      target: section(TEXT),
      ignore: section(TEXT_OR_SET),
      include: section(TEXT_OR_SET),
      exec: section(HOOK),
      initial_sync: section(ONLY_FLAG),
    },
    { required: ['path', 'action'] },
  ),
);

const BLKIO_LIMITS = list(
  map({ path: section(TEXT), rate: section(COUNT) }, { extensions: false }),
);
const BLKIO: Shape = map(
  {
    device_read_bps: honoured('Resources.BlkioDeviceReadBps', BLKIO_LIMITS),
    device_read_iops: honoured('Resources.BlkioDeviceReadIOps', BLKIO_LIMITS),
    device_write_bps: honoured('Resources.BlkioDeviceWriteBps', BLKIO_LIMITS),
    device_write_iops: honoured('Resources.BlkioDeviceWriteIOps', BLKIO_LIMITS),
    weight: honoured('Resources.BlkioWeight', COUNT),
    weight_device: refused(
      'the weight of one device cannot be given; weight can',
      list(map({ path: section(TEXT), weight: section(COUNT) }, { extensions: false })),
    ),
  },
  { extensions: false },
);

const START_ORDER = 'the order of first starts and of updates';
const DEPENDENCY: Shape = map(
  {
    condition: honoured(
      START_ORDER,
      words('service_started', 'service_healthy', 'service_completed_successfully'),
    ),
    restart: {
      ...ignored('what waits is not restarted with what it waits for', FLAG),
      judge: (value) => (isOneOf(value, OFF) ? { kind: 'honoured', to: START_ORDER } : null),
    },
    required: honoured(START_ORDER, ONLY_FLAG),
  },
  { required: ['condition'] },
);

/** Of `service:NAME` and `container:NAME`. */
function companionVerdict(text: string, to: string): Verdict | null {
  const where = 'of the task of that service on the same node';
  if (/^service:/.test(text)) return { kind: 'honoured', to: `${to}: ${where}` };
  if (!/^container:/.test(text)) return null;
  return { kind: 'mapped', to: `${to}: ${where}, which has this container_name` };
}

/** Honoured for these words, and for namespaces of other services of the deployment. */
function joinable(known: readonly string[], to: string, why: string, shape: Shape): Key {
  const key = honouredFor(known, to, why, shape);
  return {
    ...key,
    judge: (value) => companionVerdict(textOf(value) ?? '', to) ?? key.judge?.(value) ?? null,
  };
}

const NETWORK_MODE: Key = {
  shape: TEXT,
  verdict: {
    kind: 'refused',
    why: 'the mode of the network is host, none or service:NAME; other networks stand under networks',
  },
  judge: (value) => {
    const word = textOf(value) ?? '';
    if (word === 'host' || word === 'none') return { kind: 'honoured', to: 'Networks' };
    const companion = companionVerdict(word, 'Networks');
    if (companion) return companion;
    if (word === 'bridge') {
      return { kind: 'refused', why: 'services in the bridge of their node are not done yet' };
    }
    return null;
  },
};

const SCALAR_ANY: Shape = { scalar: { types: ['string', 'number', 'boolean'] } };
const RESOURCES = 'Resources';

export const SERVICE_KEYS: KeyTable = {
  // What runs, and as what.
  image: honoured(`${CONTAINER}.Image`, TEXT),
  command: honoured(`${CONTAINER}.Args`, COMMAND, 'replace'),
  entrypoint: honoured(`${CONTAINER}.Command`, COMMAND, 'replace'),
  environment: honoured(`${CONTAINER}.Env`, PAIRS, 'pairs'),
  env_file: honoured(
    `${CONTAINER}.Env`,
    either(
      FILE,
      list(
        either(
          FILE,
          map(
            {
              path: honoured(`${CONTAINER}.Env`, FILE),
              required: honoured('whether the file may be missing', FLAG),
              format: honoured('how the lines of the file are read', TEXT),
            },
            { required: ['path'], extensions: false },
          ),
        ),
      ),
    ),
  ),
  working_dir: honoured(`${CONTAINER}.Dir`, TEXT),
  user: honoured(`${CONTAINER}.User`, TEXT),
  group_add: honoured(`${CONTAINER}.Groups`, set(NUMBER)),
  labels: honoured(`${CONTAINER}.Labels`, PAIRS, 'pairs'),
  label_file: honoured(`${CONTAINER}.Labels`, either(FILE, list(FILE))),
  healthcheck: section(
    map({
      test: honoured(`${CONTAINER}.Healthcheck.Test`, either(TEXT, TEXT_LIST), 'replace'),
      interval: honoured(`${CONTAINER}.Healthcheck.Interval`, DURATION),
      timeout: honoured(`${CONTAINER}.Healthcheck.Timeout`, DURATION),
      retries: honoured(`${CONTAINER}.Healthcheck.Retries`, NUMBER),
      start_period: honoured(`${CONTAINER}.Healthcheck.StartPeriod`, DURATION),
      start_interval: honoured(`${CONTAINER}.Healthcheck.StartInterval`, DURATION),
      disable: honoured(`${CONTAINER}.Healthcheck.Test`, FLAG),
    }),
  ),
  stop_signal: honoured(`${CONTAINER}.StopSignal`, TEXT),
  stop_grace_period: honoured(`${CONTAINER}.StopGracePeriod`, DURATION),
  platform: mapped('Placement.Platforms: nodes of this platform', TEXT),
  pull_policy: ignored(
    'the registry is asked at deploy (--resolve-image), and a node pulls what it lacks',
    matching(
      /always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+/,
    ),
  ),
  pull_refresh_after: ignored('see pull_policy', TEXT),
  init: honoured(`${CONTAINER}.Init`, FLAG),
  tty: honoured(`${CONTAINER}.TTY`, FLAG),
  stdin_open: honoured(`${CONTAINER}.OpenStdin`, FLAG),
  attach: ignored('it concerns the console of `docker compose up`', FLAG),
  post_start: refused('hooks are not run', list(HOOK)),
  pre_stop: refused('hooks are not run', list(HOOK)),

  // How many, where, and when.
  deploy: section(DEPLOY),
  scale: mapped('Mode.Replicated.Replicas, as deploy.replicas', COUNT),
  restart: mapped('RestartPolicy, unless deploy.restart_policy is given', TEXT),
  profiles: honoured('whether the service is deployed (--profile, COMPOSE_PROFILES)', TEXT_SET),
  extends: honoured(
    'the keys of the other service, under these',
    either(
      TEXT,
      map(
        { service: honoured('which service', TEXT), file: honoured('of which file', FILE) },
        { required: ['service'], extensions: false },
      ),
    ),
  ),
  depends_on: honoured(START_ORDER, either(TEXT_SET, dict(DEPENDENCY, { names: NAMES })), {
    names: { condition: 'service_started' },
  }),

  // Files.
  volumes: honoured(
    MOUNT,
    set(
      either(
        { scalar: { types: ['string'], path: 'mount' } },
        map(VOLUME_KEYS, { required: ['type'] }),
      ),
    ),
    MOUNT_IDENTITIES,
  ),
  tmpfs: honoured(MOUNT, TEXT_OR_SET),
  secrets: FILE_USE('Secrets'),
  configs: FILE_USE('Configs'),
  read_only: honoured(`${CONTAINER}.ReadOnly`, FLAG),
  shm_size: mapped(`${MOUNT}: a tmpfs of this size at /dev/shm`, NUMBER),
  devices: honoured(
    `${CONTAINER}.Devices`,
    list(
      either(
        TEXT,
        map(
          {
            source: honoured(`${CONTAINER}.Devices.PathOnHost`, TEXT),
            target: honoured(`${CONTAINER}.Devices.PathInContainer`, TEXT),
            permissions: honoured(`${CONTAINER}.Devices.CgroupPermissions`, TEXT),
          },
          { required: ['source'] },
        ),
      ),
    ),
  ),
  device_cgroup_rules: honoured(`${CONTAINER}.DeviceCgroupRules`, TEXT_SET),
  gpus: honoured(
    `${CONTAINER}.DeviceRequests`,
    either(words('all'), list(map(DEVICE_REQUEST_KEYS, { open: true }))),
  ),
  volumes_from: refused('tasks share data by a named volume that both mount', TEXT_SET),
  storage_opt: refused("the size of a container's layer cannot be limited", dict(ANYTHING)),

  // Networks.
  networks: honoured(
    'Networks',
    either(TEXT_SET, dict(nullable(map(ATTACHMENT_KEYS)), { names: NAMES })),
    { names: null },
  ),
  ports: honoured(
    'EndpointSpec.Ports',
    set(either({ scalar: { types: ['number', 'string'] } }, map(PORT_KEYS))),
    PORT_IDENTITIES,
  ),
  container_name: mapped(
    'Networks.Aliases: a further name of the service',
    matching(/[a-zA-Z0-9][a-zA-Z0-9_.-]+/),
  ),
  hostname: honoured(`${CONTAINER}.Hostname`, TEXT),
  domainname: honoured(`${CONTAINER}.Domainname`, TEXT),
  extra_hosts: honoured(`${CONTAINER}.Hosts`, HOSTS, 'hosts'),
  dns: honoured(`${CONTAINER}.DNSConfig.Nameservers`, TEXT_OR_SET),
  dns_search: honoured(`${CONTAINER}.DNSConfig.Search`, TEXT_OR_SET),
  dns_opt: honoured(`${CONTAINER}.DNSConfig.Options`, TEXT_SET),
  expose: mapped('nothing: every port of a task is open to its networks', set(NUMBER)),
  links: {
    ...mapped('nothing: services of a network reach each other by name', TEXT_SET),
    judge: (value) =>
      value.kind === 'list' && value.items.some((item) => textOf(item)?.includes(':'))
        ? { kind: 'refused', why: 'give the linked service an alias in its networks instead' }
        : null,
  },
  external_links: refused('use a network that both services are attached to', TEXT_SET),
  network_mode: NETWORK_MODE,
  mac_address: refused("MAC addresses follow from the cluster's own addresses", TEXT),

  // Limits.
  cpus: mapped(`${RESOURCES}.Limits.NanoCPUs`, NUMBER),
  cpu_quota: mapped(`${RESOURCES}.Limits.NanoCPUs: cpu_quota / cpu_period`, NUMBER),
  cpu_period: mapped(`${RESOURCES}.Limits.NanoCPUs: cpu_quota / cpu_period`, NUMBER),
  cpu_shares: honoured(`${RESOURCES}.CpuShares`, NUMBER),
  cpu_count: refused('it concerns Windows', counted(0, Number.MAX_SAFE_INTEGER)),
  cpu_percent: refused('it concerns Windows', counted(0, 100)),
  cpu_rt_period: refused('real-time scheduling cannot be given yet', NUMBER),
  cpu_rt_runtime: refused('real-time scheduling cannot be given yet', NUMBER),
  cpuset: honoured(`${RESOURCES}.CpusetCpus`, TEXT),
  mem_limit: mapped(`${RESOURCES}.Limits.MemoryBytes`, NUMBER),
  mem_reservation: mapped(`${RESOURCES}.Reservations.MemoryBytes`, COUNT),
  memswap_limit: mapped(`${RESOURCES}.SwapBytes: memswap_limit - mem_limit`, NUMBER),
  mem_swappiness: honoured(`${RESOURCES}.MemorySwappiness`, COUNT),
  oom_kill_disable: honoured(`${RESOURCES}.OomKillDisable`, FLAG),
  oom_score_adj: honoured(`${CONTAINER}.OomScoreAdj`, counted(-1000, 1000)),
  pids_limit: mapped(`${RESOURCES}.Limits.Pids`, NUMBER),
  blkio_config: section(BLKIO),
  ulimits: honoured(`${CONTAINER}.Ulimits`, ULIMITS),
  sysctls: honoured(`${CONTAINER}.Sysctls`, PAIRS, 'pairs'),

  // Privileges and namespaces.
  cap_add: honoured(`${CONTAINER}.CapabilityAdd`, TEXT_SET),
  cap_drop: honoured(`${CONTAINER}.CapabilityDrop`, TEXT_SET),
  privileged: honoured(`${CONTAINER}.Privileged`, FLAG),
  security_opt: {
    ...mapped(`${CONTAINER}.Privileges`, set({ scalar: { types: ['string'], path: 'security' } })),
    judge: judgeSecurityOptions,
  },
  pid: joinable(
    ['', 'host'],
    `${CONTAINER}.PidMode`,
    'the mode of process ids is host or service:NAME',
    nullable(TEXT),
  ),
  ipc: joinable(
    ['', 'private', 'host', 'none', 'shareable'],
    `${CONTAINER}.IpcMode`,
    'the mode of IPC is private, host, none, shareable or service:NAME',
    TEXT,
  ),
  uts: honouredFor(['', 'host'], `${CONTAINER}.UTSMode`, 'the mode of UTS is host or none', TEXT),
  cgroup: honoured(`${CONTAINER}.CgroupnsMode`, words('host', 'private')),
  cgroupns_mode: honouredFor(
    ['private', 'host'],
    `${CONTAINER}.CgroupnsMode`,
    'the mode of the cgroup namespace is private or host',
    TEXT,
  ),
  cgroup_parent: refused("the cgroups of tasks are the daemon's", TEXT),
  userns_mode: honouredFor(
    ['', 'private', 'host'],
    `${CONTAINER}.UsernsMode`,
    'a user namespace is private or host',
    TEXT,
  ),
  isolation: refusedUnless(['default'], 'it concerns Windows', TEXT),
  runtime: honoured(`${CONTAINER}.Runtime`, TEXT),
  credential_spec: refused(
    'it concerns Windows',
    map({ config: section(TEXT), file: section(TEXT), registry: section(TEXT) }),
  ),
  use_api_socket: {
    ...refused('mount the socket as a volume', ONLY_FLAG),
    judge: (value) => (isOneOf(value, ON) ? null : { kind: 'honoured', to: 'no socket' }),
  },

  // Logs.
  logging: section(
    map({
      driver: {
        ...honoured('LogDriver.Name', TEXT),
        judge: (value) =>
          isOneOf(value, LOG_DRIVERS)
            ? null
            : { kind: 'refused', why: `there are ${LOG_DRIVERS.join(', ')}` },
      },
      options: honoured('LogDriver.Options', dict({ ...NUMBER, nullable: true })),
    }),
    'driver',
  ),

  // What belongs to tools for one host.
  build: ignored('images are not built here: `image` must name one', BUILD),
  develop: ignored(HOST_TOOLS, nullable(map({ watch: section(WATCH) }))),
  annotations: ignored('nothing reads the annotations of a container', PAIRS, 'pairs'),
  provider: refused(
    'services of other tools cannot be made',
    map(
      {
        type: section(TEXT),
        options: section(dict(either(SCALAR_ANY, list(SCALAR_ANY)))),
      },
      { required: ['type'] },
    ),
  ),
  models: refused(
    'models cannot be run',
    either(
      TEXT_SET,
      dict(map({ endpoint_var: section(TEXT), model_var: section(TEXT) }), { names: NAMES }),
    ),
  ),
};

function judgeSecurityOptions(value: Value): Verdict | null {
  if (value.kind !== 'list') return null;
  const unknown = value.items
    .map((item) => textOf(item) ?? '')
    .find((text) => parseSecurityOption(text) === null);
  if (unknown === undefined) return null;
  return { kind: 'refused', why: `${JSON.stringify(unknown)} cannot be set yet` };
}
