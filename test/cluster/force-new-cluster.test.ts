// A majority of the managers is lost for good: a survivor makes a cluster of one from what it has.
import { readdir, readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import {
  clusterTestsCanRun,
  eventually,
  isAlive,
  REPOSITORY,
  run,
  succeeded,
} from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';
const SURVIVOR = 'manager-2';

describe.skipIf(!clusterTestsCanRun)('3 managers of which 2 are lost', () => {
  const shared = useCluster('force', { managers: 3, workers: 1 }, (cluster) =>
    cluster.image({ name: IMAGE }),
  );

  test('the survivor goes on alone, with its tasks and a copy of its log', {
    timeout: 180_000,
  }, async () => {
    const cluster = shared.current;
    const host = SURVIVOR;
    await cluster.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'lasting'],
      ...['--mode', 'global', '--constraint', `node.hostname!=manager-1`, IMAGE, 'sleep', '100000'],
    ]);
    const tasks = await cluster.running('lasting', 3);
    const kept = tasks.filter((task) => task.node === host || task.node === 'worker-1');
    expect(kept).toHaveLength(2);
    const pids = await Promise.all(kept.map((task) => cluster.taskPid(task)));
    await cluster.skep(['config', 'create', 'remembered', '-'], { input: 'yes' });

    await cluster.dev('kill', 'manager-1');
    await cluster.dev('kill', 'manager-3');
    await eventually(
      'no write is taken for want of a leader',
      async () => {
        const args = ['config', 'create', 'lost', '-'];
        const stuck = await cluster.try(args, { host, input: 'no', limitMs: 60_000 });
        expect(stuck.code).toBe(1);
        expect(stuck.stderr).toMatch(/leader/);
      },
      { withinMs: 30_000, everyMs: 500 },
    );

    await cluster.skep(['swarm', 'init', '--force-new-cluster'], { host });
    const names = await cluster.skep(['config', 'ls', '--format', '{{.Name}}'], { host });
    expect(names.trim()).toBe('remembered');
    const format = '{{.Hostname}} {{.ManagerStatus}}';
    const nodes = (await cluster.skep(['node', 'ls', '--format', format], { host })).split('\n');
    expect(nodes.filter((line) => /Leader|Reachable/.test(line))).toEqual([`${host} Leader`]);

    // The tasks went on, and the worker finds its new leader.
    expect(pids.map(isAlive)).toEqual([true, true]);
    await eventually(
      'the worker is ready and its task is the same',
      async () => {
        const ready = await cluster.skep(['node', 'ls', '--format', '{{.Hostname}} {{.Status}}'], {
          host,
        });
        expect(ready).toContain('worker-1 Ready');
        const now = (await cluster.tasks('lasting', host)).filter((it) => it.current === 'Running');
        for (const task of kept) expect(now.map((it) => it.id)).toContain(task.id);
      },
      { withinMs: 60_000, everyMs: 500 },
    );
    expect(pids.map(isAlive)).toEqual([true, true]);

    // The copy opens with its own keys, and still knows three members.
    const dataDir = `/var/lib/skep-dev/${cluster.name}/${host}/data`;
    const copies = (await readdir(dataDir)).filter((name) => name.startsWith('raft.backup-'));
    expect(copies).toHaveLength(1);
    const skepd = `${REPOSITORY}/bin/skepd`;
    const copy = succeeded(await run([skepd, 'raft', 'inspect', `${dataDir}/${copies[0]}`]));
    expect(copy.stdout).toMatch(/^damage: none$/m);
    expect(await readFile(`${dataDir}/${copies[0]}/manager.json`, 'utf8')).toContain('"raftId"');

    // It is a cluster like others: a manager joins.
    const token = (await cluster.skep(['swarm', 'join-token', '-q', 'manager'], { host })).trim();
    await cluster.dev('start', 'manager-3');
    await cluster.skep(['swarm', 'leave', '--force'], { host: 'manager-3' });
    const remote = `${cluster.host(host).address}:2377`;
    await cluster.skep(['swarm', 'join', '--token', token, remote], { host: 'manager-3' });
    await eventually(
      'two managers',
      async () => {
        const text = await cluster.skep(['node', 'ls', '--format', '{{.ManagerStatus}}'], { host });
        expect(text.split('\n').filter((line) => /Leader|Reachable/.test(line))).toHaveLength(2);
      },
      { withinMs: 20_000 },
    );
  });
});
