/** `/nodes`: the machines of the cluster. */
import { SkepError } from '../../common/base/errors.ts';
import type { Node, NodeRole } from '../../common/model/node.ts';
import { Filters } from './filters.ts';
import type { RequestContext } from './http-context.ts';
import { type ManagerStatus, nodeSpecFromJson, nodeToJson } from './json/node.ts';
import { JsonReader } from './json/reader.ts';
import { controlOf, type RouteParts } from './parts.ts';
import type { Routes } from './server.ts';

export const NODE_FILTERS = ['id', 'label', 'node.label', 'membership', 'name', 'role'];

export function addNodeRoutes(routes: Routes, parts: RouteParts): void {
  routes.add('GET', '/nodes', async (context) => {
    const filters = Filters.parse(context.text('filters'), NODE_FILTERS);
    const control = controlOf(parts);
    const roles = filters.get('role').map(roleOf);
    for (const membership of filters.get('membership')) requireMembership(membership);
    const nodes = await control.listNodes(
      {
        ids: filters.get('id'),
        names: filters.get('name'),
        engineLabels: filters.get('label'),
        nodeLabels: filters.get('node.label'),
        roles,
      },
      context.signal,
    );
    const accepted = filters.any('membership', (value) => value.toLowerCase() === 'accepted');
    const managers = await managerStatuses(parts, context);
    const rows = accepted ? nodes : [];
    context.send(
      200,
      rows.map((node) => withManager(node, managers)),
    );
  });

  routes.add('GET', '/nodes/:id', async (context) => {
    const node = await controlOf(parts).getNode(nodeRef(parts, context), context.signal);
    context.send(200, withManager(node, await managerStatuses(parts, context)));
  });

  routes.add('POST', '/nodes/:id/update', async (context) => {
    const spec = nodeSpecFromJson(new JsonReader(await context.json()));
    const ref = nodeRef(parts, context);
    await controlOf(parts).updateNode(ref, context.integer('version'), spec, context.signal);
    context.empty(200);
  });

  routes.add('DELETE', '/nodes/:id', async (context) => {
    const ref = nodeRef(parts, context);
    await controlOf(parts).removeNode(ref, context.flag('force'), context.signal);
    context.empty(200);
  });
}

function roleOf(text: string): NodeRole {
  const role = text.toLowerCase();
  if (role === 'worker' || role === 'manager') return role;
  throw new SkepError('invalid-argument', `invalid role filter: '${text}'`);
}

function requireMembership(text: string): void {
  if (['accepted', 'pending'].includes(text.toLowerCase())) return;
  throw new SkepError('invalid-argument', `invalid membership filter: '${text}'`);
}

function nodeRef(parts: RouteParts, context: RequestContext): string {
  const ref = context.param('id');
  return ref === 'self' ? parts.swarm.state().nodeId : ref;
}

type Managers = ReadonlyMap<string, ManagerStatus>;

/** By node id; with reachability as the leader sees it. */
async function managerStatuses(parts: RouteParts, context: RequestContext): Promise<Managers> {
  const managers = await controlOf(parts).listManagers(context.signal);
  return new Map(managers.map((manager) => [manager.nodeId, manager]));
}

function withManager(node: Node, managers: Managers): object {
  return nodeToJson(node, managers.get(node.id) ?? null);
}
