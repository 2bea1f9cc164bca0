/** Commits of the cluster's store as the JSON of a watch. */
import { assertNever } from '../../../common/base/assert.ts';
import type { Network } from '../../../common/model/network.ts';
import type { Commit, StoreChange } from '../../../manager/store/types.ts';
import { clusterInfoToJson } from './cluster.ts';
import { networkToJson } from './network.ts';
import { nodeToJson } from './node.ts';
import { configToJson, secretToJson } from './secret.ts';
import { serviceToJson } from './service.ts';
import { taskToJson } from './task.ts';

type NetworkOf = (id: string) => Network | undefined;

/** @param withPrevious updates show what was there before, too */
export function commitToJson(
  { revision, changes }: Commit,
  withPrevious: boolean,
  networkOf: NetworkOf,
): object {
  return {
    Revision: revision,
    Changes: changes.map((change) => ({
      Action: change.action,
      Kind: change.kind,
      Object: objectToJson(change, networkOf),
      ...(withPrevious &&
        change.action === 'update' && {
          Previous: objectToJson({ ...change, object: change.previous } as StoreChange, networkOf),
        }),
    })),
  };
}

/** Which objects changed: enough to ask for them, where one may. */
export function commitToOutline({ revision, changes }: Commit): object {
  return {
    Revision: revision,
    Changes: changes.map(({ action, kind, object }) => ({
      Action: action,
      Kind: kind,
      Object: {
        ID: object.id,
        Version: { Index: object.meta.version },
        ...('spec' in object && 'name' in object.spec && { Spec: { Name: object.spec.name } }),
      },
    })),
  };
}

/** As the list calls show it; a node without its `ManagerStatus`, which is Raft's and not the store's. */
function objectToJson({ kind, object }: StoreChange, networkOf: NetworkOf): object {
  switch (kind) {
    case 'cluster':
      return clusterInfoToJson(object);
    case 'node':
      return nodeToJson(object, null);
    case 'service':
      return serviceToJson(object, networkOf);
    case 'task':
      return taskToJson(object, networkOf);
    case 'network':
      return networkToJson(object);
    case 'secret':
      return secretToJson(object);
    case 'config':
      return configToJson(object);
    default:
      return assertNever(kind, 'kind of object');
  }
}
