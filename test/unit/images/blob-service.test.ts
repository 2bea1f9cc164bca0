import { describe, expect, test } from 'vitest';
import type { ReadBlobRequest } from '../../../common/model/blob.ts';
import { asId, type NodeId } from '../../../common/model/ids.ts';
import { readBlob } from '../../../common/rpc/image-methods.ts';
import { requireCurrentManager } from '../../../common/rpc/peer.ts';
import type { RpcServer } from '../../../common/rpc/server.ts';
import { serveImages } from '../../../worker/images/blob-service.ts';
import type { ClusterPeers } from '../../../worker/images/cluster-source.ts';

const DIGEST = `sha256:${'7'.repeat(64)}`;
const origin = { domain: 'r', path: 'web', auth: null, sizeBytes: 9, isManifest: false };
const REQUEST: ReadBlobRequest = { digest: DIGEST, offset: 0, origin };

/** A node; `read` asks it for a blob and gives what its sender was asked for. */
function node(isManager: boolean | null, managers: readonly string[] | null = ['m1']) {
  const sent: ReadBlobRequest[] = [];
  const peers = {
    isManager,
    requireManager: (path: string, id: NodeId | null) =>
      requireCurrentManager(path, id, managers?.includes(id ?? '') ?? null),
  } as ClusterPeers;
  let serve: (request: unknown, out: unknown, context: unknown) => Promise<void>;
  const server = {
    handleServerStream: (method: unknown, handler: typeof serve) => {
      if (method === readBlob) serve = handler;
      return () => {};
    },
  } as unknown as Pick<RpcServer, 'handleServerStream'>;
  const blobs = { send: async (request: ReadBlobRequest) => void sent.push(request) };
  const images = { blobs, take: () => Promise.reject(new Error('not of this test')) };
  serveImages(server, images, () => (isManager === null ? null : peers));
  return async (caller: string): Promise<readonly ReadBlobRequest[]> => {
    const peer = { nodeId: asId<NodeId>(caller) };
    await serve(REQUEST, {}, { peer, signal: new AbortController().signal });
    return sent;
  };
}

describe('a blob', () => {
  test('is given by a manager to every node, and fetched from where that says', async () => {
    expect(await node(true)('w1')).toEqual([REQUEST]);
  });

  test('is given by a worker to a manager only when it is there', async () => {
    expect(await node(false)('m1')).toEqual([{ ...REQUEST, origin: null }]);
  });

  test('is not given by a worker to another, nor to a manager that is none any more', async () => {
    await expect(node(false)('w1')).rejects.toMatchObject({ code: 'permission-denied' });
  });

  test('is not given by a worker that does not know the managers, nor outside of a cluster', async () => {
    await expect(node(false, null)('m1')).rejects.toMatchObject({ code: 'unavailable' });
    await expect(node(null)('m1')).rejects.toMatchObject({ code: 'unavailable' });
  });
});
