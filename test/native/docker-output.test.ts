/**
 * What people and scripts read: the same lists asked with docker's command and with ours, of one engine whose answers
 * are written down. Needs the docker command, no daemon.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run, SKEP } from '../support/cluster.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;

interface Named {
  readonly ID?: string;
  readonly Id?: string;
  readonly Name?: string;
  readonly Names?: readonly string[];
  readonly ServiceID?: string;
  readonly NodeID?: string;
  readonly Spec?: { readonly Name?: string };
  readonly Description?: { readonly Hostname?: string };
}

const ANSWERS = JSON.parse(
  readFileSync(new URL('../fixtures/engine-answers.json', import.meta.url), 'utf8'),
) as Readonly<Record<string, unknown>>;
const listOf = (path: string): readonly Named[] => ANSWERS[path] as readonly Named[];

const isNamed = (object: Named, ref: string): boolean => {
  const names = [
    object.ID,
    object.Id,
    object.Name,
    object.Spec?.Name,
    object.Description?.Hostname,
  ];
  return ref !== '' && names.includes(ref);
};

/** What is there for a path, without its version; undefined = 404. */
function answerTo(path: string, filters: Readonly<Record<string, Record<string, boolean>>>) {
  const [, kind = '', ref = ''] = path.split('/');
  if (path.endsWith('/stats')) {
    const { Id, Names } = listOf('/containers/json').find((one) => one.Id!.startsWith(ref))!;
    return { ...(ANSWERS['/containers/stats'] as object), id: Id, name: Names![0] };
  }
  const wanted = (name: string): string[] => Object.keys(filters[name] ?? {});
  if (path === '/tasks') {
    return listOf('/tasks').filter(({ ServiceID = '', NodeID = '' }) => {
      const service = listOf('/services').find(({ ID }) => ID === ServiceID)!;
      const ofService = wanted('service').some((one) => isNamed(service, one));
      return (
        (wanted('service').length === 0 || ofService) &&
        (wanted('node').length === 0 || wanted('node').includes(NodeID))
      );
    });
  }
  if (path === '/services') {
    const names = [...wanted('id'), ...wanted('name')];
    const isWanted = (one: Named) => names.length === 0 || names.some((name) => isNamed(one, name));
    return listOf(path).filter(isWanted);
  }
  if (Object.hasOwn(ANSWERS, path)) return ANSWERS[path];
  if (path === '/nodes/self') return listOf('/nodes')[0];
  const list = ANSWERS[`/${kind}`];
  return Array.isArray(list) ? list.find((object: Named) => isNamed(object, ref)) : undefined;
}

function engine(): Server {
  return createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://engine');
    const path = decodeURIComponent(url.pathname).replace(/^\/v[\d.]+/, '');
    const filters = JSON.parse(url.searchParams.get('filters') || '{}');
    for (const [name, value] of [
      ['Api-Version', '1.50'],
      ['Ostype', 'linux'],
      ['Swarm', 'active/manager'],
    ]) {
      response.setHeader(name!, value!);
    }
    response.setHeader('Content-Type', 'application/json');
    const answer = path === '/_ping' ? 'OK' : answerTo(path, filters);
    response.statusCode = answer === undefined ? 404 : 200;
    response.end(`${JSON.stringify(answer ?? { message: `${path} not found` })}\n`);
  });
}

/** As they are typed. */
const SAME: readonly (readonly string[])[] = [
  'node ls',
  'node ls -q',
  'node ls --format {{.ID}}:{{.Self}}:{{.TLSStatus}}',
  'node ps host-10',
  'node ps',
  'node ps -q host-10',
  'service ls',
  'service ls -q',
  'service ls --format table|{{.ID}}\\t{{.Ports}}',
  'service ps shop_web-10',
  'service ps -q shop_web-10',
  'service ps --no-trunc shop_web-10',
  'service ps --no-resolve shop_web-10',
  'service ps shop_web-10 nothing',
  'service inspect --format {{.Spec.Name}}|{{len|.Spec.TaskTemplate.ContainerSpec.Args}} max',
  'stack ls',
  'stack ls --format {{.Name}}:{{.Services}}',
  'stack ps shop',
  'stack ps -q shop',
  'stack services shop',
  'stack services -q shop',
  'secret ls',
  'secret ls -q',
  'secret ls --format table|{{.Name}}\\t{{.Labels}}\\t{{.Label|"a"}}',
  'config ls',
  'network ls',
  'network ls --no-trunc',
  'network ls --format table|{{.Name}}\\t{{.IPv6}}\\t{{.CreatedAt}}\\t{{.Label|"a"}}',
  'volume ls',
  'volume ls -q',
  'image ls',
  'images -q',
  'images --no-trunc',
  'images --digests',
  'images --format table|{{.ID}}\\t{{.CreatedAt}}\\t{{.Containers}}\\t{{.Size}}',
  'ps -a',
  'ps -aq',
  'ps -as',
  'ps -a --no-trunc',
  'ps -a --format table|{{.Names}}\\t{{.Mounts}}\\t{{.Label|"a"}}\\t{{.LocalVolumes}}\\t{{.Networks}}',
  'history nginx:1.25',
  'history --no-trunc nginx:1.25',
  'history -q nginx:1.25',
  'history -H=false nginx:1.25',
  'system df',
  'system df -v',
  'version --format {{.Server.Version}}|{{.Server.APIVersion}}|{{.Client.Context}}',
  'info --format {{.Swarm.NodeID}}|{{.ServerVersion}}',
  'swarm join-token -q worker',
  'swarm ca',
].map((line) => line.split(' ').map((word) => word.replaceAll('|', ' ')));

/** Every field, whatever their order. */
const JSON_LISTS: readonly { readonly line: string; readonly leftOut?: readonly string[] }[] = [
  { line: 'node ls' },
  { line: 'service ls' },
  { line: 'service ps shop_web-10' },
  { line: 'stack ls' },
  { line: 'stack ps shop' },
  { line: 'secret ls' },
  { line: 'config ls' },
  { line: 'network ls' },
  { line: 'volume ls' },
  // Docker shows a digest only where it is asked for by its name.
  { line: 'images', leftOut: ['Digest'] },
  { line: 'ps -a' },
  { line: 'history nginx:1.25' },
  { line: 'system df' },
  // The one asks for two samples, the other takes them itself; and halves are rounded to even there.
  { line: 'stats --no-stream', leftOut: ['CPUPerc', 'MemPerc'] },
];

/** Wrong in one way each: what is said of it may differ, the exit status may not. */
const WRONG = [
  'service create',
  'service create --nope x',
  'service create --replicas x image',
  'service scale web',
  'service scale shop_web-2=3',
  'service update --rollback --image x max',
  'service rm nothing',
  'service inspect nothing',
  'service nope',
  'nope',
  'stack deploy',
  'stack deploy -c no-such-file.yml x',
  'stack deploy -c /dev/null x',
  'stack rm',
  'node rm nothing',
  'node inspect nothing',
  'secret create name no-such-file',
  'secret rm nothing key-10',
  'network rm nothing',
  'volume inspect nothing',
  'swarm join-token nobody',
  'swarm init --autolock=maybe',
  'service logs',
  'inspect',
];

describe.skipIf(!hasDocker)('what docker prints, skep prints', () => {
  let dir: string;
  let server: Server;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    server = engine().listen(join(dir, 'engine.sock'));
    await once(server, 'listening');
  });
  afterAll(() => {
    server.close();
    rmSync(dir, { recursive: true });
  });

  async function printed(program: string, words: readonly string[]) {
    // Neither contexts nor formats of whoever runs the test.
    const env = { HOME: dir, DOCKER_CONFIG: dir, SKEP_CONTEXT: '', DOCKER_CONTEXT: '', TZ: 'UTC' };
    const argv = [program, '-H', `unix://${join(dir, 'engine.sock')}`, ...words];
    const { code, stdout, stderr } = await run(argv, { env });
    // docker names a container's networks in the order of a Go map, which is another each time.
    return { code, stdout: stdout.replaceAll('front,bridge', 'bridge,front'), stderr };
  }

  test.each(SAME.map((words) => [words.join(' '), words] as const))(
    '%s',
    { timeout: 30_000 },
    async (_, words) => {
      expect(await printed(SKEP, words)).toEqual(await printed('docker', words));
    },
  );

  test('service inspect --pretty, but for blanks at ends', async () => {
    const words = ['service', 'inspect', '--pretty', 'shop_web-2', 'max', 'full'];
    const lists = [await printed(SKEP, words), await printed('docker', words)];
    const [ours, theirs] = lists.map(({ stdout }) =>
      stdout.replaceAll(/ +$/gm, '').replaceAll(/\n\n+/g, '\n\n').trim(),
    );
    expect(ours).toBe(theirs);
    expect(ours).toContain('\n User: 33:33\nCapabilities:\n');
  });

  test('info, but for the client and for programs that are not used', async () => {
    const serverOf = ({ stdout }: { readonly stdout: string }): string[] =>
      stdout.split('\n').filter((line) => !/^ (Init Binary|\w+ version): /.test(line));
    const [ours, theirs] = [await printed(SKEP, ['info']), await printed('docker', ['info'])];
    const from = (lines: string[]): string[] => lines.slice(lines.indexOf('Server:'));
    expect(from(serverOf(ours))).toEqual(from(serverOf(theirs)));
    expect(ours.stdout).toContain('\n Context:    default\n');
  });

  test.each(WRONG)('%s: the same exit status', { timeout: 30_000 }, async (line) => {
    const words = line.split(' ');
    const [ours, theirs] = [await printed(SKEP, words), await printed('docker', words)];
    expect([ours.code, ours.stderr !== '']).toEqual([theirs.code, true]);
  });

  test.each(JSON_LISTS)(
    '$line --format json',
    { timeout: 30_000 },
    async ({ line, leftOut = [] }) => {
      const words = [...line.split(' '), '--format', 'json'];
      const lists = [await printed(SKEP, words), await printed('docker', words)];
      const [ours, theirs] = lists.map(({ stdout }) =>
        stdout
          .trimEnd()
          .split('\n')
          .map((text) => {
            const row = JSON.parse(text) as Record<string, unknown>;
            return Object.fromEntries(
              Object.entries(row).filter(([key]) => !leftOut.includes(key)),
            );
          }),
      );
      expect(lists.map(({ code }) => code)).toEqual([0, 0]);
      expect(ours).toEqual(theirs);
    },
  );
});
