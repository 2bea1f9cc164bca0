import { beforeEach, describe, expect, test } from 'vitest';
import type {
  ContainerSpec,
  PortConfig,
  ServiceMode,
  ServiceSpec,
  TaskSpec,
} from '../../../common/model/service.ts';
import {
  ANYWHERE,
  DEFAULT_UPDATE_CONFIG,
  NO_RESOURCES,
  PLAIN_BIND,
} from '../../../common/model/service.ts';
import type { DesiredState, TaskState } from '../../../common/model/task-state.ts';
import type { ServiceStatus } from '../../../manager/controlapi/service-status.ts';
import {
  aConfig,
  aContainerSpec,
  aNetwork,
  aNetworkSpec,
  aNetworkTarget,
  aNode,
  aPort,
  aSecret,
  aServiceSpec,
  aTaskOf,
  aTaskSpec,
  aTaskStatus,
} from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';

let it: TestControlApi;

beforeEach(async () => {
  it = await makeControlApi();
});

const withTask = (task: Partial<TaskSpec>) => aServiceSpec({ task: aTaskSpec(task) });
const withContainer = (container: Partial<ContainerSpec>) =>
  withTask({ container: aContainerSpec(container) });
const withPorts = (...ports: Parameters<typeof aPort>[0][]) =>
  aServiceSpec({ endpoint: { mode: 'vip', ports: ports.map(aPort) } });
const bindMount = (readOnly: boolean, options: Partial<typeof PLAIN_BIND>) =>
  mount({ type: 'bind', source: '/a', readOnly, bind: { ...PLAIN_BIND, ...options } });
const mount = (overrides: object) => ({
  type: 'volume' as const,
  source: 'data',
  target: '/data',
  readOnly: false,
  bind: null,
  volume: null,
  tmpfs: null,
  ...overrides,
});
const file = { name: 'x', uid: '0', gid: '0', mode: 0o444 };
const health = {
  test: [],
  intervalNanos: 0,
  timeoutNanos: 0,
  startPeriodNanos: 0,
  startIntervalNanos: 0,
  retries: 0,
};
const resources = (limits: object, others: object = {}) => ({
  ...NO_RESOURCES,
  limits: { ...NO_RESOURCES.limits, ...limits },
  ...others,
});

const PLAIN_VOLUME = { noCopy: false, labels: {}, driver: 'local', driverOptions: {}, subpath: '' };

const onHost = (port: Partial<PortConfig>): ServiceSpec => ({
  ...withTask({ networks: [aNetworkTarget({ target: 'host' })] }),
  endpoint: { mode: 'vip', ports: [aPort(port)] },
});

const INVALID: [string, ServiceSpec, string][] = [
  ['an empty name', aServiceSpec({ name: '' }), 'name must be provided'],
  ['a dot in its name', aServiceSpec({ name: 'a.b' }), 'valid as a DNS name component'],
  [
    'a host name that no kernel takes',
    withTask({ container: aContainerSpec({ hostname: 'h'.repeat(65) }) }),
    'hostname of 65 bytes exceeds the limit of 64',
  ],
  [
    'a host name that grows too long',
    withTask({ container: aContainerSpec({ hostname: `{{.Task.Slot}}${'h'.repeat(64)}` }) }),
    'expanding hostname failed: template parsing error: more than 64 characters of output',
  ],
  [
    'a host name of two lines',
    withTask({ container: aContainerSpec({ hostname: 'a\nb' }) }),
    'has blanks in it',
  ],
  ['a name of 64 characters', aServiceSpec({ name: 'a'.repeat(64) }), '63 characters or fewer'],
  [
    'the network of the host and another',
    withTask({ networks: [aNetworkTarget({ target: 'host' }), aNetworkTarget({ target: 'a' })] }),
    'network host cannot be combined with other networks',
  ],
  [
    'a name in the network of the host',
    withTask({ networks: [aNetworkTarget({ target: 'host', aliases: ['db'] })] }),
    'network host: aliases are names in networks of the cluster',
  ],
  [
    'a port of the routing mesh in the network of the host',
    onHost({ targetPort: 80, publishedPort: 8080 }),
    'port 8080: a service in the host',
  ],
  [
    'another number for a port of the host',
    onHost({ targetPort: 80, publishedPort: 8080, publishMode: 'host' }),
    'the published port must be 80',
  ],
  [
    'a port without a network',
    { ...onHost({}), task: withTask({ networks: [aNetworkTarget({ target: 'none' })] }).task },
    'a service in network none cannot publish ports',
  ],
  ['no image', withContainer({ image: '' }), 'image reference must be provided'],
  ['a bad image', withContainer({ image: 'Not OK' }), '"Not OK" is not a valid repository/tag'],
  [
    'two mounts at one place',
    withContainer({ mounts: [mount({}), mount({})] }),
    'duplicate mount point: /data',
  ],
  [
    'a relative mount target',
    withContainer({ mounts: [mount({ target: 'x' })] }),
    'must be absolute',
  ],
  [
    'a relative bind source',
    withContainer({ mounts: [mount({ type: 'bind' })] }),
    "'data' mount path must be absolute",
  ],
  [
    'a tmpfs with a source',
    withContainer({ mounts: [mount({ type: 'tmpfs' })] }),
    'Source must not be specified',
  ],
  [
    'an unknown field in a template',
    withContainer({ env: ['A={{.Task.Colour}}'] }),
    `expanding env "A={{.Task.Colour}}" failed: template parsing error: can't evaluate field Colour`,
  ],
  [
    'a template that names a label which the service does not have',
    withContainer({ hostname: '{{.Service.Labels.none}}' }),
    'expanding hostname failed',
  ],
  [
    'an unclosed template',
    withContainer({ mounts: [mount({ source: '{{.Task.Slot' })] }),
    'expanding mount source "{{.Task.Slot" failed',
  ],
  [
    'a mount target that is relative once it is expanded',
    withContainer({ mounts: [mount({ target: '{{.Task.Slot}}' })] }),
    'must be absolute',
  ],
  [
    'two mounts at one place once they are expanded',
    withContainer({
      mounts: [mount({ target: '/1' }), mount({ target: '/{{.Task.Slot}}' })],
    }),
    'duplicate mount point',
  ],
  [
    'a tree of mounts that is read-only where nothing is',
    withContainer({ mounts: [bindMount(false, { readOnlyNonRecursive: true })] }),
    'mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive',
  ],
  [
    'a tree of mounts that is both read-only and not',
    withContainer({
      mounts: [bindMount(true, { readOnlyNonRecursive: true, readOnlyForceRecursive: true })],
    }),
    'BindOptions.ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive',
  ],
  [
    'a tree of mounts that is to be read-only and is not taken along',
    withContainer({
      mounts: [bindMount(true, { nonRecursive: true, readOnlyForceRecursive: true })],
    }),
    'BindOptions.NonRecursive && BindOptions.ReadOnlyForceRecursive',
  ],
  [
    'a tree of mounts to which the host could add what is not read-only',
    withContainer({
      mounts: [bindMount(true, { propagation: 'rslave', readOnlyForceRecursive: true })],
    }),
    'ReadOnlyForceRecursive requires private propagation',
  ],
  ['a mount over everything', withContainer({ mounts: [mount({ target: '/' })] }), "can't be '/'"],
  [
    'a short health interval',
    withContainer({ healthcheck: { ...health, intervalNanos: 1 } }),
    'Interval in HealthConfig cannot be less than 1ms',
  ],
  [
    'negative health retries',
    withContainer({ healthcheck: { ...health, retries: -1 } }),
    'Retries in HealthConfig',
  ],
  [
    'an unknown health form',
    withContainer({ healthcheck: { ...health, test: ['curl'] } }),
    'starts with "curl"',
  ],
  [
    'a soft above a hard limit',
    withContainer({ ulimits: [{ name: 'nofile', soft: 2, hard: 1 }] }),
    'soft limit',
  ],
  [
    'too little cpu',
    withTask({ resources: resources({ nanoCpus: 999_999 }) }),
    'Must be at least 0.001',
  ],
  [
    'too little memory',
    withTask({ resources: resources({ memoryBytes: 4194303 }) }),
    'Must be at least 4MiB',
  ],
  [
    'negative memory',
    withTask({ resources: resources({ memoryBytes: -1 }) }),
    'invalid memory value -1: Must be at least 4MiB',
  ],
  [
    'a memory limit that holds no process',
    withTask({ resources: resources({ memoryBytes: 6291455 }) }),
    'Limits.MemoryBytes 6291455: Minimum memory limit allowed is 6MB',
  ],
  [
    'swap without a memory limit',
    withTask({ resources: resources({}, { swapBytes: 1 }) }),
    'needs a memory limit',
  ],
  [
    'a bad constraint',
    withTask({ placement: { ...ANYWHERE, constraints: ['node.role=manager'] } }),
    'expected one operator from',
  ],
  [
    'negative restart delay',
    withTask({ restart: { condition: 'any', delayNanos: -1, maxAttempts: 0, windowNanos: 0 } }),
    'restart-delay cannot be negative',
  ],
  [
    'a negative count',
    aServiceSpec({ mode: { kind: 'replicated', replicas: -1 } }),
    'must be non-negative',
  ],
  [
    'more replicas than any cluster can hold',
    aServiceSpec({ mode: { kind: 'replicated', replicas: 1e9 } }),
    '1000000000 tasks: a service may have 100000 or fewer',
  ],
  [
    'a negative number of concurrent jobs',
    aServiceSpec({ mode: { kind: 'replicated-job', maxConcurrent: -1, totalCompletions: 1 } }),
    'Maximum concurrent jobs must not be negative',
  ],
  [
    'a negative number of completions',
    aServiceSpec({ mode: { kind: 'replicated-job', maxConcurrent: 1, totalCompletions: -1 } }),
    'Total completed jobs must not be negative',
  ],
  [
    'an update config for a job',
    aServiceSpec({ mode: { kind: 'global-job' }, update: DEFAULT_UPDATE_CONFIG }),
    'Jobs may not have an update config',
  ],
  [
    'a rollback config for a job',
    aServiceSpec({ mode: { kind: 'global-job' }, rollback: DEFAULT_UPDATE_CONFIG }),
    'Jobs may not have a rollback config',
  ],
  [
    'negative update delay',
    aServiceSpec({ update: { ...DEFAULT_UPDATE_CONFIG, delayNanos: -1 } }),
    'update-delay cannot be negative',
  ],
  [
    'a failure ratio over 1',
    aServiceSpec({ rollback: { ...DEFAULT_UPDATE_CONFIG, maxFailureRatio: 1.1 } }),
    'rollback-maxfailureratio',
  ],
  [
    'one port twice',
    withPorts({ publishedPort: 80 }, { publishedPort: 80 }),
    'duplicate published ports provided: 80/tcp',
  ],
  ['target port 0', withPorts({ targetPort: 0 }), 'target port 0 is not in 1..65535'],
  [
    'ingress ports in dnsrr mode',
    aServiceSpec({ endpoint: { mode: 'dnsrr', ports: [aPort()] } }),
    "can't be used with dnsrr mode",
  ],
  [
    'a secret without a target',
    withContainer({
      secrets: [{ secretId: 's' as never, secretName: 's', file: { ...file, name: '' } }],
    }),
    'malformed secret reference, no target',
  ],
  [
    'a part of a volume that is not in it',
    withContainer({
      mounts: [mount({ volume: { ...PLAIN_VOLUME, subpath: 'a/../../b' } })],
    }),
    'mount /data: subpath must be a relative path within the volume: a/../../b',
  ],
];

const VOLUME = PLAIN_VOLUME;
const NOT_DONE: [string, ServiceSpec, string][] = [
  ['another runtime', withTask({ runtime: 'plugin' }), 'runtime "plugin"'],
  [
    'a cluster mount',
    withContainer({ mounts: [mount({ type: 'cluster' })] }),
    'mount type "cluster"',
  ],
  [
    'a volume of another driver',
    withContainer({ mounts: [mount({ volume: { ...VOLUME, driver: 'rexray' } })] }),
    'mount /data: volume driver "rexray" is not done yet',
  ],
  [
    'a size of a volume',
    withContainer({ mounts: [mount({ volume: { ...VOLUME, driverOptions: { size: '1g' } } })] }),
    'volume driver option size is not supported',
  ],
  [
    'a credential spec',
    withContainer({ configs: [{ configId: 'c' as never, configName: 'c', file: null }] }),
    'credential specs',
  ],
  [
    'the bridge of its node',
    withTask({ networks: [aNetworkTarget({ target: 'bridge' })] }),
    'network "bridge"',
  ],
];

describe('a new service', () => {
  test.each(INVALID)('is refused with %s', async (_, spec, message) => {
    const creating = it.api.createService(spec);
    await expect(creating).rejects.toThrow(message);
    await expect(creating).rejects.toMatchObject({ code: 'invalid-argument' });
    expect(await it.api.listServices()).toEqual([]);
  });

  test.each(NOT_DONE)('as %s is refused by name', async (_, spec, message) => {
    const creating = it.api.createService(spec);
    await expect(creating).rejects.toThrow(message);
    await expect(creating).rejects.toMatchObject({ code: 'unimplemented' });
  });

  const IFNAME = 'com.docker.network.endpoint.ifname';
  const SYSCTLS = 'com.docker.network.endpoint.sysctls';
  test.each([
    [{ mac: 'x' }, 'unimplemented', 'DriverOpts "mac" is not supported: there are com.docker'],
    [{ [IFNAME]: 'eth7' }, 'invalid-argument', "'eth7' is no name for a link"],
    [{ [IFNAME]: 'lo' }, 'invalid-argument', "'lo' is no name for a link"],
    [{ [IFNAME]: 'all' }, 'invalid-argument', "'all' is no name for a link"],
    [{ [IFNAME]: 'default' }, 'invalid-argument', "'default' is no name for a link"],
    [{ [IFNAME]: 'a'.repeat(16) }, 'invalid-argument', 'is no name for a link: up to 15'],
    [{ [IFNAME]: '../x' }, 'invalid-argument', "'../x' is no name for a link"],
    [{ [IFNAME]: 'front' }, 'invalid-argument', "'front' is given twice"],
    [{ [SYSCTLS]: 'net.ipv4.ip_forward=1' }, 'invalid-argument', 'is not of the form net.ipv4'],
    [{ [SYSCTLS]: 'net.ipv4.conf.eth0.forwarding=1' }, 'invalid-argument', 'conf.IFNAME.NAME'],
    [{ [SYSCTLS]: 'net.ipv4.conf.IFNAME.x=1\nipv4/ip_forward=1' }, 'invalid-argument', 'form'],
  ])('is refused with options of an attachment %o', async (driverOptions, code, words) => {
    for (const name of ['front', 'back']) await it.api.createNetwork(aNetworkSpec({ name }));
    const networks = [
      aNetworkTarget({ target: 'front', driverOptions: { [IFNAME]: 'front' } }),
      aNetworkTarget({ target: 'back', driverOptions }),
    ];
    await expect(it.api.createService(withTask({ networks }))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(/^network back: /),
    });
    await expect(it.api.createService(withTask({ networks }))).rejects.toThrow(words);
  });

  test('is refused with options of an attachment where each node makes the links', async () => {
    await it.api.createNetwork(aNetworkSpec({ name: 'br', driver: 'bridge' }));
    const target = aNetworkTarget({ target: 'br', driverOptions: { [IFNAME]: 'front' } });
    await expect(it.api.createService(withTask({ networks: [target] }))).rejects.toMatchObject({
      code: 'unimplemented',
      message: `network br: DriverOpts "${IFNAME}" in networks of bridge are not done yet`,
    });
  });

  test('keeps options of attachments as they were given', async () => {
    await it.api.createNetwork(aNetworkSpec({ name: 'back' }));
    const driverOptions = {
      [IFNAME]: 'back0',
      [SYSCTLS]: 'net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.IFNAME.retrans_time_ms=500',
    };
    const target = aNetworkTarget({ target: 'back', driverOptions });
    const { spec } = await it.api.createService(withTask({ networks: [target] }));
    expect(spec.task.networks[0]!.driverOptions).toEqual(driverOptions);
  });

  test('keeps its templates: they are expanded where its tasks run', async () => {
    const container = aContainerSpec({
      env: ['SLOT={{.Task.Slot}}', 'TIER={{.Service.Labels.tier}}'],
      hostname: '{{.Node.Hostname}}',
    });
    const task = aTaskSpec({ container });
    const service = await it.api.createService(aServiceSpec({ task, labels: { tier: 'front' } }));
    expect(it.get('service', service.id).spec.task.container).toEqual(container);
  });

  test.each(['host', 'none'])('keeps the word of network %s', async (target) => {
    const networks = [aNetworkTarget({ target })];
    const service = await it.api.createService(withTask({ networks }));
    expect(it.get('service', service.id).spec.task.networks).toEqual(networks);
    const to = { ...service.spec, task: { ...service.spec.task, forceUpdate: 1 } };
    await it.api.updateService(service.id, service.meta.version, to);
    expect(it.get('service', service.id).spec.task.networks).toEqual(networks);
  });

  test("keeps a port of the host free in the host's network", async () => {
    const spec = onHost({ targetPort: 80, publishedPort: 80, publishMode: 'host' });
    const service = await it.api.createService(spec);
    expect(it.get('service', service.id).spec.endpoint).toEqual(spec.endpoint);
  });

  test('is stored as it was asked for, with its networks by id', async () => {
    const [network] = await it.create(
      'network',
      aNetwork({ spec: aNetworkSpec({ name: 'back' }) }),
    );
    const spec = withTask({ networks: [aNetworkTarget({ target: 'back', aliases: ['db'] })] });
    const service = await it.api.createService(spec);
    expect(service.spec).toEqual({
      ...spec,
      task: { ...spec.task, networks: [{ ...spec.task.networks[0], target: network!.id }] },
    });
    expect(service).toMatchObject({ specVersion: 0, previousSpec: null, endpoint: null });
    expect(await it.api.getService(service.id)).toEqual(service);
  });

  test('may not take a name in use, whatever its case', async () => {
    await it.api.createService(aServiceSpec({ name: 'web' }));
    await expect(it.api.createService(aServiceSpec({ name: 'Web' }))).rejects.toMatchObject({
      code: 'name-conflict',
      message: 'name conflicts with an existing object: service Web already exists',
    });
  });

  test('needs the secrets and configs that it names, by id and name', async () => {
    const [secret] = await it.create('secret', aSecret());
    const reference = { secretId: secret!.id, secretName: secret!.spec.name, file };
    await it.api.createService(withContainer({ secrets: [reference] }));
    const renamed = { ...reference, secretName: 'other' };
    const unknown = {
      ...reference,
      secretId: 'x' as never,
      secretName: 'third',
      file: { ...file, name: 'y' },
    };
    await expect(it.api.createService(withContainer({ secrets: [renamed] }))).rejects.toThrow(
      'secret not found: other',
    );
    await expect(
      it.api.createService(withContainer({ secrets: [renamed, unknown] })),
    ).rejects.toThrow('secrets not found: other, third');
    await expect(
      it.api.createService(withContainer({ secrets: [reference, { ...unknown, file }] })),
    ).rejects.toThrow("have a conflicting target: 'x'");
  });

  test('may have an address in a network, if one task has it and the network a subnet', async () => {
    const configs = [{ subnet: '10.9.0.0/24', gateway: '10.9.0.1', range: '', reserved: {} }];
    const ipam = { driver: 'default', options: {}, configs };
    await it.create(
      'network',
      aNetwork({ spec: aNetworkSpec({ name: 'back', ipam }) }),
      aNetwork({ spec: aNetworkSpec({ name: 'plain' }) }),
    );
    const addressed = (address: string, target = 'back', more: Partial<ServiceSpec> = {}) => ({
      ...withTask({ networks: [aNetworkTarget({ target, addresses: [address] })] }),
      mode: { kind: 'replicated', replicas: 1 } as const,
      ...more,
    });
    const { id, meta, spec } = await it.api.createService(addressed('10.9.0.7'));
    expect(spec.task.networks[0]!.addresses).toEqual(['10.9.0.7']);
    const refused = async (wanted: ServiceSpec, message: string): Promise<void> => {
      await expect(it.api.createService(wanted)).rejects.toMatchObject({
        code: 'invalid-argument',
        message: expect.stringContaining(message) as string,
      });
    };
    await refused(addressed('10.9.0.1'), 'network back: address 10.9.0.1 is its gateway');
    await refused(addressed('10.8.0.1'), 'is not in its subnet 10.9.0.0/24');
    await refused(addressed('10.0.1.7', 'plain'), 'needs a subnet that was chosen');
    await refused(addressed('10.9.0.7', 'back', { mode: { kind: 'global' } }), 'of another mode');
    const order = { ...DEFAULT_UPDATE_CONFIG, order: 'start-first' as const };
    await refused(addressed('10.9.0.7', 'back', { update: order }), 'must be stop-first');
    const scaled = { ...spec, mode: { kind: 'replicated' as const, replicas: 2 } };
    await expect(it.api.updateService(id, meta.version, scaled)).rejects.toThrow('has 2');
  });

  test('cannot join the ingress network or one that is not there', async () => {
    await it.create(
      'network',
      aNetwork({ spec: aNetworkSpec({ name: 'ingress', ingress: true }) }),
    );
    const joining = (target: string) =>
      it.api.createService(withTask({ networks: [aNetworkTarget({ target })] }));
    await expect(joining('ingress')).rejects.toThrow(
      'explicitly attached to the ingress network "ingress"',
    );
    await expect(joining('nowhere')).rejects.toMatchObject({
      code: 'not-found',
      message: 'network nowhere not found',
    });
  });
});

describe('published ports', () => {
  test('need an ingress network, host ports do not', async () => {
    await expect(it.api.createService(withPorts({ publishedPort: 80 }))).rejects.toMatchObject({
      code: 'failed-precondition',
      message: 'service needs ingress network, but no ingress network is present',
    });
    await it.api.createService(withPorts({ publishedPort: 80, publishMode: 'host' }));
  });

  test('of one number at two addresses are two; at every address it is theirs as well', async () => {
    await it.create('network', aNetwork({ spec: aNetworkSpec({ ingress: true }) }));
    const at = (hostIp: string) => withPorts({ publishedPort: 8080, hostIp });
    await it.api.createService(at('10.0.0.5'));
    await it.api.createService(at('10.0.0.6'));
    await expect(it.api.createService(at('10.0.0.6'))).rejects.toThrow(
      "port '8080' is already in use",
    );
    await expect(it.api.createService(at(''))).rejects.toThrow("port '8080' is already in use");
    await expect(it.api.createService(at('10.0.0'))).rejects.toThrow("'10.0.0' is no IP address");
    const six = withPorts({ publishedPort: 81, publishMode: 'host', hostIp: '::1' });
    await expect(it.api.createService(six)).rejects.toMatchObject({ code: 'unimplemented' });
  });

  test.each([
    ['ingress', 'ingress', true],
    ['ingress', 'host', true],
    ['host', 'ingress', true],
    ['host', 'host', false],
  ] as const)('of one number as %s and %s: conflict %s', async (first, second, conflict) => {
    await it.create('network', aNetwork({ spec: aNetworkSpec({ ingress: true }) }));
    const { id, spec } = await it.api.createService(
      withPorts({ publishedPort: 8080, publishMode: first }),
    );
    const creating = it.api.createService(withPorts({ publishedPort: 8080, publishMode: second }));
    const as = first === 'ingress' ? 'an ingress port' : 'a host-published port';
    if (conflict) {
      await expect(creating).rejects.toThrow(
        `port '8080' is already in use by service '${spec.name}' (${id}) as ${as}`,
      );
    } else {
      await creating;
    }
  });

  test('of another protocol or of the service itself do not conflict; allocated ones do', async () => {
    await it.create('network', aNetwork({ spec: aNetworkSpec({ ingress: true }) }));
    const first = await it.api.createService(withPorts({ publishedPort: 53 }));
    await it.api.createService(withPorts({ publishedPort: 53, protocol: 'udp' }));
    await it.api.updateService(first.id, first.meta.version, { ...first.spec, labels: { a: 'b' } });
    const dynamic = await it.api.createService(withPorts({}));
    await it.store.update((tx) => {
      const { endpoint } = dynamic.spec;
      const ports = [aPort({ publishedPort: 30_000 })];
      tx.update('service', { ...dynamic, endpoint: { spec: endpoint, ports, virtualIps: [] } });
    });
    await expect(it.api.createService(withPorts({ publishedPort: 30_000 }))).rejects.toThrow(
      "port '30000' is already in use",
    );
  });
});

describe('an update', () => {
  test('keeps the old spec and the version that identifies it', async () => {
    const first = await it.api.createService(aServiceSpec({ labels: { n: '1' } }));
    const second = await it.api.updateService(first.id, first.meta.version, {
      ...first.spec,
      labels: { n: '2' },
    });
    expect(second).toMatchObject({
      spec: { labels: { n: '2' } },
      specVersion: first.meta.version,
      previousSpec: { labels: { n: '1' } },
      previousSpecVersion: 0,
      updateStatus: null,
    });
    expect(second.meta.version).toBeGreaterThan(first.meta.version);
  });

  test('with an old version is out of sequence', async () => {
    const { id, spec, meta } = await it.api.createService(aServiceSpec());
    await it.api.updateService(id, meta.version, spec);
    await expect(it.api.updateService(id, meta.version, spec)).rejects.toMatchObject({
      code: 'version-conflict',
      message: 'update out of sequence',
    });
  });

  test('cannot rename or change the mode', async () => {
    const { id, spec, meta } = await it.api.createService(aServiceSpec());
    const update = (change: Partial<ServiceSpec>) =>
      it.api.updateService(id, meta.version, { ...spec, ...change });
    await expect(update({ name: 'other' })).rejects.toMatchObject({ code: 'unimplemented' });
    await expect(update({ mode: { kind: 'global' } })).rejects.toMatchObject({
      code: 'unimplemented',
    });
    for (const words of [spec, { ...spec, name: '' }]) {
      await expect(it.api.updateService('nobody', 1, words)).rejects.toMatchObject({
        code: 'not-found',
        message: 'service nobody not found',
      });
    }
  });

  test('back and back again gives the first spec', async () => {
    const first = await it.api.createService(aServiceSpec({ labels: { n: '1' } }));
    await expect(
      it.api.updateService(first.id, first.meta.version, first.spec, { rollback: true }),
    ).rejects.toMatchObject({
      code: 'failed-precondition',
      message: `service ${first.spec.name} does not have a previous spec`,
    });
    const second = await it.api.updateService(first.id, first.meta.version, {
      ...first.spec,
      labels: { n: '2' },
    });
    const third = await it.api.updateService(first.id, second.meta.version, second.spec, {
      rollback: true,
    });
    expect(third).toMatchObject({
      spec: { labels: { n: '1' } },
      specVersion: 0,
      previousSpec: { labels: { n: '2' } },
      previousSpecVersion: first.meta.version,
      updateStatus: {
        state: 'rollback_started',
        message: 'manually requested rollback',
        completedAtMs: null,
      },
    });
    const fourth = await it.api.updateService(first.id, third.meta.version, third.spec, {
      rollback: true,
    });
    expect(fourth.spec.labels).toEqual({ n: '2' });
  });

  test('counts the iterations of a job, and says when each began', async () => {
    const job = await it.api.createService(
      aServiceSpec({ mode: { kind: 'replicated-job', maxConcurrent: 1, totalCompletions: 2 } }),
    );
    expect(job.jobStatus).toEqual({ iteration: 0, lastExecutionMs: it.clock.wallMs() });
    await it.clock.advance(5000);
    const next = await it.api.updateService(job.id, job.meta.version, job.spec);
    expect(next.jobStatus).toEqual({ iteration: 1, lastExecutionMs: it.clock.wallMs() });
    const back = await it.api.updateService(job.id, next.meta.version, next.spec, {
      rollback: true,
    });
    expect(back).toMatchObject({ jobStatus: { iteration: 2 }, updateStatus: null });
  });
});

describe('registry credentials', () => {
  const stored = () => it.get('service', id).spec.task.container.registryAuth;
  let id = '';

  test('are never shown, and kept from the spec that the update names', async () => {
    const first = await it.api.createService(withContainer({ registryAuth: 'first' }));
    id = first.id;
    expect(first.spec.task.container.registryAuth).toBe(null);
    expect((await it.api.listServices())[0]?.spec.task.container.registryAuth).toBe(null);
    const kept = await it.api.updateService(id, first.meta.version, first.spec);
    expect(stored()).toBe('first');
    expect(kept.previousSpec?.task.container.registryAuth).toBe(null);
    const container = { ...first.spec.task.container, registryAuth: 'second' };
    const other = await it.api.updateService(id, kept.meta.version, {
      ...first.spec,
      task: { ...first.spec.task, container },
    });
    expect(stored()).toBe('second');
    await it.api.updateService(id, other.meta.version, first.spec, {
      registryAuthFrom: 'previous-spec',
    });
    expect(stored()).toBe('first');
  });
});

describe('looking up', () => {
  test('goes by id, then name, then prefix of an id', async () => {
    const a = await it.api.createService(aServiceSpec({ name: 'alpha' }));
    const b = await it.api.createService(aServiceSpec({ name: a.id.slice(0, 5) }));
    expect((await it.api.getService(a.id)).id).toBe(a.id);
    expect((await it.api.getService('ALPHA')).id).toBe(a.id);
    expect((await it.api.getService(a.id.slice(0, 6))).id).toBe(a.id);
    expect((await it.api.getService(a.id.slice(0, 5))).id).toBe(b.id);
    await expect(it.api.getService('')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('tells how many could be meant', async () => {
    const template = await it.api.createService(aServiceSpec());
    await it.store.update((tx) => {
      for (const n of ['1', '2']) {
        tx.create('service', { ...template, id: `same${n}` as never, spec: aServiceSpec() });
      }
    });
    await expect(it.api.getService('same')).rejects.toMatchObject({
      code: 'invalid-argument',
      message: 'service same is ambiguous (2 matches found)',
    });
  });
});

describe('lists', () => {
  test('of services are narrowed by id, name, labels and mode, after the barrier', async () => {
    const web = await it.api.createService(
      aServiceSpec({ name: 'web', labels: { tier: 'front', a: '' } }),
    );
    const webAdmin = await it.api.createService(
      aServiceSpec({ name: 'web-admin', labels: { tier: 'back', a: '' } }),
    );
    const db = await it.api.createService(aServiceSpec({ name: 'db', mode: { kind: 'global' } }));
    const names = async (filters: Parameters<typeof it.api.listServices>[0]) =>
      (await it.api.listServices(filters)).map((service) => service.spec.name).sort();
    const before = it.barriers();
    expect(await names({})).toEqual(['db', 'web', 'web-admin']);
    expect(it.barriers()).toBe(before + 1);
    expect(await names({ names: ['WEB'] })).toEqual(['web']);
    expect(await names({ namePrefixes: ['web', 'x'] })).toEqual(['web', 'web-admin']);
    expect(await names({ labels: ['a'] })).toEqual(['web', 'web-admin']);
    expect(await names({ labels: ['a', 'tier=back'] })).toEqual(['web-admin']);
    expect(await names({ labels: ['a=x'] })).toEqual([]);
    expect(await names({ modes: ['global'] })).toEqual(['db']);
    expect(await names({ ids: [web.id.slice(0, 8), db.id] })).toEqual(['db', 'web']);
    expect(await names({ ids: [webAdmin.id], modes: ['global'] })).toEqual([]);
  });

  test('of tasks are narrowed by service, state, labels and being up to date', async () => {
    const service = await it.api.createService(
      aServiceSpec({ name: 'web', labels: { stack: 's' } }),
    );
    const other = await it.api.createService(aServiceSpec({ name: 'db' }));
    const { container } = service.spec.task;
    const [old, now] = await it.create(
      'task',
      aTaskOf(service, {
        specVersion: 99,
        desiredState: 'shutdown',
        spec: { ...service.spec.task, container: { ...container, image: 'older' } },
      }),
      // An older version of the same words, as after `service scale`: still up to date.
      aTaskOf(service, { specVersion: 98, status: aTaskStatus({ state: 'running' }) }),
      aTaskOf(other),
    );
    const ids = async (filters: Parameters<typeof it.api.listTasks>[0]) =>
      (await it.api.listTasks(filters)).map((task) => task.id).sort();
    expect(await ids({ services: ['web'] })).toEqual([old!.id, now!.id].sort());
    expect(await ids({ services: ['web'], upToDate: true })).toEqual([now!.id]);
    expect(await ids({ services: ['web', 'db'], desiredStates: ['running'] })).toHaveLength(2);
    expect(await ids({ labels: ['stack=s'], desiredStates: ['shutdown'] })).toEqual([old!.id]);
    expect(await ids({ names: [`web.1.${now!.id}`] })).toEqual([now!.id]);
    await expect(it.api.listTasks({ services: ['nobody'] })).rejects.toThrow(
      'service nobody not found',
    );
    expect((await it.api.getTask(`web.1.${now!.id}`)).id).toBe(now!.id);
  });

  test('of statuses count what runs and what should', async () => {
    const service = await it.api.createService(
      aServiceSpec({ mode: { kind: 'replicated', replicas: 3 } }),
    );
    const running = aTaskStatus({ state: 'running' });
    await it.create(
      'task',
      aTaskOf(service, { status: running }),
      aTaskOf(service, { status: running, desiredState: 'shutdown' }),
      aTaskOf(service),
    );
    const before = it.barriers();
    const rows = await it.api.readServiceRows({}, { withStatus: true }, (revision, all) => {
      expect(revision).toBe(it.store.revision);
      return all();
    });
    expect(it.barriers()).toBe(before + 1);
    expect(rows.map(({ status }) => status)).toEqual([{ running: 1, desired: 3, completed: 0 }]);
    const filters = { ids: [service.id] };
    const bare = await it.api.readServiceRows(filters, { withStatus: false }, (_, all) => all());
    expect(bare).toEqual([{ service: rows[0]!.service, status: null }]);
  });

  test.each<[ServiceMode, ServiceStatus]>([
    [
      { kind: 'replicated-job', maxConcurrent: 5, totalCompletions: 9 },
      { running: 1, desired: 5, completed: 2 },
    ],
    [{ kind: 'global-job' }, { running: 1, desired: 2, completed: 2 }],
  ])('of %o counts the present iteration, and completed tasks apart', async (mode, expected) => {
    const service = await it.api.createService(aServiceSpec({ mode }));
    const now = (state: TaskState, desiredState: DesiredState = 'complete', jobIteration = 0) =>
      aTaskOf(service, { status: aTaskStatus({ state }), desiredState, jobIteration });
    await it.create(
      'task',
      now('complete'),
      now('complete'),
      now('running'),
      now('starting'),
      now('failed', 'shutdown'),
      now('running', 'remove', 9),
      now('complete', 'complete', 9),
    );
    const rows = await it.api.readServiceRows({}, { withStatus: true }, (_, all) => all());
    expect(rows[0]?.status).toEqual(expected);
  });
});

test('a removed service leaves its tasks to the orchestrator', async () => {
  const service = await it.api.createService(aServiceSpec({ name: 'web' }));
  await it.create('task', aTaskOf(service));
  expect(await it.api.removeService('web')).toBe(service.id);
  expect(await it.api.listServices()).toEqual([]);
  expect(await it.api.listTasks()).toHaveLength(1);
  await expect(it.api.removeService('web')).rejects.toMatchObject({ code: 'not-found' });
});

test('configs are shown with their data, secrets without', async () => {
  const [secret] = await it.create('secret', aSecret());
  const [config] = await it.create('config', aConfig());
  expect((await it.api.getSecret(secret!.id)).spec.data).toHaveLength(0);
  expect((await it.api.listSecrets())[0]?.spec.data).toHaveLength(0);
  expect((await it.api.getConfig(config!.id)).spec.data.length).toBeGreaterThan(0);
});

test('a placement is explained behind a read barrier, of the service that the reference means', async () => {
  const service = await it.api.createService(aServiceSpec({ name: 'web' }));
  await it.create('node', aNode(), aNode({ status: { state: 'down', message: '', address: '' } }));
  const before = it.barriers();
  const explanation = await it.api.explainService(service.id.slice(0, 6));
  expect(it.barriers()).toBe(before + 1);
  expect(explanation.serviceName).toBe('web');
  expect(explanation.nodes.map(({ refusals }) => refusals.length)).toEqual([0, 1]);
  await expect(it.api.explainService('nope')).rejects.toMatchObject({ code: 'not-found' });
});
