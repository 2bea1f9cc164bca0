/** What other containers of this node are to one that has something of theirs: namespaces, links. */
import { SkepError } from '../../common/base/errors.ts';
import {
  JOINABLE,
  JOINABLE_WORDS,
  type Joinable,
  joinNamespaces,
} from '../executor/joined-namespaces.ts';
import type { ContainerBundle } from '../runtime/native-runtime.ts';
import type { ContainerDefinition } from './definition.ts';

/** Another container of this node, as it is now. */
export interface Peer {
  readonly id: string;
  readonly name: string;
  readonly hostname: string;
  /** on the host; 0 = it does not run */
  readonly pid: number;
  /** others may have its IPC namespace */
  readonly isIpcShareable: boolean;
  /** in the network `bridge`; '' = it has none, or does not run */
  readonly bridgeAddress: string;
  /** the image's and its own, NAME=value */
  readonly env: readonly string[];
  /** like `80/tcp` */
  readonly exposedPorts: readonly string[];
}

/** null = there is no such container (any more) */
export type PeerOf = (containerId: string) => Peer | null;

/** The containers whose namespaces it is to have. */
export function joinedOf({
  network,
  joined,
}: Pick<ContainerDefinition, 'network' | 'joined'>): ReadonlyMap<Joinable, string> {
  const ids = {
    network: network.kind === 'container' ? network.containerId : null,
    pid: joined?.pid ?? null,
    ipc: joined?.ipc ?? null,
  };
  return new Map(JOINABLE.flatMap((type) => (ids[type] === null ? [] : [[type, ids[type]]])));
}

/** In words, what it has of others; null = nothing. */
export function joinedWords(definition: Pick<ContainerDefinition, 'network' | 'joined'>) {
  const [type] = joinedOf(definition).keys();
  return type === undefined ? null : `another container's ${JOINABLE_WORDS[type]} namespace`;
}

/**
 * With the namespaces of others as they are now. Rejects with `conflict` for one that does not run, with
 * `invalid-argument` for an IPC namespace that is nobody else's.
 */
export function withJoined(
  bundle: ContainerBundle,
  definition: Pick<ContainerDefinition, 'network' | 'joined'>,
  peerOf: PeerOf,
): ContainerBundle {
  const pids = [...joinedOf(definition)].map(
    ([type, id]) => [type, requirePeer(type, id, peerOf).pid] as const,
  );
  return joinNamespaces(bundle, new Map(pids));
}

function requirePeer(type: Joinable, containerId: string, peerOf: PeerOf): Peer {
  const peer = peerOf(containerId);
  if (peer === null || peer.pid === 0) {
    const words = `cannot join ${JOINABLE_WORDS[type]} of a non running container: ${containerId}`;
    throw new SkepError('conflict', words);
  }
  if (type === 'ipc' && !peer.isIpcShareable) {
    const words = `can't join IPC of container ${containerId}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`;
    throw new SkepError('invalid-argument', words);
  }
  return peer;
}
