import { expect, test } from 'vitest';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import { addVolumeRoutes } from '../../../daemon/engineapi/volumes.ts';
import type { VolumeStore } from '../../../worker/volumes/volume-store.ts';

/** What a prune removes of a named volume, an anonymous one and one in use, and what is told of it. */
async function pruned(apiMinor: number, filters: object): Promise<readonly string[]> {
  const events: unknown[] = [];
  const volumes = [
    { name: 'named', anonymous: false, usedBy: [], labels: {} },
    { name: 'anonymous', anonymous: true, usedBy: [], labels: {} },
    { name: 'used', anonymous: true, usedBy: ['c'], labels: {} },
  ];
  const removed: string[] = [];
  const store = {
    list: () => volumes,
    sizeBytes: async () => 1,
    remove: async (name: string) => removed.push(name),
  } as unknown as VolumeStore;
  let prune: (context: RequestContext) => unknown = () => {};
  const add = (_: string, path: string, handler: typeof prune): void => {
    if (path === '/volumes/prune') prune = handler;
  };
  addVolumeRoutes({ add } as unknown as Routes, {
    volumes: store,
    events: { tell: (event) => void events.push(event) },
  });
  const text = (): string => JSON.stringify(filters);
  await prune({ apiMinor, text, send: () => {} } as unknown as RequestContext);
  const attributes = { reclaimed: String(removed.length) };
  expect(events).toEqual([{ type: 'volume', action: 'prune', id: '', attributes }]);
  return removed;
}

test.each([
  [50, {}, ['anonymous']],
  [42, {}, ['anonymous']],
  [41, {}, ['named', 'anonymous']],
  [50, { all: ['true'] }, ['named', 'anonymous']],
  [41, { all: ['false'] }, ['anonymous']],
])('a prune of API 1.%i with %j removes %j', async (minor, filters, names) => {
  expect(await pruned(minor, filters)).toEqual(names);
});
