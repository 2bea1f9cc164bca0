// What no client should send, sent to the API of a real daemon: each is answered in its class, and at once.
import { request } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const KIB = 1024;
/** A request that is checked and refused takes milliseconds; a daemon that hangs takes for ever. */
const ANSWER_LIMIT_MS = 5_000;

interface Answer {
  readonly status: number;
  readonly message: string;
  readonly json: unknown;
}

describe.skipIf(!clusterTestsCanRun)('bad requests', () => {
  const shared = useCluster('badreq', { managers: 1, workers: 0 });

  const call = (method: string, path: string, body?: unknown): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const { socket: socketPath } = shared.current.hosts[0]!;
      const sent = request({ socketPath, method, path, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () => {
          const text = Buffer.concat(chunks).toString();
          const json = text === '' ? null : (JSON.parse(text) as { message?: string });
          resolve({ status: response.statusCode ?? 0, message: json?.message ?? '', json });
        });
      });
      sent.setTimeout(ANSWER_LIMIT_MS, () => {
        sent.destroy(new Error(`${method} ${path}: no answer within ${ANSWER_LIMIT_MS} ms`));
      });
      sent.once('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });

  const spec = (changes: object = {}, task: object = {}): object => ({
    Name: 'bad',
    TaskTemplate: { ContainerSpec: { Image: 'skep-test/none:1' }, ...task },
    Mode: { Replicated: { Replicas: 0 } },
    ...changes,
  });
  const create = (changes: object = {}, task: object = {}): Promise<Answer> =>
    call('POST', '/services/create', spec(changes, task));

  /** The daemon is there, and in its right mind, after each. */
  afterEach(async () => {
    const services = (await call('GET', '/services')).json as { readonly ID: string }[];
    for (const { ID } of services)
      expect((await call('DELETE', `/services/${ID}`)).status).toBe(200);
    expect((await call('GET', '/info')).status).toBe(200);
  });

  test.each<[string, object, object, RegExp]>([
    ['10^9 replicas', { Mode: { Replicated: { Replicas: 1e9 } } }, {}, /100000 or fewer/],
    ['-1 replicas', { Mode: { Replicated: { Replicas: -1 } } }, {}, /must be non-negative/],
    ['half a replica', { Mode: { Replicated: { Replicas: 0.5 } } }, {}, /must be a whole number/],
    ['a name in Cyrillic', { Name: 'сервис' }, {}, /valid as a DNS name component/],
    ['a name in Chinese', { Name: '服务' }, {}, /valid as a DNS name component/],
    ['a name that looks Latin', { Name: 'wеb' }, {}, /valid as a DNS name component/],
    ['a name of 10 KB', { Name: 'n'.repeat(10 * KIB) }, {}, /63 characters or fewer/],
    [
      'a constraint of no sense',
      {},
      { Placement: { Constraints: ['node'] } },
      /expected one operator/,
    ],
    [
      'a constraint in another script',
      {},
      { Placement: { Constraints: ['node.labels.зона == a'] } },
      /key 'node.labels.зона' is invalid/,
    ],
    ['a list for an object', { Mode: [] }, {}, /Mode must be an object/],
    ['a number for a name', { Name: 7 }, {}, /Name must be a string/],
  ])('%s is refused with 400', async (_, changes, task, words) => {
    const { status, message } = await create(changes, task);
    expect([status, message]).toEqual([400, expect.stringMatching(words)]);
  });

  test('a network that is not there is refused with 404, by its name', async () => {
    const { status, message } = await create({}, { Networks: [{ Target: 'nowhere' }] });
    expect([status, message]).toEqual([404, 'network nowhere not found']);
  });

  test('10,000 labels are kept; more than a spec may have are refused', async () => {
    const labels = (count: number, chars: number): object =>
      Object.fromEntries(
        Array.from({ length: count }, (_, i) => [`label-${i}`, 'v'.repeat(chars)]),
      );
    expect((await create({ Labels: labels(10_000, 10) })).status).toBe(201);
    const shown = (await call('GET', '/services/bad')).json as { Spec: { Labels: object } };
    expect(Object.keys(shown.Spec.Labels)).toHaveLength(10_000);
    const { status, message } = await create({ Name: 'huge', Labels: labels(10_000, 150) });
    expect(status).toBe(400);
    expect(message).toMatch(/^service huge: spec of \d+ bytes exceeds the limit of 393216$/);
  });

  test('labels in other scripts come back as they were', async () => {
    const Labels = { команда: 'сеть', 团队: '网络', '\u0000': '\ud83d\ude00', __proto__x: '' };
    expect((await create({ Labels })).status).toBe(201);
    expect((await call('GET', '/services/bad')).json).toMatchObject({ Spec: { Labels } });
  });

  test('a constraint that no node meets leaves the task waiting, with the reason', async () => {
    const placement = { Placement: { Constraints: ['node.labels.moon == full'] } };
    expect((await create({ Mode: { Replicated: { Replicas: 1 } } }, placement)).status).toBe(201);
    await eventually(
      'the reason is told',
      async () => {
        const [task] = (await call('GET', '/tasks')).json as { Status: object }[];
        expect(task?.Status).toMatchObject({
          State: 'pending',
          Err: 'no suitable node (scheduling constraints not satisfied on 1 node)',
        });
      },
      { withinMs: 5_000 },
    );
  });

  test('a port that another service has is refused with its name', async () => {
    const EndpointSpec = { Ports: [{ TargetPort: 80, PublishedPort: 8077 }] };
    expect((await create({ Name: 'first', EndpointSpec })).status).toBe(201);
    const { status, message } = await create({ Name: 'second', EndpointSpec });
    expect([status, message]).toEqual([
      400,
      expect.stringMatching(/^port '8077' is already in use by service 'first' .* ingress port$/),
    ]);
  });

  test('a version that is old is refused, and changes nothing', async () => {
    await create();
    const before = await eventually(
      'the allocator is done with it',
      async () => {
        const { json } = await call('GET', '/services/bad');
        expect(json).toMatchObject({ Endpoint: { Spec: { Mode: 'vip' } } });
        return json as { Version: { Index: number } };
      },
      { withinMs: 5_000 },
    );
    const path = (version: number): string => `/services/bad/update?version=${version}`;
    const first = await call('POST', path(before.Version.Index), spec({ Labels: { a: '1' } }));
    expect(first.status).toBe(200);
    const late = await call('POST', path(before.Version.Index), spec({ Labels: { a: '2' } }));
    expect([late.status, late.message]).toEqual([500, 'update out of sequence']);
    for (const version of ['', 'x', '-1', '1e3']) {
      expect((await call('POST', `/services/bad/update?version=${version}`, spec())).status).toBe(
        400,
      );
    }
    expect((await call('GET', '/services/bad')).json).toMatchObject({
      Spec: { Labels: { a: '1' } },
    });
  });

  test('what a service uses is not removed, and the service is named', async () => {
    const secret = await call('POST', '/secrets/create', { Name: 'key', Data: 'eA==' });
    const network = await call('POST', '/networks/create', { Name: 'net', Driver: 'overlay' });
    const { ID } = secret.json as { ID: string };
    const { Id } = network.json as { Id: string };
    const File = { Name: 'key', UID: '0', GID: '0', Mode: 0o444 };
    const TaskTemplate = {
      ContainerSpec: {
        Image: 'skep-test/none:1',
        Secrets: [{ SecretID: ID, SecretName: 'key', File }],
      },
      Networks: [{ Target: 'net' }],
    };
    expect((await create({ TaskTemplate })).status).toBe(201);
    expect(await call('DELETE', '/secrets/key')).toMatchObject({
      status: 400,
      message: "secret 'key' is in use by the following service: bad",
    });
    const kept = await call('DELETE', '/networks/net');
    expect([kept.status, kept.message]).toEqual([
      400,
      expect.stringMatching(new RegExp(`^network ${Id} is in use by service [0-9a-z]{25}$`)),
    ]);
    expect((await call('DELETE', '/services/bad')).status).toBe(200);
    expect((await call('DELETE', '/secrets/key')).status).toBe(204);
    expect((await call('DELETE', '/networks/net')).status).toBe(204);
  });

  test.each<[string, number, number]>([
    ['secrets', 501 * KIB, 500 * KIB - 1],
    ['configs', 1001 * KIB, 1000 * KIB - 1],
  ])('%s of %i bytes are refused, of %i are taken', async (kind, tooMany, most) => {
    const made = (bytes: number): Promise<Answer> =>
      call('POST', `/${kind}/create`, {
        Name: 'sized',
        Data: Buffer.alloc(bytes, 120).toString('base64'),
      });
    const refused = await made(tooMany);
    expect([refused.status, refused.message]).toEqual([
      400,
      expect.stringContaining(`must be larger than 0 and less than ${most + 1} bytes`),
    ]);
    expect((await made(most)).status).toBe(201);
    expect((await call('DELETE', `/${kind}/sized`)).status).toBe(204);
  });
});
