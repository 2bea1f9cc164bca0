/** `/networks`: networks of swarm scope, and this node's own. */
import { hasCode, SkepError } from '../../common/base/errors.ts';
import { isOverlay, type Network } from '../../common/model/network.ts';
import { isAttachedTo } from '../../common/model/node.ts';
import { isPredefinedNetwork } from '../../common/model/predefined-networks.ts';
import { Filters } from './filters.ts';
import type { RequestContext } from './http-context.ts';
import { ENABLE_IPV4_SINCE } from './json/api-versions.ts';
import { membersOf, membersToJson, type NetworkRow } from './json/local-network.ts';
import { networkSpecFromJson, networkToJson } from './json/network.ts';
import { networkServicesToJson, peersToJson } from './json/network-services.ts';
import { JsonReader } from './json/reader.ts';
import { some } from './json/some.ts';
import { hasOwn, hasSwarm, lookUpNetwork } from './network-lookup.ts';
import { type NodeNetworks, nodeNetworks } from './node-networks.ts';
import { controlOf, type RouteParts } from './parts.ts';
import { clusterRowOf } from './predefined-networks.ts';
import { PRUNE_FILTERS, pruneTest } from './prune-filters.ts';
import { pruneEvent } from './route-events.ts';
import type { Routes } from './server.ts';
import { clusterNetworks, passOn, type WorkerReadsOptions } from './worker-reads.ts';

export const NETWORK_FILTERS = ['driver', 'id', 'label', 'name', 'scope', 'type', 'dangling'];

export interface NetworkRouteOptions {
  /** `swarm`: who asks is to see nothing of this node's own networks, whatever scope they name */
  readonly limit?: 'swarm';
  /** where a worker reads the cluster's; null = nowhere */
  readonly workerReads: WorkerReadsOptions | null;
}

export function addNetworkRoutes(
  routes: Routes,
  parts: RouteParts,
  { limit, workerReads }: NetworkRouteOptions,
): void {
  const manager = (): WorkerReadsOptions | null => (workerReads?.isWorker() ? workerReads : null);
  const local = nodeNetworks(parts);
  const scopeOf = (context: RequestContext): string => limit ?? context.text('scope') ?? '';

  routes.add('GET', '/networks', async (context) => {
    const filters = Filters.parse(context.text('filters'), NETWORK_FILTERS);
    const isWanted = networkTest(filters);
    const scope = scopeOf(context);
    const swarm =
      parts.swarm.manager && hasSwarm(scope)
        ? await controlOf(parts).listNetworks({}, context.signal)
        : [];
    const used = filters.has('dangling') ? usedNetworks(parts) : new Set<string>();
    const own = hasOwn(scope) ? local.rows() : [];
    const rows = [...swarm.map((network) => networkToJson(network) as NetworkRow), ...own];
    const named = filters.named(rows, ({ Name }) => [Name]);
    const reads = hasSwarm(scope) ? manager() : null;
    const theirs = reads
      ? ((await clusterNetworks(context, reads, parts.clock)) as readonly object[])
      : [];
    const shown = named.filter((row) => isWanted(row, used));
    context.send(200, [...theirs, ...shown.map((row) => shownIn(context.apiMinor, row))]);
  });

  routes.add('GET', '/networks/:id', async (context) => {
    const ref = context.param('id');
    const scope = scopeOf(context);
    // As `docker service create --network host` asks for it, which means no node's own.
    const ofCluster = parts.swarm.manager && scope === 'swarm' ? clusterRowOf(ref) : null;
    if (ofCluster) return context.send(200, ofCluster);
    const { signal } = context;
    const found = await lookUpNetwork(parts, ref, { scope, signal });
    const reads = hasSwarm(scope) ? manager() : null;
    if (!found && reads) return passOn(context, reads);
    if (!found) throw notFound(ref);
    const row =
      found.kind === 'own'
        ? found.row
        : { ...withMembers(parts, found.network), ...ofStore(parts, found.network, context) };
    context.send(200, shownIn(context.apiMinor, row));
  });

  routes.add('POST', '/networks/create', async (context) => {
    const json = new JsonReader(await context.json());
    const given = networkSpecFromJson(json);
    const spec = { ...given, driver: given.driver || 'bridge' };
    const { name } = spec;
    const isOfCluster = isOverlay(spec) || json.string('Scope') === 'swarm';
    if (!isOfCluster) {
      if (await isNameOfCluster(parts, name, context.signal)) {
        throw new SkepError('name-conflict', `network with name ${name} already exists`);
      }
      return context.send(201, { Id: await local.create(spec), Warning: '' });
    }
    if (parts.worker.localNetworks.list().some((network) => network.spec.name === name)) {
      throw new SkepError('name-conflict', `network with name ${name} already exists`);
    }
    const network = await controlOf(parts).createNetwork(spec, context.signal);
    context.send(201, { Id: network.id, Warning: '' });
  });

  routes.add('POST', '/networks/prune', (context) => prune(context, parts, local));

  routes.add('DELETE', '/networks/:id', async (context) => {
    const ref = context.param('id');
    const { signal } = context;
    const found = await lookUpNetwork(parts, ref, { scope: '', signal });
    if (!found) throw notFound(ref);
    if (found.kind === 'own') await local.remove(found.name);
    else await controlOf(parts).removeNetwork(found.id, signal);
    context.empty(204);
  });
}

/** What a client of that version knows. */
function shownIn(apiMinor: number, row: object): object {
  if (apiMinor >= ENABLE_IPV4_SINCE) return row;
  const { EnableIPv4: _, ...rest } = row as { readonly EnableIPv4?: unknown };
  return rest;
}

const notFound = (ref: string): SkepError => new SkepError('not-found', `network ${ref} not found`);

/** With the containers of this node that are in it. */
function withMembers({ worker }: RouteParts, network: Network): object {
  const members = membersOf(worker.containers.list(), (seat) => seat.networkId === network.id);
  return networkToJson(network, membersToJson(members));
}

/** What the cluster knows of it besides. */
function ofStore({ swarm }: RouteParts, network: Network, context: RequestContext): object {
  return swarm.requireManager().store.view((view) => ({
    ...some('Peers', peersToJson(view, network)),
    ...(context.flag('verbose') && { Services: networkServicesToJson(view, network) }),
  }));
}

/** The networks that nothing uses: of the cluster no service and no task, of this node no container that runs. */
async function prune(
  context: RequestContext,
  parts: RouteParts,
  local: NodeNetworks,
): Promise<void> {
  const filters = Filters.parse(context.text('filters'), PRUNE_FILTERS);
  const isMeant = pruneTest(filters, parts.clock.wallMs());
  const removed: string[] = [];
  const used = usedNetworks(parts);
  const networks = parts.swarm.manager
    ? await controlOf(parts).listNetworks({}, context.signal)
    : [];
  for (const { id, spec, meta } of networks) {
    const { labels, name } = spec;
    if (used.has(id) || !isMeant({ labels, createdAtMs: meta.createdAtMs })) continue;
    try {
      await controlOf(parts).removeNetwork(id, context.signal);
      removed.push(name);
    } catch (err) {
      // Somebody came to use it, or removed it.
      if (!hasCode(err, 'failed-precondition') && !hasCode(err, 'not-found')) throw err;
    }
  }
  const { localNetworks } = parts.worker;
  for (const { id, spec, createdAtMs } of localNetworks.list()) {
    const isUsed = isPredefinedNetwork(spec.name) || localNetworks.usersOf(id).length > 0;
    if (isUsed || !isMeant({ labels: spec.labels, createdAtMs })) continue;
    try {
      await local.remove(spec.name);
      removed.push(spec.name);
    } catch (err) {
      if (!hasCode(err, 'permission-denied') && !hasCode(err, 'not-found')) throw err;
    }
  }
  parts.events.tell(pruneEvent('network', 0));
  context.send(200, { NetworksDeleted: removed });
}

async function isNameOfCluster(
  parts: RouteParts,
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  if (!parts.swarm.manager) return false;
  const networks = await controlOf(parts).listNetworks({}, signal);
  return networks.some(({ spec }) => spec.name === name);
}

type NetworkTest = (row: NetworkRow, used: ReadonlySet<string>) => boolean;

/** Of all filters but that of names. Throws `invalid-argument` for a value that means nothing. */
function networkTest(filters: Filters): NetworkTest {
  const type = filters.words('type', ['builtin', 'custom']);
  const dangling = filters.boolean('dangling');
  return (row, used) => {
    const builtin = isPredefinedNetwork(row.Name);
    return (
      filters.any('driver', (driver) => row.Driver === driver) &&
      filters.any('id', (id) => row.Id.startsWith(id)) &&
      filters.labels('label', row.Labels) &&
      filters.any('scope', (scope) => row.Scope === scope) &&
      (type.length === 0 || type.includes(builtin ? 'builtin' : 'custom')) &&
      // What every node has by itself is never in the way.
      (dangling === undefined || dangling === (!builtin && !used.has(row.Id)))
    );
  };
}

/** Networks that a service, a task or a container uses; the ingress network counts as used. */
function usedNetworks(parts: RouteParts): ReadonlySet<string> {
  const { localNetworks } = parts.worker;
  const local = localNetworks.list().filter(({ id }) => localNetworks.usersOf(id).length > 0);
  return new Set([...local.map(({ id }) => id), ...usedInCluster(parts)]);
}

function usedInCluster(parts: RouteParts): ReadonlySet<string> {
  if (!parts.swarm.manager) return new Set();
  return parts.swarm.manager.store.view((view) => {
    const networks = view.list('network');
    const ingress = networks.filter(({ spec }) => spec.ingress);
    const served = view
      .list('service')
      .flatMap(({ spec }) => spec.task.networks.map(({ target }) => target as string));
    const nodes = view.list('node');
    const attached = networks.filter(
      ({ id }) => view.tasksByNetwork(id).length > 0 || nodes.some((it) => isAttachedTo(it, id)),
    );
    return new Set([...served, ...[...ingress, ...attached].map(({ id }) => id as string)]);
  });
}
