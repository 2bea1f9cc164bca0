import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { NetworkId } from '../../../common/model/ids.ts';
import type { DesiredState } from '../../../common/model/task-state.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import { KnownAnswers } from '../../../daemon/engineapi/known-answers.ts';
import type { RouteParts } from '../../../daemon/engineapi/parts.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import { addServiceRoutes } from '../../../daemon/engineapi/services.ts';
import { aNetwork, aService, aServiceSpec, aTaskOf } from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';

let it: TestControlApi;
/** The header of requests. */
let auth = '';
let handlers: Map<string, (context: RequestContext) => unknown>;
afterEach(() => {
  vi.restoreAllMocks();
});
beforeEach(async () => {
  auth = '';
  it = await makeControlApi();
  handlers = new Map();
  const routes = {
    add: (method: string, path: string, handler: (context: RequestContext) => unknown) =>
      handlers.set(`${method} ${path}`, handler),
  } as unknown as Routes;
  const swarm = { requireManager: () => ({ control: it.api, store: it.store }) };
  addServiceRoutes(routes, { swarm, random: it.random } as unknown as RouteParts);
});

/** The answer's body. */
async function call(
  route: string,
  {
    query = {},
    body,
    apiMinor = 50,
  }: { query?: Record<string, string>; body?: unknown; apiMinor?: number } = {},
): Promise<unknown> {
  let sent: unknown;
  await handlers.get(route)!({
    text: (name: string) => query[name] ?? null,
    flag: (name: string) => ['1', 'true'].includes(query[name] ?? ''),
    param: () => query['id'] ?? '',
    json: async () => body,
    apiMinor,
    request: {
      url: String(new URLSearchParams(query)),
      headers: auth === '' ? {} : { 'x-registry-auth': auth },
    },
    send: (_: number, json: unknown) => {
      sent = JSON.parse(JSON.stringify(json));
    },
    sendText: (_: number, json: string) => {
      sent = JSON.parse(json);
    },
    sendBytes: (_: number, json: Buffer) => {
      sent = JSON.parse(json.toString());
    },
  } as unknown as RequestContext);
  return sent;
}

const create = async (spec: object): Promise<string> => {
  const body = { TaskTemplate: { ContainerSpec: { Image: 'x' } }, ...spec };
  return ((await call('POST /services/create', { body })) as { ID: string }).ID;
};
const inspect = (id: string, insertDefaults: string) =>
  call('GET /services/:id', { query: { id, insertDefaults } });

test('rows of services with a registry login are rendered once, as others are', async () => {
  auth = 'e30=';
  const service = it.get('service', await create({ Name: 'web' }));
  expect(service.spec.task.container.registryAuth).toBe('e30=');
  await it.create('task', aTaskOf(service));
  const stringify = vi.spyOn(JSON, 'stringify');
  for (const [route, renderings] of [
    ['GET /services/:id', 1],
    ['GET /services', 0],
    ['GET /services/:id', 0],
    ['GET /tasks', 1],
    ['GET /tasks', 0],
  ] as const) {
    stringify.mockClear();
    const answer = await call(route, { query: { id: 'web' } });
    expect([answer].flat()).toHaveLength(1);
    expect([route, stringify.mock.calls.length]).toEqual([route, renderings]);
  }
});

test('the list of services is made once for each question, until something changes', async () => {
  await create({ Name: 'web' });
  const keep = vi.spyOn(KnownAnswers.prototype, 'keep');
  /** How often it was made, and what it holds; each time it waits for one read barrier. */
  const looks = async (query: Record<string, string>): Promise<[number, unknown]> => {
    keep.mockClear();
    const before = it.barriers();
    const rows = (await call('GET /services', { query })) as readonly object[];
    expect(it.barriers()).toBe(before + 1);
    return [keep.mock.calls.length, rows.map((row) => Object.keys(row).includes('ServiceStatus'))];
  };
  expect(await looks({ status: 'true' })).toEqual([1, [true]]);
  expect(await looks({ status: 'true' })).toEqual([0, [true]]);
  expect(await looks({})).toEqual([1, [false]]);
  const [task] = await it.create('task', aTaskOf(it.get('service', await create({ Name: 'db' }))));
  expect(await looks({ status: 'true' })).toEqual([1, [true, true]]);
  await it.store.update((tx) => tx.remove('task', task!.id));
  expect((await looks({ status: 'true' }))[0]).toBe(1);
});

test('counts of tasks and modes of services are for clients whose API version has them', async () => {
  const body = {
    TaskTemplate: { ContainerSpec: { Image: 'x' } },
    Mode: { ReplicatedJob: { TotalCompletions: 3 } },
  };
  for (const [apiMinor, mode, hasStatus] of [
    [40, 'replicated', false],
    [41, 'replicated-job', true],
  ] as const) {
    const { ID } = (await call('POST /services/create', { body, apiMinor })) as { ID: string };
    expect(it.get('service', ID).spec.mode.kind).toBe(mode);
    const query = { version: '1', id: ID, status: 'true' };
    const rows = (await call('GET /services', { query, apiMinor })) as readonly object[];
    expect(rows.every((row) => 'ServiceStatus' in row === hasStatus)).toBe(true);
  }
});

describe('a service', () => {
  test('without a name gets one of its own', async () => {
    const names = new Set<string>();
    for (let i = 0; i < 50; i++) names.add(it.get('service', await create({})).spec.name);
    expect(names.size).toBe(50);
    for (const name of names) expect(name).toMatch(/^[a-z]+_[a-z]+$/);
  });

  test('with a name that is taken is refused', async () => {
    await create({ Name: 'web' });
    await expect(create({ Name: 'web' })).rejects.toMatchObject({ code: 'name-conflict' });
  });

  test('is shown with its defaults when they are asked for, and stored without', async () => {
    const id = await create({ Name: 'web' });
    expect(await inspect(id, 'true')).toMatchObject({
      Spec: {
        TaskTemplate: {
          ContainerSpec: { StopGracePeriod: 10e9 },
          RestartPolicy: { Condition: 'any', Delay: 5e9, MaxAttempts: 0 },
        },
        UpdateConfig: {
          Parallelism: 1,
          FailureAction: 'pause',
          Monitor: 5e9,
          MaxFailureRatio: 0,
          Order: 'stop-first',
        },
        RollbackConfig: { Parallelism: 1, Order: 'stop-first' },
      },
    });
    const plain = await inspect(id, 'false');
    expect(plain).not.toHaveProperty('Spec.UpdateConfig');
    expect(plain).not.toHaveProperty('Spec.TaskTemplate.RestartPolicy');
  });

  test('that is a job is shown without an update config, with its iteration', async () => {
    const id = await create({ Mode: { ReplicatedJob: { MaxConcurrent: 2 } } });
    const shown = await inspect(id, 'true');
    expect(shown).not.toHaveProperty('Spec.UpdateConfig');
    expect(shown).toMatchObject({
      Spec: { Mode: { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 2 } } },
      JobStatus: { JobIteration: { Index: 0 }, LastExecution: '2026-01-01T00:00:00.000Z' },
    });
  });

  test('is found by its mode', async () => {
    await create({ Name: 'web' });
    await create({ Name: 'job', Mode: { GlobalJob: {} } });
    const filters = JSON.stringify({ mode: { 'global-job': true } });
    expect(await call('GET /services', { query: { filters } })).toMatchObject([
      { Spec: { Name: 'job' } },
    ]);
  });
});

describe('tasks by desired state', () => {
  test.each<[string, DesiredState[]]>([
    ['running', ['running', 'complete']],
    ['shutdown', ['shutdown', 'remove']],
    ['accepted', ['ready']],
    ['complete', ['complete']],
    ['REMOVE', ['remove']],
    ['preparing', []],
  ])('%s means %j', async (word, states) => {
    const service = it.get('service', await create({ Name: 'web' }));
    const all: DesiredState[] = ['ready', 'running', 'complete', 'shutdown', 'remove'];
    await it.create('task', ...all.map((desiredState) => aTaskOf(service, { desiredState })));
    const filters = JSON.stringify({ 'desired-state': [word] });
    const tasks = (await call('GET /tasks', { query: { filters } })) as { DesiredState: string }[];
    expect(tasks.map((task) => task.DesiredState).sort()).toEqual([...states].sort());
  });

  test('another word is refused', async () => {
    const filters = JSON.stringify({ 'desired-state': ['sleeping'] });
    await expect(call('GET /tasks', { query: { filters } })).rejects.toThrow(
      "invalid desired-state: 'sleeping'",
    );
  });
});

test('a service tells its virtual IPs of both families, in the list and alone', async () => {
  const ipv6 = { subnet: 'fd61::/64', gateway: 'fd61::1', range: '', reserved: {} };
  const [dual, plain] = [aNetwork({ ipam: [ipv6] }), aNetwork({ id: 'plain' as NetworkId })];
  const spec = aServiceSpec({ name: 'web' });
  const virtualIps = [
    { networkId: dual.id, address: '10.0.1.2/24' },
    { networkId: plain.id, address: '10.0.2.2/24' },
  ];
  await it.create('network', dual, plain);
  await it.create(
    'service',
    aService({ spec, endpoint: { spec: spec.endpoint, ports: [], virtualIps } }),
  );
  const told = {
    Endpoint: {
      VirtualIPs: [
        { NetworkID: dual.id, Addr: '10.0.1.2/24' },
        { NetworkID: dual.id, Addr: 'fd61::a00:102/64' },
        { NetworkID: plain.id, Addr: '10.0.2.2/24' },
      ],
    },
  };
  expect(await call('GET /services')).toMatchObject([told]);
  const id = 'web';
  expect(await call('GET /services/:id', { query: { id } })).toMatchObject(told);
  const insertDefaults = 'true';
  expect(await call('GET /services/:id', { query: { id, insertDefaults } })).toMatchObject(told);
});
