// --api-read-on-workers: what only reads the cluster is answered on workers, by a manager; nothing else is.
import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const SOON = { withinMs: 20_000 };

describe.skipIf(!clusterTestsCanRun)('reads on workers', { timeout: 60_000 }, () => {
  const shared = useCluster(
    'reads',
    { managers: 3, workers: 1, apiReadOnWorkers: true },
    async (cluster) => {
      await cluster.image({ name: 'box:latest' });
      const words = ['box', 'sh', '-c', 'echo started; exec sleep 1000'];
      await cluster.skep(['service', 'create', '--no-resolve-image', '--name', 'web', ...words]);
    },
  );
  const call = (method: string, path: string, host = 'worker-1') =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const { socket: socketPath } = shared.current.host(host);
      const sent = request({ socketPath, method, path, agent: false }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      sent.on('error', reject);
      sent.end();
    });
  const json = async (path: string, host?: string) =>
    JSON.parse((await call('GET', path, host)).text);

  test('are those of a manager', async () => {
    for (const path of ['/services', '/services/web', '/nodes', '/tasks', '/secrets', '/configs']) {
      expect(await json(path), path).toEqual(await json(path, 'manager-1'));
    }
    expect((await json('/nodes/self')).Description.Hostname).toBe('worker-1');
    expect((await json('/networks/ingress?scope=swarm')).Name).toBe('ingress');
    expect((await call('GET', '/services/web/logs?stdout=1')).text).toContain('started\n');
    const args = ['service', 'ls', '--format', '{{.Name}} {{.Replicas}}'];
    expect(await shared.current.skep(args, { host: 'worker-1' })).toBe('web 1/1\n');
  });

  test('changes are watched there, too', async () => {
    const words: string[] = [];
    const { socket: socketPath } = shared.current.host('worker-1');
    const watching = request({ socketPath, path: '/skep/watch?filters={"kind":["secret"]}' });
    watching.once('response', (response) => {
      response.on('data', (chunk: Buffer) => words.push(chunk.toString()));
    });
    watching.on('error', () => {}); // it ends with the test
    watching.end();
    try {
      const isReady = () => expect(words.join('')).toContain('event: ready');
      await eventually('the watch is ready', isReady, SOON);
      await shared.current.skep(['secret', 'create', 'key', '-'], { input: 'hidden' });
      const commit = /event: commit\ndata: .*"Kind":"secret"/;
      await eventually('the change is told', () => expect(words.join('')).toMatch(commit), SOON);
    } finally {
      watching.destroy();
    }
  });

  test('its events are its own and those of the cluster, not those of a manager’s containers', async () => {
    const now = Math.floor(Date.now() / 1000);
    const { text } = await call('GET', `/events?since=1&until=${now + 1}`);
    const events = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const said = events.map(({ Type, Action, scope }) => `${scope} ${Type} ${Action}`);
    expect(said).toContain('swarm service create');
    expect(said).toContain('swarm node create');
    expect(said).toContain('local image load');
    const ids = async (host: string): Promise<string[]> =>
      (await json('/containers/json?all=1', host)).map(({ Id }: { Id: string }) => Id);
    const own = await ids('worker-1');
    const started = events.filter(({ Type }) => Type === 'container').map(({ Actor }) => Actor.ID);
    expect(started.filter((id) => !own.includes(id))).toEqual([]);
    const query = `since=${now}&until=${now + 4}&filters={"type":["config"]}`;
    const following = call('GET', `/events?${query}`);
    await shared.current.skep(['config', 'create', 'motd', '-'], { input: 'hello' });
    const later = (await following).text;
    expect(JSON.parse(later)).toMatchObject({ Type: 'config', Action: 'create', scope: 'swarm' });
  });

  test('of networks show those of the cluster beside its own', async () => {
    const names = async (query: string, host?: string) => {
      const rows = (await json(`/networks${query}`, host)) as { Name: string; Scope: string }[];
      return rows.map(({ Name, Scope }) => `${Name} ${Scope}`).sort();
    };
    const own = ['bridge local', 'host local', 'none local'];
    const ofCluster = await names('?scope=swarm', 'manager-1');
    expect(ofCluster).toContain('ingress swarm');
    expect(await names('')).toEqual([...own, ...ofCluster].sort());
    expect(await names('?scope=local')).toEqual(own);
    const filters = (given: object) => `?filters=${encodeURIComponent(JSON.stringify(given))}`;
    expect(await names(filters({ name: ['^(ingress|host)$'] }))).toEqual([
      'host local',
      'ingress swarm',
    ]);
    expect(await json('/networks/ingress')).toEqual(await json('/networks/ingress', 'manager-1'));
    expect((await json('/networks/bridge')).Scope).toBe('local');
    expect((await call('GET', '/networks/nobody')).status).toBe(404);
    expect((await call('GET', '/networks/ingress?scope=local')).status).toBe(404);
  });

  test('are no writes, and tell no tokens', async () => {
    const refused = [
      ['DELETE', '/services/web'],
      ['POST', '/services/create'],
      ['GET', '/swarm'],
      ['GET', '/swarm/unlockkey'],
    ] as const;
    for (const [method, path] of refused) {
      const { status, text } = await call(method, path);
      expect([status, text], path).toEqual([503, expect.stringContaining('not a swarm manager')]);
    }
  });

  test('go on when one of three managers is gone, whichever the worker asks', {
    timeout: 180_000,
  }, async () => {
    const managers = ['manager-1', 'manager-2', 'manager-3'];
    const isAnswered = (host: string) => async () =>
      expect((await call('GET', '/services/web', host)).status).toBe(200);
    for (const cut of managers) {
      await shared.current.dev('cut', cut);
      try {
        await eventually(`the worker does without ${cut}`, isAnswered('worker-1'), SOON);
      } finally {
        await shared.current.dev('heal', cut);
      }
      // All three, or the next cut leaves no majority.
      for (const host of managers) await eventually(`${host} is back`, isAnswered(host), SOON);
    }
  });
});
