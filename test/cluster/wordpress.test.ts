// The stack of every Swarm course, on five hosts: deployed, reached, scaled, broken and removed.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  clusterTestsCanRun,
  eventually,
  http,
  REPOSITORY,
  run,
  succeeded,
  type TestCluster,
  tableRows,
} from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const PORT = 8080;
const WEB = 'wordpress_wordpress';
const DATABASE = 'wordpress_mysql';

/** What a page of the web task says. */
interface Page {
  /** host name of the task that answered */
  readonly from: string;
  /** the database's counter */
  readonly visit: number;
}

async function page(address: string): Promise<Page> {
  const { status, body } = await http(address, PORT);
  const match = /^hello from (\S+), .*\nthe database says: visit (\d+)\n/.exec(body);
  if (status !== 200 || !match) throw new Error(`http://${address}:${PORT}/: ${status} ${body}`);
  return { from: match[1]!, visit: Number(match[2]) };
}

async function serviceRows(cluster: TestCluster): Promise<Map<string, string[]>> {
  const [, ...rows] = tableRows(await cluster.skep(['service', 'ls']));
  return new Map(rows.map((cells) => [cells[1]!, cells.slice(2)]));
}

/** Requests pages over and over, on connections of their own, until stopped. */
class Client {
  readonly failures: string[] = [];
  readonly answered = new Map<string, number>();
  #stopped = false;
  readonly #loops: Promise<void>[];

  constructor(addresses: readonly string[]) {
    this.#loops = addresses.map((address) => this.#ask(address));
  }

  async #ask(address: string): Promise<void> {
    while (!this.#stopped) {
      try {
        const { from } = await page(address);
        this.answered.set(from, (this.answered.get(from) ?? 0) + 1);
      } catch (err) {
        this.failures.push(`${new Date().toISOString()} ${(err as Error).message}`);
      }
      await sleep(40);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }
}

describe.skipIf(!clusterTestsCanRun)('the WordPress stack on 3 managers and 2 workers', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const shared = useCluster('wp', { managers: 3, workers: 2 }, async (cluster) => {
    const builder = [join(REPOSITORY, 'node_modules/.bin/tsx'), 'scripts/demo-images.ts', dir];
    succeeded(await run(builder, { cwd: REPOSITORY }));
    await cluster.dev('load', join(dir, 'mysql.tar'), join(dir, 'wordpress.tar'));
  });

  test('is deployed, and says what it creates', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    const file = join(REPOSITORY, 'examples/stack.yml');
    const said = await cluster.skep(['stack', 'deploy', '-c', file, 'wordpress']);
    expect(said.split('\n')).toEqual(
      expect.arrayContaining([
        'Creating network wordpress_default',
        `Creating service ${DATABASE}`,
        `Creating service ${WEB}`,
      ]),
    );
    await cluster.running(WEB, 2);
    await cluster.running(DATABASE, 1);
  });

  test('stands in `service ls` with its replicas and its port', async () => {
    const rows = await serviceRows(shared.current);
    expect([...rows.keys()].sort()).toEqual([DATABASE, WEB]);
    expect(rows.get(DATABASE)).toEqual(['replicated', '1/1', 'skep-demo/mysql:1']);
    expect(rows.get(WEB)).toEqual([
      'replicated',
      '2/2',
      'skep-demo/wordpress:1',
      `*:${PORT}->80/tcp`,
    ]);
  });

  test('answers on the port of every host, whether a task runs there or not', async () => {
    const { hosts } = shared.current;
    expect(hosts).toHaveLength(5);
    for (const { address } of hosts) {
      await eventually(`page of ${address}`, () => page(address), { withinMs: 5000 });
    }
    const busy = new Set((await shared.current.tasks(WEB)).map((task) => task.node));
    expect(hosts.some(({ name }) => !busy.has(name))).toBe(true);
  });

  test('spreads the requests of each host over both web tasks', async () => {
    for (const { address, name } of shared.current.hosts) {
      const seen = new Set<string>();
      for (let i = 0; i < 12; i++) seen.add((await page(address)).from);
      expect(seen.size, `answers by way of ${name}: ${[...seen]}`).toBe(2);
    }
  });

  test('reaches the database by name from every other host', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    const [database] = await cluster.running(DATABASE, 1);
    // A task on each host but the database's: what they are told came through the overlay.
    await cluster.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'probe'],
      ...['--mode', 'global', '--constraint', `node.hostname!=${database!.node}`],
      ...['--network', 'wordpress_default', '--restart-condition', 'none'],
      'skep-demo/wordpress:1',
      ...['sh', '-c', 'nslookup mysql; wget -q -O - http://mysql:3306/'],
    ]);
    const tasks = await eventually(
      'four finished probes',
      async () => {
        const all = await cluster.tasks('probe');
        expect(all.map((task) => `${task.current} ${task.error}`)).toEqual(
          Array(4).fill('Complete '),
        );
        return all;
      },
      { withinMs: 20_000 },
    );
    expect(tasks.map((task) => task.node)).not.toContain(database!.node);
    const said = await cluster.skep(['service', 'logs', '--raw', 'probe']);
    expect(said.match(/^visit \d+$/gm), said).toHaveLength(4);
    expect(said.match(/^Name:\s+mysql\nAddress: 10\./gm), said).toHaveLength(4);
    await cluster.skep(['service', 'rm', '-d', 'probe']);
    // And the stack itself: one of its web tasks, on a host of its own, answers with the database.
    const web = await cluster.running(WEB, 2);
    expect(web.some((task) => task.node !== database!.node)).toBe(true);
  });

  test('keeps the database volume when its task is killed', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    const [old] = await cluster.running(DATABASE, 1);
    // Volumes are a host's own: the replacement has to come to the same one.
    await cluster.skep([
      ...['service', 'update', '--detach=false', '--no-resolve-image'],
      ...['--constraint-add', `node.hostname==${old!.node}`, DATABASE],
    ]);
    const [pinned] = await cluster.running(DATABASE, 1);
    const { address } = cluster.hosts[0]!;
    const before = await eventually('a page', () => page(address), { withinMs: 10_000 });
    process.kill(await cluster.taskPid(pinned!), 'SIGKILL');
    const [next] = await eventually(
      'another database task',
      async () => {
        const tasks = await cluster.running(DATABASE, 1);
        expect(tasks[0]!.id).not.toBe(pinned!.id);
        return tasks;
      },
      { withinMs: 20_000 },
    );
    expect(next!.node).toBe(pinned!.node);
    const after = await eventually('a page', () => page(address), { withinMs: 10_000 });
    expect(after.visit).toBe(before.visit + 1);
  });

  test('scales up to six without a failed request', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    const before = await cluster.running(WEB, 2);
    const client = new Client([cluster.hosts[0]!.address, cluster.hosts.at(-1)!.address]);
    try {
      const said = await cluster.skep(['service', 'scale', '--detach', `${WEB}=6`]);
      expect(said).toContain(`${WEB} scaled to 6`);
      const after = await cluster.running(WEB, 6);
      const kept = after.filter((task) => before.some(({ id }) => id === task.id));
      expect(kept, 'the first two are left alone').toHaveLength(2);
      await eventually(
        'answers of all six',
        () => expect(client.answered.size, `${[...client.answered]}`).toBeGreaterThanOrEqual(6),
        { withinMs: 20_000 },
      );
    } finally {
      await client.stop();
    }
    expect(client.failures).toEqual([]);
    expect([...client.answered.values()].reduce((a, b) => a + b)).toBeGreaterThan(20);
    const nodes = (await cluster.tasks(WEB)).map((task) => task.node);
    expect(new Set(nodes).size, `${nodes}`).toBe(5);
    expect((await serviceRows(cluster)).get(WEB)![1]).toBe('6/6');
  });

  test('scales down to one and leaves nothing of the others', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    await cluster.skep(['service', 'scale', '--detach', `${WEB}=1`]);
    const [last] = await cluster.running(WEB, 1);
    expect((await serviceRows(cluster)).get(WEB)![1]).toBe('1/1');
    await eventually(
      'one web container in the whole cluster, and no group without a container',
      async () => {
        const lists = cluster.hosts.map(({ name: host }) =>
          cluster.skep(['ps', '-a', '--format', '{{.Names}}'], { host }),
        );
        const names = (await Promise.all(lists)).join('').trim().split('\n');
        expect(names.filter((name) => name.startsWith(WEB))).toEqual([`${last!.name}.${last!.id}`]);
        const groups = cluster.hosts.flatMap(({ name }) => cluster.taskGroups(name));
        const tasks = new Set(groups.map((path) => path.split('/').at(-1)));
        expect([...tasks].sort()).toEqual(names.map((name) => name.split('.')[2]).sort());
      },
      { withinMs: 30_000, everyMs: 500 },
    );
    for (const { address } of cluster.hosts) await page(address);
  });

  test('is removed with all it had', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    const said = await cluster.skep(['stack', 'rm', 'wordpress']);
    expect(said.trim().split('\n').sort()).toEqual([
      'Removing network wordpress_default',
      `Removing service ${DATABASE}`,
      `Removing service ${WEB}`,
    ]);
    await eventually(
      'no container, no group, no network',
      async () => {
        for (const { name } of cluster.hosts) {
          expect(await cluster.skep(['ps', '-aq'], { host: name }), name).toBe('');
          expect(cluster.taskGroups(name)).toEqual([]);
        }
        expect(await cluster.skep(['network', 'ls', '--format', '{{.Name}}'])).not.toContain(
          'wordpress',
        );
      },
      { withinMs: 30_000, everyMs: 500 },
    );
    expect((await cluster.skep(['service', 'ls', '-q'])).trim()).toBe('');
    expect((await cluster.skep(['stack', 'ls', '--format', '{{.Name}}'])).trim()).toBe('');
    await expect(http(cluster.hosts[0]!.address, PORT, '/', 1000)).rejects.toThrow();
  });

  test('takes its environment from the stack file', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    const file = join(dir, 'env.yml');
    writeFileSync(
      file,
      [
        'services:',
        '  db:',
        '    image: skep-demo/mysql:1',
        '    environment:',
        '      MYSQL_DATABASE: ${NAME_OF_IT:-unnamed}',
        '',
      ].join('\n'),
    );
    await cluster.skep(['stack', 'deploy', '--resolve-image', 'never', '-c', file, 'env'], {
      env: { NAME_OF_IT: 'orders' },
    });
    await cluster.running('env_db', 1);
    const lines = await eventually(
      'the log',
      async () => {
        const text = await cluster.skep(['service', 'logs', '--raw', 'env_db']);
        expect(text).toContain('ready for connections');
        return text;
      },
      { withinMs: 5000 },
    );
    expect(lines).toContain('ready for connections, database orders');
    await cluster.skep(['stack', 'rm', 'env']);
  });
});
