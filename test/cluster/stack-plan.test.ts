// A stack over its life on real hosts: planned, deployed, changed, rolled back, stopped, removed.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, type TaskRow } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/stack:1';

describe.skipIf(!clusterTestsCanRun)('the life of a stack', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('plan', { managers: 1, workers: 1 }, (cluster) =>
    cluster.image({ name: IMAGE, entrypoint: ['/bin/sh', '-c'], cmd: ['exec sleep 3600'] }),
  );

  function write(
    replicas: number,
    key: string,
    web = 'cat /run/secrets/key; exec sleep 3600',
  ): void {
    writeFileSync(
      join(dir, 'stack.yml'),
      `services:
  web:
    image: ${IMAGE}
    command: ["${web}"]
    secrets: [key]
    stop_grace_period: 1s
    deploy:
      replicas: ${replicas}
      update_config: {monitor: 1s, parallelism: 2, delay: 2s, failure_action: rollback}
  other:
    image: ${IMAGE}
    stop_grace_period: 1s
    deploy: {update_config: {monitor: 1s}}
secrets: {key: {file: key.txt}}
`,
    );
    writeFileSync(join(dir, 'key.txt'), `${key}\n`);
  }

  const argv = ['-c', 'stack.yml', '--resolve-image', 'never', 'shop'];
  const deploy = (...more: string[]) =>
    shared.current.try(['stack', 'deploy', ...more, ...argv], { cwd: dir });
  const diff = async (): Promise<string> =>
    (await shared.current.skep(['stack', 'diff', ...argv], { cwd: dir }))
      .replace(/[0-9a-f]{32}/, 'HASH')
      .replace(/(manager|worker)-1 \(1\)$/gm, 'NODE (1)');
  const ids = (tasks: readonly TaskRow[]): string[] => tasks.map(({ id }) => id).sort();
  const logs = () => shared.current.skep(['service', 'logs', '--raw', 'shop_web']);

  test('what the plan says is made, and the next plan is empty', { timeout: 90_000 }, async () => {
    write(2, 'one');
    expect(await diff()).toBe(`Stack shop: 4 to create
  + network  shop_default  create
  + secret   shop_key      create
  + service  shop_other    create
             would land on NODE (1)
  + service  shop_web      create
             would land on manager-1 (1), NODE (1)
Plan HASH
`);
    const { code, stdout, stderr } = await deploy();
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('shop_web: 2/2 running, converged\n');
    await shared.current.running('shop_web', 2);
    expect(await diff()).toBe('Stack shop: 4 unchanged\nPlan HASH\n');
    expect((await deploy()).stdout).toMatch(/^Nothing to do: stack shop is as it is to be\n/);
  });

  test('a changed secret replaces the tasks of its users alone', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    const other = ids(await cluster.running('shop_other', 1));
    const web = ids(await cluster.running('shop_web', 2));
    write(2, 'two');
    expect(await diff()).toBe(`Stack shop: 1 to create, 1 to update with other tasks, 2 unchanged
  + secret   shop_key.2  create (a new version: the one before was shop_key)
  ! service  shop_web    replace 2 tasks, forced by secrets
             would land on manager-1 (1), NODE (1)
Plan HASH
`);
    expect((await deploy()).code).toBe(0);
    expect(ids(await cluster.running('shop_other', 1))).toEqual(other);
    expect(ids(await cluster.running('shop_web', 2)).filter((id) => web.includes(id))).toEqual([]);
    expect(await logs()).toContain('two');
  });

  test('a plan is applied by its hash, until the cluster moves on', {
    timeout: 90_000,
  }, async () => {
    const cluster = shared.current;
    write(3, 'two');
    const plan = await cluster.skep(['stack', 'deploy', '--plan', '-o', 'json', ...argv], {
      cwd: dir,
    });
    const { Hash } = JSON.parse(plan) as { Hash: string };
    await cluster.skep(['service', 'scale', '--detach', 'shop_other=2']);
    const refused = await deploy('--plan-hash', Hash);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('no longer holds')]);
    await cluster.skep(['service', 'scale', '--detach', 'shop_other=1']);
    await cluster.running('shop_web', 2);
    const again = await cluster.skep(['stack', 'deploy', '--plan', '-o', 'json', ...argv], {
      cwd: dir,
    });
    const now = (JSON.parse(again) as { Hash: string }).Hash;
    expect((await deploy('--plan-hash', now)).code).toBe(0);
    await cluster.running('shop_web', 3);
  });

  test('a deployment that is rolled back ends with 2, and says why', {
    timeout: 90_000,
  }, async () => {
    const before = ids(await shared.current.running('shop_web', 3));
    write(3, 'three', 'cat /run/secrets/key; echo no such table; exit 3');
    const { code, stderr } = await deploy();
    expect(code).toBe(2);
    expect(stderr).toMatch(/^shop_web: rolled back to what it was\n/);
    expect(stderr).toMatch(
      /\nshop_web\.\d \(\w+\) failed: task: non-zero exit \(3\)\n {2}\| three\n {2}\| no such table\n/,
    );
    const after = ids(await shared.current.running('shop_web', 3));
    expect(before.some((id) => after.includes(id))).toBe(true);
    // The secret that came with it went with it: every task has the content of before.
    const shown = await shared.current.skep([
      ...['service', 'exec', '--all', 'shop_web', '--', 'cat', '/run/secrets/key'],
    ]);
    expect(shown.trimEnd().split('\n').sort()).toEqual(
      [1, 2, 3].map((slot) => `shop_web.${slot} | two`),
    );
  });

  test('stack rollback brings an earlier deployment with its secret', {
    timeout: 90_000,
  }, async () => {
    const cluster = shared.current;
    expect((await cluster.try(['stack', 'rollback', '--to', '1', 'shop'])).code).toBe(0);
    await cluster.running('shop_web', 2);
    expect(await logs()).toMatch(/^one$/m);
    const rows = await cluster.skep([
      ...['stack', 'history', '--format', '{{.Deployment}} {{.What}} {{.Result}}', 'shop'],
    ]);
    expect(rows.trim().split('\n').slice(0, 2)).toEqual([
      '5 rollback to 1 converged',
      '4 deploy rolled-back',
    ]);
    expect(await cluster.skep(['config', 'ls', '-q'])).toBe('');
  });

  describe('a deployment ends with', () => {
    const NEVER = 'healthcheck: {test: "false", interval: 200ms, retries: 100000}';
    const CONFIG = 'update_config: {monitor: 1s, failure_action: pause}';
    const file = (command: string, more: string): void =>
      writeFileSync(
        join(dir, 'ends.yml'),
        `services:
  one:
    image: ${IMAGE}
    command: ["${command}"]
    stop_grace_period: 1s
    ${more}
`,
      );
    const end = (...more: string[]) =>
      shared.current.try(
        ['stack', 'deploy', '-c', 'ends.yml', '--resolve-image', 'never', ...more, 'ends'],
        { cwd: dir },
      );
    afterAll(() => shared.current.skep(['stack', 'rm', 'ends']), 60_000);

    test('0 when it is up, and 1 when its update is paused', { timeout: 90_000 }, async () => {
      file('exec sleep 3600', `deploy: {${CONFIG}}`);
      expect((await end()).code).toBe(0);
      file('echo broken; exit 9', `deploy: {${CONFIG}}`);
      const { code, stderr } = await end();
      expect([code, stderr]).toEqual([1, expect.stringMatching(/^ends_one: .*paused/)]);
      expect(stderr).toContain('\n  | broken\n');
    });

    test('1 when the file is wrong, before anything is done', { timeout: 30_000 }, async () => {
      file('exec sleep 3600', 'deploy: {replicsa: 2}');
      const { code, stderr } = await end();
      expect([code, stderr]).toEqual([1, expect.stringMatching(/^ends\.yml:6:14: .*replicas/)]);
    });

    test('3 when its time is over', { timeout: 90_000 }, async () => {
      file('exec sleep 3601', NEVER);
      expect(await end('--timeout', '3s')).toMatchObject({
        code: 3,
        stderr: expect.stringContaining('ends_one'),
      });
    });

    test('4 when no node takes its tasks', { timeout: 90_000 }, async () => {
      file('exec sleep 3602', 'deploy: {placement: {constraints: [node.labels.no == such]}}');
      expect(await end()).toMatchObject({
        code: 4,
        stderr: expect.stringContaining('scheduling constraints not satisfied'),
      });
    });
  });

  test('is stopped and started', { timeout: 90_000 }, async () => {
    const cluster = shared.current;
    await cluster.skep(['stack', 'stop', 'shop']);
    for (const { name } of cluster.hosts) {
      expect(await cluster.skep(['ps', '-q'], { host: name }), name).toBe('');
    }
    await cluster.skep(['stack', 'start', 'shop']);
    await cluster.running('shop_web', 2);
    const before = ids(await cluster.running('shop_other', 1));
    await cluster.skep(['service', 'restart', 'shop_other']);
    expect(ids(await cluster.running('shop_other', 1))).not.toEqual(before);
  });

  test('no node for a task ends with 4', { timeout: 60_000 }, async () => {
    writeFileSync(
      join(dir, 'nowhere.yml'),
      `services: {a: {image: "${IMAGE}", deploy: {placement: {constraints: [node.labels.no==where]}}}}\n`,
    );
    const { code, stderr } = await shared.current.try(
      ['stack', 'deploy', '--resolve-image', 'never', '-c', 'nowhere.yml', 'lost'],
      { cwd: dir },
    );
    expect([code, stderr]).toEqual([
      4,
      expect.stringMatching(/^lost_a: 1 pending: no suitable node/),
    ]);
    await shared.current.skep(['stack', 'rm', 'lost']);
  });

  test('is removed, and leaves nothing', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    await cluster.skep(['stack', 'rm', 'shop']);
    for (const { name } of cluster.hosts) {
      expect(await cluster.skep(['ps', '-aq'], { host: name }), name).toBe('');
    }
    for (const kind of ['service', 'secret', 'config']) {
      expect(await cluster.skep([kind, 'ls', '-q']), kind).toBe('');
    }
    expect(await cluster.skep(['network', 'ls', '--format', '{{.Name}}'])).not.toContain('shop');
  });
});
