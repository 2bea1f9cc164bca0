import { beforeEach, describe, expect, test } from 'vitest';
import type { ClusterWatch, WatchFilters } from '../../../manager/controlapi/watch.ts';
import { FEED_COMMITS_MAX } from '../../../manager/store/feed.ts';
import type { Commit } from '../../../manager/store/types.ts';
import {
  aContainerSpec,
  aNode,
  aNodeDescription,
  aNodeSpec,
  aSecretSpec,
  aService,
  aServiceSpec,
  aTaskOf,
  aTaskSpec,
} from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';

const signal = new AbortController().signal;
let it: TestControlApi;
beforeEach(async () => {
  it = await makeControlApi();
});

const watch = (filters: WatchFilters = {}, from?: number): Promise<ClusterWatch> =>
  it.api.watch(filters, from);

function told(commits: readonly Commit[] | null): string[] | undefined {
  return commits?.flatMap(({ changes }) =>
    changes.map(({ action, kind, object }) => `${action} ${kind} ${nameOf(object)}`),
  );
}

function nameOf(object: object): string {
  const { spec, slot } = object as { spec: { name?: string }; slot?: number };
  return spec.name || String(slot ?? '');
}

describe('a watch of the cluster', () => {
  test('tells what comes after it was opened, commit by commit, after a read barrier', async () => {
    const before = it.barriers();
    await it.create('service', aService({ spec: aServiceSpec({ name: 'old' }) }));
    const changes = await watch();
    expect(it.barriers()).toBe(before + 1);
    await it.api.createSecret(aSecretSpec({ name: 'key' }));
    const [service] = await it.create('service', aService({ spec: aServiceSpec({ name: 'new' }) }));
    await it.api.removeService(service!.id);
    expect(told(await changes.next(signal))).toEqual([
      'create secret key',
      'create service new',
      'remove service new',
    ]);
    expect(changes.revision).toBe(it.store.revision);
  });

  test('from a revision tells everything after that one, and nothing of it', async () => {
    await it.create('service', aService({ spec: aServiceSpec({ name: 'one' }) }));
    const from = it.store.revision;
    await it.create('service', aService({ spec: aServiceSpec({ name: 'two' }) }));
    expect(told(await (await watch({}, from)).next(signal))).toEqual(['create service two']);
    expect(told(await (await watch({}, from - 1)).next(signal))).toEqual([
      'create service one',
      'create service two',
    ]);
  });

  test('from a revision that is no longer kept is refused, with the oldest one that is', async () => {
    const made: number[] = [];
    for (let i = 0; i < FEED_COMMITS_MAX + 1; i++) {
      await it.create('service', aService());
      made.push(it.store.revision);
    }
    await expect(watch({}, made[0]! - 1)).rejects.toMatchObject({
      code: 'compacted',
      message: expect.stringContaining(`changes up to revision ${made[0]} are no longer kept`),
      details: { oldestRevision: String(made[0]) },
    });
    await expect(watch({}, made[0])).resolves.toMatchObject({ revision: made[0] });
  });

  test('from a revision that is still to come is refused', async () => {
    await expect(watch({}, it.store.revision + 1)).rejects.toMatchObject({
      code: 'invalid-argument',
      message: `watch from revision ${it.store.revision + 1}: the newest one is ${it.store.revision}`,
    });
  });

  test('that reads too slowly is cut off with the same words', async () => {
    const changes = await watch();
    for (let i = 0; i < FEED_COMMITS_MAX + 1; i++) await it.create('service', aService());
    await expect(changes.next(signal)).rejects.toMatchObject({ code: 'compacted' });
  });

  test('never shows secret data, keys or registry credentials', async () => {
    const changes = await watch();
    await it.api.createSecret(aSecretSpec({ data: Buffer.from('hidden') }));
    const container = aContainerSpec({ registryAuth: 'hidden' });
    const spec = aServiceSpec({ task: aTaskSpec({ container }) });
    const service = await it.api.createService(spec);
    await it.create('task', aTaskOf(service, { spec: spec.task }));
    const kept = it.get('service', service.id);
    await it.api.updateService(service.id, kept.meta.version, { ...spec, labels: { a: 'b' } });
    await it.store.update((tx) => {
      const cluster = tx.list('cluster')[0]!;
      tx.update('cluster', { ...cluster, unlockKey: 'hidden' });
    });
    const shown = (await changes.next(signal))!.flatMap((commit) => commit.changes);
    expect(shown.map(({ kind }) => kind)).toEqual([
      'secret',
      'service',
      'task',
      'service',
      'cluster',
    ]);
    const text = JSON.stringify(shown);
    expect(text).not.toContain('hidden');
    expect(text).not.toContain(JSON.stringify([...Buffer.from('hidden')]).slice(1, -1));
    expect(text).not.toContain('PRIVATE KEY');
  });

  test('ends when its manager serves no longer', async () => {
    const release = it.api.register({ handleUnary: () => () => {} });
    const changes = await watch();
    const next = changes.next(signal);
    release();
    expect(await next).toBeNull();
  });

  test('is refused by a manager that ends while the watch waits for its read barrier', async () => {
    const release = it.api.register({ handleUnary: () => () => {} });
    const opening = watch();
    release();
    await expect(opening).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('filters of a watch', () => {
  const make = async (filters: WatchFilters): Promise<string[] | undefined> => {
    const changes = await watch(filters);
    const spec = aServiceSpec({ name: 'web', labels: { tier: 'front' } });
    const [service] = await it.create('service', aService({ spec }));
    const description = aNodeDescription({ hostname: 'host-1' });
    const [node] = await it.create('node', aNode({ description, spec: aNodeSpec({ name: 'n' }) }));
    await it.create('task', aTaskOf(service!, { slot: 1, nodeId: node!.id }));
    await it.api.createSecret(aSecretSpec({ name: 'webkey' }));
    const bare = { ...spec, labels: {} };
    await it.store.update((tx) => tx.update('service', { ...service!, spec: bare }));
    await it.store.update((tx) => tx.remove('service', service!.id));
    return told(await changes.next(signal));
  };

  test.each<[string, WatchFilters, string[]]>([
    ['of a kind', { kinds: ['node', 'task'] }, ['create node n', 'create task 1']],
    ['of an action', { actions: ['remove'] }, ['remove service web']],
    [
      'of two fields hold together',
      { kinds: ['service', 'secret'], actions: ['create'] },
      ['create service web', 'create secret webkey'],
    ],
    [
      'of a name take prefixes',
      { names: ['webk', 'web.'] },
      ['create task 1', 'create secret webkey'],
    ],
    [
      'of a label tell the change that takes it away, and no later one',
      { labels: ['tier=front'] },
      ['create service web', 'create task 1', 'update service web'],
    ],
    [
      'of a service tell it and its tasks',
      { services: ['web'] },
      ['create service web', 'create task 1', 'update service web', 'remove service web'],
    ],
    ['of a node tell it', { nodes: ['host-1'] }, ['create node n']],
  ])('%s', async (_, filters, expected) => {
    expect(await make(filters)).toEqual(expected);
  });

  test('of an id take prefixes', async () => {
    const changes = await watch({ ids: ['abc'] });
    await it.create(
      'service',
      aService({ id: 'abcdef' as never, spec: aServiceSpec({ name: 'a' }) }),
      aService({ id: 'xabcde' as never, spec: aServiceSpec({ name: 'b' }) }),
    );
    expect(told(await changes.next(signal))).toEqual(['create service a']);
  });

  test('that let nothing through move the revision all the same', async () => {
    const changes = await watch({ kinds: ['config'] });
    await it.create('service', aService());
    expect(await changes.next(signal)).toEqual([]);
    expect(changes.revision).toBe(it.store.revision);
  });
});
