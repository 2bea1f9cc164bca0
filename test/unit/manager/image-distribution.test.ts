import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import type { TakeImageRequest } from '../../../common/model/blob.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import type { RpcClients } from '../../../common/rpc/pool.ts';
import { ImageDistribution } from '../../../manager/image-distribution.ts';
import {
  aContainerSpec,
  aNode,
  aNodeDescription,
  aService,
  aServiceSpec,
  aTaskOf,
  aTaskSpec,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';
import { makeStore } from '../../support/store.ts';

const SELF = idOf<NodeId>('self');
const DIGEST = `sha256:${'a'.repeat(64)}`;

const node = (id: NodeId, hostname: string, state: 'ready' | 'down' = 'ready') =>
  aNode({
    id,
    description: aNodeDescription({ hostname, address: `${hostname}:2377` }),
    status: { state, message: '', address: '' },
  });

const serviceOf = (name: string, image: string) =>
  aService({
    spec: aServiceSpec({ name, task: aTaskSpec({ container: aContainerSpec({ image }) }) }),
  });

/** Nodes that answer an order so; the most that were at work at once is counted. */
function poolOf(answers: Readonly<Record<string, 'takes' | Error>>) {
  const orders: (TakeImageRequest & { to: string })[] = [];
  let running = 0;
  const seen = { orders, most: 0 };
  const client = (address: string) => ({
    serverStream: async (_: unknown, request: TakeImageRequest) => {
      orders.push({ ...request, to: address });
      seen.most = Math.max(seen.most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      const answer = answers[address] ?? 'takes';
      if (answer instanceof Error) throw answer;
      return { next: async () => ({ imageId: DIGEST }), cancel: () => {} };
    },
  });
  return { seen, pool: { client } as unknown as Pick<RpcClients, 'client'> };
}

async function scene(
  answers: Readonly<Record<string, 'takes' | Error>> = {},
  readBarrier: () => Promise<unknown> = async () => {},
) {
  const { store, create } = makeStore();
  const { seen, pool } = poolOf(answers);
  const self = { nodeId: SELF, address: 'self:2377' };
  const images = new ImageDistribution({ store, pool, readBarrier, ...self });
  await create('node', node(SELF, 'self'));
  return { images, create, seen };
}

describe('image distribution', () => {
  test('knows the other nodes on which images of a repository run', async () => {
    const { images, create } = await scene();
    const [a, b, c] = [idOf<NodeId>('a'), idOf<NodeId>('b'), idOf<NodeId>('c')];
    await create('node', node(a, 'a'), node(b, 'b'), node(c, 'c'));
    const web = serviceOf('web', `web:1@${DIGEST}`);
    const other = serviceOf('other', 'r:5000/web:1');
    await create('service', web, other);
    const running = aTaskStatus({ state: 'running' });
    await create(
      'task',
      aTaskOf(web, { nodeId: a, status: running }),
      aTaskOf(web, { nodeId: SELF, status: running, slot: 2 }),
      aTaskOf(web, { nodeId: b, status: aTaskStatus({ state: 'preparing' }), slot: 3 }),
      aTaskOf(other, { nodeId: c, status: running }),
    );
    expect(images.holders('docker.io', 'library/web')).toEqual([{ nodeId: a, address: 'a:2377' }]);
    expect(images.holders('r:5000', 'web')).toEqual([{ nodeId: c, address: 'c:2377' }]);
    expect(images.holders('docker.io', 'library/none')).toEqual([]);
  });

  test('wants the images of services, and those that a rollback would bring back', async () => {
    const { images, create } = await scene();
    const updated = {
      ...serviceOf('updated', 'web:2'),
      previousSpec: serviceOf('before', 'web:1').spec,
    };
    await create('service', updated, serviceOf('other', 'web:2'), serviceOf('db', 'db:5'));
    expect((await images.wanted()).sort()).toEqual(['db:5', 'web:1', 'web:2']);
  });

  test('says which images are wanted when it knows all services, and never before', async () => {
    let caughtUp: () => Promise<unknown> = async () => {
      throw new SkepError('no-leader', 'there is none');
    };
    const { images, create } = await scene({}, () => caughtUp());
    await expect(images.wanted()).rejects.toMatchObject({ code: 'no-leader' });
    caughtUp = () => create('service', serviceOf('late', 'late:1'));
    expect(await images.wanted()).toEqual(['late:1']);
  });

  test('orders every other node to take an image, some at once, and tells of each', async () => {
    const { images, create, seen } = await scene({
      'n2:2377': new SkepError('unavailable', 'disk is full'),
    });
    for (let i = 0; i < 7; i++) {
      await create('node', node(idOf(`n${i}`), `n${i}`, i === 5 ? 'down' : 'ready'));
    }
    const told: Record<string, string | null> = {};
    const image = { manifestDigest: DIGEST, tags: ['docker.io/library/web:1'] };
    for await (const { hostname, failure } of images.distribute(
      image,
      new AbortController().signal,
    )) {
      told[hostname] = failure;
    }
    expect(told).toEqual({
      n0: null,
      n1: null,
      n2: 'disk is full',
      n3: null,
      n4: null,
      n5: 'node is not ready',
      n6: null,
    });
    expect(seen.most).toBe(3);
    const source = { nodeId: SELF, address: 'self:2377' };
    expect(seen.orders[0]).toEqual({ ...image, source, to: 'n0:2377' });
    expect(seen.orders.map(({ to }) => to)).not.toContain('n5:2377');
  });
});
