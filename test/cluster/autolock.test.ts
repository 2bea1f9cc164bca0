// Managers that lock themselves: what a restarted one needs, by our command and by docker's.
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import {
  clusterTestsCanRun,
  eventually,
  isAlive,
  run,
  succeeded,
  type TestCluster,
} from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';
const hasDocker = spawnSync('docker', ['--version']).status === 0;
const LOCKED = 'Swarm is encrypted and needs to be unlocked before it can be used.';

async function isSealed(cluster: TestCluster, host: string): Promise<boolean> {
  const dataDir = `/var/lib/skep-dev/${cluster.name}/${host}/data`;
  const read = async (path: string): Promise<unknown> =>
    JSON.parse(await readFile(`${dataDir}/${path}`, 'utf8'));
  const { keys } = (await read('raft/manager.json')) as { keys: { kind: string } };
  const { keyPem } = (await read('certificates/identity.json')) as { keyPem?: string };
  const isCertificateSealed = keyPem === undefined;
  // They follow one another; a test waits until they agree.
  if ((keys.kind === 'sealed') !== isCertificateSealed) throw new Error('half sealed');
  return isCertificateSealed;
}

async function localState(cluster: TestCluster, host: string): Promise<string> {
  const format = '{{.Swarm.LocalNodeState}}';
  return (await cluster.skep(['info', '--format', format], { host })).trim();
}

describe.skipIf(!clusterTestsCanRun)('a cluster of 3 managers that lock themselves', () => {
  const shared = useCluster('lock', { managers: 3, workers: 0 }, (cluster) =>
    cluster.image({ name: IMAGE }),
  );
  let key = '';

  async function allSealed(sealed: boolean): Promise<void> {
    const cluster = shared.current;
    await eventually(
      `every manager is ${sealed ? 'sealed' : 'open'}`,
      async () => {
        const states = await Promise.all(cluster.managers.map((m) => isSealed(cluster, m.name)));
        expect(states).toEqual([sealed, sealed, sealed]);
      },
      { withinMs: 10_000 },
    );
  }

  async function allReachable(): Promise<void> {
    await eventually(
      'three managers reach each other',
      async () => {
        const text = await shared.current.skep(['node', 'ls', '--format', '{{.ManagerStatus}}']);
        expect(text.trim().split('\n').sort()).toEqual(['Leader', 'Reachable', 'Reachable']);
      },
      { withinMs: 20_000 },
    );
  }

  const unlock = (host: string, input: string) =>
    shared.current.try(['swarm', 'unlock'], { host, input: `${input}\n` });

  test('shows the key when it begins to, and every manager seals its keys', async () => {
    const cluster = shared.current;
    expect((await cluster.try(['swarm', 'unlock-key'])).stderr).toContain('no unlock key is set');
    const said = await cluster.skep(['swarm', 'update', '--autolock=true']);
    key = /^ {4}(SWMKEY-1-\S{43})$/m.exec(said)![1]!;
    expect((await cluster.skep(['swarm', 'unlock-key', '-q'], { host: 'manager-2' })).trim()).toBe(
      key,
    );
    await allSealed(true);
  });

  test('a restarted manager answers nothing of the cluster until it has the key; its tasks run', {
    timeout: 60_000,
  }, async () => {
    const cluster = shared.current;
    const host = 'manager-3';
    await cluster.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--mode', 'global'],
      ...['--name', 'lasting', IMAGE, 'sleep', '100000'],
    ]);
    const tasks = await cluster.running('lasting', 3);
    const task = tasks.find((it) => it.node === host)!;
    const pid = await cluster.taskPid(task);

    await cluster.restart(host);
    expect(await localState(cluster, host)).toBe('locked');
    expect(isAlive(pid)).toBe(true);
    for (const args of [
      ['node', 'ls'],
      ['swarm', 'join-token', 'worker'],
      ['service', 'ls'],
    ]) {
      const refused = await cluster.try(args, { host });
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain(LOCKED);
    }
    const leaving = await cluster.try(['swarm', 'leave'], { host });
    expect(leaving.stderr).toContain('Swarm is encrypted and locked. Please unlock it first');
    const wrong = await unlock(host, `SWMKEY-1-${'A'.repeat(43)}`);
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('swarm could not be unlocked: invalid key provided');
    const noKey = await unlock(host, 'sesame');
    expect(noKey.code).toBe(1);
    expect(noKey.stderr).toContain('it must look like SWMKEY-1-');
    expect(await localState(cluster, host)).toBe('locked');

    succeeded(await unlock(host, key));
    expect(await localState(cluster, host)).toBe('active');
    await allReachable();
    const after = await cluster.running('lasting', 3, { host });
    expect(after.find((it) => it.node === host)!.id).toBe(task.id);
    expect(isAlive(pid)).toBe(true);
    expect((await unlock(host, key)).stderr).toContain('swarm is not locked');
    await cluster.skep(['service', 'rm', '-d', 'lasting']);
  });

  test.skipIf(!hasDocker)('is unlocked by the docker command', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    const host = 'manager-2';
    await cluster.restart(host);
    const env = { DOCKER_HOST: `unix://${cluster.host(host).socket}` };
    const info = succeeded(await run(['docker', 'info'], { env }));
    expect(info.stdout).toMatch(/Swarm: locked/);
    const argv = ['docker', 'swarm', 'unlock'];
    const wrong = await run(argv, { env, input: `SWMKEY-1-${'B'.repeat(43)}\n` });
    expect(wrong.stderr).toContain('invalid key provided');
    succeeded(await run(argv, { env, input: `${key}\n` }));
    await allReachable();
    const shown = succeeded(await run(['docker', 'swarm', 'unlock-key', '-q'], { env }));
    expect(shown.stdout.trim()).toBe(key);
  });

  test('takes a new key; who was away is opened by the old one once', {
    timeout: 90_000,
  }, async () => {
    const cluster = shared.current;
    const host = 'manager-3';
    await cluster.dev('kill', host);
    const next = (await cluster.skep(['swarm', 'unlock-key', '--rotate', '-q'])).trim();
    expect(next).not.toBe(key);
    await cluster.dev('start', host);
    expect((await unlock(host, next)).stderr).toContain('invalid key provided');
    succeeded(await unlock(host, key));
    await allReachable();
    await eventually(
      'it needs the new key now',
      async () => {
        await cluster.restart(host);
        expect((await unlock(host, key)).stderr).toContain('invalid key provided');
      },
      { withinMs: 20_000, everyMs: 500 },
    );
    succeeded(await unlock(host, next));
    key = next;
    await allReachable();
  });

  test('a locked manager can be left and joins again', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    const host = 'manager-3';
    await cluster.restart(host);
    const format = '{{.Swarm.NodeID}}';
    const nodeId = (await cluster.skep(['info', '--format', format], { host })).trim();
    await cluster.skep(['swarm', 'leave', '--force'], { host });
    expect(await localState(cluster, host)).toBe('inactive');
    await cluster.skep(['node', 'demote', nodeId]);
    await cluster.skep(['node', 'rm', '--force', nodeId]);
    const token = (await cluster.skep(['swarm', 'join-token', '-q', 'manager'])).trim();
    const remote = `${cluster.host('manager-1').address}:2377`;
    await cluster.skep(['swarm', 'join', '--token', token, remote], { host });
    await allReachable();
    await allSealed(true);
  });

  test('a demoted manager keeps an open certificate', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    const host = 'manager-3';
    await cluster.skep(['node', 'demote', host]);
    await eventually(
      'it is a worker',
      async () => {
        const info = await cluster.skep(['info', '--format', '{{.Swarm.ControlAvailable}}'], {
          host,
        });
        expect(info.trim()).toBe('false');
      },
      { withinMs: 20_000 },
    );
    await cluster.restart(host);
    expect(await localState(cluster, host)).toBe('active');
    await cluster.skep(['node', 'promote', host]);
    await allReachable();
    await allSealed(true);
  });

  test('opens for good', { timeout: 60_000 }, async () => {
    const cluster = shared.current;
    expect(await cluster.skep(['swarm', 'update', '--autolock=false'])).toBe('Swarm updated.\n');
    await allSealed(false);
    await shared.current.restart('manager-3');
    expect(await localState(cluster, 'manager-3')).toBe('active');
    await allReachable();
  });
});
