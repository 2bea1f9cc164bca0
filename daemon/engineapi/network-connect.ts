/** Containers that run are given places in networks by hand, and lose them. */
import { SkepError } from '../../common/base/errors.ts';
import type { EndpointWish } from '../../worker/network/container-place.ts';
import type { RequestContext } from './http-context.ts';
import { endpointFromJson } from './json/endpoint.ts';
import { JsonReader } from './json/reader.ts';
import { lookUpNetwork, workerRef } from './network-lookup.ts';
import type { RouteParts } from './parts.ts';
import { requirePlain } from './plain-container.ts';
import type { Routes } from './server.ts';

export function addNetworkConnectRoutes(routes: Routes, parts: RouteParts): void {
  const { containers } = parts.worker;

  routes.add('POST', '/networks/:id/connect', async (context) => {
    const json = new JsonReader(await context.json());
    const container = requirePlain(containers.require(json.string('Container')), 'connect');
    const network = workerRef(parts, context.param('id'));
    const wish: EndpointWish = { ...endpointFromJson(json.object('EndpointConfig')), network };
    await container.connect(wish);
    context.empty(200);
  });

  routes.add('POST', '/networks/:id/disconnect', async (context) => {
    const json = new JsonReader(await context.json());
    const name = await nameOf(parts, context);
    const reference = json.string('Container');
    const info = containers
      .list()
      .find(({ id, name: own }) => id === reference || own === reference);
    // Of a container that is gone nothing is left to disconnect.
    if (!info && json.boolean('Force')) return context.empty(200);
    await requirePlain(containers.require(reference), 'disconnect').disconnect(name);
    context.empty(200);
  });
}

async function nameOf(parts: RouteParts, context: RequestContext): Promise<string> {
  const ref = context.param('id');
  const found = await lookUpNetwork(parts, ref, { scope: '', signal: context.signal });
  if (found) return found.name;
  const names = parts.worker.containers
    .list()
    .flatMap(({ networks }) =>
      networks.filter(({ networkId, name }) => [networkId, name].includes(ref)),
    )
    .map(({ name }) => name);
  if (names[0] !== undefined) return names[0];
  throw new SkepError('not-found', `network ${ref} not found`);
}
