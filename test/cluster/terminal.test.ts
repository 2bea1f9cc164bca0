// What people see: progress, plan and trees on real terminals of 80 and 200 columns, the same in pipes; and tasks that move.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, run, SKEP } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/terminal:1';
const hasTmux = spawnSync('tmux', ['-V']).status === 0;

describe.skipIf(!clusterTestsCanRun)('on a terminal', () => {
  let dir: string;
  /** a server of tmux of our own */
  let server: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
    server = join(dir, 'tmux');
    writeFileSync(
      join(dir, 'stack.yml'),
      `services:
  web: {image: "${IMAGE}", stop_grace_period: 1s, deploy: {replicas: 3, update_config: {monitor: 1s}}}
  a-service-with-a-name-of-some-length: {image: "${IMAGE}", stop_grace_period: 1s}
`,
    );
  });
  afterAll(async () => {
    await tmux('kill-server');
    rmSync(dir, { recursive: true, force: true });
  });
  const shared = useCluster('term', { managers: 1, workers: 2 }, (cluster) =>
    cluster.image({ name: IMAGE, entrypoint: ['/bin/sh', '-c'], cmd: ['exec sleep 3600'] }),
  );

  const socket = (): string => `unix://${shared.current.hosts[0]!.socket}`;

  const tmux = (...args: string[]) =>
    run(['tmux', '-S', server, ...args], { cwd: dir, limitMs: 60_000 });

  /**
   * The lines of a terminal on which the command ran to its end.
   * @param typed keys, when the command shows what is expected of it
   * @param escapes with those of colours
   */
  async function screen(
    columns: number,
    words: string,
    { typed, escapes = false }: { readonly typed?: string[]; readonly escapes?: boolean } = {},
  ): Promise<string[]> {
    const session = `t${columns}`;
    const command = `${SKEP} -H ${socket()} ${words}; tmux -S ${server} wait-for -S done; sleep 60`;
    const size = ['-x', String(columns), '-y', '40'];
    await tmux('new-session', '-d', '-s', session, ...size, command);
    if (typed) await tmux('send-keys', '-t', session, ...typed);
    const { code } = await tmux('wait-for', 'done');
    const { stdout } = await tmux('capture-pane', '-p', ...(escapes ? ['-e'] : []), '-t', session);
    await tmux('kill-session', '-t', session);
    if (code !== 0) throw new Error(`${words} did not end:\n${stdout}`);
    return stdout.split('\n').filter((line) => line !== '');
  }

  const deploy = 'stack deploy -c stack.yml --resolve-image never shop';

  test.skipIf(!hasTmux).each([80, 200])(
    'of %d columns a deployment is one tree, and no line is longer',
    { timeout: 90_000 },
    async (columns) => {
      const lines = await screen(columns, deploy);
      expect(lines.slice(-3)).toEqual([
        'Stack shop: 2 of 2 services are up',
        expect.stringMatching(/^├─ \S+ +[13]\/[13] running, converged$/),
        expect.stringMatching(/^└─ \S+ +[13]\/[13] running, converged$/),
      ]);
      expect(lines.filter((line) => line.startsWith('Stack shop:'))).toHaveLength(1);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(columns);
    },
  );

  test.skipIf(!hasTmux).each([80, 200])(
    'of %d columns an update is bars that are drawn over',
    { timeout: 90_000 },
    async (columns) => {
      const lines = await screen(columns, 'service update --force --update-parallelism 3 shop_web');
      expect(lines).toEqual([
        'shop_web',
        'overall progress: 3 out of 3 tasks',
        ...[1, 2, 3].map((at) => `${at}/3: running   [${'='.repeat(50)}]`),
        expect.stringMatching(/^verify: Waiting 1 seconds/),
        'verify: Service shop_web converged',
      ]);
    },
  );

  /** Of so many tasks that run, and stayed so. */
  const bars = (count: number): string[] =>
    Array.from({ length: count }, (_, at) => `${at + 1}/${count}: running   [${'='.repeat(50)}]`);
  const verified = [
    expect.stringMatching(/^verify: Waiting 1 seconds to verify that tasks are stable\.\.\.$/),
    expect.stringMatching(/^verify: Service \S+ converged$/),
  ];

  test.skipIf(!hasTmux).each([80, 200])(
    'of %d columns a service that is made, scaled and rolled back is bars, as Docker draws them',
    { timeout: 120_000 },
    async (columns) => {
      const name = `drawn-${columns}`;
      const create = `service create --no-resolve-image --name ${name} --stop-grace-period 1s --update-monitor 1s --update-parallelism 3 --rollback-monitor 1s --rollback-parallelism 3 --replicas 2 ${IMAGE}`;
      expect(await screen(columns, create)).toEqual([
        expect.stringMatching(/^[0-9a-z]{25}$/),
        'overall progress: 2 out of 2 tasks',
        ...bars(2),
        ...verified,
      ]);
      expect(await screen(columns, `service scale ${name}=3`)).toEqual([
        `${name} scaled to 3`,
        'overall progress: 3 out of 3 tasks',
        ...bars(3),
        ...verified,
      ]);
      expect(await screen(columns, `service update --env-add A=1 ${name}`)).toEqual([
        name,
        'overall progress: 3 out of 3 tasks',
        ...bars(3),
        ...verified,
      ]);
      expect(await screen(columns, `service rollback ${name}`)).toEqual([
        name,
        expect.stringMatching(/^rollback: (?:manually requested rollback|rollback completed)$/),
        'overall progress: rolling back update: 3 out of 3 tasks',
        ...bars(3),
        ...verified,
      ]);
      await shared.current.skep(['service', 'rm', '-d', name]);
    },
  );

  test('in a pipe service create, scale, update and rollback are plain lines', {
    timeout: 120_000,
  }, async () => {
    const said = async (...words: string[]): Promise<string[]> => {
      const { code, stdout, stderr } = await shared.current.try(words);
      expect([code, stderr], words.join(' ')).toEqual([0, '']);
      expect(stdout).not.toMatch(/[\x1b\r]/);
      return stdout.trimEnd().split('\n');
    };
    const monitors = ['--update-monitor', '1s', '--rollback-monitor', '1s'];
    const made = [
      '--no-resolve-image',
      '--name',
      'piped',
      '--stop-grace-period',
      '1s',
      ...monitors,
    ];
    const ends = (count: number, way = '') => [
      expect.stringMatching(`overall progress: ${way}${count} out of ${count} tasks$`),
      ...verified,
    ];
    const created = await said('service', 'create', ...made, IMAGE);
    expect(created[0]).toMatch(/^[0-9a-z]{25}$/);
    expect(created.slice(-3)).toEqual(ends(1));
    const scaled = await said('service', 'scale', 'piped=2');
    expect(scaled[0]).toBe('piped scaled to 2');
    expect(scaled.slice(-3)).toEqual(ends(2));
    const updated = await said('service', 'update', '--env-add', 'A=1', 'piped');
    expect([updated[0], ...updated.slice(-3)]).toEqual(['piped', ...ends(2)]);
    const back = await said('service', 'rollback', 'piped');
    expect(back[0]).toBe('piped');
    expect(back.join('\n')).toContain('overall progress: rolling back update: ');
    expect(back.at(-1)).toMatch(/^verify: Service \S+ converged$/);
    await shared.current.skep(['service', 'rm', '-d', 'piped']);
  });

  test.skipIf(!hasTmux).each([80, 200])(
    'of %d columns a plan has its colours, and says the same as in a pipe',
    { timeout: 60_000 },
    async (columns) => {
      const plan = 'stack diff -c stack.yml --resolve-image never --exit-code fresh';
      const { stdout, code } = await shared.current.try(plan.split(' '), { cwd: dir });
      expect(code).toBe(1);
      const lines = await screen(columns, plan);
      // What does not fit goes on in the next line of the terminal.
      const fitting = stdout.split('\n').filter((line) => line !== '' && line.length <= columns);
      expect(fitting.length).toBeGreaterThan(4);
      for (const line of fitting) expect(lines).toContain(line);
      const coloured = (await screen(columns, plan, { escapes: true })).join('\n');
      expect(coloured).toMatch(/\x1b\[32m {2}\+ service {2}fresh_web/);
    },
  );

  test.skipIf(!hasTmux)(
    'service exec -it: a shell of a task on the terminal',
    {
      timeout: 60_000,
    },
    async () => {
      const keys = ['stty size; tty; exit 3', 'Enter'];
      const lines = await screen(80, 'service exec -it shop_web.2 -- /bin/sh; echo status $?', {
        typed: keys,
      });
      expect(lines.join('\n')).toMatch(/\n40 80\n\/dev\/(?:pts\/\d+|console)\nstatus 3$/);
    },
  );

  test('in a pipe the same is plain lines', { timeout: 90_000 }, async () => {
    const { stdout } = await shared.current.try(deploy.split(' '), { cwd: dir });
    expect(stdout).not.toMatch(/[\x1b\r]/);
    expect(stdout).toMatch(/^shop_web: 3\/3 running, converged$/m);
    const plan = await shared.current.skep(
      ['stack', 'diff', '-c', 'stack.yml', '--resolve-image', 'never', 'fresh'],
      { cwd: dir },
    );
    expect(plan).toMatch(/^ {13}would land on \S+ \(1\), \S+ \(1\), \S+ \(1\)$/m);
  });

  test('a drained node is empty without an outage, and is filled again', {
    timeout: 120_000,
  }, async () => {
    const { skep } = { skep: (...words: string[]) => shared.current.skep(words) };
    const nodes = async (): Promise<string[]> =>
      (
        await skep(
          'service',
          'ps',
          'shop_web',
          '-f',
          'desired-state=running',
          '--format',
          '{{.Node}}',
        )
      )
        .trim()
        .split('\n')
        .sort();
    const [, busy] = await nodes();
    expect(await skep('node', 'drain', '--wait', busy!)).toMatch(/\n0 tasks left here, 0 of \d/);
    expect((await nodes()).includes(busy!)).toBe(false);
    await skep('node', 'update', '--availability', 'active', busy!);
    expect(await skep('swarm', 'rebalance', '--apply')).toMatch(/1 of 1 tasks moved\n$/);
    expect(new Set(await nodes()).size).toBe(3);
  });
});
