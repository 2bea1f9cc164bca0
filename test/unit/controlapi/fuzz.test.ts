import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../../common/model/cluster.ts';
import { OBJECT_KINDS } from '../../../common/model/object-kinds.ts';
import { createRoot } from '../../../common/pki/issue.ts';
import { findAttachable, setAttachments } from '../../../common/rpc/attachment-methods.ts';
import { decodeObject, encodeObject } from '../../../common/wire/object.ts';
import {
  clusterSpecFromJson,
  signingPairFromJson,
} from '../../../daemon/engineapi/json/cluster.ts';
import { networkSpecFromJson } from '../../../daemon/engineapi/json/network.ts';
import { nodeSpecFromJson } from '../../../daemon/engineapi/json/node.ts';
import { JsonReader } from '../../../daemon/engineapi/json/reader.ts';
import { configSpecFromJson, secretSpecFromJson } from '../../../daemon/engineapi/json/secret.ts';
import { serviceSpecFromJson } from '../../../daemon/engineapi/json/service.ts';
import { Allocator } from '../../../manager/allocator/allocator.ts';
import { ControlApi } from '../../../manager/controlapi/control-api.ts';
import { objectArbitraries } from '../../support/arbitraries.ts';
import { attachmentCalls } from '../../support/attachment-calls.ts';
import {
  aCluster,
  aConfigSpec,
  aContainerAttachment,
  aNetwork,
  aNetworkSpec,
  aNode,
  aNodeSpec,
  aSecretSpec,
  aServiceSpec,
  aTask,
  idOf,
} from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';
import { A_ROOT_PEM } from '../../support/root-certificate.ts';
import { makeStore } from '../../support/store.ts';

/** What the control API says to users; anything else is a fault of ours. */
const CODES = [
  'invalid-argument',
  'unimplemented',
  'not-found',
  'name-conflict',
  'already-exists',
  'failed-precondition',
  'permission-denied',
  'version-conflict',
  'resource-exhausted',
];

const words = fc.oneof(
  fc.constantFrom(
    ...['', 'a', 'web', 'Web', '-x', 'x-', 'a.b', 'a b', 'ünïcode', '服务', '🐝', '../etc', '\0'],
    ...['__proto__', 'constructor', 'toString', '{{', '{{.Task.Slot}}', '{{.Nope}}', '\ud800'],
    ...['a'.repeat(63), 'a'.repeat(64), 'a-'.repeat(40), '0', 'ingress', 'host', 'bridge'],
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
);

/** `valid` with some of its fields, at any depth, taken from `wild`; unions as a whole. */
function mixed<T>(valid: T, wild: T, picks: Iterator<boolean>): T {
  if (picks.next().value === true) return wild;
  if (valid === null || wild === null || typeof valid !== 'object' || typeof wild !== 'object') {
    return valid;
  }
  if (Array.isArray(valid) || ArrayBuffer.isView(valid) || 'kind' in valid) return valid;
  const entries = Object.entries(valid).map(([key, value]) => [
    key,
    mixed(value as unknown, (wild as Record<string, unknown>)[key] ?? value, picks),
  ]);
  return Object.fromEntries(entries) as T;
}

function* bits(seed: number): Generator<boolean> {
  for (let state = seed >>> 0; ; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state % 24 === 0;
  }
}

const VERBS = [
  ...['createService', 'createService', 'updateService', 'removeService', 'explainService'],
  ...['createNetwork', 'removeNetwork', 'createSecret', 'updateSecret', 'removeSecret'],
  ...['createConfig', 'updateConfig', 'removeConfig', 'updateNode', 'removeNode', 'removeTask'],
  ...['moveTask', 'planRebalance'],
  ...['updateCluster', 'get', 'list', 'listTasks', 'readServiceRows', 'watch', 'cluster'],
  ...['planStack', 'rotate'],
] as const;

const calls = fc.array(
  fc.record({
    verb: fc.nat(VERBS.length - 1),
    word: words,
    wild: fc.record({
      service: objectArbitraries.service,
      network: objectArbitraries.network,
      secret: objectArbitraries.secret,
      config: objectArbitraries.config,
      node: objectArbitraries.node,
      cluster: objectArbitraries.cluster,
    }),
    seed: fc.nat(),
    pick: fc.nat(50),
    stale: fc.boolean(),
  }),
  { minLength: 1, maxLength: 12 },
);
type Call = typeof calls extends fc.Arbitrary<(infer C)[]> ? C : never;

/** An object's id, name or a prefix of its id; or what the user typed. */
function refOf(it: TestControlApi, kind: (typeof OBJECT_KINDS)[number], call: Call): string {
  const objects = it.store.view((view) => view.list(kind));
  const object = objects[call.pick % (objects.length + 1)];
  if (!object) return call.word;
  const name = 'spec' in object && 'name' in object.spec ? object.spec.name : object.id;
  return [object.id, name, object.id.slice(0, 1 + (call.seed % 25))][call.seed % 3]!;
}

function versionOf(it: TestControlApi, ref: string, call: Call): number {
  if (call.stale) return call.pick;
  for (const kind of OBJECT_KINDS) {
    const object = it.store.view((view) => view.get(kind, ref));
    if (object) return object.meta.version;
  }
  return call.pick;
}

async function take(it: TestControlApi, call: Call): Promise<unknown> {
  const { wild, seed, word } = call;
  const pick = bits(seed);
  const name = seed % 3 === 0 ? word : `name-${seed % 5}`;
  const service = { ...mixed(aServiceSpec(), wild.service.spec, pick), name };
  const network = { ...mixed(aNetworkSpec(), wild.network.spec, pick), name };
  const secret = { ...mixed(aSecretSpec(), wild.secret.spec, pick), name };
  const config = { ...mixed(aConfigSpec(), wild.config.spec, pick), name };
  const at = (kind: (typeof OBJECT_KINDS)[number]) => refOf(it, kind, call);
  const update = <T>(
    kind: (typeof OBJECT_KINDS)[number],
    act: (ref: string, version: number) => T,
  ): T => {
    const ref = at(kind);
    return act(ref, versionOf(it, ref, call));
  };
  const { api } = it;
  const filters = { ids: [word], names: [word], namePrefixes: [word], labels: [word] };
  switch (VERBS[call.verb]!) {
    case 'createService':
      return api.createService(service);
    case 'updateService':
      return update('service', (ref, version) =>
        api.updateService(ref, version, service, {
          rollback: seed % 4 === 0,
          registryAuthFrom: seed % 2 === 0 ? 'spec' : 'previous-spec',
        }),
      );
    case 'removeService':
      return api.removeService(at('service'));
    case 'explainService':
      return api.explainService(at('service'));
    case 'createNetwork':
      return api.createNetwork(network);
    case 'removeNetwork':
      return api.removeNetwork(at('network'));
    case 'createSecret':
      return api.createSecret(secret);
    case 'updateSecret':
      return update('secret', (ref, version) => api.updateSecret(ref, version, secret));
    case 'removeSecret':
      return api.removeSecret(at('secret'));
    case 'createConfig':
      return api.createConfig(config);
    case 'updateConfig':
      return update('config', (ref, version) => api.updateConfig(ref, version, config));
    case 'removeConfig':
      return api.removeConfig(at('config'));
    case 'updateNode':
      return update('node', (ref, version) =>
        api.updateNode(ref, version, mixed(aNodeSpec(), wild.node.spec, pick)),
      );
    case 'removeNode':
      return api.removeNode(at('node'), seed % 2 === 0);
    case 'removeTask':
      return api.removeTask(at('task'));
    case 'moveTask':
      return api.moveTask(at('task'), (['start-first', 'stop-first', 'none'] as const)[seed % 3]!);
    case 'planRebalance':
      return api.planRebalance(1 + (seed % 10));
    case 'updateCluster':
      return api.updateCluster(
        call.stale ? call.pick : it.store.view((view) => view.list('cluster')[0]!.meta.version),
        mixed(DEFAULT_CLUSTER_SPEC, wild.cluster.spec, pick),
        { worker: seed % 2 === 0, manager: seed % 3 === 0, unlockKey: seed % 5 === 0 },
      );
    case 'rotate': {
      const { meta, spec } = it.store.view((view) => view.list('cluster')[0]!);
      const texts = [word, A_ROOT_PEM, wild.cluster.rootCa.certPem, '', A_ROOT_PEM + A_ROOT_PEM];
      const signing = { certPem: texts[seed % 5]!, keyPem: texts[call.pick % 5]! };
      return api.updateCluster(meta.version, spec, {}, undefined, signing);
    }
    case 'planStack': {
      const object = seed % 2 === 0 ? null : at('secret');
      return api.planStack({
        name: word,
        networks: [network, network].slice(seed % 3),
        secrets: [{ object, spec: secret }],
        configs: [{ object, spec: config }],
        services: [service],
        prune: seed % 2 === 0,
      });
    }
    case 'get':
      return Promise.any([
        api.getService(at('service')),
        api.getTask(at('task')),
        api.getNetwork(at('network')),
        api.getSecret(at('secret')),
        api.getConfig(at('config')),
        api.getNode(at('node')),
      ]).catch((err: AggregateError) => {
        throw err.errors.find((one) => !(one instanceof SkepError)) ?? err.errors[0];
      });
    case 'list':
      return Promise.all([
        api.listServices({ ...filters, modes: ['global'], runtimes: [word] }),
        api.listNetworks({ ...filters, drivers: [word] }),
        api.listSecrets(filters),
        api.listConfigs(filters),
        api.listNodes({ ...filters, engineLabels: [word], nodeLabels: [word], roles: ['manager'] }),
      ]);
    case 'listTasks':
      return api.listTasks({
        ...{ ids: [word], names: [word], labels: [word], desiredStates: ['running'] },
        services: [at('service')],
        nodes: seed % 2 === 0 ? [at('node')] : [],
        upToDate: seed % 3 === 0,
      });
    case 'readServiceRows':
      return api.readServiceRows({ ids: [word] }, { withStatus: seed % 2 === 0 }, (_, rows) =>
        rows(),
      );
    case 'watch': {
      const watch = await api.watch({ names: [word] }, seed % 2 === 0 ? undefined : call.pick);
      return watch.close();
    }
    case 'cluster':
      return Promise.all([api.getCluster(), api.getUnlockKey(), api.listManagers()]);
  }
}

test('the calls of the fuzzer are all that the control API has', () => {
  const called = take.toString();
  const names = Object.getOwnPropertyNames(ControlApi.prototype);
  const forgotten = names.filter((name) => !called.includes(`api.${name}(`));
  expect(forgotten).toEqual(['constructor', 'register']);
});

/** What is stored survives its encoding, so that a follower and the next start have it, too. */
function checkStored(it: TestControlApi): void {
  it.store.view((view) => {
    for (const kind of OBJECT_KINDS) {
      for (const object of view.list(kind)) decodeObject(kind, encodeObject(kind, object));
    }
  });
}

test('whatever is asked of the control API, it answers, or refuses with one of its errors', async () => {
  const seen = new Set<string>();
  const authority = await createRoot({ nowMs: Date.UTC(2026, 0, 1), random: new SeededRandom(1) });
  await fc.assert(
    fc.asyncProperty(calls, async (history) => {
      const made = makeStore();
      const { rootCa } = aCluster();
      await made.create('cluster', aCluster({ rootCa: { ...rootCa, ...authority } }));
      const it = await makeControlApi(made);
      await it.create('node', aNode(), aNode());
      await it.create('task', aTask(), aTask());
      for (const call of history) {
        try {
          await take(it, call);
          seen.add('answer');
        } catch (err) {
          if (!(err instanceof SkepError)) throw err;
          expect(CODES, `${err.code}: ${err.message}`).toContain(err.code);
          expect(err.message).not.toBe('');
          seen.add(err.code);
        }
      }
      checkStored(it);
    }),
    { numRuns: 150 },
  );
  // The histories are not so wild that everything is refused for one reason.
  expect(seen).toContain('answer');
  expect(seen.size).toBeGreaterThan(5);
}, 60_000);

/** What a node that is ours says; one that somebody else has made may say anything. */
const nodesWords = fc.array(
  fc.record({
    by: fc.constantFrom('node', 'node', 'other', 'stranger'),
    attachments: fc.array(
      fc.record({
        networkId: fc.constantFrom('open', 'open', 'closed', 'ingress', 'gone', 'waits'),
        containerId: fc.constantFrom('aa'.repeat(32), 'bb'.repeat(32), 'cc'.repeat(32), 'web'),
        wanted: fc.oneof(
          { weight: 1, arbitrary: words },
          { weight: 4, arbitrary: fc.constantFrom('', '10.9.0.5', '10.9.0.5/29', '10.8.0.1') },
        ),
        words,
      }),
      { maxLength: 3 },
    ),
    /** null = the next */
    sequence: fc.oneof(
      { weight: 4, arbitrary: fc.constant(null) },
      { weight: 1, arbitrary: fc.integer({ min: -1, max: 12 }) },
    ),
    ref: words,
  }),
  { minLength: 1, maxLength: 10 },
);

test('whatever nodes say of their containers, each is in networks that are open to it, at an address of its own', async () => {
  await fc.assert(
    fc.asyncProperty(nodesWords, async (history) => {
      const t = makeStore();
      const { store, clock, random } = t;
      await t.create('cluster', aCluster());
      const subnets = [{ subnet: '10.9.0.0/29', gateway: '', range: '', reserved: {} }];
      const ipam = { driver: 'default', options: {}, configs: subnets };
      for (const [id, spec] of Object.entries({
        open: { attachable: true, ipam },
        closed: { attachable: false },
        ingress: { ingress: true },
        waits: { attachable: true, ipam: { ...ipam, configs: [{ ...subnets[0]!, subnet: 'x' }] } },
      })) {
        await t.create('network', aNetwork({ id: idOf(id), spec: aNetworkSpec(spec) }));
      }
      await t.create('node', aNode({ id: idOf('node') }), aNode({ id: idOf('other') }));
      const onFailure = (err: unknown): void => expect.unreachable(String(err));
      const allocator = new Allocator({ store, clock, random, log: silentLogger, onFailure });
      await allocator.start();
      const call = attachmentCalls(t);
      for (const [at, { by, attachments, ref, ...word }] of history.entries()) {
        const sequence = word.sequence ?? 20 + at;
        const said = attachments.map(({ networkId, containerId, wanted, words: name }) => ({
          ...aContainerAttachment({ networkId: idOf(networkId), containerId, wanted }),
          ...{ containerName: name, hostname: name, aliases: [name], address: wanted },
        }));
        const asked = [
          call(setAttachments, { attachments: said, sequence }, idOf(by)),
          call(findAttachable, { ref }, idOf(by)),
        ];
        const refusals = asked.map((answer) =>
          answer.then(
            () => null,
            (err: unknown) => err,
          ),
        );
        await clock.advance(10_000); // as long as a call waits for the allocator at most
        for (const err of await Promise.all(refusals)) {
          if (err === null) continue;
          if (!(err instanceof SkepError)) throw err;
          expect([...CODES, 'conflict', 'deadline-exceeded', 'unavailable']).toContain(err.code);
        }
      }
      await allocator.stop();
      const places = store.view((view) =>
        view
          .list('node')
          .flatMap(({ containerAttachments, attachments }) => [
            ...containerAttachments.filter(({ address }) => address !== ''),
            ...attachments.filter(({ networkId }) => networkId === 'open'),
          ]),
      );
      expect(new Set(places.map(({ networkId }) => networkId)).size).toBeLessThanOrEqual(1);
      for (const { networkId } of places) expect(networkId).toBe(idOf('open'));
      expect(new Set(places.map(({ address }) => address)).size).toBe(places.length);
    }),
    { numRuns: 100 },
  );
});

const leaf = fc.oneof(
  words,
  fc.constantFrom<unknown>(null, true, -1, 0, 1.5, 2 ** 40, 1e308, {}, []),
);
const KEYS = [
  ...['Name', 'Labels', 'TaskTemplate', 'Mode', 'UpdateConfig', 'RollbackConfig', 'EndpointSpec'],
  ...['ContainerSpec', 'Image', 'Env', 'Mounts', 'Type', 'Source', 'Target', 'Replicated'],
  ...['Replicas', 'ReplicatedJob', 'MaxConcurrent', 'GlobalJob', 'Ports', 'TargetPort', 'Protocol'],
  ...['Resources', 'Limits', 'NanoCPUs', 'RestartPolicy', 'Condition', 'Delay', 'Placement'],
  ...['Data', 'Templating', 'Driver', 'Options', 'IPAM', 'Config', 'Subnet', 'Gateway', 'IPRange'],
  ...['Role', 'Availability', 'Raft', 'CAConfig', 'NodeCertExpiry', 'Orchestration', 'Dispatcher'],
  ...['AuxiliaryAddresses', 'Internal', 'Ingress', 'EncryptionConfig', 'AutoLockManagers'],
  ...['ForceRotate', 'ExternalCAs', 'URL', 'CACert', 'SigningCACert', 'SigningCAKey'],
  ...['Constraints', 'Preferences', 'Networks', 'Secrets', 'File', 'Healthcheck', 'Test', 'Hosts'],
];
const body = fc.letrec<{ node: unknown }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 5 },
    leaf,
    fc.dictionary(fc.constantFrom(...KEYS), tie('node'), { maxKeys: 6 }),
    fc.array(tie('node'), { maxLength: 3 }),
  ),
})).node;

const BODIES: [string, (json: JsonReader) => unknown][] = [
  ['service', (json) => serviceSpecFromJson(json, null)],
  ['network', networkSpecFromJson],
  ['secret', secretSpecFromJson],
  ['config', configSpecFromJson],
  ['node', nodeSpecFromJson],
  ['cluster', clusterSpecFromJson],
  ['trust root', signingPairFromJson],
];

test.each(BODIES)(
  'whatever a client sends as a %s is read, or refused as invalid or not done',
  (_, read) => {
    fc.assert(
      fc.property(body, (json) => {
        try {
          read(new JsonReader(json));
        } catch (err) {
          if (!(err instanceof SkepError)) throw err;
          expect(['invalid-argument', 'unimplemented']).toContain(err.code);
        }
      }),
      { numRuns: 1000 },
    );
  },
);
