import { describe, expect, test } from 'vitest';
import { aService, aServiceSpec, aTask } from '../../support/builders.ts';
import { makeStore } from '../../support/store.ts';

describe('store', () => {
  test('stamps and returns what it created', async () => {
    const { store, get, clock } = makeStore();
    const created = await store.update((tx) =>
      tx.create('service', aService({ spec: aServiceSpec({ name: 'Web' }) })),
    );
    expect(created.meta).toEqual({
      version: 1,
      createdAtMs: clock.wallMs(),
      updatedAtMs: clock.wallMs(),
    });
    expect(get('service', created.id)).toBe(created);
    expect(store.revision).toBe(2);
    expect(store.view((view) => view.byName('service', 'wEB'))).toEqual([created]);
  });

  test('finds tasks by what they belong to', async () => {
    const { store, create } = makeStore();
    const [task] = await create('task', aTask());
    expect(store.view((view) => view.tasksByService(task!.serviceId))).toEqual([task]);
  });
});
