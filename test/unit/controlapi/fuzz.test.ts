import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../../common/model/cluster.ts';
import { OBJECT_KINDS } from '../../../common/model/object-kinds.ts';
import { decodeObject, encodeObject } from '../../../common/wire/object.ts';
import { JsonReader } from '../../../daemon/engineapi/json/reader.ts';
import { serviceSpecFromJson } from '../../../daemon/engineapi/json/service.ts';
import { objectArbitraries } from '../../support/arbitraries.ts';
import {
  aConfigSpec,
  aNetworkSpec,
  aNode,
  aNodeSpec,
  aSecretSpec,
  aServiceSpec,
} from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';

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

const calls = fc.array(
  fc.record({
    verb: fc.nat(17),
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
  switch (call.verb) {
    case 0:
    case 1:
      return it.api.createService(service);
    case 2:
      return update('service', (ref, version) =>
        it.api.updateService(ref, version, service, { rollback: seed % 4 === 0 }),
      );
    case 3:
      return it.api.removeService(at('service'));
    case 4:
      return it.api.createNetwork(network);
    case 5:
      return it.api.removeNetwork(at('network'));
    case 6:
      return it.api.createSecret(secret);
    case 7:
      return update('secret', (ref, version) => it.api.updateSecret(ref, version, secret));
    case 8:
      return it.api.removeSecret(at('secret'));
    case 9:
      return it.api.createConfig(config);
    case 10:
      return update('config', (ref, version) => it.api.updateConfig(ref, version, config));
    case 11:
      return it.api.removeConfig(at('config'));
    case 12:
      return update('node', (ref, version) =>
        it.api.updateNode(ref, version, mixed(aNodeSpec(), wild.node.spec, pick)),
      );
    case 13:
      return it.api.removeNode(at('node'), seed % 2 === 0);
    case 14:
      return it.api.updateCluster(
        call.stale ? call.pick : it.store.view((view) => view.list('cluster')[0]!.meta.version),
        mixed(DEFAULT_CLUSTER_SPEC, wild.cluster.spec, pick),
        { worker: seed % 2 === 0 },
      );
    case 15:
      return it.api.listTasks({ services: [at('service')], names: [word], labels: [word] });
    case 16:
      return it.api.listServices({ namePrefixes: [word], labels: [word], ids: [word] });
    default:
      return it.api.getService(at('service'));
  }
}

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
  await fc.assert(
    fc.asyncProperty(calls, async (history) => {
      const it = await makeControlApi();
      await it.create('node', aNode(), aNode());
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

const leaf = fc.oneof(
  words,
  fc.constantFrom<unknown>(null, true, -1, 0, 1.5, 2 ** 40, 1e308, {}, []),
);
const KEYS = [
  ...['Name', 'Labels', 'TaskTemplate', 'Mode', 'UpdateConfig', 'RollbackConfig', 'EndpointSpec'],
  ...['ContainerSpec', 'Image', 'Env', 'Mounts', 'Type', 'Source', 'Target', 'Replicated'],
  ...['Replicas', 'ReplicatedJob', 'MaxConcurrent', 'GlobalJob', 'Ports', 'TargetPort', 'Protocol'],
  ...['Resources', 'Limits', 'NanoCPUs', 'RestartPolicy', 'Condition', 'Delay', 'Placement'],
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

test('whatever a client sends as a service is read, or refused as invalid or not done', () => {
  fc.assert(
    fc.property(body, (json) => {
      try {
        serviceSpecFromJson(new JsonReader(json), null);
      } catch (err) {
        if (!(err instanceof SkepError)) throw err;
        expect(['invalid-argument', 'unimplemented']).toContain(err.code);
      }
    }),
    { numRuns: 2000 },
  );
});
