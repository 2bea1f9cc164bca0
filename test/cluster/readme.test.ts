// The first minutes with the README: its commands as they stand there, one after the other, on a cluster of
// another name, so that one that somebody tries here is left alone.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, REPOSITORY, run, SKEP } from '../support/cluster.ts';

const LIMIT_MS = 300_000;
const NAME = `doc-${process.pid.toString(36)}`;

/**
 * The lines about real machines, on two hosts that left the cluster before; then those about stack files, on what came
 * of it. Their daemons run already.
 */
function elsewhereLines(): string[] {
  const machines = commandsOf('Real machines')
    .filter((line) => !line.startsWith('bin/skepd'))
    .map((line) =>
      line
        .replaceAll('10.0.0.1', '"$first"')
        .replace('SWMTKN-1-...', '"$(bin/skep swarm join-token -q worker)"')
        .replace(/^(bin\/skep) (swarm join --)/, '$1 -H "unix://$sockets/worker-2.sock" $2'),
    );
  return [
    `sockets=/run/skep-dev/${NAME}`,
    `first=$(skep dev status --name ${NAME} | awk '$1 == "worker-1" { print $3 }')`,
    'for host in worker-1 worker-2; do skep -H "unix://$sockets/$host.sock" swarm leave; done',
    'export SKEP_HOST="unix://$sockets/worker-1.sock"',
    ...machines,
    'skep node ls',
    'cp examples/stack.yml "$scratch/stack.yml"',
    'cp examples/stack.yml "$scratch/base.yml"',
    'cd "$scratch"',
    "printf 'services: {wordpress: {deploy: {replicas: 1}}}\\n' > live.yml",
    'skep stack deploy -c base.yml shop',
    ...commandsOf('Stack files'),
    'skep stack rm shop',
    'cd -',
  ];
}

/** The blocks of commands of one section. */
function commandsOf(section: string): string[] {
  const readme = readFileSync(join(REPOSITORY, 'README.md'), 'utf8');
  const begin = readme.indexOf(`## ${section}\n`);
  const text = readme.slice(begin, readme.indexOf('\n## ', begin + 1));
  return [...text.matchAll(/^```sh\n([^`]*)^```$/gm)].flatMap(([, block]) => block!.split('\n'));
}

describe.skipIf(!clusterTestsCanRun)('the README', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(async () => {
    rmSync(dir, { recursive: true, force: true });
    await run([SKEP, 'dev', 'down', '--name', NAME]);
  });

  test('can be followed line by line', { timeout: LIMIT_MS + 10_000 }, async () => {
    // What this test runs in is set up already.
    const lines = commandsOf('Try it by hand').filter((line) => line !== 'scripts/setup');
    expect(lines.filter((line) => line.startsWith('skep ')).length).toBeGreaterThanOrEqual(20);
    const named = lines.map((line) =>
      line
        .replaceAll(/skep dev (\w+)/g, `skep dev $1 --name ${NAME}`)
        .replaceAll('/run/skep-dev/dev/', `/run/skep-dev/${NAME}/`),
    );
    const script = join(dir, 'readme.sh');
    const down = named.findIndex((line) => line.startsWith('skep dev down'));
    const all = [...named.slice(0, down), ...elsewhereLines(), ...named.slice(down)];
    writeFileSync(script, ['set -eux', `scratch=${dir}`, ...all, ''].join('\n'));
    const { code, stdout, stderr } = await run(['bash', script], {
      cwd: REPOSITORY,
      limitMs: LIMIT_MS,
    });
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    for (const said of [
      'wordpress_wordpress: 2/2 running, converged',
      'update in place: deploy.replicas',
      'wordpress_wordpress: 3/3 running, converged',
      'wordpress_wordpress scaled to 6',
      'Removing network wordpress_default',
      'To add a worker to this swarm, run the following command:',
      'This node joined a swarm as a worker.',
      'services.wordpress.deploy.replicas',
      'shop_wordpress: 1/1 running, converged',
      'shop_wordpress: 2/2 running, converged',
    ]) {
      expect(stdout).toContain(said);
    }
    expect(stdout).toMatch(/^\S*manager-1 +\d+ +no +.*memory/m);
    expect(stdout.match(/^hello from /gm)).toHaveLength(5);
    expect(existsSync(`/run/skep-dev/${NAME}`)).toBe(false);
  });
});
