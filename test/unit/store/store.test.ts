import { describe, expect, test } from 'vitest';
import type { SkepError } from '../../../common/base/errors.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import type { ServiceId } from '../../../common/model/ids.ts';
import { MemoryStore, UPDATE_ATTEMPTS_MAX } from '../../../manager/store/store.ts';
import type { ReadView, WriteTx } from '../../../manager/store/types.ts';
import {
  aConfig,
  aConfigSpec,
  aNetwork,
  aNetworkSpec,
  aNode,
  aNodeDescription,
  aService,
  aServiceSpec,
  aTask,
  aTaskOf,
  idOf,
} from '../../support/builders.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

function withCode(code: string): unknown {
  return expect.objectContaining({ code });
}

function aServiceNamed(name: string, id?: string) {
  return aService({ spec: aServiceSpec({ name }), ...(id ? { id: id as ServiceId } : {}) });
}

/** A payload that renames a service, as another leader would have made it from the present state. */
async function payloadOf(
  { store, clock }: TestStore,
  write: (tx: WriteTx) => void,
): Promise<Uint8Array> {
  const payloads: Uint8Array[] = [];
  const proposer = {
    propose: async (payload: Uint8Array) => {
      payloads.push(payload);
      throw new Error('kept');
    },
  };
  const twin = new MemoryStore({ proposer, clock, random: new SeededRandom(99) });
  await twin.restore(chunksOf(store), store.revision);
  await expect(twin.update(write)).rejects.toThrow('kept');
  return payloads[0]!;
}

async function* chunksOf(store: MemoryStore): AsyncGenerator<Uint8Array> {
  yield* store.snapshot();
}

describe('a write', () => {
  test('is stamped with the revision at its start and the time', async () => {
    const { store, get, clock } = makeStore();
    await clock.advance(5000);
    const created = await store.update((tx) => tx.create('service', aServiceNamed('web')));
    const createdAtMs = clock.wallMs();
    expect(created.meta).toEqual({ version: 1, createdAtMs, updatedAtMs: createdAtMs });
    expect(store.revision).toBe(2);

    await clock.advance(1000);
    const updated = await store.update((tx) =>
      tx.update('service', { ...created, specVersion: 7 }),
    );
    expect(updated.meta).toEqual({ version: 2, createdAtMs, updatedAtMs: createdAtMs + 1000 });
    expect(get('service', created.id)).toEqual({ ...updated, specVersion: 7 });
  });

  test('that changes nothing is not proposed', async () => {
    const { store, proposer, create } = makeStore();
    await create('service', aServiceNamed('web', idOf('a')));
    await store.update((tx) => tx.list('service').length);
    await store.update((tx) => {
      tx.remove('service', tx.create('service', aServiceNamed('brief')).id);
    });
    expect(proposer.entries).toHaveLength(1);
  });

  test('that throws changes nothing and rejects with what it threw', async () => {
    const { store, proposer } = makeStore();
    const failing = store.update((tx) => {
      tx.create('service', aServiceNamed('web'));
      throw new RangeError('no');
    });
    await expect(failing).rejects.toThrow(RangeError);
    expect(proposer.entries).toHaveLength(0);
    expect(store.view((view) => view.count('service'))).toBe(0);
  });

  test('is seen by nobody before it is committed', async () => {
    const { store, proposer } = makeStore();
    proposer.hold = true;
    const service = aServiceNamed('web');
    const writing = store.update((tx) => tx.create('service', service));
    expect(store.view((view) => view.get('service', service.id))).toBeUndefined();
    proposer.release();
    await writing;
    expect(store.view((view) => view.get('service', service.id))).toBeDefined();
  });

  test('freezes what it stores, to the bottom', async () => {
    const { create } = makeStore();
    const [service] = await create('service', aServiceNamed('web'));
    expect(Object.isFrozen(service)).toBe(true);
    expect(Object.isFrozen(service!.meta)).toBe(true);
    expect(Object.isFrozen(service!.spec.task.container.env)).toBe(true);
  });

  test.each([
    ['already-exists', (tx: WriteTx) => tx.create('service', aServiceNamed('other', idOf('a')))],
    ['not-found', (tx: WriteTx) => tx.update('service', aServiceNamed('web', idOf('b')))],
    ['not-found', (tx: WriteTx) => tx.remove('service', idOf('b'))],
    ['not-found', (tx: WriteTx) => tx.require('node', idOf('b'))],
    ['name-conflict', (tx: WriteTx) => tx.create('service', aServiceNamed('WEB'))],
    ['invalid-argument', (tx: WriteTx) => tx.create('task', aTask({ slot: -1 }))],
  ])('is refused with %s', async (code, write) => {
    const { store, create } = makeStore();
    await create('service', aServiceNamed('web', idOf('a')));
    await expect(store.update(write)).rejects.toEqual(withCode(code));
  });

  test('has at most 200 changes', async () => {
    const { store } = makeStore();
    const create = (count: number) =>
      store.update((tx) => {
        for (let i = 0; i < count; i++) tx.create('task', aTask());
      });
    await expect(create(200)).resolves.toBeUndefined();
    await expect(create(201)).rejects.toEqual(withCode('resource-exhausted'));
    expect(store.view((view) => view.count('task'))).toBe(200);
  });

  test('has at most 1.5 MiB', async () => {
    const { store } = makeStore();
    const config = () => aConfig({ spec: aConfigSpec({ data: new Uint8Array(800 * 1024) }) });
    await store.update((tx) => tx.create('config', config()));
    const tooLarge = store.update((tx) => [
      tx.create('config', config()),
      tx.create('config', config()),
    ]);
    await expect(tooLarge).rejects.toEqual(withCode('resource-exhausted'));
  });

  test('is refused as long as there is no proposer', async () => {
    const { clock, random } = makeStore();
    const store = new MemoryStore({ proposer: null, clock, random });
    await expect(store.update((tx) => tx.create('task', aTask()))).rejects.toEqual(
      withCode('unavailable'),
    );
  });

  test('rejects with the error of the proposer, and a later one goes its way', async () => {
    const { store, proposer, create } = makeStore();
    const [service] = await create('service', aServiceNamed('web'));
    const rename = (name: string) => (tx: WriteTx) =>
      tx.update('service', { ...tx.require('service', service!.id), spec: aServiceSpec({ name }) });
    proposer.hold = true;
    const first = store.update(rename('one'));
    const second = store.update(rename('two'));
    proposer.fail(new Error('no leader'));
    await expect(first).rejects.toThrow('no leader');
    await settle();
    proposer.release();
    await expect(second).resolves.toEqual(expect.objectContaining({ id: service!.id }));
  });

  test('stops waiting when aborted', async () => {
    const { store, proposer, create } = makeStore();
    const [service] = await create('service', aServiceNamed('web'));
    const touch = (tx: WriteTx) => tx.update('service', tx.require('service', service!.id));
    proposer.hold = true;
    const first = store.update(touch);
    const abort = new AbortController();
    const second = store.update(touch, abort.signal);
    abort.abort(new Error('enough'));
    await expect(second).rejects.toThrow('enough');
    await expect(store.update(touch, abort.signal)).rejects.toThrow('enough');
    proposer.release();
    await first;
    expect(proposer.entries).toHaveLength(2);
  });

  test('may not be asynchronous', async () => {
    const { store } = makeStore();
    await expect(store.update(async () => {})).rejects.toThrow('must be synchronous');
    expect(() => store.view(async () => {})).toThrow('must be synchronous');
  });
});

describe('a view', () => {
  test('is of no use after its callback', async () => {
    const { store } = makeStore();
    let kept: ReadView | undefined;
    store.view((view) => {
      kept = view;
    });
    expect(() => kept!.list('task')).toThrow('used after its callback');
    await store.update((tx) => {
      kept = tx;
    });
    expect(() => kept!.get('task', 'x')).toThrow('used after its callback');
  });

  test('finds objects by name, hostname, task name and prefix of the id', async () => {
    const { store, create } = makeStore();
    const [web] = await create('service', aServiceNamed('Web', idOf('web')));
    await create('service', aServiceNamed('db', idOf('db')));
    const description = aNodeDescription({ hostname: 'Alpha' });
    const nodes = await create('node', aNode({ description }), aNode({ description }));
    await create('node', aNode({ description: null }));
    const [task] = await create('task', aTaskOf(web!, { slot: 3 }));
    const [global] = await create('task', aTaskOf(web!, { slot: null, nodeId: nodes[0]!.id }));
    store.view((view) => {
      expect(view.byName('service', 'wEB')).toEqual([web]);
      expect(view.byName('service', 'we')).toEqual([]);
      expect(view.byName('node', 'alpha')).toEqual(nodes);
      expect(view.byName('node', '')).toEqual([]);
      expect(view.byName('task', `web.3.${task!.id}`)).toEqual([task]);
      expect(view.byName('task', `Web.${nodes[0]!.id}.${global!.id}`)).toEqual([global]);
      expect(view.byName('task', `web.2.${task!.id}`)).toEqual([]);
      expect(view.byName('task', 'web')).toEqual([]);
      expect(view.byIdPrefix('service', 'we')).toEqual([web]);
      expect(view.byIdPrefix('service', '')).toHaveLength(2);
    });
  });
});

describe('names', () => {
  test('are free again after a removal or a renaming in the same transaction', async () => {
    const { store, create, get } = makeStore();
    const [a, b] = await create('network', namedNetwork('a'), namedNetwork('b'));
    await store.update((tx) => {
      tx.update('network', { ...a!, spec: aNetworkSpec({ name: 'c' }) });
      tx.update('network', { ...b!, spec: aNetworkSpec({ name: 'A' }) });
      tx.remove('network', a!.id);
      tx.create('network', namedNetwork('C'));
    });
    expect(get('network', b!.id).spec.name).toBe('A');
    expect(store.view((view) => view.byName('network', 'c'))).toHaveLength(1);
  });

  test('may be swapped', async () => {
    const { store, create, get } = makeStore();
    const [a, b] = await create('network', namedNetwork('a'), namedNetwork('b'));
    await store.update((tx) => {
      tx.update('network', { ...a!, spec: aNetworkSpec({ name: 'tmp' }) });
      tx.update('network', { ...b!, spec: aNetworkSpec({ name: 'a' }) });
      tx.update('network', { ...a!, spec: aNetworkSpec({ name: 'b' }) });
    });
    expect([get('network', a!.id).spec.name, get('network', b!.id).spec.name]).toEqual(['b', 'a']);
  });

  test('taken meanwhile lead to a name conflict, not to two objects', async () => {
    const { store, proposer } = makeStore();
    proposer.hold = true;
    const first = store.update((tx) => tx.create('service', aServiceNamed('web')));
    const second = store.update((tx) => tx.create('service', aServiceNamed('WEB')));
    expect(proposer.held).toBe(2);
    proposer.release();
    await first;
    await expect(second).rejects.toEqual(withCode('name-conflict'));
    expect(store.view((view) => view.count('service'))).toBe(1);
  });

  test('are unique within their kind only, and not for nodes', async () => {
    const { create, store } = makeStore();
    await create('service', aServiceNamed('web'));
    await create('network', namedNetwork('web'));
    const description = aNodeDescription({ hostname: 'web' });
    await create('node', aNode({ description }), aNode({ description }));
    expect(store.view((view) => view.byName('node', 'web'))).toHaveLength(2);
  });
});

function namedNetwork(name: string) {
  return aNetwork({ spec: aNetworkSpec({ name }) });
}

describe('conflicting writes', () => {
  test('a write that another manager overtook is run again on the new state', async () => {
    const made = makeStore();
    const { store, proposer, create, get } = made;
    const [service] = await create('service', aServiceNamed('web'));
    const theirs = await payloadOf(made, (tx) => {
      tx.update('service', { ...tx.require('service', service!.id), specVersion: 10 });
    });
    let runs = 0;
    proposer.hold = true;
    const writing = store.update((tx) => {
      runs++;
      const current = tx.require('service', service!.id);
      return tx.update('service', { ...current, specVersion: current.specVersion + 1 });
    });
    proposer.append(theirs);
    proposer.hold = false;
    proposer.release();
    await writing;
    expect(runs).toBe(2);
    expect(get('service', service!.id).specVersion).toBe(11);
  });

  test('all of a transaction or nothing', async () => {
    const made = makeStore();
    const { store, proposer, create } = made;
    const [a, b] = await create('service', aServiceNamed('a'), aServiceNamed('b'));
    const theirs = await payloadOf(made, (tx) => {
      tx.create('service', aServiceNamed('c'));
      tx.update('service', tx.require('service', a!.id));
      tx.remove('service', b!.id);
    });
    await store.update((tx) => tx.update('service', tx.require('service', b!.id)));
    const before = store.view((view) => view.list('service'));
    const watch = store.watch();
    proposer.append(theirs);
    expect(store.view((view) => view.list('service'))).toEqual(before);
    await create('service', aServiceNamed('d'));
    expect((await watch.next())!.map((commit) => commit.revision)).toEqual([store.revision]);
  });

  test.each<[string, (tx: WriteTx) => void, (tx: WriteTx) => void]>([
    ['of an object that is gone', (tx) => tx.update('service', web(tx)), removeWeb],
    ['of an object that is gone', removeWeb, removeWeb],
    ['of an object that changed', removeWeb, (tx) => tx.update('service', web(tx))],
    [
      'of an object that was made anew',
      (tx) => tx.update('service', web(tx)),
      (tx) => {
        const { id } = web(tx);
        tx.remove('service', id);
        tx.create('service', aServiceNamed('web', id));
      },
    ],
    [
      'of an id that exists by now',
      (tx) => tx.create('service', aServiceNamed('x', idOf('x'))),
      (tx) => tx.create('service', aServiceNamed('y', idOf('x'))),
    ],
    [
      'of a name that is taken by now',
      (tx) => tx.create('service', aServiceNamed('X')),
      (tx) => tx.create('service', aServiceNamed('x')),
    ],
  ])('a stale write %s is a no-op', async (_, stale, first) => {
    const made = makeStore();
    await made.create('service', aServiceNamed('web'));
    const payload = await payloadOf(made, stale);
    await made.store.update(first);
    const before = made.store.view((view) => view.list('service'));
    made.proposer.append(payload);
    expect(made.store.view((view) => view.list('service'))).toEqual(before);
  });

  test('our own writes of one object wait for each other instead of failing', async () => {
    const { store, proposer, create, get } = makeStore();
    const [service] = await create('service', aServiceNamed('web'));
    proposer.hold = true;
    const increment = () =>
      store.update((tx) => {
        const current = tx.require('service', service!.id);
        return tx.update('service', { ...current, specVersion: current.specVersion + 1 });
      });
    const all = Promise.all(Array.from({ length: 40 }, increment));
    let proposals = 0;
    for (; proposer.held > 0; await settle()) proposals += proposer.release();
    await all;
    expect(get('service', service!.id).specVersion).toBe(40);
    expect(proposals).toBe(40);
  });

  test('our writes of different objects are under way together', async () => {
    const { store, proposer } = makeStore();
    proposer.hold = true;
    const all = [1, 2, 3].map(() => store.update((tx) => tx.create('task', aTask())));
    expect(proposer.held).toBe(3);
    proposer.release();
    const tasks = await Promise.all(all);
    expect(tasks.map((task) => task.meta.version)).toEqual([1, 1, 1]);
    expect(store.view((view) => view.list('task'))).toEqual(tasks);
  });

  test('a write that loses again and again gives up', async () => {
    const made = makeStore();
    const [service] = await made.create('service', aServiceNamed('web'));
    let runs = 0;
    made.proposer.hold = true;
    const writing = made.store.update((tx) => {
      runs++;
      tx.update('service', tx.require('service', service!.id));
    });
    const failed = expect(writing).rejects.toEqual(withCode('version-conflict'));
    for (; made.proposer.held > 0; await settle()) {
      const theirs = await payloadOf(made, (tx) => {
        tx.update('service', tx.require('service', service!.id));
      });
      made.proposer.append(theirs);
      made.proposer.release();
    }
    await failed;
    expect(runs).toBe(UPDATE_ATTEMPTS_MAX);
  });

  test('a proposal that is committed after its proposer gave up takes effect once', async () => {
    const { store, proposer } = makeStore();
    proposer.hold = true;
    let payload: Uint8Array | undefined;
    store.setProposer({
      propose: async (bytes) => {
        payload = bytes;
        throw new Error('leadership lost');
      },
    });
    const task = aTask();
    await expect(store.update((tx) => tx.create('task', task))).rejects.toThrow('leadership lost');
    proposer.append(payload!);
    expect(store.view((view) => view.get('task', task.id))).toEqual(
      expect.objectContaining({ id: task.id, slot: task.slot }),
    );
  });
});

function web(view: ReadView) {
  return view.byName('service', 'web')[0]!;
}

function removeWeb(tx: WriteTx): void {
  tx.remove('service', web(tx).id);
}

describe('a batch', () => {
  test('runs every item, as many per transaction as fit', async () => {
    const { store, proposer } = makeStore();
    const tasks = Array.from({ length: 450 }, () => aTask());
    await store.batch(tasks, (tx, task) => tx.create('task', task));
    expect(store.view((view) => view.count('task'))).toBe(450);
    expect(proposer.entries).toHaveLength(3);
  });

  test('never divides an item', async () => {
    const { store, proposer } = makeStore();
    await store.batch([1, 2, 3], (tx) => {
      for (let i = 0; i < 90; i++) tx.create('task', aTask());
    });
    expect(store.view((view) => view.count('task'))).toBe(270);
    expect(proposer.entries).toHaveLength(2);
  });

  test('is divided by size too', async () => {
    const { store, proposer } = makeStore();
    const configs = Array.from({ length: 5 }, () =>
      aConfig({ spec: aConfigSpec({ data: new Uint8Array(700 * 1024) }) }),
    );
    await store.batch(configs, (tx, config) => tx.create('config', config));
    expect(proposer.entries).toHaveLength(3);
    for (const entry of proposer.entries) expect(entry.length).toBeLessThan(1.5 * 1024 * 1024);
  });

  test('refuses an item that is too large alone', async () => {
    const { store } = makeStore();
    const writing = store.batch([1, 201], (tx, count) => {
      for (let i = 0; i < count; i++) tx.create('task', aTask());
    });
    await expect(writing).rejects.toEqual(withCode('resource-exhausted'));
  });

  test('leaves one that is too large out where somebody is told of it, and writes the others', async () => {
    const told: SkepError[] = [];
    const { store, proposer } = makeStore({ onTooLarge: (err) => told.push(err) });
    await store.batch([1, 201, 2, 201, 198], (tx, count) => {
      for (let i = 0; i < count; i++) tx.create('task', aTask());
    });
    expect(store.view((view) => view.count('task'))).toBe(201);
    expect(proposer.entries).toHaveLength(3);
    expect(told.map(({ code, message }) => [code, message])).toEqual(
      Array(2).fill([
        'resource-exhausted',
        'commit transaction: 201 changes exceed the limit of 200',
      ]),
    );
  });

  test('proposes nothing for items that change nothing', async () => {
    const { store, proposer } = makeStore();
    await store.batch([1, 2, 3], () => {});
    await store.batch([], () => {});
    expect(proposer.entries).toHaveLength(0);
  });

  test('runs the items of a transaction again that lost', async () => {
    const made = makeStore();
    const services = await made.create('service', aServiceNamed('a'), aServiceNamed('b'));
    const theirs = await payloadOf(made, (tx) => {
      tx.update('service', { ...tx.require('service', services[1]!.id), specVersion: 5 });
    });
    made.proposer.hold = true;
    const writing = made.store.batch(services, (tx, { id }) => {
      const current = tx.require('service', id);
      tx.update('service', { ...current, specVersion: current.specVersion + 1 });
    });
    made.proposer.append(theirs);
    made.proposer.hold = false;
    made.proposer.release();
    await writing;
    expect(services.map(({ id }) => made.get('service', id).specVersion)).toEqual([1, 6]);
  });
});

describe('apply', () => {
  test('an empty entry moves the revision alone', () => {
    const { store } = makeStore();
    store.apply(7, new Uint8Array(0));
    expect(store.revision).toBe(7);
    expect(() => store.apply(7, new Uint8Array(0))).toThrow('the revision is 7 already');
  });

  test('damaged entries are refused and change nothing', () => {
    const { store } = makeStore();
    expect(() => store.apply(2, new Uint8Array([1, 2, 3]))).toThrow(
      expect.objectContaining({ code: 'data-loss' }),
    );
    expect(store.revision).toBe(1);
  });

  test('does not keep the memory of the entry', async () => {
    const made = makeStore();
    const config = aConfig({ spec: aConfigSpec({ data: new Uint8Array([1, 2, 3]) }) });
    const payload = await payloadOf(made, (tx) => tx.create('config', config));
    made.proposer.append(payload);
    payload.fill(0xff);
    expect(made.get('config', config.id).spec.data).toEqual(new Uint8Array([1, 2, 3]));
  });

  test('another clock on the applying side changes nothing', async () => {
    const made = makeStore();
    const payload = await payloadOf(made, (tx) => tx.create('task', aTask({ id: idOf('t') })));
    const other = makeStore({ clock: new FakeClock(0) });
    other.proposer.append(payload);
    expect(other.get('task', idOf('t')).meta.createdAtMs).toBe(made.clock.wallMs());
  });
});
