// `depends_on` on real hosts: a slow database, a job between it and the web service, and a power cut.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually } from '../support/cluster.ts';
import { losePower } from '../support/power-loss.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/order:1';
const DATABASE_SECONDS = 4;

describe.skipIf(!clusterTestsCanRun)('services that wait for each other', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('order', { managers: 1, workers: 1 }, (cluster) =>
    cluster.image({ name: IMAGE, entrypoint: ['/bin/sh', '-c'], cmd: ['exec sleep 3600'] }),
  );

  function write(version: number): void {
    writeFileSync(
      join(dir, 'stack.yml'),
      `services:
  a-web:
    image: ${IMAGE}
    environment: {VERSION: "${version}"}
    stop_grace_period: 1s
    depends_on:
      b-migrate: {condition: service_completed_successfully}
      c-db: {condition: service_healthy}
    deploy: {update_config: {monitor: 1s}, restart_policy: {delay: 0s}}
  b-migrate:
    image: ${IMAGE}
    command: ["sleep 1"]
    restart: "no"
    depends_on: {c-db: {condition: service_healthy}}
  c-db:
    image: ${IMAGE}
    command: ["sleep ${DATABASE_SECONDS}; touch /ready; exec sleep 3600"]
    environment: {VERSION: "${version}"}
    stop_grace_period: 1s
    healthcheck: {test: test -e /ready, interval: 300ms, retries: 100}
    deploy: {update_config: {monitor: 1s}, restart_policy: {delay: 0s}}
`,
    );
  }

  const deploy = () =>
    shared.current.skep(['stack', 'deploy', '--resolve-image', 'never', '-c', 'stack.yml', 'o'], {
      cwd: dir,
    });

  /** When the newest task of a service came to its present state, ms. */
  async function since(service: string, state: string): Promise<number> {
    const [row] = await shared.current.tasks(service);
    const { Status } = await shared.current.inspectTask(row!);
    expect(Status.State, service).toBe(state);
    return Date.parse((Status as unknown as { Timestamp: string }).Timestamp);
  }

  async function expectOrder(): Promise<void> {
    const database = await since('o_c-db', 'running');
    const web = await since('o_a-web', 'running');
    expect(web).toBeGreaterThanOrEqual(database);
  }

  test('start one after the other', { timeout: 90_000 }, async () => {
    write(1);
    const said = await deploy();
    expect(said).toContain(
      'o_a-web: 0/1 waits for o_b-migrate to complete, o_c-db to be healthy\n',
    );
    await expectOrder();
    const done = await since('o_b-migrate', 'complete');
    expect(done - (await since('o_c-db', 'running'))).toBeGreaterThanOrEqual(900);
    expect(await since('o_a-web', 'running')).toBeGreaterThanOrEqual(done);
  });

  test('are updated one after the other', { timeout: 90_000 }, async () => {
    write(2);
    await deploy();
    await expectOrder();
    const env = await shared.current.skep([
      ...[
        'service',
        'inspect',
        '--format',
        '{{json .Spec.TaskTemplate.ContainerSpec.Env}}',
        'o_a-web',
      ],
    ]);
    expect(env).toContain('VERSION=2');
  });

  test('start in this order after all of them died', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    const [web] = await cluster.running('o_a-web', 1);
    const [database] = await cluster.running('o_c-db', 1);
    const [databasePid, webPid] = [await cluster.taskPid(database!), await cluster.taskPid(web!)];
    process.kill(databasePid, 'SIGKILL');
    // Their nodes tell the manager in any order: one whose word came first would find a database that runs.
    await eventually(
      "the manager to know of the database's end",
      async () => {
        expect((await cluster.inspectTask(database!)).Status.State).not.toBe('running');
      },
      { withinMs: 3_000 },
    );
    process.kill(webPid, 'SIGKILL');
    await eventually(
      'another database',
      async () => {
        const [next] = await cluster.running('o_c-db', 1);
        expect(next!.id).not.toBe(database!.id);
      },
      { withinMs: 30_000 },
    );
    await eventually(
      'another web task',
      async () => {
        const [next] = await cluster.running('o_a-web', 1);
        expect(next!.id).not.toBe(web!.id);
      },
      { withinMs: 15_000 },
    );
    await expectOrder();
  });

  test('start in this order when the power comes back to the whole cluster', {
    timeout: 120_000,
  }, async () => {
    const cluster = shared.current;
    const [web] = await cluster.running('o_a-web', 1);
    const [database] = await cluster.running('o_c-db', 1);
    const hosts = cluster.hosts.map(({ name }) => name);
    await Promise.all(hosts.map((host) => losePower(cluster, host)));
    const dark = Date.now();
    await Promise.all(hosts.map((host) => cluster.dev('start', host)));
    for (const [service, before] of [
      ['o_c-db', database],
      ['o_a-web', web],
    ] as const) {
      await eventually(
        `another task of ${service}`,
        async () => {
          const [next] = await cluster.running(service, 1, { withinMs: 1 });
          expect(next!.id).not.toBe(before!.id);
        },
        { withinMs: 60_000 },
      );
    }
    await expectOrder();
    const databaseUp = await since('o_c-db', 'running');
    // It is healthy only some time after its start: what waits for it did so from the dark on.
    expect(databaseUp - dark).toBeGreaterThanOrEqual(DATABASE_SECONDS * 1000);
    expect(await since('o_a-web', 'running')).toBeGreaterThanOrEqual(databaseUp);
    await cluster.skep(['stack', 'rm', 'o']);
  });
});
