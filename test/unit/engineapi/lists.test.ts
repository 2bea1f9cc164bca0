import { beforeEach, describe, expect, test } from 'vitest';
import type { EngineEvent } from '../../../common/model/engine-event.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import { addNetworkRoutes } from '../../../daemon/engineapi/networks.ts';
import { addNodeRoutes } from '../../../daemon/engineapi/nodes.ts';
import type { RouteParts } from '../../../daemon/engineapi/parts.ts';
import { addRoutesForWorkers } from '../../../daemon/engineapi/routes.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import { DEFAULT_BRIDGE } from '../../../worker/network/local-network.ts';
import {
  aNetworkSpec,
  aNetworkTarget,
  aNode,
  aNodeDescription,
  aNodeSpec,
  aServiceSpec,
  aTaskSpec,
} from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';

let it: TestControlApi;
let handlers: Map<string, (context: RequestContext) => unknown>;
/** Of what a manager answers for workers. */
let forWorkers: typeof handlers;
let events: EngineEvent[];
beforeEach(async () => {
  it = await makeControlApi();
  [handlers, forWorkers, events] = [new Map(), new Map(), []];
  const into = (map: typeof handlers): Routes =>
    ({
      add: (method: string, path: string, handler: (context: RequestContext) => unknown) =>
        map.set(`${method} ${path}`, handler),
    }) as unknown as Routes;
  const routes = into(handlers);
  const manager = { control: it.api, store: it.store };
  const swarm = { manager, requireManager: () => manager };
  const bridge = { list: () => [DEFAULT_BRIDGE], usersOf: () => [] };
  const worker = { localNetworks: bridge, containers: { list: () => [] } };
  const parts = {
    ...{ swarm, worker, engineId: 'engine', clock: it.clock, readOnWorkers: true },
    events: { tell: (event: EngineEvent) => void events.push(event) },
  } as unknown as RouteParts;
  addNetworkRoutes(routes, parts, { workerReads: null });
  addNodeRoutes(routes, parts);
  addRoutesForWorkers(into(forWorkers), parts);
});

async function list(
  path: string,
  filters: object,
  query: Readonly<Record<string, string>> = {},
  of = handlers,
): Promise<unknown[]> {
  let sent: unknown[] = [];
  await of.get(`GET ${path}`)!({
    text: (name: string) => (name === 'filters' ? JSON.stringify(filters) : (query[name] ?? null)),
    send: (_: number, rows: unknown[]) => {
      sent = rows;
    },
  } as unknown as RequestContext);
  return sent;
}

describe('a network', () => {
  const get = async (id: string, scope: string | null = null): Promise<unknown> => {
    let sent: unknown;
    await handlers.get('GET /networks/:id')!({
      param: () => id,
      flag: () => false,
      text: (name: string) => (name === 'scope' ? scope : null),
      send: (_: number, row: unknown) => {
        sent = row;
      },
    } as unknown as RequestContext);
    return sent;
  };

  test('is found by its name, also where the id of a predefined one begins so', async () => {
    const [host] = (await list('/networks', { name: ['host'] })) as { Id: string }[];
    const name = host!.Id.slice(0, 2);
    expect(await get(name)).toMatchObject({ Name: 'host' });
    await it.api.createNetwork(aNetworkSpec({ name }));
    expect(await get(name)).toMatchObject({ Name: name });
    expect(await get(host!.Id.slice(0, 3))).toMatchObject({ Name: 'host' });
    await expect(get('nowhere')).rejects.toThrow('network nowhere not found');
  });

  test.each(['host', 'none'])('is %s of the cluster when that is asked for', async (name) => {
    expect(await get(name)).toMatchObject({ Name: name, Scope: 'local' });
    const ofCluster = { Id: name, Name: name, Scope: 'swarm' };
    expect(await get(name, 'swarm')).toMatchObject(ofCluster);
  });
});

describe('the list of networks', () => {
  const names = async (filters: object): Promise<string[]> =>
    ((await list('/networks', filters)) as { Name: string }[]).map(({ Name }) => Name);

  beforeEach(async () => {
    await it.api.createNetwork(aNetworkSpec({ name: 'used', labels: { a: 'b' } }));
    await it.api.createNetwork(aNetworkSpec({ name: 'idle' }));
    await it.api.createNetwork(aNetworkSpec({ name: 'mesh', ingress: true }));
    const networks = [aNetworkTarget({ target: 'used' })];
    await it.api.createService(aServiceSpec({ task: aTaskSpec({ networks }) }));
  });

  test.each<[object, string[]]>([
    [{ dangling: ['true'] }, ['idle']],
    [{ dangling: ['1'] }, ['idle']],
    [{ dangling: ['false'] }, ['used', 'mesh', 'bridge', 'host', 'none']],
    [{ type: ['custom'] }, ['used', 'idle', 'mesh']],
    [{ type: ['builtin'] }, ['bridge', 'host', 'none']],
    [{ type: ['builtin', 'custom'], driver: ['overlay'] }, ['used', 'idle', 'mesh']],
    [{ scope: ['swarm'], name: ['s'] }, ['used', 'mesh']],
    [{ label: ['a=b'] }, ['used']],
    [{ name: ['^idle$', '^use'] }, ['used', 'idle']],
  ])('with %j', async (filters, expected) => {
    expect(await names(filters)).toEqual(expected);
  });

  test.each<[string, string[]]>([
    ['swarm', ['used', 'idle', 'mesh']],
    ['local', ['bridge', 'host', 'none']],
  ])('of scope %s', async (scope, expected) => {
    const rows = (await list('/networks', {}, { scope })) as { Name: string }[];
    expect(rows.map(({ Name }) => Name)).toEqual(expected);
  });

  test.each([{}, { scope: 'local' }])(
    'for workers has nothing of this node’s own, with %j',
    async (query) => {
      const rows = (await list('/networks', {}, query, forWorkers)) as { Name: string }[];
      expect(rows.map(({ Name }) => Name)).toEqual(['used', 'idle', 'mesh']);
      const [own] = (await list('/networks', {}, { scope: 'local' })) as { Id: string }[];
      const context = { param: () => own!.Id, text: () => null } as unknown as RequestContext;
      await expect(forWorkers.get('GET /networks/:id')!(context)).rejects.toThrow(
        `network ${own!.Id} not found`,
      );
    },
  );

  test.each<[object, string]>([
    [{ type: ['odd'] }, "invalid filter: 'type'='odd'"],
    [{ dangling: ['maybe'] }, "invalid filter: 'dangling'='maybe'"],
    [{ colour: ['red'] }, "invalid filter 'colour'"],
  ])('refuses %j', async (filters, message) => {
    await expect(names(filters)).rejects.toMatchObject({ code: 'invalid-argument', message });
  });
});

test('a prune of networks takes those of the cluster that nobody uses, by their labels', async () => {
  const prune = async (filters: object): Promise<unknown> => {
    let sent: unknown;
    await handlers.get('POST /networks/prune')!({
      text: () => JSON.stringify(filters),
      send: (_: number, value: unknown) => {
        sent = value;
      },
    } as unknown as RequestContext);
    return sent;
  };
  await it.api.createNetwork(aNetworkSpec({ name: 'used' }));
  await it.api.createNetwork(aNetworkSpec({ name: 'idle' }));
  await it.api.createNetwork(aNetworkSpec({ name: 'kept', labels: { keep: '' } }));
  await it.api.createNetwork(aNetworkSpec({ name: 'mesh', ingress: true }));
  const networks = [aNetworkTarget({ target: 'used' })];
  await it.api.createService(aServiceSpec({ task: aTaskSpec({ networks }) }));
  expect(await prune({ 'label!': ['keep'] })).toEqual({ NetworksDeleted: ['idle'] });
  expect(await prune({})).toEqual({ NetworksDeleted: ['kept'] });
  const told = { type: 'network', action: 'prune', id: '', attributes: { reclaimed: '0' } };
  expect(events).toEqual([told, told]);
  expect(await prune({})).toEqual({ NetworksDeleted: [] });
});

describe('the list of nodes', () => {
  const names = async (filters: object): Promise<string[]> =>
    ((await list('/nodes', filters)) as { Description: { Hostname: string } }[]).map(
      ({ Description }) => Description.Hostname,
    );

  beforeEach(async () => {
    const named = (hostname: string) => aNodeDescription({ hostname });
    const spec = aNodeSpec({ desiredRole: 'manager', labels: { zone: 'a' } });
    await it.create(
      'node',
      aNode({ spec, description: named('m1') }),
      aNode({ description: named('w1') }),
    );
  });

  test.each<[object, string[]]>([
    [{ role: ['manager'] }, ['m1']],
    [{ role: ['Worker'] }, ['w1']],
    [{ role: ['worker', 'manager'] }, ['m1', 'w1']],
    [{ membership: ['accepted'] }, ['m1', 'w1']],
    [{ membership: ['pending'] }, []],
    [{ 'node.label': ['zone=a'] }, ['m1']],
    [{ name: ['w'] }, ['w1']],
  ])('with %j', async (filters, expected) => {
    expect(await names(filters)).toEqual(expected);
  });

  test.each<[object, string]>([
    [{ role: ['boss'] }, "invalid role filter: 'boss'"],
    [{ membership: ['maybe'] }, "invalid membership filter: 'maybe'"],
  ])('refuses %j instead of showing all of them', async (filters, message) => {
    await expect(names(filters)).rejects.toMatchObject({ code: 'invalid-argument', message });
  });
});
