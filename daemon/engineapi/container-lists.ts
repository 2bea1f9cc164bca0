/**
 * Containers of other nodes in the list of this node's, where its filters name them: `node`, and `id`. Each node answers for its
 * own. Knows which nodes are asked and how their answers are put together; nothing of what makes a row.
 */
import { setMaxListeners } from 'node:events';
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { Node } from '../../common/model/node.ts';
import type { Manager } from '../../manager/manager.ts';
import type { RemoteContainers, RemoteNode } from '../../manager/remote-containers.ts';
import { askJson } from './ask-json.ts';
import type { Filters } from './filters.ts';
import type { RequestContext } from './http-context.ts';
import { CONTAINER_LIST } from './remote-containers.ts';

/** Every node that is up. */
const EVERY_NODE = '*';
/** Of which a manager waits for an answer at once. */
const NODES_AT_ONCE = 16;

/** What is read of a row. */
export interface ContainerRow {
  /** seconds since 1970 */
  readonly Created: number;
}

export interface RemoteListOptions {
  readonly swarm: {
    readonly manager: { readonly containers: Pick<RemoteContainers, 'holders' | 'connect'> } | null;
    /** Throws in Docker's words when there is none. */
    requireManager(): { readonly control: Pick<Manager['control'], 'getNode' | 'listNodes'> };
    state(): { readonly nodeId: string };
  };
  readonly clock: Clock;
}

/** Where the containers are that are asked for. */
export interface ListPlaces {
  readonly isHere: boolean;
  readonly others: readonly RemoteNode[];
}

/** Throws `not-found` for a node that is none, and as the control API does. */
export async function placesOf(
  filters: Filters,
  { swarm }: RemoteListOptions,
  signal: AbortSignal,
): Promise<ListPlaces> {
  if (!filters.has('node')) {
    const holders = filters
      .get('id')
      .flatMap((start) => swarm.manager?.containers.holders(start) ?? []);
    return { isHere: true, others: distinct(holders) };
  }
  const { control } = swarm.requireManager();
  const self = swarm.state().nodeId;
  const found = await Promise.all(
    filters.get('node').map(async (ref): Promise<readonly Node[]> => {
      if (ref !== EVERY_NODE) return [await control.getNode(ref === 'self' ? self : ref, signal)];
      const nodes = await control.listNodes({}, signal);
      return nodes.filter(({ id, status }) => status.state === 'ready' || id === self);
    }),
  );
  const nodes = found.flat().map(({ id, description }): RemoteNode => {
    const { hostname = '', address = '' } = description ?? {};
    return { nodeId: id, hostname, address };
  });
  return {
    isHere: nodes.some(({ nodeId }) => nodeId === self),
    others: distinct(nodes.filter(({ nodeId }) => nodeId !== self)),
  };
}

function distinct(nodes: readonly RemoteNode[]): RemoteNode[] {
  return [...new Map(nodes.map((node) => [node.nodeId, node])).values()];
}

/**
 * The rows of the containers of tasks there, as those nodes show them; those outside of services are known on their nodes alone.
 * Rejects when one of the nodes does not answer: a list that is silently short would be taken for whole.
 */
export async function rowsElsewhere(
  context: RequestContext,
  filters: Filters,
  nodes: readonly RemoteNode[],
  { swarm, clock }: RemoteListOptions,
): Promise<ContainerRow[]> {
  if (filters.boolean('is-task') === false) return [];
  const query = new URLSearchParams(context.query);
  query.set('filters', filters.encoded({ node: [], 'is-task': ['true'] }));
  const target = `/v1.${context.apiMinor}${CONTAINER_LIST}?${query}`;
  // Where one gives no rows nobody waits for those of the others.
  const all = abortWith(context.signal);
  setMaxListeners(NODES_AT_ONCE, all.signal);
  const askOne = async (node: RemoteNode): Promise<ContainerRow[]> => {
    const remote = swarm.manager?.containers;
    if (!remote) throw new SkepError('unavailable', 'this node is no manager any more');
    const peer = `node ${node.hostname || node.nodeId}`;
    const connect = (signal: AbortSignal) => remote.connect(node, 'containers', signal);
    return (await askJson({ connect, target, peer }, clock, all.signal)) as ContainerRow[];
  };
  const rows: ContainerRow[] = [];
  const left = [...nodes];
  const worker = async (): Promise<void> => {
    for (let node = left.shift(); node; node = left.shift()) rows.push(...(await askOne(node)));
  };
  try {
    await Promise.all(Array.from({ length: NODES_AT_ONCE }, worker));
  } finally {
    all.abort(new SkepError('cancelled', 'the list is given up'));
    all.release();
  }
  return rows;
}

/** Newest first; of one second those of this node first. @param limit 0 = all */
export function mergedRows<T extends ContainerRow>(
  own: readonly T[],
  others: readonly T[],
  limit: number,
): readonly T[] {
  const all = [...own, ...others].sort((a, b) => b.Created - a.Created);
  return limit > 0 ? all.slice(0, limit) : all;
}
