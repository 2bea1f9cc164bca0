// How connections are spread over the tasks of a service, as its labels say.
import { describe, expect, test } from 'vitest';
import { clusterTestsCanRun, eventually, http } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const SOON = { withinMs: 20_000 };
const PORT = 18400;
/** Answers with the name of its host, which is the task's own. */
const ANSWERS = 'mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www';

describe.skipIf(!clusterTestsCanRun)('balancing by labels', { timeout: 120_000 }, () => {
  const shared = useCluster('balancing', { managers: 1, workers: 1 }, async (cluster) => {
    await cluster.image({ name: 'box:latest', cmd: ['sh', '-c', ANSWERS] });
    await cluster.skep(['network', 'create', '-d', 'overlay', 'front']);
    const flags = ['--network', 'front', '-p', `${PORT}:80`, '--replicas', '4'];
    await cluster.skep(['service', 'create', '-d', '--name', 'web', ...flags, 'box']);
    const client = ['--network', 'front', 'box', 'sleep', '1000'];
    await cluster.skep(['service', 'create', '-d', '--name', 'client', ...client]);
    await cluster.running('web', 4, SOON);
    await cluster.running('client', 1, SOON);
  });
  const label = (name: string, value: string) =>
    shared.current.skep(['service', 'update', '-d', '--label-add', `${name}=${value}`, 'web']);
  const ask = async (address: string): Promise<string> => (await http(address, PORT)).body.trim();
  const ASKED = 12;

  test('a client stays with its task when the label says so, and only then', async () => {
    const cluster = shared.current;
    const [client] = await cluster.running('client', 1);
    /** How many tasks answer whom; each question is a connection. */
    const fromTask = async (): Promise<number> => {
      const script = `for i in $(seq ${ASKED}); do wget -qO- http://web/ || exit; done`;
      const exec = ['exec', `${client!.name}.${client!.id}`, 'sh', '-c', script];
      const said = await cluster.skep(exec, { host: client!.node });
      const answers = said.trim().split('\n');
      expect(answers).toHaveLength(ASKED);
      return new Set(answers).size;
    };
    const fromOutside = async (): Promise<number> => {
      const seen = new Set<string>();
      for (let i = 0; i < ASKED; i++) seen.add(await ask(cluster.hosts[0]!.address));
      return seen.size;
    };
    await eventually(
      'all tasks answer in turn',
      async () => {
        expect(await fromOutside()).toBe(4);
        expect(await fromTask()).toBe(4);
      },
      SOON,
    );
    const before = (await cluster.running('web', 4)).map(({ id }) => id).sort();
    await label('com.skep.affinity', 'client-ip');
    await eventually(
      'one task answers',
      async () => {
        expect(await fromOutside()).toBe(1);
        expect(await fromTask()).toBe(1);
      },
      SOON,
    );
    // Nothing was replaced for it.
    expect((await cluster.running('web', 4)).map(({ id }) => id).sort()).toEqual(before);
    await label('com.skep.affinity', 'none');
    await eventually(
      'all tasks answer again',
      async () => {
        expect(await fromOutside()).toBe(4);
        expect(await fromTask()).toBe(4);
      },
      SOON,
    );
  });

  test('with local-only a node answers with its own tasks or not at all', async () => {
    const cluster = shared.current;
    await label('com.skep.ingress', 'local-only');
    await cluster.skep(['service', 'scale', '-d', 'web=1']);
    const [task] = await cluster.running('web', 1);
    const own = cluster.host(task!.node);
    const other = cluster.hosts.find(({ name }) => name !== task!.node)!;
    await eventually(
      'the other node refuses',
      async () => {
        await expect(ask(other.address)).rejects.toThrow('ECONNREFUSED');
        expect(await ask(own.address)).not.toBe('');
      },
      SOON,
    );
    await label('com.skep.ingress', 'any-node');
    await eventually(
      'both answer',
      async () => {
        expect(await ask(other.address)).toBe(await ask(own.address));
      },
      SOON,
    );
    const odd = await cluster.try([
      'service',
      'update',
      '--label-add',
      'com.skep.ingress=x',
      'web',
    ]);
    expect(odd.stderr).toContain("'x' is neither any-node nor local-only");
  });
});
