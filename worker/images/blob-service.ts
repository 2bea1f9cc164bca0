/** What this node serves of its images to the others: blobs, and taking an image that another node has. */
import { SkepError } from '../../common/base/errors.ts';
import type { ReadBlobRequest } from '../../common/model/blob.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { readBlob, takeImage } from '../../common/rpc/image-methods.ts';
import type { RpcServer } from '../../common/rpc/server.ts';
import type { ClusterPeers } from './cluster-source.ts';
import type { ImageStore } from './image-store.ts';
import { PeerSource } from './peer-source.ts';

/** A worker gives to managers alone, and what it has alone: where others get content is the managers' to see to. */
function allow(
  request: ReadBlobRequest,
  caller: NodeId | null,
  peers: ClusterPeers | null,
): ReadBlobRequest {
  if (peers === null) throw new SkepError('unavailable', 'read blob: not part of a cluster yet');
  if (peers.isManager) return request;
  peers.requireManager(readBlob.path, caller);
  return { ...request, origin: null };
}

/** Registers the methods; returns the release. @param peers null while the node is part of no cluster */
export function serveImages(
  server: Pick<RpcServer, 'handleServerStream'>,
  images: Pick<ImageStore, 'take'> & { readonly blobs: Pick<ImageStore['blobs'], 'send'> },
  peers: () => ClusterPeers | null,
): () => void {
  const releases = [
    server.handleServerStream(readBlob, (request, out, { peer, signal }) => {
      const allowed = allow(request, peer.nodeId, peers());
      return images.blobs.send(allowed, (data) => out.send({ data }, signal), signal);
    }),
    server.handleServerStream(takeImage, async ({ manifestDigest, tags, source }, out, context) => {
      const known = peers();
      if (known === null)
        throw new SkepError('unavailable', 'take image: not part of a cluster yet');
      const calls = known.node(source.nodeId, source.address);
      const image = await images.take(
        new PeerSource(calls, null),
        manifestDigest,
        tags,
        context.signal,
      );
      await out.send({ imageId: image.id }, context.signal);
    }),
  ];
  return () => {
    for (const release of releases) release();
  };
}
