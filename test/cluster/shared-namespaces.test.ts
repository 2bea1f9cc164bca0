// network_mode, pid and ipc `service:NAME`: where the tasks go, what they see of the other's, and what becomes of them with it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, succeeded } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/shared:1';
const LIMIT = { timeout: 90_000 };

describe.skipIf(!clusterTestsCanRun)('a service with namespaces of another', () => {
  let dir: string;
  const shared = useCluster('share', { managers: 1, workers: 2 }, (cluster) =>
    cluster.image({
      name: IMAGE,
      entrypoint: ['/bin/sh', '-c'],
      cmd: ['while :; do sleep 1; done'],
      files: { '/www/index.html': 'said by the owner\n' },
    }),
  );
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    const all = `image: ${IMAGE}, stop_grace_period: 1s, deploy: {restart_policy: {delay: 0s}}`;
    writeFileSync(
      join(dir, 'stack.yml'),
      `services:
  a-side: {${all}, network_mode: "service:owner"}
  by-name: {${all}, network_mode: "container:the-owner"}
  c-pids: {${all}, pid: "service:owner", networks: [other]}
  d-ipc: {${all}, ipc: "service:owner", networks: [other]}
  owner: {${all}, container_name: the-owner, command: ["httpd -p 80 -h /www; while :; do sleep 1; done"], networks: [front]}
  looks: {${all}, networks: [front]}
networks: {front: {}, other: {}}
`,
    );
    const argv = ['-c', 'stack.yml', '--resolve-image', 'never', 's'];
    succeeded(await shared.current.try(['stack', 'deploy', ...argv], { cwd: dir }));
  }, 120_000);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const SIDES = ['a-side', 'by-name', 'c-pids', 'd-ipc'];
  const taskOf = async (service: string) => (await shared.current.running(`s_${service}`, 1))[0]!;
  async function said(service: string, script: string): Promise<string> {
    const argv = ['service', 'exec', `s_${service}`, '--', '/bin/sh', '-c', script];
    const { stdout, stderr } = await shared.current.try(argv);
    return `${stdout}${stderr}`.replace(/\n$/, '');
  }
  const namespace = (service: string, kind: string): Promise<string> =>
    said(service, `readlink /proc/self/ns/${kind}`);

  test('is on the node of the other', LIMIT, async () => {
    const { node } = await taskOf('owner');
    for (const side of SIDES) expect((await taskOf(side)).node, side).toBe(node);
  });

  test.each(['a-side', 'by-name'])(
    'network_mode, as %s: the same network, its addresses, ports and names',
    LIMIT,
    async (side) => {
      await taskOf(side);
      expect(await namespace(side, 'net')).toBe(await namespace('owner', 'net'));
      expect(await said(side, 'wget -q -O - http://127.0.0.1/')).toBe('said by the owner');
      expect(await said(side, 'cat /etc/resolv.conf /etc/hosts')).toBe(
        await said('owner', 'cat /etc/resolv.conf /etc/hosts'),
      );
      expect(await said(side, 'nslookup -type=a looks 2>&1')).toMatch(/^Address: 10\./m);
      // Nothing else is shared.
      expect(await namespace(side, 'pid')).not.toBe(await namespace('owner', 'pid'));
    },
  );

  test('pid: the processes of the other, and a network of its own', LIMIT, async () => {
    await taskOf('c-pids');
    expect(await namespace('c-pids', 'pid')).toBe(await namespace('owner', 'pid'));
    expect(await said('c-pids', "tr '\\0' ' ' </proc/1/cmdline")).toContain('httpd -p 80');
    expect(await namespace('c-pids', 'net')).not.toBe(await namespace('owner', 'net'));
  });

  test('ipc: the same shared memory', LIMIT, async () => {
    await taskOf('d-ipc');
    expect(await namespace('d-ipc', 'ipc')).toBe(await namespace('owner', 'ipc'));
    expect(await said('owner', 'echo passed on > /dev/shm/word')).toBe('');
    expect(await said('d-ipc', 'cat /dev/shm/word')).toBe('passed on');
  });

  test('the same is asked for by flags, and explained while it waits', LIMIT, async () => {
    const { current } = shared;
    const make = ['service', 'create', '--no-resolve-image', '--detach', '--name', 'flagged'];
    await current.skep([...make, '--network', 'service:nobody', '--pid', 'service:s_owner', IMAGE]);
    await eventually(
      'the reason',
      async () =>
        expect(await current.skep(['service', 'explain', 'flagged'])).toContain(
          'no task of nobody is there, whose namespaces it shares',
        ),
      { withinMs: 15_000 },
    );
    await current.skep(['service', 'rm', 'flagged']);
    const bad = await current.try([...make, '--network', 'service:x', '-p', '80:80', IMAGE]);
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining('publishes no ports')]);
  });

  test('goes on after its daemon was killed', LIMIT, async () => {
    const { current } = shared;
    const before = await taskOf('a-side');
    const { node } = before;
    process.kill(await current.daemonPid(node), 'SIGKILL');
    await current.dev('start', node);
    await eventually(
      'the same task',
      async () => expect((await taskOf('a-side')).id).toBe(before.id),
      { withinMs: 30_000 },
    );
    expect(await said('a-side', 'wget -q -O - http://127.0.0.1/')).toBe('said by the owner');
  });

  test('ends with the other, and comes again where that is', { timeout: 180_000 }, async () => {
    const { current } = shared;
    const before = await Promise.all(SIDES.map(taskOf));
    const { node } = await taskOf('owner');
    await current.skep(['node', 'update', '--availability', 'drain', node]);
    await eventually(
      'all of them on another node',
      async () => {
        const owner = await taskOf('owner');
        expect(owner.node).not.toBe(node);
        for (const side of SIDES) expect((await taskOf(side)).node, side).toBe(owner.node);
      },
      { withinMs: 90_000 },
    );
    for (const [at, side] of SIDES.entries()) {
      expect((await taskOf(side)).id, side).not.toBe(before[at]!.id);
    }
    expect(await said('a-side', 'wget -q -O - http://127.0.0.1/')).toBe('said by the owner');
    await current.skep(['node', 'update', '--availability', 'active', node]);

    const [owner, side] = [await taskOf('owner'), await taskOf('a-side')];
    process.kill(await current.taskPid(owner), 'SIGKILL');
    await eventually(
      'others of both',
      async () => {
        const next = await taskOf('owner');
        expect(next.id).not.toBe(owner.id);
        const beside = await taskOf('a-side');
        expect([beside.id === side.id, beside.node]).toEqual([false, next.node]);
        expect(await said('a-side', 'wget -q -O - http://127.0.0.1/')).toBe('said by the owner');
      },
      { withinMs: 60_000 },
    );
    const rows = await current.tasks('s_a-side');
    expect(rows.map(({ error }) => error).join('\n')).toMatch(/s_owner/);
  });

  test('all of it goes', LIMIT, async () => {
    await shared.current.skep(['stack', 'rm', 's']);
    for (const { name } of shared.current.hosts) {
      expect(await shared.current.skep(['ps', '-aq'], { host: name }), name).toBe('');
    }
  });
});
