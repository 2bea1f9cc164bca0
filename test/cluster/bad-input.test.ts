// What the user got wrong is said in words that help, with a status that is not 0, and nothing is made.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { EngineClient } from '../../cli/client/engine-client.ts';
import { clusterTestsCanRun, eventually, type TestCluster } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const NO_BREAK_SPACE = '\u00a0';
const GOOD = ['services:', '  web:', '    image: skep-test/none:1', '    command: ["sleep", "9"]'];

/** Names and ids of all that a mistake could have made. */
async function everything(cluster: TestCluster): Promise<readonly (readonly string[])[]> {
  const client = new EngineClient(`unix://${cluster.hosts[0]!.socket}`);
  try {
    const [services, networks, volumes, secrets, configs] = await Promise.all([
      client.services(),
      client.networks(),
      client.volumes(),
      client.secrets('secrets'),
      client.secrets('configs'),
    ]);
    const byId = [services, secrets, configs].map((list) => list.map(({ ID }) => ID));
    const named = [networks, volumes].map((list) => list.map(({ Name }) => Name));
    return [...byId, ...named].map((names) => names.sort());
  } finally {
    client.close();
  }
}

describe.skipIf(!clusterTestsCanRun)('bad input', () => {
  let dir: string;
  let before: Awaited<ReturnType<typeof everything>>;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('bad', { managers: 1, workers: 0 }, async (cluster) => {
    before = await everything(cluster);
  });
  afterEach(async () => {
    expect(await everything(shared.current)).toEqual(before);
  });

  const deploy = (text: string) => {
    writeFileSync(join(dir, 'stack.yml'), text);
    return shared.current.try(['stack', 'deploy', '-c', 'stack.yml', 'bad'], { cwd: dir });
  };

  const FILES: [string, string[], RegExp][] = [
    [
      'a tab as indentation',
      [...GOOD.slice(0, 2), '\timage: skep-test/none:1'],
      /^stack\.yml:3:1: .*tab/m,
    ],
    ['a misspelt key of a service', [...GOOD, '    replicsa: 2'], /^stack\.yml:5:5: .*replicsa/m],
    [
      'a misspelt key below deploy',
      [...GOOD, '    deploy:', '      replcias: 2'],
      /^stack\.yml:6:7: .*replcias[\s\S]*replicas/m,
    ],
    [
      'a no-break space as indentation',
      [...GOOD.slice(0, 2), `${NO_BREAK_SPACE}${NO_BREAK_SPACE}  image: skep-test/none:1`],
      /^stack\.yml:3:1: .*no-break space/m,
    ],
    [
      'a no-break space after some blanks',
      [...GOOD.slice(0, 2), `  ${NO_BREAK_SPACE} image: skep-test/none:1`],
      /^stack\.yml:3:3: .*no-break space/m,
    ],
    ['a key given twice', [...GOOD, '    image: skep-test/other:1'], /^stack\.yml:5:5: .*twice/m],
    ['a port that is none', [...GOOD, '    ports: ["http:80"]'], /^stack\.yml:5:13: /m],
    [
      'a network that is not defined',
      [...GOOD, '    networks: [backend]'],
      /^stack\.yml:5:16: .*backend/m,
    ],
    [
      'a variable that must be set',
      [...GOOD, '    hostname: ${SKEP_TEST_NOT_SET:?say who you are}'],
      /^stack\.yml:5:\d+: .*say who you are/m,
    ],
  ];
  test.each(FILES)('a stack file with %s is refused at its place', async (_, lines, words) => {
    const result = await deploy(`${lines.join('\n')}\n`);
    expect(result.code, result.stdout).not.toBe(0);
    expect(result.stderr).toMatch(words);
    expect(result.stdout).not.toContain('Creating');
  });

  test('all mistakes of a stack file are told at once', async () => {
    const result = await deploy([...GOOD, '    replicsa: 2', '    imagee: x', ''].join('\n'));
    expect(result.code).not.toBe(0);
    expect(result.stderr).toMatch(/^stack\.yml:5:5: /m);
    expect(result.stderr).toMatch(/^stack\.yml:6:5: /m);
  });

  test('a stack file that is not there is named', async () => {
    const args = ['stack', 'deploy', '-c', 'none.yml', 'bad'];
    const result = await shared.current.try(args, { cwd: dir });
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain('none.yml');
  });

  const NAMES: [string, RegExp][] = [
    ['two words', /valid as a DNS name component/],
    ['under_score_', /valid as a DNS name component/],
    ['dotted.name', /valid as a DNS name component/],
    ['a'.repeat(64), /63 characters or fewer/],
  ];
  test.each(NAMES)('a service cannot be named %j', async (name, words) => {
    const result = await shared.current.try([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', name],
      'skep-test/none:1',
    ]);
    expect(result.code, result.stdout).not.toBe(0);
    expect(result.stderr).toMatch(words);
  });

  const FLAGS: [string[], RegExp][] = [
    [['--limit-memory', '1k'], /memory/],
    [['--limit-cpu', 'much'], /--limit-cpu/],
    [['--constraint', 'node.role'], /expected one operator/],
    [['--publish', '80:http'], /--publish|80:http/],
    [['--mount', 'type=volume'], /target|mount/],
    [['--no-such-flag'], /unknown flag: --no-such-flag/],
    [['--network', 'nowhere'], /nowhere/],
  ];
  test.each(FLAGS)('service create refuses %j by name', async (flags, words) => {
    const result = await shared.current.try([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'bad', ...flags],
      'skep-test/none:1',
    ]);
    expect(result.code, result.stdout).not.toBe(0);
    expect(result.stderr).toMatch(words);
  });

  test.each([
    [['service', 'scale', 'nobody=2']],
    [['service', 'ps', 'nobody']],
    [['service', 'rm', 'nobody']],
    [['service', 'logs', 'nobody']],
    [['node', 'inspect', 'nobody']],
    [['network', 'rm', 'nobody']],
    [['exec', 'nobody', 'true']],
  ])('skep %s names what there is not', async (args) => {
    const result = await shared.current.try(args);
    expect(result.code, result.stdout).not.toBe(0);
    expect(result.stderr).toContain('nobody');
  });

  test('an image that is nowhere is warned of at create and told by each task', {
    timeout: 90_000,
  }, async () => {
    const image = '127.0.0.1:9/skep-test/none:1'; // nothing listens on the discard port
    const result = await shared.current.try([
      ...['service', 'create', '--detach', '--name', 'lost', image],
    ]);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain(`image ${image} could not be accessed on a registry`);
    const task = await eventually(
      'the task is rejected',
      async () => {
        const [first] = await shared.current.tasks('lost');
        expect(['Rejected', 'Preparing', 'Ready']).toContain(first!.current);
        expect(first!.error, JSON.stringify(first)).not.toBe('');
        return first!;
      },
      { withinMs: 30_000 },
    );
    expect(task.error).toMatch(/127\.0\.0\.1:9/);
    await shared.current.skep(['service', 'rm', '-d', 'lost']);
  });
});
