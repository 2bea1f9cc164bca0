/** Which images must not be removed to make room, because services of the node's cluster want them. */
import type { ClusterPeers } from './cluster-source.ts';

export interface WantedImagesParts {
  /** null while this node takes part in no cluster */
  readonly peers: Pick<ClusterPeers, 'wantedImages'> | null;
  /** False = no cluster's member: not one either that is locked, or has not taken up its part yet. */
  readonly isMember: () => Promise<boolean>;
  /** the id of the image that has this name here */
  readonly idOf: (reference: string) => string | undefined;
}

/** Ids; null = there is a cluster, and nobody says what it wants. Outside of clusters nothing is wanted. */
export async function wantedIds(
  { peers, isMember, idOf }: WantedImagesParts,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | null> {
  if (peers === null) return (await isMember()) ? null : new Set();
  const references = await peers.wantedImages(signal);
  if (references === null) return null;
  return new Set(references.flatMap((one) => idOf(one) ?? []));
}
