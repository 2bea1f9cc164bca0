// What the API answers, in every version from 1.40 to 1.50, is what Docker's own document of that version says.
import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun } from '../support/cluster.ts';
import { swaggerComplaint, swaggerMinors } from '../support/docker-swagger.ts';
import { useCluster } from '../support/use-cluster.ts';

const MINORS = Array.from({ length: 11 }, (_, i) => 40 + i);
const title =
  swaggerMinors.length === 0
    ? "answers and Docker's documents (skipped: the documents are not there)"
    : "answers and Docker's documents";
const canRun = clusterTestsCanRun && swaggerMinors.length > 0;
/** One after the other: each shows an object of every kind, and one that is not there. */
const FIXED = [
  ...['/version', '/info', '/system/df', '/swarm', '/swarm/unlockkey', '/nodes', '/nodes/self'],
  ...['/services', '/services?status=1', '/tasks', '/secrets', '/configs', '/networks', '/volumes'],
  ...['/images/json', '/containers/json?all=1', '/containers/json?all=1&size=1', '/plugins'],
  ...['services', 'tasks', 'nodes', 'secrets', 'configs', 'networks', 'volumes'].map(
    (kind) => `/${kind}/nobody`,
  ),
  ...[
    '/images/nobody/json',
    '/containers/nobody/json',
    '/exec/nobody/json',
    '/images/search?term=x',
  ],
];

describe.skipIf(!canRun)(title, { timeout: 60_000 }, () => {
  const shared = useCluster('swagger', { managers: 1, workers: 1 }, async (cluster) => {
    await cluster.image({ name: 'box:latest', labels: { a: 'b' }, exposedPorts: ['80/tcp'] });
    await cluster.skep(['network', 'create', '-d', 'overlay', '--attachable', 'net']);
    await cluster.skep(['secret', 'create', 'key', '-'], { input: 'x' });
    await cluster.skep(['config', 'create', 'conf', '-'], { input: 'x' });
    await cluster.skep(['volume', 'create', 'vol']);
    const job = ['--mode', 'replicated-job', '--name', 'job', 'box', 'true'];
    const web = [
      ...[
        '--name',
        'web',
        '--network',
        'net',
        '--secret',
        'key',
        '--config',
        'conf',
        '-p',
        '18095:80',
      ],
      ...['--limit-memory', '64M', '--constraint', 'node.role==manager', '--health-cmd', 'true'],
      ...['--mount', 'type=volume,source=vol,target=/v', '--env', 'A=1', 'box', 'sleep', '1000'],
    ];
    for (const flags of [job, web]) {
      await cluster.skep(['service', 'create', '--no-resolve-image', ...flags]);
    }
    await cluster.skep(['run', '-d', '--name', 'one', '-p', '18096:80', 'box', 'sleep', '1000']);
  });

  const get = (path: string) =>
    new Promise<{ status: number; body: unknown }>((resolve, reject) => {
      const { socket: socketPath } = shared.current.hosts[0]!;
      const sent = request({ socketPath, path, agent: false }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.once('end', () => {
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) });
        });
      });
      sent.on('error', reject);
      sent.end();
    });
  type Rows = readonly { readonly ID?: string; readonly Id?: string; readonly Name?: string }[];

  /** Of each object that the lists show. */
  const pathsOfObjects = async (): Promise<string[]> => {
    const paths: string[] = [];
    for (const kind of ['services', 'tasks', 'nodes', 'secrets', 'configs', 'networks']) {
      const rows = (await get(`/${kind}`)).body as Rows;
      expect(rows.length, kind).toBeGreaterThan(0);
      paths.push(...rows.map(({ ID, Id }) => `/${kind}/${ID ?? Id}`));
    }
    const { Volumes } = (await get('/volumes')).body as { readonly Volumes: Rows };
    paths.push(...Volumes.map(({ Name }) => `/volumes/${Name}`));
    for (const { Id } of (await get('/images/json')).body as Rows) {
      paths.push(`/images/${Id}/json`, `/images/${Id}/history`);
    }
    for (const { Id } of (await get('/containers/json')).body as Rows) {
      const verbs = ['json', 'json?size=1', 'changes', 'top', 'stats?stream=0&one-shot=1'];
      paths.push(...verbs.map((verb) => `/containers/${Id}/${verb}`));
    }
    return paths;
  };

  test.each(MINORS)('agree in version 1.%i', async (minor) => {
    const complaints: string[] = [];
    for (const path of [...FIXED, ...(await pathsOfObjects())]) {
      const { status, body } = await get(`/v1.${minor}${path}`);
      const [bare = ''] = path.split('?');
      const complaint = swaggerComplaint(minor, 'GET', bare, status, body);
      if (complaint !== '') complaints.push(`${path}: ${complaint}`);
    }
    expect(complaints).toEqual([]);
  });

  test('are told apart: an answer that is not so is complained of', () => {
    expect(swaggerComplaint(50, 'GET', '/services', 200, [{ ID: 5 }])).toContain(
      'ID must be string',
    );
    expect(swaggerComplaint(50, 'GET', '/services/nobody', 404, {})).toContain('message');
    expect(swaggerComplaint(50, 'GET', '/services', 204, null)).toContain('does not answer 204');
  });
});
