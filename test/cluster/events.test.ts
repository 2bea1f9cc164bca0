// What happens in the cluster, as the docker command and HTTP clients are told of it, on every manager.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, run, succeeded } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const IMAGE = 'skep-test/events:1';
const SLEEP = ['sleep', '600'];

interface EventJson {
  readonly Type: string;
  readonly Action: string;
  readonly scope: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Record<string, string> };
}

interface SseEvent {
  readonly id: number;
  readonly name: string;
  readonly data: {
    readonly Revision?: number;
    readonly Changes?: readonly {
      readonly Action: string;
      readonly Kind: string;
      readonly Object: { readonly Spec: { readonly Name?: string } };
      readonly Previous?: object;
    }[];
  };
}

describe.skipIf(!clusterTestsCanRun)('events of a cluster', () => {
  let config: string;
  beforeAll(() => {
    config = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(config, { recursive: true, force: true }));
  const shared = useCluster('ev', { managers: 2, workers: 1 }, async (cluster) => {
    await cluster.image({ name: IMAGE, labels: { vendor: 'somebody' } });
  });
  const children: ChildProcess[] = [];
  const streams: IncomingMessage[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    for (const stream of streams.splice(0)) stream.destroy();
  });

  /** `docker events` or `skep events` that goes on; its lines so far. */
  const follow = (argv: readonly string[], host: string): { readonly lines: () => EventJson[] } => {
    const env = {
      ...process.env,
      DOCKER_HOST: `unix://${shared.current.host(host).socket}`,
      DOCKER_CONFIG: config,
    };
    const child = spawn(argv[0]!, argv.slice(1), { env, stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += String(chunk);
    });
    const lines = (): EventJson[] =>
      text
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as EventJson);
    return { lines };
  };

  const create = (name: string, ...flags: string[]): Promise<string> =>
    shared.current.skep([
      ...['service', 'create', '--detach=false', '--no-resolve-image', '--quiet', '--name', name],
      ...[...flags, IMAGE, ...SLEEP],
    ]);

  test.skipIf(!hasDocker)(
    'docker events on another manager tells of services, nodes and secrets as they come',
    { timeout: 90_000 },
    async () => {
      const { current } = shared;
      const seen = follow(
        ['docker', 'events', '--format', 'json', '-f', 'scope=swarm'],
        'manager-2',
      );
      const marker = async (): Promise<void> => {
        await current.skep(['secret', 'create', `m${Date.now()}`, '-'], { input: 'x' });
        expect(seen.lines().length).toBeGreaterThan(0);
      };
      await eventually('the stream is open', marker, { withinMs: 10_000, everyMs: 300 });
      await create('told', '--replicas', '1');
      await current.skep(['service', 'scale', '--detach=false', 'told=2']);
      await current.skep(['node', 'update', '--label-add', 'x=y', 'worker-1']);
      await current.skep(['node', 'update', '--availability', 'drain', 'worker-1']);
      await current.skep(['node', 'update', '--availability', 'active', 'worker-1']);
      await current.skep(['service', 'rm', '-d', 'told']);
      const told = (name: string): object[] =>
        seen
          .lines()
          .filter(({ Actor }) => Actor.Attributes['name'] === name)
          .map(({ Type, Action, Actor: { Attributes } }) => ({ Type, Action, ...Attributes }));
      await eventually(
        'all of it is told',
        () => {
          expect(told('told').at(-1)).toEqual({ Type: 'service', Action: 'remove', name: 'told' });
          expect(told('told')[0]).toEqual({ Type: 'service', Action: 'create', name: 'told' });
          const scaled = { 'replicas.old': '1', 'replicas.new': '2' };
          expect(told('told')).toContainEqual(expect.objectContaining(scaled));
          const drained = { 'availability.old': 'active', 'availability.new': 'drain' };
          expect(told('worker-1')).toContainEqual(expect.objectContaining(drained));
        },
        { withinMs: 10_000 },
      );
      expect(new Set(seen.lines().map(({ scope }) => scope))).toEqual(new Set(['swarm']));
    },
  );

  test.skipIf(!hasDocker)(
    "a worker tells what its containers do, in docker's words, also afterwards",
    { timeout: 90_000 },
    async () => {
      const { current } = shared;
      const since = String(Math.floor(Date.now() / 1000));
      await create('local', '--constraint', 'node.hostname==worker-1', '--stop-signal', 'KILL');
      await current.skep(['service', 'rm', '-d', 'local']);
      const events = async (...flags: string[]): Promise<string[]> => {
        const until = String(Date.now() / 1000);
        const args = ['events', '--since', since, '--until', until, ...flags];
        const env = {
          DOCKER_HOST: `unix://${current.host('worker-1').socket}`,
          DOCKER_CONFIG: config,
        };
        const format = ['--format', '{{.Type}} {{.Action}} {{.Scope}}'];
        const { stdout } = succeeded(await run(['docker', ...args, ...format], { env }));
        return stdout.trim().split('\n');
      };
      const own = 'label=com.docker.swarm.service.name=local';
      await eventually(
        'the container is gone',
        async () =>
          expect(await events('--filter', own)).toEqual([
            'container create local',
            'container start local',
            'container kill local',
            'container die local',
            'container stop local',
            'container destroy local',
          ]),
        { withinMs: 20_000, everyMs: 500 },
      );
      expect(await events('-f', own, '-f', 'event=die', '-f', 'event=start')).toEqual([
        'container start local',
        'container die local',
      ]);
    },
  );

  /** At the worker. */
  async function docker(...args: string[]): Promise<string> {
    const host = `unix://${shared.current.host('worker-1').socket}`;
    const env = { DOCKER_HOST: host, DOCKER_CONFIG: config };
    return succeeded(await run(['docker', ...args], { env })).stdout.trim();
  }

  test.skipIf(!hasDocker)(
    'docker tells of networks of a node, and of the containers in them',
    { timeout: 60_000 },
    async () => {
      const since = String(Math.floor(Date.now() / 1000));
      const net = await docker('network', 'create', 'lan');
      const id = await docker('run', '-d', '--name', 'in', IMAGE, ...SLEEP);
      await docker('network', 'connect', 'lan', 'in');
      await docker('network', 'disconnect', 'lan', 'in');
      await docker('rm', '-f', 'in');
      await docker('network', 'rm', 'lan');
      const bridge = await docker('network', 'inspect', '-f', '{{.Id}}', 'bridge');
      const format = '{{.Action}} {{.Actor.ID}} {{.Actor.Attributes}}';
      const events = (...filters: string[]): Promise<string> =>
        docker(
          ...['events', '--since', since, '--until', String(Date.now() / 1000)],
          ...['--format', format, ...filters],
        );
      const seat = (network: string): string => `map[container:${id} name:${network} type:bridge]`;
      expect((await events('-f', 'network=lan')).split('\n')).toEqual([
        `create ${net} map[name:lan type:bridge]`,
        `connect ${net} ${seat('lan')}`,
        `disconnect ${net} ${seat('lan')}`,
        `destroy ${net} map[name:lan type:bridge]`,
      ]);
      expect((await events('-f', `network=${bridge}`, '-f', 'type=network')).split('\n')).toEqual([
        `connect ${bridge} ${seat('bridge')}`,
        `disconnect ${bridge} ${seat('bridge')}`,
      ]);
    },
  );

  test.skipIf(!hasDocker)(
    'docker tells of what people do to a container, an image and what nobody uses',
    { timeout: 60_000 },
    async () => {
      const since = String(Math.floor(Date.now() / 1000));
      const id = await docker('run', '-d', '--name', 'by-hand', IMAGE, ...SLEEP);
      await docker('top', 'by-hand');
      const file = join(config, 'passwd');
      await docker('cp', 'by-hand:/etc/passwd', file);
      await docker('cp', file, 'by-hand:/tmp/');
      await docker('export', '-o', join(config, 'root.tar'), 'by-hand');
      await docker('exec', 'by-hand', 'true');
      await docker('rm', '-f', 'by-hand');
      await docker('save', '-o', join(config, 'image.tar'), IMAGE);
      for (const kind of ['container', 'image', 'network', 'volume']) {
        await docker(kind, 'prune', '-f');
      }
      const format = '{{.Type}} {{.Action}}{{with .Actor.Attributes.vendor}} of {{.}}{{end}}';
      const told = async (...filters: string[]): Promise<string[]> => {
        const until = String(Date.now() / 1000);
        const range = ['--since', since, '--until', until, '--format', format];
        return (await docker('events', ...range, ...filters)).split('\n');
      };
      expect(await told('-f', `container=${id}`)).toEqual(
        [
          ...['create', 'start', 'top', 'archive-path', 'extract-to-dir', 'export'],
          ...['exec_create: true', 'exec_start: true', 'exec_die', 'kill', 'die', 'destroy'],
        ].map((action) => `container ${action} of somebody`),
      );
      expect(await told('-f', 'event=save')).toEqual(['image save of somebody']);
      expect((await told('-f', 'event=prune')).sort()).toEqual([
        'container prune',
        'image prune',
        'network prune',
        'volume prune',
      ]);
    },
  );

  test('skep events ends at the time it was given', { timeout: 60_000 }, async () => {
    const args = ['events', '--since', '1m', '--until', '0s', '--filter', 'type=secret'];
    await shared.current.skep(['secret', 'create', 'short', '-'], { input: 'x' });
    await eventually(
      'the secret is told',
      async () => {
        const said = await shared.current.skep(args, { host: 'manager-2' });
        expect(said).toMatch(/^\S+Z secret create \S+ \(name=short\)$/m);
      },
      { withinMs: 5_000 },
    );
  });

  /** A watch over HTTP; what it was sent so far. */
  const watch = async (
    host: string,
    query: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; events: () => SseEvent[]; text: () => string }> => {
    const { socket } = shared.current.host(host);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      get({ socketPath: socket, path: `/skep/watch?${query}`, headers }, resolve).on(
        'error',
        reject,
      );
    });
    streams.push(response);
    let text = '';
    response.on('data', (chunk) => {
      text += String(chunk);
    });
    response.on('error', () => {});
    const events = (): SseEvent[] =>
      text
        .split('\n\n')
        .filter((block) => block.includes('event: '))
        .map((block) => ({
          id: Number(/^id: (\d+)/m.exec(block)?.[1]),
          name: /^event: (\w+)/m.exec(block)?.[1] ?? '',
          data: JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? 'null') as SseEvent['data'],
        }));
    return { status: response.statusCode ?? 0, events, text: () => text };
  };
  const filters = (value: object): string => `filters=${encodeURIComponent(JSON.stringify(value))}`;
  const told = (events: readonly SseEvent[]): string[] =>
    events.flatMap(({ data }) =>
      (data.Changes ?? []).map(
        ({ Action, Kind, Object: it }) => `${Action} ${Kind} ${it.Spec.Name}`,
      ),
    );

  test('a watch that is cut off goes on at another manager, without a gap', {
    timeout: 60_000,
  }, async () => {
    const only = filters({ kind: ['config'] });
    const first = await watch('manager-1', only);
    await eventually('it is open', () => expect(first.events()[0]?.name).toBe('ready'), {
      withinMs: 5000,
    });
    const config = (name: string) =>
      shared.current.skep(['config', 'create', name, '-'], { input: 'x' });
    await config('one');
    await eventually(
      'one is told',
      () => expect(told(first.events())).toEqual(['create config one']),
      {
        withinMs: 5000,
      },
    );
    streams.splice(0)[0]!.destroy();
    await config('two');
    const { id } = first.events().at(-1)!;
    const second = await watch('manager-2', only, { 'Last-Event-ID': String(id) });
    await config('three');
    await eventually(
      'the rest is told',
      () => expect(told(second.events())).toEqual(['create config two', 'create config three']),
      { withinMs: 5000 },
    );
    const again = await watch('manager-1', `${only}&from=${id}`);
    await eventually(
      'the same revisions come from each manager',
      () => expect(again.events().slice(1)).toEqual(second.events().slice(1)),
      { withinMs: 5000 },
    );
  });

  test('a watch tells the life of a task, with what it was before', {
    timeout: 60_000,
  }, async () => {
    const seen = await watch(
      'manager-2',
      `previous=1&${filters({ kind: ['task'], service: ['seen'] })}`,
    );
    await create('seen');
    const states = (): string[] =>
      seen.events().flatMap(({ data }) =>
        (data.Changes ?? []).map(({ Object: it }) => {
          const { Status } = it as unknown as { Status: { State: string } };
          return Status.State;
        }),
      );
    await eventually('it runs', () => expect(states().at(-1)).toBe('running'), { withinMs: 5000 });
    // It needs nothing of the allocator.
    expect(states()[0]).toBe('pending');
    expect(states()).toContain('assigned');
    const updates = seen.events().flatMap(({ data }) => data.Changes ?? []);
    for (const { Action, Previous } of updates) {
      expect(Previous === undefined).toBe(Action !== 'update');
    }
    await shared.current.skep(['service', 'rm', '-d', 'seen']);
  });

  test('a worker tells what changed, and not to what', { timeout: 60_000 }, async () => {
    const seen = await watch('worker-1', filters({ kind: ['config'] }));
    const since = Math.floor(Date.now() / 1000);
    await shared.current.skep(['config', 'create', 'outline', '-'], { input: 'not to be told' });
    await eventually(
      'it is told of',
      () => expect(told(seen.events())).toEqual(['create config outline']),
      { withinMs: 10_000 },
    );
    const [change] = seen.events().flatMap(({ data }) => data.Changes ?? []);
    expect(change).toEqual({
      Action: 'create',
      Kind: 'config',
      Object: {
        ID: expect.stringMatching(/^[a-z0-9]{25}$/),
        Version: { Index: expect.any(Number) },
        Spec: { Name: 'outline' },
      },
    });
    const args = ['events', '--since', String(since), '--until', '0s', '--filter', 'type=config'];
    const said = await shared.current.skep(args, { host: 'worker-1' });
    expect(said).toMatch(/^\S+Z config create \S+ \(name=outline\)$/m);
  });

  test.each([
    ['manager-1', 'from=999999999', 400, /the newest one is \d+/],
    ['manager-2', 'from=x', 400, /no revision/],
    ['manager-1', filters({ kind: ['volume'] }), 400, /one of cluster, node/],
  ])('on %s a watch with %s answers %i', async (host, query, status, words) => {
    const refused = await watch(host, query);
    expect(refused.status).toBe(status);
    await eventually('the words', () => expect(refused.text()).toMatch(words), { withinMs: 2000 });
  });
});
