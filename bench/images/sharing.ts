/** Five nodes of a cluster, three of them managers, that pull one image at once: how often is each blob served? */
import { join } from 'node:path';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { IdentityHolder } from '../../common/pki/identity.ts';
import { RpcClientPool } from '../../common/rpc/pool.ts';
import { RpcServer } from '../../common/rpc/server.ts';
import { FaultyRegistry } from '../../test/support/faulty-registry.ts';
import { TestAuthority } from '../../test/support/identities.ts';
import { sha256 } from '../../test/support/image-builder.ts';
import { noTokens } from '../../test/support/no-tokens.ts';
import { serveImages } from '../../worker/images/blob-service.ts';
import type { ClusterPeers, ImageStore } from '../../worker/images/image-store.ts';
import { temporaryDirectory } from '../support/cleanup.ts';
import { figure } from '../support/report.ts';
import { openStore } from './store.ts';

const ROLES = ['manager', 'manager', 'manager', 'worker', 'worker'] as const;
const clock = new SystemClock();

export async function sharing(): Promise<void> {
  const dir = temporaryDirectory('sharing');
  const registry = new FaultyRegistry();
  await registry.start();
  const authority = await TestAuthority.create(clock.wallMs());
  const managers: string[] = [];
  const stores: ImageStore[] = [];
  for (const [i, role] of ROLES.entries()) {
    const nodeId = `node-${i}`;
    const credentials = new IdentityHolder(await authority.identity(role, nodeId));
    const onFailure = (err: unknown): never => {
      throw err;
    };
    const parts = { credentials, clock, logger: silentLogger, onFailure, isBlocked: () => false };
    const server = new RpcServer(parts);
    await server.listen('127.0.0.1', 0);
    const pool = new RpcClientPool({ credentials, clock });
    const images = await openStore(join(dir, nodeId));
    const peers: ClusterPeers = {
      managers: async () => managers,
      self: server.address,
      isManager: role === 'manager',
      requireManager: () => {},
      manager: (address) => pool.client(address),
      node: (id, address) => pool.client(address, { nodeId: id }),
      wantedImages: async () => null,
      exchangeToken: noTokens,
      holders: () => [],
    };
    images.joined(peers);
    serveImages(server, images, () => peers);
    if (role === 'manager') managers.push(server.address);
    stores.push(images);
  }
  const name = `${registry.host}/app@${sha256(registry.manifest)}`;
  await Promise.all(stores.map((store) => store.pull(name, null)));
  const served = [registry.blobUrl, `/v2/app/blobs/${sha256(registry.config)}`].map(
    (url) => registry.requests.filter((one) => one === url).length,
  );
  figure('blob_served_times', Math.max(...served));
  for (const store of stores) await store.stop();
  await registry.stop();
}
