/** Whether a container gets a user namespace of its own, and with which ids of its node. Pure. */
import { SkepError } from '../../common/base/errors.ts';
import type { Isolation } from '../../common/model/service.ts';
import type { OciIdMapping, OciMount } from '../runtime/oci.ts';

/** Which ids of the node are those of a container, from 0 on. */
export interface IdMappings {
  readonly uid: readonly OciIdMapping[];
  readonly gid: readonly OciIdMapping[];
}

/** What a node has for user namespaces. */
export interface UserNamespaces {
  /** of every container that does not say otherwise; null = none */
  readonly remap: IdMappings | null;
  /** for those that ask; why there is none, in words */
  readonly offered: IdMappings | string;
}

export const NO_USER_NAMESPACES: UserNamespaces = {
  remap: null,
  offered: 'this node was started without --userns-remap',
};

export interface UserNamespaceWish {
  readonly isolation: Pick<Isolation, 'user' | 'privileged' | 'pid'>;
  /** the network namespace is the node's */
  readonly isOnHostNetwork: boolean;
  /** a namespace of another container, in words; null = none */
  readonly joined: string | null;
}

/**
 * null = that of the node. Throws `failed-precondition` when the node has no ids for it, `invalid-argument`
 * with Docker's words for what a user namespace rules out.
 */
export function idMappingsOf(
  { isolation, isOnHostNetwork, joined }: UserNamespaceWish,
  { remap, offered }: UserNamespaces,
): IdMappings | null {
  if (isolation.user === 'host') return null;
  const mappings = isolation.user === 'private' ? offered : remap;
  if (mappings === null) return null;
  if (typeof mappings === 'string') {
    throw new SkepError('failed-precondition', `user namespace: ${mappings}`);
  }
  const refuse = (words: string): never => {
    throw new SkepError('invalid-argument', words);
  };
  if (isolation.privileged) {
    refuse(
      'privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode',
    );
  }
  if (isOnHostNetwork) {
    refuse("cannot share the host's network namespace when user namespaces are enabled");
  }
  if (isolation.pid === 'host') {
    refuse('cannot share the host PID namespace when user namespaces are enabled');
  }
  if (joined !== null) {
    refuse(`cannot share ${joined} when user namespaces are enabled: use --userns host`);
  }
  return mappings;
}

/** Files that are the container's own, whoever made them here: it sees their owners as they are written. */
export function ownMounts(mounts: readonly OciMount[], mapped: boolean): readonly OciMount[] {
  if (!mapped) return mounts;
  return mounts.map((mount) =>
    mount.type === 'bind' ? { ...mount, options: [...mount.options, 'idmap'] } : mount,
  );
}
