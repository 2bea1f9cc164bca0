import { beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_CLUSTER_SPEC } from '../../../common/model/cluster.ts';
import type { NetworkSpec } from '../../../common/model/network.ts';
import { MTU_OPTION } from '../../../common/model/network.ts';
import { createRoot } from '../../../common/pki/issue.ts';
import {
  aContainerSpec,
  aNetwork,
  aNetworkSpec,
  aNetworkTarget,
  aNode,
  aNodeDescription,
  aNodeSpec,
  aPort,
  aSecretSpec,
  aServiceSpec,
  aTask,
  aTaskSpec,
  aTaskStatus,
} from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';
import { settle } from '../../support/fake-clock.ts';
import { TestAuthority } from '../../support/identities.ts';

let it: TestControlApi;

beforeEach(async () => {
  it = await makeControlApi();
});

const withIpam = (config: object) =>
  aNetworkSpec({
    ipam: {
      driver: 'default',
      options: {},
      configs: [{ subnet: '', gateway: '', range: '', reserved: {}, ...config }],
    },
  });
const withSubnets = (...subnets: string[]) =>
  aNetworkSpec({
    ipam: {
      driver: 'default',
      options: {},
      configs: subnets.map((subnet) => ({ subnet, gateway: '', range: '', reserved: {} })),
    },
  });
/** All are asked for before the first of them is in the log. */
async function atOneMoment<T>(writes: readonly (() => Promise<T>)[]) {
  it.proposer.hold = true;
  const all = Promise.allSettled(writes.map((write) => write()));
  await settle();
  it.proposer.hold = false;
  it.proposer.release();
  return all;
}

const withOption = (name: string, value: string) =>
  aNetworkSpec({ driverOptions: { [name]: value } });

type BadNetwork = [string, NetworkSpec, string, string];
const VXLAN_IDS = 'com.docker.network.driver.overlay.vxlanid_list';

const BAD_NETWORKS: BadNetwork[] = [
  ['a bad name', aNetworkSpec({ name: 'a b' }), 'invalid-argument', 'DNS name component'],
  [
    'a predefined name',
    aNetworkSpec({ name: 'host' }),
    'permission-denied',
    'predefined host network',
  ],
  [
    'the predefined label',
    aNetworkSpec({ labels: { 'com.docker.swarm.predefined': '' } }),
    'permission-denied',
    'com.docker.swarm.predefined',
  ],
  [
    'ingress and attachable',
    aNetworkSpec({ ingress: true, attachable: true }),
    'invalid-argument',
    'cannot be attachable',
  ],
  [
    'encryption where no node can',
    withOption('encrypted', ''),
    'failed-precondition',
    'no node of this cluster has WireGuard',
  ],
  ['a bad flag', withOption('encrypted', 'maybe'), 'invalid-argument', "'maybe' is neither"],
  ['an unknown option', withOption('colour', 'red'), 'unimplemented', 'driver option "colour"'],
  ['a bad MTU', withOption(MTU_OPTION, '67'), 'invalid-argument', "'67' is not in 68..65535"],
  [
    'an IPv6 subnet of a network without IPv6',
    withIpam({ subnet: 'fd00::/64' }),
    'invalid-argument',
    'subnet fd00::/64 needs IPv6 to be enabled',
  ],
  [
    'an IPv6 subnet without room',
    { ...withIpam({ subnet: 'fd00::/97' }), ipv6: true },
    'invalid-argument',
    'subnet fd00::/97 has no room',
  ],
  ...(
    [
      ['::/0', 'is too wide'],
      ['2001:db8::/31', 'is too wide'],
      ['fe80::/64', 'is link-local'],
      ['febf:1::/64', 'is link-local'],
      ['ff02::/96', 'is multicast'],
      ['::ffff:0:0/96', 'is reserved'],
      ['::/64', 'is reserved'],
    ] as const
  ).map(
    ([subnet, words]): BadNetwork => [
      `an IPv6 subnet of ${subnet}`,
      { ...withIpam({ subnet }), ipv6: true },
      'invalid-argument',
      `subnet ${subnet} ${words}`,
    ],
  ),
  ...(
    [
      ['0.0.0.0/0', '0.0.0.0/8, which is of no host'],
      ['127.1.0.0/16', '127.0.0.0/8, which is loopback'],
      ['64.0.0.0/2', '127.0.0.0/8, which is loopback'],
      ['239.1.2.0/24', '224.0.0.0/4, which is multicast'],
      ['255.255.255.0/24', '240.0.0.0/4, which is reserved'],
    ] as const
  ).map(
    ([subnet, words]): BadNetwork => [
      `a subnet of ${subnet}`,
      withIpam({ subnet }),
      'invalid-argument',
      `subnet ${subnet} overlaps ${words}`,
    ],
  ),
  [
    'an IPv6 gateway',
    { ...withIpam({ subnet: 'fd00::/64', gateway: 'fd00::1' }), ipv6: true },
    'unimplemented',
    'fd00::1',
  ],
  [
    'no IPv6 prefix',
    { ...withIpam({ subnet: 'fd00::x/64' }), ipv6: true },
    'invalid-argument',
    'invalid subnet fd00::x/64',
  ],
  [
    'no prefix length',
    withIpam({ subnet: '10.1.0.0' }),
    'invalid-argument',
    'invalid subnet 10.1.0.0',
  ],
  [
    'a gateway outside',
    withIpam({ subnet: '10.1.0.0/24', gateway: '10.2.0.1' }),
    'invalid-argument',
    'gateway 10.2.0.1 is not contained in subnet 10.1.0.0/24',
  ],
  [
    'a wider range',
    withIpam({ subnet: '10.1.0.0/24', range: '10.1.0.0/16' }),
    'invalid-argument',
    'range 10.1.0.0/16 is not contained',
  ],
  [
    'a reserved name for no address',
    withIpam({ subnet: '10.1.0.0/24', reserved: { a: 'x' } }),
    'invalid-argument',
    'a x is not an IP address',
  ],
  [
    'a gateway without subnet',
    withIpam({ gateway: '10.1.0.1' }),
    'invalid-argument',
    'needs a subnet',
  ],
  [
    'a subnet without room',
    withIpam({ subnet: '10.1.0.0/31' }),
    'invalid-argument',
    'subnet 10.1.0.0/31 has no room for a gateway and a task: /30 is the smallest',
  ],
  ['one subnet twice', withSubnets('10.1.0.0/24', '10.1.0.0/24'), 'invalid-argument', 'overlap'],
  [
    'a subnet inside another',
    withSubnets('10.2.0.0/24', '10.1.7.0/24', '10.1.0.0/16'),
    'invalid-argument',
    'subnets 10.1.7.0/24 and 10.1.0.0/16 overlap',
  ],
  [
    'a VXLAN id beyond 24 bits',
    withOption(VXLAN_IDS, '4097,16777216'),
    'invalid-argument',
    "'16777216' is not in 1..16777215",
  ],
  [
    'another IPAM driver',
    aNetworkSpec({ ipam: { driver: 'x', options: {}, configs: [] } }),
    'unimplemented',
    'IPAM driver "x"',
  ],
  [
    'an IPAM option',
    aNetworkSpec({ ipam: { driver: 'default', options: { a: 'b' }, configs: [] } }),
    'unimplemented',
    'IPAM option "a"',
  ],
];

describe('a network', () => {
  test('with a name that is taken is refused in the words that Compose looks for', async () => {
    await it.api.createNetwork(aNetworkSpec({ name: 'net' }));
    await expect(it.api.createNetwork(aNetworkSpec({ name: 'NET' }))).rejects.toMatchObject({
      code: 'name-conflict',
      message: 'network with name NET already exists',
    });
  });

  test.each(BAD_NETWORKS)('is refused with %s', async (_, spec, code, message) => {
    const creating = it.api.createNetwork(spec);
    await expect(creating).rejects.toThrow(message);
    await expect(creating).rejects.toMatchObject({ code });
  });

  test('may be encrypted as soon as one node can', async () => {
    await it.create('node', aNode({ description: aNodeDescription({ encryptionKey: 'key' }) }));
    const made = await it.api.createNetwork(withOption('encrypted', ''));
    expect(made.spec.driverOptions).toEqual({ encrypted: '' });
  });

  test.each(['fd00:7::/64', 'fd00:7::/48', 'fd00:7::1:0:0:0/96'])(
    'has an IPv6 subnet of its own: not %s beside another',
    async (subnet) => {
      await it.api.createNetwork({ ...withIpam({ subnet: 'fd00:7::/64' }), ipv6: true });
      const next = (wanted: string, name: string) =>
        it.api.createNetwork({ ...withIpam({ subnet: wanted }), name, ipv6: true });
      await expect(next(subnet, 'next')).rejects.toThrow(
        `subnet ${subnet} overlaps fd00:7::/64 of network `,
      );
      await next('fd00:7:0:1::/64', 'beside');
    },
  );

  test('has a VXLAN id of its own: not that of another, or of one that waits for it', async () => {
    const withId = (name: string, list: string) => ({ ...withOption(VXLAN_IDS, list), name });
    await it.create(
      'network',
      aNetwork({ spec: aNetworkSpec({ name: 'ingress', ingress: true }), vxlanId: 4096 }),
    );
    await it.api.createNetwork(withId('first', ' 300,301'));
    for (const [list, id, owner] of [
      ['4096', 4096, 'ingress'],
      ['300', 300, 'first'],
    ] as const) {
      await expect(it.api.createNetwork(withId('next', list))).rejects.toMatchObject({
        code: 'failed-precondition',
        message: `driver option "${VXLAN_IDS}": VXLAN id ${id} is in use by network ${owner}`,
      });
    }
    await it.api.createNetwork(withId('next', '301'));
  });

  test('may have IPv6 with room for it', async () => {
    const spec = { ...withIpam({ subnet: 'fd00::/96' }), ipv6: true };
    expect((await it.api.createNetwork(spec)).spec.ipv6).toBe(true);
    const small = { ...withOption(MTU_OPTION, '1279'), name: 'small', ipv6: true };
    await expect(it.api.createNetwork(small)).rejects.toThrow("'1279' is not in 1280..65535");
  });

  test('is created, found, listed and removed', async () => {
    const spec = withIpam({ subnet: '10.1.0.0/24', gateway: '10.1.0.9', range: '10.1.0.128/25' });
    const network = await it.api.createNetwork({
      ...spec,
      name: 'back',
      driverOptions: { [MTU_OPTION]: '1400' },
    });
    expect(network).toMatchObject({ ipam: [], vxlanId: null });
    expect((await it.api.getNetwork('back')).id).toBe(network.id);
    await expect(it.api.createNetwork(aNetworkSpec({ name: 'BACK' }))).rejects.toMatchObject({
      code: 'name-conflict',
    });
    expect(await it.api.listNetworks({ drivers: ['overlay'] })).toHaveLength(1);
    expect(await it.api.removeNetwork('back')).toBe(network.id);
    expect(await it.api.listNetworks()).toEqual([]);
  });

  test('of kind ingress is one, and stays while a service needs it', async () => {
    const ingress = await it.api.createNetwork(aNetworkSpec({ ingress: true }));
    await expect(it.api.createNetwork(aNetworkSpec({ ingress: true }))).rejects.toMatchObject({
      code: 'already-exists',
      message: `ingress network (${ingress.id}) is already present`,
    });
    const service = await it.api.createService(
      aServiceSpec({ endpoint: { mode: 'vip', ports: [aPort()] } }),
    );
    await expect(it.api.removeNetwork(ingress.id)).rejects.toMatchObject({
      code: 'failed-precondition',
      message: `ingress network cannot be removed because service ${service.id} depends on it`,
    });
  });

  test.each<[string, NetworkSpec, NetworkSpec]>([
    ['for ingress', aNetworkSpec({ ingress: true }), aNetworkSpec({ ingress: true })],
    [
      'of IPv6 subnets in one another',
      { ...withIpam({ subnet: 'fd00:9::/64' }), name: 'a', ipv6: true },
      { ...withIpam({ subnet: 'fd00:9::/48' }), name: 'b', ipv6: true },
    ],
    [
      'of one VXLAN id',
      { ...withOption(VXLAN_IDS, '300'), name: 'a' },
      { ...withOption(VXLAN_IDS, '300'), name: 'b' },
    ],
  ])('two %s are not both made, at one moment either', async (_what, ...specs) => {
    const made = await atOneMoment(specs.map((spec) => () => it.api.createNetwork(spec)));
    expect(made.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(await it.api.listNetworks()).toHaveLength(1);
  });

  test('in use by a service, or by a task that still runs, is not removed', async () => {
    const [network] = await it.create('network', aNetwork());
    const target = network!.id;
    const service = await it.api.createService(
      aServiceSpec({ task: aTaskSpec({ networks: [aNetworkTarget({ target })] }) }),
    );
    await expect(it.api.removeNetwork(target)).rejects.toMatchObject({
      code: 'failed-precondition',
      message: `network ${target} is in use by service ${service.id}`,
    });
    const moved = { ...service.spec, task: { ...service.spec.task, networks: [] } };
    await it.api.updateService(service.id, service.meta.version, moved);
    const networks = [{ networkId: target, addresses: ['10.0.1.5/24'], aliases: [] }];
    const status = aTaskStatus({ state: 'running' });
    const task = { ...aTask({ networks, status }), serviceId: service.id };
    const [former] = await it.create('task', task);
    await expect(it.api.removeNetwork(target)).rejects.toThrow(
      `network ${target} is in use by task ${former!.id}`,
    );
    // A removed service's tasks are on their way out: they hold no network.
    await it.api.removeService(service.id);
    await it.api.removeNetwork(target);
  });
});

describe.each(['secret', 'config'] as const)('a %s', (kind) => {
  const bytesLimit = { secret: 512_000, config: 1_024_000 }[kind];
  const spec = (overrides: object) => ({ ...aSecretSpec({ name: `file-${kind}` }), ...overrides });
  const create = (overrides: object) =>
    kind === 'secret'
      ? it.api.createSecret(spec(overrides))
      : it.api.createConfig(withoutDriver(spec(overrides)));
  const update = (version: number, overrides: object) =>
    kind === 'secret'
      ? it.api.updateSecret(`file-${kind}`, version, spec(overrides))
      : it.api.updateConfig(`file-${kind}`, version, withoutDriver(spec(overrides)));
  const withoutDriver = ({ driver: _, ...rest }: ReturnType<typeof aSecretSpec>) => rest;

  test.each([
    [
      'no name',
      { name: '' },
      'invalid-argument',
      `characters allowed, and the start and end character must be [a-zA-Z0-9]: ${kind} ''`,
    ],
    ['a long name', { name: 'a'.repeat(65) }, 'invalid-argument', 'only 64'],
    ['no data', { data: new Uint8Array(0) }, 'invalid-argument', 'larger than 0'],
    [
      'too much data',
      { data: new Uint8Array(bytesLimit) },
      'invalid-argument',
      `less than ${bytesLimit} bytes`,
    ],
    [
      'an unknown template driver',
      { templateDriver: 'jinja' },
      'invalid-argument',
      'template driver "jinja"',
    ],
  ])('is refused with %s', async (_, overrides, code, message) => {
    const creating = create(overrides);
    await expect(creating).rejects.toThrow(message);
    await expect(creating).rejects.toMatchObject({ code });
  });

  test('may be a template', async () => {
    const made = await create({ templateDriver: 'golang' });
    expect(made.spec.templateDriver).toBe('golang');
  });

  test('of the largest size is taken, once by its name', async () => {
    await create({ data: new Uint8Array(bytesLimit - 1) });
    await expect(create({})).rejects.toMatchObject({
      code: 'name-conflict',
      message: `${kind} file-${kind} already exists`,
    });
  });

  test('changes its labels only; equal or absent data may be given', async () => {
    const data = new Uint8Array([1, 2, 3]);
    const made = await create({ data });
    const first = await update(made.meta.version, {
      data: new Uint8Array([1, 2, 3]),
      labels: { a: 'b' },
    });
    expect(first.spec.labels).toEqual({ a: 'b' });
    const second = await update(first.meta.version, { data: new Uint8Array(0), labels: {} });
    expect(it.get(kind, made.id).spec.data).toEqual(data);
    await expect(update(second.meta.version, { data: new Uint8Array([1]) })).rejects.toThrow(
      'only updates to Labels are allowed',
    );
    await expect(update(made.meta.version, { data })).rejects.toMatchObject({
      code: 'version-conflict',
    });
  });

  test('in use is not removed, and its users are named', async () => {
    const made = await create({});
    const name = made.spec.name;
    const file = { name: 'x', uid: '0', gid: '0', mode: 0o444 };
    const container = aContainerSpec(
      kind === 'secret'
        ? { secrets: [{ secretId: made.id as never, secretName: name, file }] }
        : { configs: [{ configId: made.id as never, configName: name, file }] },
    );
    const remove = () =>
      kind === 'secret' ? it.api.removeSecret(name) : it.api.removeConfig(name);
    const web = await it.api.createService(
      aServiceSpec({ name: 'web', task: aTaskSpec({ container }) }),
    );
    await expect(remove()).rejects.toMatchObject({
      code: 'invalid-argument',
      message: `${kind} '${name}' is in use by the following service: web`,
    });
    const api = await it.api.createService(
      aServiceSpec({ name: 'api', task: aTaskSpec({ container }) }),
    );
    await expect(remove()).rejects.toThrow('is in use by the following services: api, web');
    await it.api.removeService(web.id);
    await it.api.removeService(api.id);
    expect(await remove()).toBe(made.id);
  });
});

test('an external secret driver is refused by name', async () => {
  await expect(it.api.createSecret(aSecretSpec({ driver: 'vault' }))).rejects.toThrow(
    'secret driver "vault"',
  );
});

describe('a node', () => {
  const manager = (nodeId: string, reachable = true) => ({
    nodeId: nodeId as never,
    address: '10.0.0.1:2377',
    leader: false,
    reachable,
  });

  test('gets a new availability, labels and wanted role; its own role is not touched', async () => {
    const [node] = await it.create(
      'node',
      aNode({ description: aNodeDescription({ hostname: 'h1' }) }),
    );
    const spec = aNodeSpec({
      availability: 'drain',
      desiredRole: 'manager',
      labels: { zone: 'a' },
    });
    const updated = await it.api.updateNode('H1', node!.meta.version, spec);
    expect(updated).toMatchObject({ spec, role: 'worker' });
    await expect(it.api.updateNode('h1', node!.meta.version, spec)).rejects.toMatchObject({
      code: 'version-conflict',
    });
  });

  test('of a hostname that several have is ambiguous', async () => {
    const description = aNodeDescription({ hostname: 'twin' });
    await it.create('node', aNode({ description }), aNode({ description }));
    await expect(it.api.getNode('twin')).rejects.toThrow(
      'node twin is ambiguous (2 matches found)',
    );
  });

  test('that is the last manager is not demoted, nor one whose loss costs the quorum', async () => {
    const spec = aNodeSpec({ desiredRole: 'manager' });
    const [a] = await it.create('node', aNode({ spec, role: 'manager' }));
    const hostnameOf = (node: typeof a) => node!.description!.hostname;
    const demote = (node: typeof a) =>
      it.api.updateNode(node!.id, node!.meta.version, aNodeSpec({ desiredRole: 'worker' }));
    await expect(demote(a)).rejects.toMatchObject({
      code: 'failed-precondition',
      message: 'attempting to demote the last manager of the swarm',
    });
    const [b, c] = await it.create(
      'node',
      aNode({ spec, role: 'manager' }),
      aNode({ spec, role: 'manager', description: aNodeDescription({ hostname: 'silent' }) }),
    );
    await expect(demote(b)).rejects.toMatchObject({
      code: 'not-found',
      message: "can't find manager in raft memberlist",
    });
    it.managers.push(manager(b!.id));
    await expect(demote(b)).rejects.toThrow(
      `can't remove member from the raft: this would result in a loss of quorum: no other manager takes part yet; wait until ${hostnameOf(a)} or silent does`,
    );
    it.managers.push(manager(a!.id), manager(c!.id, false));
    await expect(demote(b)).rejects.toThrow(
      "can't remove member from the raft: this would result in a loss of quorum: of the 2 managers left 1 can be reached and 2 must be; start silent first, or demote it instead",
    );
    expect((await demote(c)).spec.desiredRole).toBe('worker');
    expect(await it.api.listManagers()).toHaveLength(3);
  });

  test('that are the last two managers are not both demoted, at one moment either', async () => {
    const spec = aNodeSpec({ desiredRole: 'manager' });
    const both = await it.create(
      'node',
      aNode({ spec, role: 'manager' }),
      aNode({ spec, role: 'manager' }),
    );
    it.managers.push(...both.map(({ id }) => manager(id)));
    const demoted = await atOneMoment(
      both.map(
        ({ id, meta }) =>
          () =>
            it.api.updateNode(id, meta.version, aNodeSpec({ desiredRole: 'worker' })),
      ),
    );
    expect(demoted.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(demoted.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { message: 'attempting to demote the last manager of the swarm' },
    });
  });

  test('that is ready or a member of raft is not removed', async () => {
    const [ready, member] = await it.create('node', aNode(), aNode());
    await expect(it.api.removeNode(ready!.id)).rejects.toMatchObject({
      code: 'failed-precondition',
      message: `node ${ready!.id} is not down and can't be removed`,
    });
    it.managers.push(manager(member!.id));
    await expect(it.api.removeNode(member!.id, true)).rejects.toThrow(
      'must be demoted to worker before removal',
    );
    await expect(it.api.removeNode('nobody')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('takes its live tasks and its certificate with it', async () => {
    const nowMs = it.clock.wallMs();
    const authority = await TestAuthority.create(nowMs);
    const identity = await authority.identity('worker', 'x');
    const der = Buffer.from(identity.certPem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    const status = { state: 'down' as const, message: '', address: '' };
    const [node] = await it.create('node', aNode({ status, certificate: new Uint8Array(der) }));
    const nodeId = node!.id;
    const [live, done, elsewhere] = await it.create(
      'task',
      aTask({ nodeId, status: aTaskStatus({ state: 'running' }) }),
      aTask({ nodeId, status: aTaskStatus({ state: 'failed' }) }),
      aTask({ status: aTaskStatus({ state: 'running' }) }),
    );
    expect(await it.api.removeNode(nodeId)).toBe(nodeId);
    const state = (task: typeof live) => it.get('task', task!.id).status.state;
    expect([live, done, elsewhere].map(state)).toEqual(['orphaned', 'failed', 'running']);
    expect((await it.api.getCluster()).blockedNodes).toEqual({
      [nodeId]: nowMs + 97 * 24 * 3600 * 1000,
    });
    expect(await it.api.listNodes()).toEqual([]);
  });

  test('is blocked until the longest of its certificates ends, not the last one', async () => {
    const certificatesEndMs = it.clock.wallMs() + 7300 * 24 * 3600 * 1000;
    const status = { state: 'down' as const, message: '', address: '' };
    const [node] = await it.create('node', aNode({ status, certificatesEndMs }));
    await it.api.removeNode(node!.id);
    expect((await it.api.getCluster()).blockedNodes).toEqual({
      [node!.id]: certificatesEndMs + 7 * 24 * 3600 * 1000,
    });
  });

  test('is blocked beside 9,999 others at most: those go first whose certificates end first', async () => {
    const status = { state: 'down' as const, message: '', address: '' };
    const [node] = await it.create('node', aNode({ status }));
    const nowMs = it.clock.wallMs();
    const others = Array.from({ length: 10_000 }, (_, i): [string, number] => [
      `n${i}`,
      nowMs + 1 + ((i * 7) % 10_000),
    ]);
    const { id } = await it.api.getCluster();
    await it.store.update((tx) => {
      const blockedNodes = Object.fromEntries(others);
      tx.update('cluster', { ...tx.require('cluster', id), blockedNodes });
    });
    await it.api.removeNode(node!.id);
    const { blockedNodes } = await it.api.getCluster();
    expect(Object.keys(blockedNodes)).toHaveLength(10_000);
    expect(blockedNodes).toHaveProperty(node!.id);
    expect(blockedNodes).not.toHaveProperty('n0');
    expect(blockedNodes).toHaveProperty('n1');
  });

  test('with more tasks than fit into a transaction is removed too, and old blocks are dropped', async () => {
    const [node] = await it.create('node', aNode());
    const nodeId = node!.id;
    const cluster = (await it.api.getCluster()).id;
    await it.store.update((tx) => {
      const stored = tx.require('cluster', cluster);
      tx.update('cluster', { ...stored, blockedNodes: { old: 1, recent: it.clock.wallMs() + 1 } });
    });
    for (let round = 0; round < 3; round++) {
      await it.create('task', ...Array.from({ length: 150 }, () => aTask({ nodeId })));
    }
    await it.api.removeNode(nodeId, true);
    const states = (await it.api.listTasks()).map((task) => task.status.state);
    expect(states.filter((state) => state === 'orphaned')).toHaveLength(450);
    expect(Object.keys((await it.api.getCluster()).blockedNodes).sort()).toEqual(
      [nodeId, 'recent'].sort(),
    );
  });

  test('is found by labels, role and hostname', async () => {
    await it.create(
      'node',
      aNode({
        spec: aNodeSpec({ labels: { zone: 'a' } }),
        description: aNodeDescription({ hostname: 'one', engineLabels: { disk: 'ssd' } }),
      }),
      aNode({ spec: aNodeSpec({ desiredRole: 'manager' }), description: null }),
    );
    expect(await it.api.listNodes({ nodeLabels: ['zone=a'] })).toHaveLength(1);
    expect(await it.api.listNodes({ engineLabels: ['disk'] })).toHaveLength(1);
    expect(await it.api.listNodes({ names: ['on'] })).toHaveLength(1);
    expect(await it.api.listNodes({ roles: ['manager'] })).toHaveLength(1);
    expect(await it.api.listNodes({ roles: ['worker'], names: ['two'] })).toEqual([]);
  });
});

describe('the cluster', () => {
  test('is shown with its tokens, without its key', async () => {
    const cluster = await it.api.getCluster();
    expect(cluster.rootCa.joinTokens.worker).not.toBe('');
    expect(cluster.rootCa.keyPem).toBe('');
  });

  test('has an unlock key while its managers lock themselves', async () => {
    const { id } = await it.api.getCluster();
    const change = async (autoLockManagers: boolean, rotate: boolean) => {
      const { meta } = await it.api.getCluster();
      const spec = { ...DEFAULT_CLUSTER_SPEC, autoLockManagers };
      const updated = await it.api.updateCluster(meta.version, spec, { unlockKey: rotate });
      expect(updated.unlockKey).toBe(''); // shown by getUnlockKey alone
      const { unlockKeyVersion } = it.get('cluster', id);
      return { key: await it.api.getUnlockKey(), version: unlockKeyVersion };
    };
    expect(await it.api.getUnlockKey()).toBe('');
    expect(await change(false, true)).toEqual({ key: '', version: 0 });
    const first = await change(true, false);
    expect(first).toEqual({ key: expect.stringMatching(/^SWMKEY-1-/), version: 1 });
    expect(await change(true, false)).toEqual(first);
    const second = await change(true, true);
    expect(second.version).toBe(2);
    expect(second.key).not.toBe(first.key);
    expect(await change(false, false)).toEqual({ key: '', version: 3 });
    expect((await change(true, false)).version).toBe(4);
  });

  test('takes new settings and rotates the token that is asked for', async () => {
    const root = await createRoot({ nowMs: it.clock.wallMs(), random: it.random });
    const { id, rootCa } = await it.api.getCluster();
    await it.store.update((tx) => {
      const stored = tx.require('cluster', id);
      tx.update('cluster', { ...stored, rootCa: { ...stored.rootCa, ...root } });
    });
    const { meta } = await it.api.getCluster();
    const spec = { ...DEFAULT_CLUSTER_SPEC, taskHistoryLimit: 2, dispatcherHeartbeatNanos: 0 };
    const updated = await it.api.updateCluster(meta.version, spec, { manager: true });
    expect(updated.spec).toEqual({ ...DEFAULT_CLUSTER_SPEC, taskHistoryLimit: 2 });
    expect(updated.rootCa.joinTokens.worker).toBe(rootCa.joinTokens.worker);
    expect(updated.rootCa.joinTokens.manager).toMatch(/^SWMTKN-1-/);
    expect(updated.rootCa.keyPem).toBe('');
    expect(it.get('cluster', id).rootCa.keyPem).toBe(root.keyPem);
    await expect(it.api.updateCluster(meta.version, spec)).rejects.toMatchObject({
      code: 'version-conflict',
    });
  });

  test.each([
    [{ name: 'other' }, 'invalid-argument', 'must be named "default"'],
    [{ nodeCertExpiryNanos: 3599e9 }, 'invalid-argument', 'minimum certificate expiry'],
    [{ nodeCertExpiryNanos: 8e17 }, 'invalid-argument', 'maximum certificate expiry'],
    [{ nodeCertExpiryNanos: Number.NaN }, 'invalid-argument', 'maximum certificate expiry'],
    [{ dispatcherHeartbeatNanos: -1 }, 'invalid-argument', 'cannot be a negative duration'],
    [
      { dispatcherHeartbeatNanos: 499_999_999 },
      'invalid-argument',
      '(Dispatcher.HeartbeatPeriod) is 499999999 ns: it must be at least 500000000 ns',
    ],
    [
      { raft: { ...DEFAULT_CLUSTER_SPEC.raft, electionTicks: 1 } },
      'invalid-argument',
      'election tick',
    ],
    [
      { raft: { ...DEFAULT_CLUSTER_SPEC.raft, electionTicks: 601 } },
      'invalid-argument',
      'raft election tick 601 exceeds 600',
    ],
  ])('refuses %j', async (change, code, message) => {
    const { meta } = await it.api.getCluster();
    const updating = it.api.updateCluster(meta.version, { ...DEFAULT_CLUSTER_SPEC, ...change });
    await expect(updating).rejects.toThrow(message);
    await expect(updating).rejects.toMatchObject({ code });
  });
});
