// The first minutes with the README: its commands as they stand there, one after the other, on a cluster of
// another name, so that one that somebody tries here is left alone.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterTestsCanRun, REPOSITORY, run, SKEP } from '../support/cluster.ts';

const LIMIT_MS = 230_000;
const NAME = `doc-${process.pid.toString(36)}`;

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
    writeFileSync(script, ['set -eux', ...named, ''].join('\n'));
    const { code, stdout, stderr } = await run(['bash', script], {
      cwd: REPOSITORY,
      limitMs: LIMIT_MS,
    });
    const all = `${stdout}\n${stderr}`;
    expect(code, all).toBe(0);
    for (const said of [
      'wordpress_wordpress: 2/2 running, converged',
      'update in place: deploy.replicas',
      'wordpress_wordpress: 3/3 running, converged',
      'wordpress_wordpress scaled to 6',
      'Removing network wordpress_default',
    ]) {
      expect(stdout).toContain(said);
    }
    expect(stdout.match(/^hello from /gm)).toHaveLength(5);
    expect(existsSync(`/run/skep-dev/${NAME}`)).toBe(false);
  });
});
