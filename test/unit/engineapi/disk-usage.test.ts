import { expect, test } from 'vitest';
import { addDiskUsageRoute } from '../../../daemon/engineapi/disk-usage.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import type { ContainerInfo } from '../../../worker/container-view.ts';
import type { Worker } from '../../../worker/worker.ts';
import { aContainerInfo } from '../../support/container-info.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const INFO = aContainerInfo();
const REMOVED = aContainerInfo({ id: 'f'.repeat(64) });

async function answerTo(query: string): Promise<unknown> {
  let handler: ((context: RequestContext) => unknown) | null = null;
  const routes = {
    add: (_: string, __: string, added: typeof handler) => {
      handler = added;
    },
  } as unknown as Routes;
  const containers = {
    list: () => [INFO, REMOVED],
    sizesIfStaying: async ({ id }: ContainerInfo) =>
      id === REMOVED.id ? null : { changedBytes: 5, rootBytes: 105 },
  };
  const volumes = {
    list: () => [{ name: 'data', usedBy: ['c'], createdAtMs: 0, labels: {}, options: {} }],
    sizeBytes: async () => 70,
  };
  const images = { list: () => [], usage: async () => ({ bytes: 1000, images: [] }) };
  addDiskUsageRoute(routes, {
    worker: { containers, volumes, images } as unknown as Worker,
    clock: new FakeClock(),
    networkIdOf: (name) => name,
  });
  let answer: unknown = null;
  const context = {
    apiMinor: 41,
    query: new URLSearchParams(query),
    send: (_: number, value: unknown) => {
      answer = value;
    },
  };
  await handler!(context as unknown as RequestContext);
  return answer;
}

test('tells what images, containers and volumes take, without a container that is removed meanwhile', async () => {
  expect(await answerTo('')).toMatchObject({
    LayersSize: 1000,
    Containers: [{ Id: INFO.id, SizeRw: 5, SizeRootFs: 105 }],
    Volumes: [{ Name: 'data', UsageData: { Size: 70, RefCount: 1 } }],
    BuildCache: [],
  });
});

test('of the types that are asked for alone, and of no others', async () => {
  expect(Object.keys((await answerTo('type=container')) as object)).toEqual(['Containers']);
  await expect(answerTo('type=secret')).rejects.toThrow('unknown object type: secret');
});
