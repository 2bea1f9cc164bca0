// Images between the nodes of a cluster: real stores and RPC over mutual TLS on loopback, and a registry
// in memory that counts what it serves. Root, because images are unpacked.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { describeError } from '../../common/base/errors.ts';
import { Scope } from '../../common/base/lifecycle.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { IdentityHolder } from '../../common/pki/identity.ts';
import { takeImage } from '../../common/rpc/image-methods.ts';
import { requireCurrentManager } from '../../common/rpc/peer.ts';
import { RpcClientPool } from '../../common/rpc/pool.ts';
import { RpcServer } from '../../common/rpc/server.ts';
import { serveImages } from '../../worker/images/blob-service.ts';
import { rankManagers } from '../../worker/images/cluster-source.ts';
import { type ClusterPeers, ImageStore } from '../../worker/images/image-store.ts';
import { FaultyRegistry } from '../support/faulty-registry.ts';
import { TestAuthority } from '../support/identities.ts';
import { sha256 } from '../support/image-builder.ts';
import { noTokens } from '../support/no-tokens.ts';

const isRoot = process.getuid?.() === 0;
const clock = new SystemClock();

interface TestNode {
  readonly nodeId: string;
  readonly address: string;
  readonly images: ImageStore;
  readonly pool: RpcClientPool;
  /** of its own: its end is that of the node's RPC */
  readonly server: RpcServer;
}

describe.skipIf(!isRoot)('images in a cluster (needs root)', () => {
  let dir: string;
  let scope: Scope;
  let authority: TestAuthority;
  let registry: FaultyRegistry;
  /** all of the cluster, and who of them manages */
  let nodes: TestNode[];
  let managers: TestNode[];
  let holders: TestNode[];

  beforeAll(async () => {
    authority = await TestAuthority.create(clock.wallMs());
  });

  beforeEach(async () => {
    dir = mkdtempSync('/var/tmp/skep-cluster-images-');
    scope = new Scope();
    registry = new FaultyRegistry();
    await registry.start();
    scope.defer(() => registry.stop());
    [nodes, managers, holders] = [[], [], []];
  });

  afterEach(async () => {
    await scope.close();
    rmSync(dir, { recursive: true, force: true });
  });

  async function start(role: 'manager' | 'worker'): Promise<TestNode> {
    const nodeId = `node-${nodes.length}`;
    const credentials = new IdentityHolder(await authority.identity(role, nodeId));
    const server = new RpcServer({
      credentials,
      clock,
      logger: silentLogger,
      onFailure: () => {},
      isBlocked: () => false,
    });
    scope.defer(() => server.stop());
    await server.listen('127.0.0.1', 0);
    const pool = new RpcClientPool({ credentials, clock });
    scope.defer(() => pool.close());
    const images = new ImageStore({
      dir: join(dir, nodeId),
      clock,
      random: new SystemRandom(),
      log: silentLogger,
      tell: () => {},
    });
    await scope.start(images);
    const peers: ClusterPeers = {
      managers: async () => managers.map((one) => one.address),
      self: server.address,
      isManager: role === 'manager',
      requireManager: (path, id) =>
        requireCurrentManager(
          path,
          id,
          managers.some((one) => one.nodeId === id),
        ),
      manager: (address) => pool.client(address),
      node: (id, address) => pool.client(address, { nodeId: id }),
      wantedImages: async () => null,
      exchangeToken: noTokens,
      holders: () => holders.filter((one) => one.nodeId !== nodeId),
    };
    images.joined(peers);
    scope.defer(serveImages(server, images, () => peers));
    const node = { nodeId, address: server.address, images, pool, server };
    nodes.push(node);
    if (role === 'manager') managers.push(node);
    return node;
  }

  const served = (url: string): number => registry.requests.filter((one) => one === url).length;
  const configUrl = (): string => `/v2/app/blobs/${sha256(registry.config)}`;
  const pinned = (): string => `${registry.host}/app@${sha256(registry.manifest)}`;
  const pull = (node: TestNode, name = pinned()) => node.images.pull(name, null);

  async function holds(node: TestNode, id: string): Promise<void> {
    const { lowerDirs } = await node.images.acquireRootfs('c1', id);
    expect(readFileSync(join(lowerDirs[0]!, 'hello'), 'utf8')).toBe('there');
  }

  test('five nodes that pull at once cost the registry each blob once', async () => {
    for (const role of ['manager', 'manager', 'manager', 'worker', 'worker'] as const) {
      await start(role);
    }
    const pulled = await Promise.all(nodes.map((node) => pull(node)));
    for (const [i, node] of nodes.entries()) await holds(node, pulled[i]!.id);
    expect(served(registry.blobUrl)).toBe(1);
    expect(served(configUrl())).toBe(1);
    expect(served(`/v2/app/manifests/${sha256(registry.manifest)}`)).toBe(1);
  });

  test('managers that wait for one another’s downloads do not wait for ever', async () => {
    await registry.stop();
    registry = new FaultyRegistry({ moreLayers: 24 });
    await registry.start();
    for (let i = 0; i < 3; i++) await start('manager');
    const pulled = await Promise.all(nodes.map((node) => pull(node)));
    expect(pulled.map((image) => image.layers.length)).toEqual([25, 25, 25]);
    const blobs = registry.requests.filter((url) => url.includes('/blobs/'));
    expect(blobs).toHaveLength(26);
  });

  test('by a tag each node asks what it means, and all share the blobs', async () => {
    for (const role of ['manager', 'worker', 'worker'] as const) await start(role);
    const pulled = await Promise.all(nodes.map((node) => pull(node, `${registry.host}/app:multi`)));
    expect(new Set(pulled.map((image) => image.id)).size).toBe(1);
    expect(served('/v2/app/manifests/multi')).toBe(3);
    expect(served(registry.blobUrl)).toBe(1);
  });

  test('a node pulls by digest while the registry is down, index and all', async () => {
    const [, first] = [await start('manager'), await start('worker')];
    await pull(first, `${registry.host}/app:multi`);
    const second = await start('worker');
    registry.hook = (_, response) => {
      response.destroy();
      return true;
    };
    const name = `${registry.host}/app@${sha256(registry.index)}`;
    // The manager never was asked for the index: the node that has the image gives it.
    holders = [first];
    const image = await pull(second, name);
    await holds(second, image.id);
    expect(image.repoDigests).toEqual([name]);
  });

  test('a manager whose store was emptied gets the image from a node that runs it', async () => {
    const [manager, first] = [await start('manager'), await start('worker')];
    await pull(first);
    await manager.images.pull(pinned(), null);
    await manager.images.prune(() => false);
    await registry.stop();
    holders = [first];
    const second = await start('worker');
    await holds(second, (await pull(second)).id);
  });

  test('without any manager that answers a node goes to the registry itself', async () => {
    const [manager, worker] = [await start('manager'), await start('worker')];
    await manager.server.stop();
    await holds(worker, (await pull(worker)).id);
    expect(served(registry.blobUrl)).toBe(1);
  });

  test('damage in what another node has is found, and the registry asked', async () => {
    const [manager, worker] = [await start('manager'), await start('worker')];
    await pull(manager);
    const blob = join(dir, manager.nodeId, 'blobs/sha256', sha256(registry.layer).slice(7));
    const bytes = readFileSync(blob);
    bytes[100]! ^= 1;
    (await import('node:fs')).writeFileSync(blob, bytes);
    await holds(worker, (await pull(worker)).id);
    expect(served(registry.blobUrl)).toBe(2);
  });

  test('what the registry says to a manager is what the node that asked is told', async () => {
    const [, worker] = [await start('manager'), await start('worker')];
    registry.hook = (request, response) => {
      if (request.url === '/v2/') return false;
      response.writeHead(403).end();
      return true;
    };
    const failure = await pull(worker).catch(describeError);
    expect(failure).toContain('denied: requested access to the resource is denied');
  });

  test('a manager that ends in the middle of a blob does not end the pull', async () => {
    for (const role of ['manager', 'manager', 'worker'] as const) await start(role);
    const worker = nodes[2]!;
    await Promise.all(managers.map((manager) => pull(manager)));
    const first = rankManagers(
      managers.map((m) => m.address),
      sha256(registry.layer),
    )[0];
    const failing = managers.find((manager) => manager.address === first)!;
    let chunks = 0;
    const { blobs } = failing.images;
    const send = blobs.send.bind(blobs);
    blobs.send = (request, write, signal) =>
      send(
        request,
        async (bytes) => {
          if (bytes.length > 200_000 && chunks++ > 0) await failing.server.stop();
          await write(bytes);
        },
        signal,
      );
    await holds(worker, (await pull(worker)).id);
  });

  test('an image is given to a node that has no way to a registry', async () => {
    const [manager, worker] = [await start('manager'), await start('worker')];
    await pull(manager, `${registry.host}/app:1`);
    await registry.stop();
    const { id, manifestDigest, tags } = manager.images.offer(`${registry.host}/app:1`);
    const source = { nodeId: manager.nodeId, address: manager.address };
    const stream = await manager.pool
      .client(worker.address, { nodeId: worker.nodeId })
      .serverStream(takeImage, { manifestDigest, tags, source });
    expect(await stream.next()).toEqual({ imageId: id });
    expect(worker.images.get(`${registry.host}/app:1`)?.id).toBe(id);
    await holds(worker, id);
  });

  test('a worker gives no orders, and a name that is no digest is none', async () => {
    const [manager, worker] = [await start('manager'), await start('worker')];
    const calls = worker.pool.client(manager.address);
    const order = { manifestDigest: 'x', tags: [], source: { nodeId: 'n', address: 'a' } };
    await expect(
      calls.serverStream(takeImage, order).then((stream) => stream.next()),
    ).rejects.toMatchObject({ code: 'permission-denied' });
    const request = { digest: '../../../etc/shadow', offset: 0, origin: null };
    await expect(
      manager.images.blobs.send(request, async () => {}, new AbortController().signal),
    ).rejects.toMatchObject({ code: 'invalid-argument' });
  });
});
