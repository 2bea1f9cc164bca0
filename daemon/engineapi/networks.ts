/** `/networks`: networks of swarm scope, and this node's predefined ones. */
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { Network } from '../../common/model/network.ts';
import { Filters } from './filters.ts';
import type { RequestContext } from './http-context.ts';
import { networkSpecFromJson, networkToJson } from './json/network.ts';
import { JsonReader } from './json/reader.ts';
import { controlOf, type RouteParts } from './parts.ts';
import { predefinedNetworks } from './predefined-networks.ts';
import { PRUNE_FILTERS, pruneTest } from './prune-filters.ts';
import type { Routes } from './server.ts';

const NETWORK_FILTERS = ['driver', 'id', 'label', 'name', 'scope', 'type', 'dangling'];
const PREDEFINED = ['bridge', 'host', 'none'];

interface NetworkRow {
  readonly Id: string;
  readonly Name: string;
  readonly Scope: string;
  readonly Driver: string;
  readonly Labels: Readonly<Record<string, string>>;
}

export function addNetworkRoutes(routes: Routes, parts: RouteParts): void {
  const local = predefinedNetworks(parts.engineId) as readonly NetworkRow[];

  routes.add('GET', '/networks', async (context) => {
    const filters = Filters.parse(context.text('filters'), NETWORK_FILTERS);
    const isWanted = networkTest(filters);
    const swarm = parts.swarm.manager
      ? await controlOf(parts).listNetworks({}, context.signal)
      : [];
    const used = filters.has('dangling') ? usedNetworks(parts) : new Set<string>();
    const rows = [...swarm.map((network) => networkToJson(network) as NetworkRow), ...local];
    context.send(
      200,
      rows.filter((row) => isWanted(row, used)),
    );
  });

  routes.add('GET', '/networks/:id', async (context) => {
    const ref = context.param('id');
    const own = context.text('scope') === 'swarm' ? [] : local;
    // The same order as everywhere: what is named so goes before what has an id that begins so.
    const exact = own.find((row) => row.Name === ref || row.Id === ref);
    if (exact) return context.send(200, exact);
    const network = await swarmNetwork(parts, ref, context.signal);
    if (network) return context.send(200, networkToJson(network));
    const byPrefix = own.find((row) => row.Id.startsWith(ref));
    if (!byPrefix) throw new SkepError('not-found', `network ${ref} not found`);
    context.send(200, byPrefix);
  });

  routes.add('POST', '/networks/create', async (context) => {
    const spec = networkSpecFromJson(new JsonReader(await context.json()));
    if (spec.driver !== 'overlay') {
      throw new SkepError(
        'unimplemented',
        `network driver '${spec.driver}' is not supported yet: use --driver overlay`,
      );
    }
    const network = await controlOf(parts).createNetwork(spec, context.signal);
    context.send(201, { Id: network.id, Warning: '' });
  });

  routes.add('POST', '/networks/prune', (context) => prune(context, parts));

  routes.add('DELETE', '/networks/:id', async (context) => {
    const ref = context.param('id');
    if (local.some((row) => row.Name === ref)) {
      throw new SkepError(
        'permission-denied',
        `${ref} is a pre-defined network and cannot be removed`,
      );
    }
    await controlOf(parts).removeNetwork(ref, context.signal);
    context.empty(204);
  });
}

/** The networks of the cluster that no service and no task uses; a node's own are always there. */
async function prune(context: RequestContext, parts: RouteParts): Promise<void> {
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
  context.send(200, { NetworksDeleted: removed });
}

async function swarmNetwork(
  parts: RouteParts,
  ref: string,
  signal: AbortSignal,
): Promise<Network | null> {
  if (!parts.swarm.manager) return null;
  try {
    return await controlOf(parts).getNetwork(ref, signal);
  } catch (err) {
    if (hasCode(err, 'not-found')) return null;
    throw err;
  }
}

type NetworkTest = (row: NetworkRow, used: ReadonlySet<string>) => boolean;

/** Throws `invalid-argument` for a value that means nothing. */
export function networkTest(filters: Filters): NetworkTest {
  const type = filters.get('type').map((text) => wordOf('type', text, ['builtin', 'custom']));
  const [dangling] = filters.get('dangling').map((text) => booleanOf('dangling', text));
  return (row, used) => {
    const builtin = PREDEFINED.includes(row.Name);
    return (
      filters.any('driver', (driver) => row.Driver === driver) &&
      filters.any('id', (id) => row.Id.startsWith(id)) &&
      filters.labels('label', row.Labels) &&
      filters.any('name', (name) => row.Name.includes(name)) &&
      filters.any('scope', (scope) => row.Scope === scope) &&
      (type.length === 0 || type.includes(builtin ? 'builtin' : 'custom')) &&
      // What every node has by itself is never in the way.
      (dangling === undefined || dangling === (!builtin && !used.has(row.Id)))
    );
  };
}

/** Networks that a service or a task uses; the ingress network counts as used. */
function usedNetworks(parts: RouteParts): ReadonlySet<string> {
  if (!parts.swarm.manager) return new Set();
  return parts.swarm.manager.store.view((view) => {
    const networks = view.list('network');
    const ingress = networks.filter(({ spec }) => spec.ingress);
    const served = view
      .list('service')
      .flatMap(({ spec }) => spec.task.networks.map(({ target }) => target as string));
    const attached = networks.filter(({ id }) => view.tasksByNetwork(id).length > 0);
    return new Set([...served, ...[...ingress, ...attached].map(({ id }) => id as string)]);
  });
}

function wordOf(filter: string, text: string, known: readonly string[]): string {
  if (known.includes(text)) return text;
  throw new SkepError('invalid-argument', `invalid filter: '${filter}'='${text}'`);
}

function booleanOf(filter: string, text: string): boolean {
  const word = wordOf(filter, text.toLowerCase(), ['true', '1', 'false', '0']);
  return word === 'true' || word === '1';
}
