import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { SkepError } from '../../../common/base/errors.ts';
import { asId } from '../../../common/model/ids.ts';
import type { NetworkSpec } from '../../../common/model/network.ts';
import type { NodeDescription } from '../../../common/model/node.ts';
import { NO_RESOURCES, type ServiceSpec } from '../../../common/model/service.ts';
import { NAMESPACE_LABEL, type StackPlan, type WantedStack } from '../../../common/model/stack.ts';
import { DEPENDS_ON_LABEL } from '../../../common/model/start-order.ts';
import {
  aConfigSpec,
  aContainerSpec,
  aNetwork,
  aNetworkSpec,
  aNetworkTarget,
  aNode,
  aNodeDescription,
  aPort,
  aSecretSpec,
  aServiceSpec,
  aTaskOf,
  aTaskSpec,
  aTaskStatus,
} from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';
import { applyStack } from '../../support/stack-applier.ts';

let it: TestControlApi;
beforeEach(async () => {
  it = await makeControlApi();
});

const labels = { [NAMESPACE_LABEL]: 'shop' };
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const file = { name: 'x', uid: '0', gid: '0', mode: 0o444 };

interface ServiceWords {
  readonly image?: string;
  readonly replicas?: number;
  readonly env?: readonly string[];
  readonly constraint?: string;
  readonly port?: number;
  readonly secret?: boolean;
  readonly config?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
}

function service(key: string, words: ServiceWords = {}): ServiceSpec {
  const { image = 'web:1', replicas = 1, env = [], constraint, port } = words;
  return aServiceSpec({
    name: `shop_${key}`,
    labels: { ...labels, ...words.labels },
    task: aTaskSpec({
      container: aContainerSpec({
        image,
        env,
        secrets: words.secret ? [{ secretId: asId(''), secretName: 'shop_key', file }] : [],
        configs: words.config ? [{ configId: asId(''), configName: 'shop_conf', file }] : [],
      }),
      placement: {
        constraints: constraint === undefined ? [] : [constraint],
        preferences: [],
        maxReplicas: 0,
        platforms: [],
      },
      networks: [aNetworkTarget({ target: 'shop_default' })],
    }),
    mode: { kind: 'replicated', replicas },
    endpoint: {
      mode: 'vip',
      ports:
        port === undefined ? [] : [aPort({ publishedPort: port, publishMode: 'host' as const })],
    },
  });
}

interface StackWords {
  readonly secret?: string;
  readonly config?: string;
  readonly prune?: boolean;
}

function stack(services: readonly ServiceSpec[], words: StackWords = {}): WantedStack {
  const { secret, config, prune = false } = words;
  return {
    name: 'shop',
    networks: [aNetworkSpec({ name: 'shop_default', labels })],
    secrets:
      secret === undefined
        ? []
        : [{ spec: aSecretSpec({ name: 'shop_key', labels, data: bytes(secret) }), object: null }],
    configs:
      config === undefined
        ? []
        : [{ spec: aConfigSpec({ name: 'shop_conf', labels, data: bytes(config) }), object: null }],
    services,
    prune,
  };
}

const net = (name: string, words: Partial<NetworkSpec> = {}): NetworkSpec =>
  aNetworkSpec({ name, labels, ...words });
const ipv6 = (subnet: string): Partial<NetworkSpec> => ({
  ipv6: true,
  ipam: {
    driver: 'default',
    options: {},
    configs: [{ subnet, gateway: '', range: '', reserved: {} }],
  },
});

/** `kind name: action` of all that is not `none`. */
const told = ({ changes }: StackPlan): string[] =>
  changes
    .filter(({ action }) => action !== 'none')
    .map(({ kind, object, action }) => `${kind} ${object}: ${action}`);

const planned = async (wanted: WantedStack): Promise<string[]> =>
  told(await it.api.planStack(wanted));

/** Its tasks as a cluster would have them: one running on a node for each replica. */
async function running(name: string): Promise<void> {
  const found = await it.api.getService(name);
  const node = aNode();
  await it.create('node', node);
  const count = found.spec.mode.kind === 'replicated' ? found.spec.mode.replicas : 1;
  const tasks = Array.from({ length: count }, (_, at) =>
    aTaskOf(found, {
      slot: at + 1,
      nodeId: node.id,
      status: aTaskStatus({ state: 'running' }),
      endpoint: { spec: found.spec.endpoint, ports: [], virtualIps: [] },
    }),
  );
  await it.create('task', ...tasks);
}

describe('plan of a stack', () => {
  test('creates everything on an empty cluster, what others refer to first', async () => {
    const wanted = stack([service('web', { secret: true, config: true })], {
      secret: 's',
      config: 'c',
    });
    expect(await planned(wanted)).toEqual([
      'network shop_default: create',
      'secret shop_key: create',
      'config shop_conf: create',
      'service shop_web: create',
    ]);
  });

  test('creates services after those that they wait for', async () => {
    const wait = (on: string) => ({
      labels: { [DEPENDS_ON_LABEL]: `{"shop_${on}":"service_started"}` },
    });
    const wanted = stack([service('a', wait('b')), service('b', wait('c')), service('c')]);
    expect((await planned(wanted)).slice(1)).toEqual([
      'service shop_c: create',
      'service shop_b: create',
      'service shop_a: create',
    ]);
  });

  test.each<[string, ServiceWords, string, readonly string[], readonly string[], number]>([
    ['another image', { image: 'web:2' }, 'replace', ['image'], ['image'], 2],
    ['more replicas', { replicas: 5 }, 'update', ['deploy.replicas'], [], 0],
    ['labels', { labels: { tier: 'front' } }, 'update', ['deploy.labels'], [], 0],
    [
      'image and replicas',
      { image: 'web:2', replicas: 1 },
      'replace',
      ['image', 'deploy.replicas'],
      ['image'],
      2,
    ],
    ['another port', { port: 81 }, 'replace', ['ports'], ['ports'], 2],
    [
      'a constraint that its nodes meet',
      { constraint: 'node.role==worker' },
      'update',
      ['deploy.placement'],
      [],
      0,
    ],
    [
      'a constraint that they do not',
      { constraint: 'node.role==manager' },
      'replace',
      ['deploy.placement'],
      ['deploy.placement'],
      2,
    ],
  ])('%s', async (_, words, action, fields, forcedBy, replacedTasks) => {
    const before = { replicas: 2, port: 80 };
    await applyStack(it.api, stack([service('web', before)]));
    await running('shop_web');
    const plan = await it.api.planStack(stack([service('web', { ...before, ...words })]));
    expect(plan.changes.at(-1)).toMatchObject({ action, fields, forcedBy, replacedTasks });
  });

  test('a service without tasks is updated in place, whatever changes', async () => {
    await applyStack(it.api, stack([service('web', { replicas: 0 })]));
    const plan = await it.api.planStack(stack([service('web', { replicas: 0, image: 'web:2' })]));
    expect(plan.changes.at(-1)).toMatchObject({ action: 'update', fields: ['image'] });
  });

  test('an updated job runs again', async () => {
    const job = (image: string): ServiceSpec => ({
      ...service('once', { image }),
      mode: { kind: 'replicated-job', maxConcurrent: 1, totalCompletions: 1 },
    });
    await applyStack(it.api, stack([job('a:1')]));
    expect(await planned(stack([job('a:1')]))).toEqual([]);
    const plan = await it.api.planStack(stack([job('a:2')]));
    expect(plan.changes.at(-1)).toMatchObject({
      action: 'replace',
      forcedBy: ['image'],
      note: 'an updated job runs again',
    });
  });

  test('services that the file no longer has go when it is asked for, and are told otherwise', async () => {
    await applyStack(it.api, stack([service('web'), service('old')]));
    expect(await planned(stack([service('web')], { prune: true }))).toEqual([
      'service shop_old: remove',
    ]);
    const { changes } = await it.api.planStack(stack([service('web')]));
    expect(changes[0]).toMatchObject({
      name: 'shop_old',
      action: 'none',
      note: 'not in the stack file: --prune removes it',
    });
  });

  test('a network that differs stays, and says so', async () => {
    await applyStack(it.api, stack([service('web')]));
    const wanted = stack([service('web')]);
    const networks = [{ ...wanted.networks[0]!, attachable: true }];
    const { changes } = await it.api.planStack({ ...wanted, networks });
    expect(changes[0]).toMatchObject({
      action: 'none',
      fields: ['attachable'],
      note: 'a network cannot be changed: it stays as it is',
    });
  });

  test('keeps what a restart by hand and a registry left in the service', async () => {
    await applyStack(it.api, stack([service('web')]));
    const { id, meta, spec } = await it.api.getService('shop_web');
    const container = { ...spec.task.container, registryAuth: 'e30=' };
    const forced = { ...spec, task: { ...spec.task, container, forceUpdate: 3 } };
    await it.api.updateService(id, meta.version, forced);
    expect(await planned(stack([service('web')]))).toEqual([]);
  });

  test('a service of another owner under the name is a conflict', async () => {
    await it.api.createService(aServiceSpec({ name: 'shop_web' }));
    await expect(it.api.planStack(stack([service('web')]))).rejects.toMatchObject({
      code: 'name-conflict',
    });
  });

  test('refuses what the writes would refuse', async () => {
    const bad = { ...service('web'), mode: { kind: 'replicated', replicas: -1 } as const };
    await expect(it.api.planStack(stack([bad]))).rejects.toMatchObject({
      code: 'invalid-argument',
    });
    await expect(it.api.planStack(stack([service('web', { secret: true })]))).rejects.toThrow(
      /^service shop_web: secret not found: shop_key/,
    );
    await expect(
      it.api.planStack({ ...stack([service('web')]), networks: [] }),
    ).rejects.toMatchObject({ code: 'not-found' });
  });

  test.each<[string, readonly NetworkSpec[]]>([
    [
      'an encrypted network that no node can have',
      [net('a', { driverOptions: { encrypted: '' } })],
    ],
    ['a second ingress network', [net('a', { ingress: true }), net('b', { ingress: true })]],
    ['IPv6 subnets that overlap', [net('a', ipv6('fd00:7::/48')), net('b', ipv6('fd00:7::/64'))]],
    ['an IPv6 subnet that another network has', [net('a', ipv6('fd00:8::/64'))]],
  ])('refuses %s, as the write would', async (_, networks) => {
    await it.api.createNetwork(net('theirs', ipv6('fd00:8::/64')));
    const wanted = { ...stack([]), networks };
    const refusal = await it.api.planStack(wanted).catch((err: unknown) => err);
    const written = (async () => {
      for (const spec of networks) await it.api.createNetwork(spec);
    })();
    const { code, message } = (await written.catch((err: unknown) => err)) as SkepError;
    // The id of what is yet to come is not known.
    const words = message.replace(/\(\w+\)/, '(a)');
    const refused = networks.at(-1)?.name;
    expect(refusal).toMatchObject({ code, message: `network ${refused}: ${words}` });
  });

  test('refuses a service in two networks whose subnets overlap, as the write would', async () => {
    const at = (name: string, subnet: string): NetworkSpec =>
      net(name, {
        ipam: {
          driver: 'default',
          options: {},
          configs: [{ subnet, gateway: '', range: '', reserved: {} }],
        },
      });
    await it.api.createNetwork(at('theirs', '10.9.0.0/16'));
    const web = service('web');
    const inBoth = ['shop_net', 'theirs'].map((target) => aNetworkTarget({ target }));
    const wanted: WantedStack = {
      ...stack([{ ...web, task: { ...web.task, networks: inBoth } }]),
      networks: [at('shop_net', '10.9.1.0/24')],
    };
    const refusal = await it.api.planStack(wanted).catch((err: unknown) => err);
    const written = await applyStack(it.api, { ...wanted, services: [] })
      .then(() => it.api.createService(wanted.services[0]!))
      .catch((err: unknown) => err);
    const { code, message } = written as SkepError;
    expect(message).toContain('networks shop_net and theirs');
    expect(refusal).toMatchObject({ code, message: `service shop_web: ${message}` });
  });

  test('names the service that it refuses, once', async () => {
    const dnsrr: ServiceSpec = {
      ...service('api'),
      endpoint: { mode: 'dnsrr', ports: [aPort({ publishedPort: 80 })] },
    };
    const refused = (spec: ServiceSpec) => it.api.planStack(stack([service('web'), spec]));
    await expect(refused(dnsrr)).rejects.toThrow(
      "service shop_api: EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
    );
    const labels = { ...service('api').labels, big: 'x'.repeat(1 << 20) };
    await expect(refused({ ...service('api'), labels })).rejects.toThrow(/^service shop_api: spec/);
  });

  test('compares a new network with those that are there, not with what the file says of these', async () => {
    await it.api.createNetwork(net('old', ipv6('fd00:1::/64')));
    const networks = [net('old', ipv6('fd00:2::/64')), net('new', ipv6('fd00:2::/64'))];
    expect(await planned({ ...stack([]), networks })).toEqual(['network new: create']);
  });
});

describe('published ports of a stack', () => {
  beforeEach(() =>
    it.create('network', aNetwork({ spec: aNetworkSpec({ name: 'ingress', ingress: true }) })),
  );

  const at = (key: string, publishedPort: number): ServiceSpec => ({
    ...service(key),
    endpoint: { mode: 'vip', ports: [aPort({ publishedPort })] },
  });

  test('of two of its services are not the same', async () => {
    await expect(it.api.planStack(stack([at('a', 80), at('b', 80)]))).rejects.toThrow(
      "port '80' is published by service shop_a and by shop_b",
    );
    await expect(
      it.api.planStack(stack([at('a', 80), service('b', { port: 80 })])),
    ).rejects.toThrow("port '80'");
    const onHosts = [service('a', { port: 80 }), service('b', { port: 80 })];
    expect(await planned(stack([...onHosts, at('c', 81)]))).toHaveLength(4);
  });

  test('are not those of one that is left over and stays', async () => {
    await applyStack(it.api, stack([at('old', 80)]));
    await expect(it.api.planStack(stack([at('new', 80)]))).rejects.toThrow(
      "port '80' is already in use by service 'shop_old'",
    );
    expect(await planned(stack([at('new', 80)], { prune: true }))).toEqual([
      'service shop_old: remove',
      'service shop_new: create',
    ]);
  });

  test('may go from one to another', async () => {
    await applyStack(it.api, stack([at('a', 80)]));
    expect(await planned(stack([at('a', 81), at('b', 80)]))).toEqual([
      'service shop_a: update',
      'service shop_b: create',
    ]);
  });
});

describe('files of a stack', () => {
  const users = [service('web', { secret: true }), service('api', { config: true })];

  test('a changed one becomes a version, and only its users change', async () => {
    await applyStack(it.api, stack(users, { secret: 'one', config: 'c' }));
    const plan = await it.api.planStack(stack(users, { secret: 'two', config: 'c' }));
    expect(told(plan)).toEqual(['secret shop_key.2: create', 'service shop_web: update']);
    expect(plan.changes.at(-1)).toMatchObject({ name: 'shop_api', action: 'none' });
    await applyStack(it.api, stack(users, { secret: 'two', config: 'c' }));
    const { spec } = await it.api.getService('shop_web');
    expect(spec.task.container.secrets[0]).toMatchObject({
      secretName: 'shop_key.2',
      file: { name: 'x' },
    });
  });

  test('old content comes back with its old version', async () => {
    for (const secret of ['one', 'two']) {
      await applyStack(it.api, stack(users, { secret, config: 'c' }));
    }
    expect(await planned(stack(users, { secret: 'one', config: 'c' }))).toEqual([
      'service shop_web: update',
    ]);
    await applyStack(it.api, stack(users, { secret: 'three', config: 'c' }));
    expect((await it.api.listSecrets()).map(({ spec }) => spec.name).sort()).toEqual([
      'shop_key',
      'shop_key.2',
      'shop_key.3',
    ]);
  });

  test('an object with the content is named instead of its data', async () => {
    await applyStack(it.api, stack(users, { secret: 'one', config: 'c' }));
    await applyStack(it.api, stack(users, { secret: 'two', config: 'c' }));
    const wanted = stack(users, { secret: 'x', config: 'c' });
    const named = (object: string): WantedStack => ({
      ...wanted,
      secrets: wanted.secrets.map(({ spec }) => ({
        spec: { ...spec, data: new Uint8Array(0) },
        object,
      })),
    });
    expect(await planned(named('shop_key'))).toEqual(['service shop_web: update']);
    await expect(it.api.planStack(named('shop_key.9'))).rejects.toThrow(
      'secret shop_key.9 is no longer kept',
    );
  });
});

describe('hash of a plan', () => {
  const wanted = stack([service('web', { secret: true })], { secret: 'one' });

  test('is the same until the stack or the cluster changes', async () => {
    await applyStack(it.api, wanted);
    const { hash } = await it.api.planStack(wanted);
    expect((await it.api.planStack(wanted)).hash).toBe(hash);
    const other = stack([service('web', { secret: true, image: 'web:2' })], { secret: 'one' });
    expect((await it.api.planStack(other)).hash).not.toBe(hash);
    const { id, meta, spec } = await it.api.getService('shop_web');
    await it.api.updateService(id, meta.version, { ...spec, labels: { ...spec.labels, a: 'b' } });
    expect((await it.api.planStack(wanted)).hash).not.toBe(hash);
  });

  test('changes with a service that is changed to what leaves the plan as it was', async () => {
    const to = (image: string) => stack([service('web', { image })]);
    await applyStack(it.api, to('web:1'));
    const planned = await it.api.planStack(to('web:3'));
    await applyStack(it.api, to('web:2'));
    const now = await it.api.planStack(to('web:3'));
    const plain = ({ changes }: StackPlan) =>
      changes.map(({ version: _, specVersion: __, ...change }) => change);
    expect(plain(now)).toEqual(plain(planned));
    expect(now.hash).not.toBe(planned.hash);
  });

  test('is the same while an update goes on', async () => {
    await applyStack(it.api, wanted);
    const { hash } = await it.api.planStack(wanted);
    await it.store.update((tx) => {
      const web = tx.byName('service', 'shop_web')[0]!;
      const updateStatus = {
        state: 'completed' as const,
        startedAtMs: 1,
        completedAtMs: 2,
        message: '',
      };
      return tx.update('service', { ...web, updateStatus });
    });
    expect((await it.api.planStack(wanted)).hash).toBe(hash);
  });

  test('differs for another secret, and cannot be worked out without the key of the managers', async () => {
    const { hash } = await it.api.planStack(wanted);
    const changed = stack([service('web', { secret: true })], { secret: 'two' });
    expect((await it.api.planStack(changed)).hash).not.toBe(hash);
    const other = await makeControlApi();
    await other.store.update((tx) => {
      const cluster = tx.list('cluster')[0]!;
      return tx.update('cluster', { ...cluster, rootCa: { ...cluster.rootCa, keyPem: 'another' } });
    });
    expect((await other.api.planStack(wanted)).hash).not.toBe(hash);
  });

  test('cannot be worked out either where the key of the managers lies with an external authority', async () => {
    const hashWith = async (manager: string): Promise<string> => {
      const test = await makeControlApi();
      await test.store.update((tx) => {
        const cluster = tx.list('cluster')[0]!;
        const joinTokens = { ...cluster.rootCa.joinTokens, manager };
        tx.update('cluster', { ...cluster, rootCa: { ...cluster.rootCa, keyPem: '', joinTokens } });
      });
      return (await test.api.planStack(wanted)).hash;
    };
    expect(await hashWith('one')).toBe(await hashWith('one'));
    expect(await hashWith('one')).not.toBe(await hashWith('two'));
  });
});

describe('landing places', () => {
  const landing = async (spec: ServiceSpec, networks: readonly NetworkSpec[] = []) => {
    const { changes } = await it.api.planStack({ ...stack([spec]), networks });
    const found = changes.at(-1)!.landing;
    return found && { nodes: found.nodes.map(({ hostname }) => hostname), ...found.unplaced };
  };
  const plugins = (...names: string[]) => names.map((name) => ({ type: 'Network', name }));
  const node = (hostname: string, words: Partial<NodeDescription> = {}) =>
    it.create('node', aNode({ description: aNodeDescription({ hostname, ...words }) }));

  test('of tasks in an encrypted network that the stack creates are on nodes that can encrypt', async () => {
    await node('plain', { plugins: plugins('overlay') });
    await node('able', { plugins: plugins('overlay', 'wireguard'), encryptionKey: 'key' });
    const spec = service('web', { replicas: 3 });
    expect(await landing(spec, [net('shop_default')])).toEqual({ nodes: ['able', 'plain'] });
    const encrypted = net('shop_default', { driverOptions: { encrypted: '' } });
    expect(await landing(spec, [encrypted])).toEqual({ nodes: ['able'] });
  });

  test.each(['global-job', 'replicated-job'] as const)(
    'of an updated %s are told, with the room of the tasks that go',
    async (kind) => {
      await node('a', { nanoCpus: 1e9 });
      const job = (image: string): ServiceSpec => {
        const spec = service('once', { image });
        const reservations = { nanoCpus: 1e9, memoryBytes: 0, generic: [] };
        return {
          ...spec,
          task: { ...spec.task, networks: [], resources: { ...NO_RESOURCES, reservations } },
          mode: kind === 'global-job' ? { kind } : { kind, maxConcurrent: 1, totalCompletions: 1 },
        };
      };
      await applyStack(it.api, stack([job('a:1')]));
      const found = await it.api.getService('shop_once');
      const [on] = await it.api.listNodes();
      await it.create(
        'task',
        aTaskOf(found, {
          ...{ slot: kind === 'global-job' ? null : 0, nodeId: on!.id, desiredState: 'complete' },
          status: aTaskStatus({ state: 'running' }),
        }),
      );
      expect(await landing(job('a:1'))).toBeNull();
      expect(await landing(job('a:2'))).toEqual({ nodes: ['a'] });
    },
  );
});

describe('any stack', () => {
  const words = fc.record(
    {
      image: fc.constantFrom('web:1', 'web:2'),
      replicas: fc.integer({ min: 0, max: 3 }),
      env: fc.array(fc.constantFrom('A=1', 'B=2'), { maxLength: 2 }),
      constraint: fc.constantFrom('node.role==worker', 'node.labels.x==y'),
      labels: fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('1', '2')),
      secret: fc.boolean(),
      config: fc.boolean(),
    },
    { requiredKeys: [] },
  );
  const stacks = fc
    .record({
      services: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), words),
      secret: fc.constantFrom('one', 'two', 'three'),
      config: fc.constantFrom('one', 'two'),
    })
    .map(({ services, secret, config }) =>
      stack(
        Object.entries(services).map(([key, w]) => service(key, w)),
        { secret, config, prune: true },
      ),
    );

  test('applied to any cluster leaves an empty plan', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(stacks, { minLength: 1, maxLength: 4 }), async (deployments) => {
        it = await makeControlApi();
        for (const wanted of deployments) {
          await applyStack(it.api, wanted);
          expect(await planned(wanted)).toEqual([]);
        }
      }),
      { numRuns: 60 },
    );
  });
});
