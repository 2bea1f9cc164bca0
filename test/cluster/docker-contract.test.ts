// What Docker's clients hold a server to and no verb of theirs shows: headers, statuses, and the fields without which a verb
// breaks. Raw requests, each answer held against Docker's documents.
import { describe, expect, test } from 'vitest';
import { Engine } from '../differential/engine.ts';
import { clusterTestsCanRun, eventually, run } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const ID = /^[0-9a-z]{25}$/;
const SOON = { withinMs: 20_000 };
const NOT_A_MANAGER =
  "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.";

type Json = Readonly<Record<string, unknown>>;
interface Service {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: Json & { readonly TaskTemplate: Json };
  readonly UpdateStatus?: { readonly State: string };
}

describe.skipIf(!clusterTestsCanRun)('what clients count on', { timeout: 60_000 }, () => {
  const shared = useCluster('contract', { managers: 1, workers: 1 }, async (cluster) => {
    await cluster.image({ name: 'box:latest' });
    await cluster.skep(['network', 'create', '-d', 'overlay', 'front']);
    await cluster.skep(['secret', 'create', 'key', '-'], { input: 'x' });
    await cluster.skep(['config', 'create', 'conf', '-'], { input: 'x' });
    await cluster.skep([
      ...['service', 'create', '--no-resolve-image', '--name', 'web', '--network', 'front'],
      ...['--secret', 'key', '--config', 'conf', '-p', '18097:80', '--label', 'tier=front'],
      ...['--container-label', 'role=x', '--stop-grace-period', '0s', 'box', 'sleep', '1000'],
    ]);
  });
  const engine = (host = 'manager-1') => new Engine(host, shared.current.host(host).socket);
  const call = (method: string, path: string, body?: unknown) => engine().call(method, path, body);
  const get = <T>(path: string) => engine().get<T>(path);
  const filtered = (path: string, filters: object): string =>
    `${path}?filters=${encodeURIComponent(JSON.stringify(filters))}`;
  const web = () => get<Service>('/services/web');
  const update = async (change: object, query = ''): Promise<unknown> => {
    const { ID, Version, Spec } = await web();
    const path = `/services/${ID}/update?version=${Version.Index}${query}`;
    return call('POST', path, { ...Spec, ...change });
  };

  test.each(['HEAD', 'GET'])('the ping, by %s', async (method) => {
    const flags = ['-sS', '-i', ...(method === 'HEAD' ? ['-I'] : [])];
    const argv = [
      'curl',
      ...flags,
      '--unix-socket',
      shared.current.hosts[0]!.socket,
      'http://d/_ping',
    ];
    const [head = '', body] = (await run(argv)).stdout.split('\r\n\r\n');
    for (const line of [
      ...['Api-Version: 1.50', 'Ostype: linux', 'Docker-Experimental: false', 'Builder-Version: 1'],
      ...['Swarm: active/manager', 'Cache-Control: no-cache, no-store, must-revalidate'],
      ...['Pragma: no-cache', 'Content-Type: text/plain; charset=utf-8'],
    ]) {
      expect(head.split('\r\n')).toContain(line);
    }
    expect(head).toMatch(/^Server: \S+\/\S+ \(linux\)/m);
    expect(body).toBe(method === 'HEAD' ? '' : 'OK');
  });

  describe('the status of', () => {
    test.each<[string, string, object | undefined, number, string]>([
      ['POST', '/services/create', { Name: 'web' }, 400, 'ContainerSpec'],
      [
        'POST',
        '/services/create',
        { Name: 'a b' },
        400,
        'name must be valid as a DNS name component',
      ],
      ['POST', '/services/web/update', {}, 400, 'invalid version'],
      ['DELETE', '/services/nobody', undefined, 404, 'service nobody not found'],
      ['GET', '/services/nobody/logs?stdout=1', undefined, 404, 'service nobody not found'],
      ['GET', '/tasks/nobody', undefined, 404, 'task nobody not found'],
      [
        'DELETE',
        '/secrets/key',
        undefined,
        400,
        "secret 'key' is in use by the following service: web",
      ],
      [
        'DELETE',
        '/configs/conf',
        undefined,
        400,
        "config 'conf' is in use by the following service: web",
      ],
      ['POST', '/secrets/create', { Name: 'key', Data: 'eA==' }, 409, 'secret key already exists'],
      ['POST', '/secrets/create', { Name: 'a/b', Data: 'eA==' }, 400, ''],
      ['POST', '/secrets/create', { Name: 'n'.repeat(65), Data: 'eA==' }, 400, ''],
      [
        'POST',
        '/networks/create',
        { Name: 'front', Driver: 'overlay' },
        409,
        'network with name front already exists',
      ],
      ['DELETE', '/networks/nobody', undefined, 404, 'network nobody not found'],
      ['DELETE', '/networks/front', undefined, 400, 'is in use by service'],
      ['GET', '/networks/nobody', undefined, 404, 'network nobody not found'],
      ['POST', '/swarm/init', {}, 503, 'This node is already part of a swarm'],
      [
        'POST',
        '/swarm/leave',
        undefined,
        503,
        'You are attempting to leave the swarm on a node that is participating as a manager.',
      ],
      ['POST', '/swarm/unlock', { UnlockKey: 'x' }, 409, 'swarm is not locked'],
      [
        'POST',
        '/nodes/self/update?version=1',
        { Role: 'manager', Availability: 'active' },
        500,
        'update out of sequence',
      ],
      ['GET', '/volumes/nobody', undefined, 404, 'no such volume'],
      ['GET', '/images/nobody/json', undefined, 404, 'No such image: nobody'],
      ['GET', '/containers/nobody/json', undefined, 404, 'No such container: nobody'],
      ['POST', '/containers/create', { Image: 'nobody' }, 404, 'No such image: nobody'],
      ['GET', '/distribution/127.0.0.1:1/x/json', undefined, 503, 'connect'],
      ['GET', '/nowhere', undefined, 404, 'page not found'],
      ['POST', '/build', undefined, 501, 'building images is not supported'],
    ])('%s %s %j is %i', async (method, path, body, status, words) => {
      const answer = await call(method, path, body);
      expect(answer.status, JSON.stringify(answer.body)).toBe(status);
      expect((answer.body as { message: string }).message).toContain(words);
    });

    test('what is done of a cluster', async () => {
      const made = async (path: string, body: object) => {
        const { status, body: answer } = await call('POST', path, body);
        const { ID, Id } = answer as { ID?: string; Id?: string };
        return { status, id: ID ?? Id ?? '' };
      };
      const secret = await made('/secrets/create', { Name: 'two', Data: 'eA==' });
      const network = await made('/networks/create', { Name: 'back', Driver: 'overlay' });
      const service = await made('/services/create', {
        Name: 'quiet',
        TaskTemplate: { ContainerSpec: { Image: 'box' } },
        Mode: { Replicated: { Replicas: 0 } },
      });
      const all = [secret, network, service];
      expect(all.map(({ status }) => status)).toEqual([201, 201, 201]);
      for (const { id } of all) expect(id).toMatch(ID);
      const gone = [
        await call('DELETE', `/secrets/${secret.id}`),
        await call('DELETE', `/networks/${network.id}`),
        await call('DELETE', `/services/${service.id}`),
      ];
      expect(gone).toEqual([
        { status: 204, body: null },
        { status: 204, body: null },
        { status: 200, body: null },
      ]);
    });

    test('a start of what runs, and a stop of what does not', async () => {
      const body = { Image: 'box', Cmd: ['sleep', '1000'] };
      const { Id } = (await call('POST', '/containers/create?name=plain', body)).body as {
        Id: string;
      };
      expect(Id).toMatch(/^[0-9a-f]{64}$/);
      const statuses: number[] = [];
      for (const verb of ['start', 'start', 'kill', 'stop', 'stop', 'wait']) {
        statuses.push((await call('POST', `/containers/${Id}/${verb}`)).status);
        if (verb === 'kill') await call('POST', `/containers/${Id}/wait`);
      }
      expect(statuses).toEqual([204, 304, 204, 304, 304, 200]);
      expect((await call('DELETE', `/containers/${Id}`)).status).toBe(204);
    });

    test('a worker that is asked for the cluster', async () => {
      for (const path of ['/services', '/nodes', '/tasks', '/secrets', '/swarm']) {
        const { status, body } = await engine('worker-1').call('GET', path);
        expect([status, body]).toEqual([503, { message: NOT_A_MANAGER }]);
      }
    });
  });

  describe('a service', () => {
    test('has what commands take from it', async () => {
      const service = await web();
      expect(service).toMatchObject({
        ID: expect.stringMatching(ID),
        Version: { Index: expect.any(Number) },
        Spec: {
          Name: 'web',
          Labels: { tier: 'front' },
          TaskTemplate: {
            ContainerSpec: {
              Secrets: [{ File: { Name: 'key' }, SecretID: expect.stringMatching(ID) }],
              Configs: [{ File: { Name: 'conf' }, ConfigID: expect.stringMatching(ID) }],
            },
            // By its id, whatever it was named by.
            Networks: [{ Target: expect.stringMatching(ID) }],
          },
          Mode: { Replicated: { Replicas: 1 } },
        },
        Endpoint: {
          Spec: { Mode: 'vip' },
          Ports: [
            { PublishedPort: 18_097, TargetPort: 80, Protocol: 'tcp', PublishMode: 'ingress' },
          ],
          VirtualIPs: [
            { NetworkID: expect.stringMatching(ID), Addr: expect.stringMatching(/^[\d.]+\/\d+$/) },
            { NetworkID: expect.stringMatching(ID), Addr: expect.stringMatching(/^[\d.]+\/\d+$/) },
          ],
        },
      });
      expect((await get<Json>('/services/web?insertDefaults=true'))['Spec']).toMatchObject({
        UpdateConfig: {
          ...{ Parallelism: 1, FailureAction: 'pause', Monitor: 5e9, MaxFailureRatio: 0 },
          Order: 'stop-first',
        },
        RollbackConfig: {
          Parallelism: 1,
          FailureAction: 'pause',
          Monitor: 5e9,
          Order: 'stop-first',
        },
        EndpointSpec: { Mode: 'vip' },
        TaskTemplate: {
          RestartPolicy: { Condition: 'any', Delay: 5e9, MaxAttempts: 0 },
          ContainerSpec: { Isolation: 'default', DNSConfig: {} },
        },
      });
    });

    test('without a number of replicas has one', async () => {
      const spec = { Name: 'one', TaskTemplate: { ContainerSpec: { Image: 'box' } } };
      await call('POST', '/services/create', { ...spec, Mode: { Replicated: {} } });
      expect((await get<Service>('/services/one')).Spec).toMatchObject({
        Mode: { Replicated: { Replicas: 1 } },
      });
      await call('DELETE', '/services/one');
    });

    test('is counted when that is asked for', async () => {
      const [row] = await get<Json[]>(`${filtered('/services', { name: ['web'] })}&status=true`);
      expect(row!['ServiceStatus']).toEqual({
        RunningTasks: 1,
        DesiredTasks: 1,
        CompletedTasks: 0,
      });
      const [bare] = await get<Json[]>(filtered('/services', { name: { web: true } }));
      expect(bare).not.toHaveProperty('ServiceStatus');
    });

    test('says nothing of an update before it began, and asks for no other mode or name', async () => {
      const force = async (ForceUpdate: number): Promise<unknown> =>
        update({ TaskTemplate: { ...(await web()).Spec.TaskTemplate, ForceUpdate } });
      const isDone = async (): Promise<void> =>
        expect((await web()).UpdateStatus?.State).toBe('completed');
      expect(await force(1)).toMatchObject({ status: 200 });
      await eventually('the first one is done', isDone, SOON);
      // As the command reads it right after its own update: what was is not what is.
      expect(await force(2)).toMatchObject({ status: 200 });
      expect((await web()).UpdateStatus?.State).not.toBe('completed');
      await eventually('the second one is done', isDone, SOON);
      expect(await update({ Name: 'other' })).toMatchObject({ status: 501 });
      expect(await update({ Mode: { Global: {} } })).toMatchObject({ status: 501 });
    });

    test('that goes back says so at once, and back again', async () => {
      expect(await update({}, '&rollback=previous')).toMatchObject({ status: 200 });
      expect((await web()).UpdateStatus).toMatchObject({
        State: expect.stringMatching(/^rollback_(started|completed)$/),
      });
      await eventually(
        'it is done',
        async () => expect((await web()).UpdateStatus?.State).toBe('rollback_completed'),
        SOON,
      );
    });

    test('runs where its platform is, by either name of it', async () => {
      const spec = {
        Name: 'amd',
        TaskTemplate: {
          ContainerSpec: { Image: 'box', Command: ['sleep', '1000'] },
          Placement: { Platforms: [{ Architecture: 'amd64', OS: 'linux' }] },
        },
      };
      await call('POST', '/services/create', spec);
      await shared.current.running('amd', 1);
      const { Description } = await get<{ Description: Json }>('/nodes/self');
      expect(Description['Platform']).toEqual({ Architecture: 'x86_64', OS: 'linux' });
      await call('DELETE', '/services/amd');
    });

    test('has logs of which each line says where it is from', async () => {
      const spec = {
        Name: 'says',
        TaskTemplate: {
          ContainerSpec: { Image: 'box', Args: ['sh', '-c', 'echo hello; sleep 1000'] },
        },
      };
      await call('POST', '/services/create', spec);
      const url = 'http://d/v1.50/services/says/logs?stdout=1&details=1&timestamps=1';
      const curl = ['curl', '-sS', '-i', '--unix-socket', shared.current.hosts[0]!.socket, url];
      await eventually(
        'its line is there',
        async () => {
          const { stdout } = await run(curl);
          expect(stdout).toContain('Content-Type: application/vnd.docker.multiplexed-stream');
          expect(stdout.split('\r\n\r\n')[1]).toMatch(
            // Of a frame of its own: 8 bytes, time, details, a blank, words.
            /\d{4}-\d\d-\d\dT[\d:.]+Z com\.docker\.swarm\.node\.id=[0-9a-z]{25},com\.docker\.swarm\.service\.id=[0-9a-z]{25},com\.docker\.swarm\.task\.id=[0-9a-z]{25} hello\n/,
          );
        },
        SOON,
      );
      await call('DELETE', '/services/says');
    });
  });

  test('a task and its container are known by what tools go by', async () => {
    const [task] = await get<(Json & { ID: string; NodeID: string; ServiceID: string })[]>(
      filtered('/tasks', {
        service: { web: true },
        'desired-state': { running: true },
        '_up-to-date': { true: true },
      }),
    );
    expect(task).toMatchObject({
      Slot: 1,
      DesiredState: 'running',
      Status: {
        State: 'running',
        Timestamp: expect.stringMatching(/Z$/),
        PortStatus: expect.anything(),
      },
      Spec: { ContainerSpec: { Image: 'box:latest' } },
      NetworksAttachments: [
        {
          Network: { ID: expect.stringMatching(ID) },
          Addresses: [expect.stringMatching(/^[\d.]+\/\d+$/)],
        },
        {
          Network: { ID: expect.stringMatching(ID) },
          Addresses: [expect.stringMatching(/^[\d.]+\/\d+$/)],
        },
      ],
    });
    const { ID: taskId, NodeID, ServiceID } = task!;
    const node = (await get<{ Description: { Hostname: string } }>(`/nodes/${NodeID}`)).Description;
    const label = ['com.docker.swarm.service.name=web'];
    const rows = await engine(node.Hostname).get<Json[]>(filtered('/containers/json', { label }));
    expect(rows).toMatchObject([
      {
        Names: [`/web.1.${taskId}`],
        Labels: {
          role: 'x',
          'com.docker.swarm.node.id': NodeID,
          'com.docker.swarm.service.id': ServiceID,
          'com.docker.swarm.service.name': 'web',
          'com.docker.swarm.task': '',
          'com.docker.swarm.task.id': taskId,
          'com.docker.swarm.task.name': `web.1.${taskId}`,
        },
      },
    ]);
  });

  test('files of the cluster: data of configs alone is shown, and only labels change', async () => {
    for (const kind of ['secret', 'config']) {
      const ref = kind === 'secret' ? 'key' : 'conf';
      const path = `/${kind}s/${ref}`;
      const file = await get<Service>(path);
      expect(file.Spec['Data']).toBe(kind === 'secret' ? undefined : 'eA==');
      const to = `/${kind}s/${file.ID}/update?version=${file.Version.Index}`;
      const refused = await call('POST', to, { ...file.Spec, Data: 'eQ==' });
      expect(refused.status).toBe(400);
      expect((refused.body as { message: string }).message).toContain(
        'only updates to Labels are allowed',
      );
      expect((await call('POST', to, { ...file.Spec, Labels: { a: 'b' } })).status).toBe(200);
    }
  });

  test('info and the swarm have what commands take from them', async () => {
    const info = await get<Json>('/info');
    expect(info).toMatchObject({
      ...{ OSType: 'linux', Architecture: 'x86_64', CgroupDriver: 'cgroupfs', Driver: 'overlay2' },
      ...{ MemoryLimit: true, SwapLimit: true, Plugins: { Volume: ['local'] } },
      Swarm: {
        ...{ NodeID: expect.stringMatching(ID), LocalNodeState: 'active', ControlAvailable: true },
        ...{ Error: '', Nodes: 2, Managers: 1 },
        RemoteManagers: [
          { NodeID: expect.stringMatching(ID), Addr: expect.stringContaining(':2377') },
        ],
        Cluster: {
          ...{ ID: expect.stringMatching(ID), Version: { Index: expect.any(Number) } },
          ...{ RootRotationInProgress: false, SubnetSize: 24, DataPathPort: 4789 },
          TLSInfo: { TrustRoot: expect.stringContaining('BEGIN CERTIFICATE') },
          Spec: { Orchestration: { TaskHistoryRetentionLimit: 5 } },
        },
      },
    });
    expect(await engine('worker-1').get<Json>('/info')).toMatchObject({
      Swarm: {
        ...{ LocalNodeState: 'active', ControlAvailable: false },
        RemoteManagers: (info['Swarm'] as Json)['RemoteManagers'],
      },
    });
    expect(await get<Json>('/swarm')).toMatchObject({
      JoinTokens: {
        Worker: expect.stringMatching(/^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/),
        Manager: expect.stringMatching(/^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/),
      },
      TLSInfo: { TrustRoot: expect.stringContaining('BEGIN CERTIFICATE') },
    });
    expect(await get<Json>('/swarm/unlockkey')).toEqual({ UnlockKey: '' });
  });

  test('a copy out tells of what it is in its header; lists are never null', async () => {
    await call('POST', '/containers/create?name=files', { Image: 'box', Cmd: ['sleep', '1000'] });
    const url = 'http://d/v1.50/containers/files/archive?path=/bin/sh';
    const { stdout } = await run([
      'curl',
      '-sS',
      '-I',
      '--unix-socket',
      shared.current.hosts[0]!.socket,
      url,
    ]);
    const header = /^X-Docker-Container-Path-Stat: (\S+)\r$/m.exec(stdout)?.[1] ?? '';
    expect(JSON.parse(Buffer.from(header, 'base64').toString())).toMatchObject({
      ...{ name: 'sh', mode: expect.any(Number), mtime: expect.stringMatching(/Z$/) },
    });
    await call('DELETE', '/containers/files');
    for (const path of [
      '/plugins',
      filtered('/containers/json', { name: ['none'] }),
      filtered('/services', { name: ['none'] }),
    ]) {
      expect(await get(path)).toEqual([]);
    }
    expect((await get<Json>('/system/df'))['Volumes']).toEqual([]);
  });

  shared.testAnswers(60);
});
