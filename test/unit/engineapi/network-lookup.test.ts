import { beforeEach, describe, expect, test } from 'vitest';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import { addNetworkConnectRoutes } from '../../../daemon/engineapi/network-connect.ts';
import { findNetwork, lookUpNetwork, workerRef } from '../../../daemon/engineapi/network-lookup.ts';
import { addNetworkRoutes } from '../../../daemon/engineapi/networks.ts';
import type { RouteParts } from '../../../daemon/engineapi/parts.ts';
import { predefinedNetworkId } from '../../../daemon/engineapi/predefined-networks.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import { DEFAULT_BRIDGE, type LocalNetwork } from '../../../worker/network/local-network.ts';
import { aNetwork, aNetworkSpec, idOf } from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';

const OWN_ID = 'abc0'.padEnd(64, '1');
const CLUSTER_ID = 'abc1';

describe('a network is the one', () => {
  const all = [
    { id: 'ab1', name: 'x' },
    { id: 'ab2', name: 'ab1' },
    { id: 'ac3', name: 'ac' },
    { id: 'ac4', name: 'twice' },
    { id: 'ad5', name: 'twice' },
  ];

  test.each([
    ['of this id, though another is named so', 'ab1', 'ab1'],
    ['of this name, though the ids of others begin so', 'ac', 'ac3'],
    ['whose id begins so', 'ad', 'ad5'],
  ])('%s', (_how, ref, id) => {
    expect(findNetwork(ref, all)).toMatchObject({ id });
  });

  test.each([
    ['twice', 'network twice is ambiguous (2 matches found on name)'],
    ['ab', 'network ab is ambiguous (2 matches found on ID prefix)'],
  ])('unless several are: %s', (ref, message) => {
    expect(() => findNetwork(ref, all)).toThrow(message);
  });

  test.each(['', 'nowhere'])('or none: "%s"', (ref) => expect(findNetwork(ref, all)).toBeNull());
});

describe('of the networks of a node and of its cluster', () => {
  let it: TestControlApi;
  let parts: RouteParts;
  let handlers: Map<string, (context: RequestContext) => unknown>;
  let removed: string[];
  const { signal } = new AbortController();

  beforeEach(async () => {
    it = await makeControlApi();
    removed = [];
    const own: LocalNetwork = {
      ...DEFAULT_BRIDGE,
      id: OWN_ID,
      spec: aNetworkSpec({ name: 'own', driver: 'bridge' }),
    };
    const networks = [DEFAULT_BRIDGE, own];
    const manager = { control: it.api, store: it.store };
    parts = {
      swarm: { manager, requireManager: () => manager },
      worker: {
        containers: { list: () => [] },
        localNetworks: {
          list: () => networks,
          usersOf: () => [],
          find: (ref: string) => networks.find(({ spec }) => spec.name === ref) ?? null,
          create: async ({ name }: { name: string }) => ({ id: `made ${name}` }),
          remove: async (id: string) => void removed.push(id),
        },
      },
      engineId: 'engine',
      events: { tell: () => {} },
      clock: it.clock,
    } as unknown as RouteParts;
    await it.create(
      'network',
      aNetwork({ id: idOf(CLUSTER_ID), spec: aNetworkSpec({ name: 'theirs' }) }),
    );
    handlers = new Map();
    const routes = {
      add: (method: string, path: string, handler: (context: RequestContext) => unknown) =>
        handlers.set(`${method} ${path}`, handler),
    } as unknown as Routes;
    addNetworkRoutes(routes, parts, { workerReads: null });
    addNetworkConnectRoutes(routes, parts);
  });

  const call = async (route: string, id: string, body: unknown = {}): Promise<unknown> => {
    let answer: unknown;
    await handlers.get(route)!({
      ...{ signal, param: () => id, text: () => null, flag: () => false, json: async () => body },
      empty: () => {},
      send: (_: number, value: unknown) => {
        answer = value;
      },
    } as unknown as RequestContext);
    return answer;
  };

  test.each([
    ['own', 'own'],
    ['theirs', 'theirs'],
    [OWN_ID.slice(0, 4), 'own'],
    [CLUSTER_ID, 'theirs'],
  ])('%s is %s', async (ref, name) => {
    expect(await call('GET /networks/:id', ref)).toMatchObject({ Name: name });
  });

  test.each(['GET /networks/:id', 'DELETE /networks/:id', 'POST /networks/:id/disconnect'])(
    'what both could be is told and not guessed: %s',
    async (route) => {
      await expect(call(route, 'abc', { Container: 'c' })).rejects.toMatchObject({
        code: 'invalid-argument',
        message: 'network abc is ambiguous (2 matches found on ID prefix)',
      });
      expect(removed).toEqual([]);
      expect(await it.api.listNetworks()).toHaveLength(1);
    },
  );

  test('the one that is meant is removed', async () => {
    await call('DELETE /networks/:id', 'abc0');
    expect(removed).toEqual([OWN_ID]);
    await call('DELETE /networks/:id', CLUSTER_ID);
    expect(await it.api.listNetworks()).toEqual([]);
    await expect(call('DELETE /networks/:id', 'theirs')).rejects.toMatchObject({
      code: 'not-found',
      message: 'network theirs not found',
    });
  });

  test('a name is taken by a network of that name, not by an id that begins so', async () => {
    const body = { Name: 'abc', Driver: 'bridge' };
    expect(await call('POST /networks/create', '', body)).toMatchObject({ Id: 'made abc' });
    const taken = call('POST /networks/create', '', { ...body, Name: 'theirs' });
    await expect(taken).rejects.toMatchObject({ code: 'name-conflict' });
  });

  test('a network of a driver that nodes have is the cluster’s where that is asked for', async () => {
    const body = { Name: 'mv', Driver: 'macvlan', ConfigFrom: { Network: 'conf' } };
    expect(await call('POST /networks/create', '', body)).toMatchObject({ Id: 'made mv' });
    await call('POST /networks/create', '', { ...body, Name: 'ofall', Scope: 'swarm' });
    expect(await call('GET /networks/:id', 'ofall')).toMatchObject({
      ...{ Scope: 'swarm', Driver: 'macvlan', ConfigFrom: { Network: 'conf' } },
    });
    const bridge = { Name: 'br', Driver: 'bridge', Scope: 'swarm', Options: { colour: 'red' } };
    await expect(call('POST /networks/create', '', bridge)).rejects.toMatchObject({
      code: 'unimplemented',
      message: expect.stringContaining('driver option "colour"'),
    });
  });

  test('a node’s own by its whole name is found without a leader', async () => {
    const control = { listNetworks: () => Promise.reject(new Error('nobody leads')) };
    const manager = { control, store: it.store };
    const alone = { ...parts, swarm: { manager, requireManager: () => manager } };
    const options = { scope: '', signal };
    expect(await lookUpNetwork(alone as unknown as RouteParts, 'own', options)).toMatchObject({
      kind: 'own',
    });
    const other = lookUpNetwork(alone as unknown as RouteParts, 'theirs', options);
    await expect(other).rejects.toThrow('nobody leads');
  });

  test('the worker hears names, also of predefined ones and of those of the cluster', () => {
    expect(workerRef(parts, 'abc0')).toBe('own');
    expect(workerRef(parts, predefinedNetworkId('engine', 'host'))).toBe('host');
    expect(workerRef(parts, 'nowhere')).toBe('nowhere');
    for (const ref of ['theirs', CLUSTER_ID]) {
      expect(workerRef(parts, ref)).toBe('theirs');
    }
  });
});
