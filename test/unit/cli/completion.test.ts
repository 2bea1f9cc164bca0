import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { COMMANDS, findCommand, GROUPS } from '../../../cli/command-table.ts';
import { completion } from '../../../cli/commands/completion.ts';
import { complete } from '../../../cli/completion.ts';
import { type FakeEngine, runCommand } from '../../support/cli-command.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const engine: FakeEngine = {
  nodes: async () => [
    { ID: '1', Description: { Hostname: 'host-1' } },
    { ID: '2', Description: { Hostname: 'host-2' } },
  ],
  services: async (filter?: object) =>
    ['shop_web', 'shop_db', ...(filter ? [] : ['other'])].map((Name) => ({
      Spec: { Name, Labels: { 'com.docker.stack.namespace': 'shop' } },
    })),
  networks: async () => [{ Name: 'front' }, { Name: 'back' }],
  containers: async () => [{ Names: ['/box'] }],
  images: async () => [{ RepoTags: ['web:1', '<none>:<none>'] }],
};

async function offered(...words: string[]): Promise<string[]> {
  const configure = complete({ groups: GROUPS, commands: COMMANDS });
  const result = await runCommand(configure, ['--', ...words], { engine, env: { HOME: '/none' } });
  expect(result.stderr).toBe('');
  return result.stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => line.split('\t')[0]!);
}

describe('completion', () => {
  test.each([
    [['serv'], ['service']],
    [['service', 'ro'], ['rollback']],
    [
      ['service', 'ps', 'shop_'],
      ['shop_db', 'shop_web'],
    ],
    [['service', 'ps', 'shop_db', 'o'], ['other']],
    [['service', 'scale', 'shop_w'], ['shop_web=']],
    [['service', 'list', '--for'], ['--format']],
    [
      ['service', 'ls', '--format', ''],
      ['table', 'json'],
    ],
    [['service', 'create', '--network', 'f'], ['front']],
    [['service', 'create', '--network=b'], ['--network=back']],
    [['service', 'create', '--name', 'x', 'y'], []],
    [['stack', 'rm', ''], ['shop']],
    [['stack', 'exec', ''], ['shop']],
    [['stack', 'exec', 'shop', 'shop_w'], ['shop_web']],
    [['stack', 'deploy', '-c', ''], [':files']],
    [['node', 'update', '--availability', 'd'], ['drain']],
    [
      ['node', 'drain', ''],
      ['host-1', 'host-2', 'self'],
    ],
    [['logs', ''], ['box']],
    [['run', '-it', 'w'], ['web:1']],
    [
      ['cp', 'b'],
      [':files', 'box:'],
    ],
    [
      ['swarm', 'join-token', ''],
      ['worker', 'manager'],
    ],
    [['--tls'], ['--tls', '--tlscacert', '--tlscert', '--tlskey', '--tlsverify']],
    [['--context', 'd'], ['default']],
    [['--context=d'], ['--context=default']],
    [['--tlscert', ''], [':files']],
    [['--tls', ''], []],
    [['nothing', 'x'], []],
    [['service', 'nothing', 'x'], []],
    [['constructor', ''], []],
  ])('of %j', async (words, expected) => {
    expect(await offered(...words)).toEqual(expected);
  });

  test('offers no flag that is refused', async () => {
    const all = await offered('run', '--');
    expect(all).toContain('--network');
    expect(all).not.toContain('--platform');
  });

  test('says nothing of a daemon that cannot be asked', async () => {
    const silent: FakeEngine = { services: () => Promise.reject(new Error('no')) };
    const configure = complete({ groups: GROUPS, commands: COMMANDS });
    const argv = ['--', 'service', 'ps', ''];
    expect(await runCommand(configure, argv, { engine: silent })).toEqual({
      status: 0,
      stdout: '',
      stderr: '',
    });
  });

  test('is asked by a command that help does not show', () => {
    expect(findCommand(['__complete', '--', 'x'])).toMatchObject({ words: 'skep __complete' });
    expect(Object.keys(COMMANDS)).not.toContain('__complete');
  });
});

describe('the script', () => {
  const makeFolder = temporaryFolders();
  const has = (shell: string): boolean => spawnSync(shell, ['-c', 'true']).status === 0;

  /** Without what its user set up. */
  const OPTIONS: Readonly<Record<string, readonly string[]>> = {
    ...{ bash: ['--norc'], zsh: ['-f'], fish: ['--no-config'] },
  };

  /** Standard output of a shell that has the script, and a `skep` that prints its words and two names. */
  async function inShell(shell: string, program: string): Promise<string> {
    const folder = await makeFolder();
    const { stdout } = await runCommand(completion, [shell]);
    writeFileSync(join(folder, 'script'), stdout);
    writeFileSync(
      join(folder, 'skep'),
      '#!/bin/sh\necho "$*" >> "$0.asked"\nprintf "web:1\\tan image\\nweb:2\\nback=\\n"\n',
      { mode: 0o755 },
    );
    const env = { ...process.env, PATH: `${folder}:${process.env['PATH']}` };
    const result = spawnSync(shell, [...OPTIONS[shell]!, '-c', program], {
      ...{ cwd: folder, env, encoding: 'utf8' as const, timeout: 30_000 },
    });
    expect(result.stderr).toBe('');
    const asked = spawnSync('cat', [join(folder, 'skep.asked')], { encoding: 'utf8' }).stdout;
    return `${asked}${result.stdout}`;
  }

  test('of bash takes words apart as bash does', async () => {
    const program = `source script; compopt() { :; }
COMP_LINE='skep image rm web:'; COMP_POINT=\${#COMP_LINE}; _skep; printf '%s\\n' "\${COMPREPLY[@]}"`;
    expect(await inShell('bash', program)).toBe('__complete image rm web:\n1\n2\nback=\n');
  });

  test.skipIf(!has('fish'))('of fish offers words with what they are', async () => {
    const program = "source script; complete -C 'skep image rm web'";
    expect(await inShell('fish', program)).toBe(
      '__complete image rm web\nweb:1\tan image\nweb:2\n',
    );
  });

  test.skipIf(!has('zsh'))('of zsh completes what is typed, at a terminal', async () => {
    // What is typed is written at once: the inner shell takes it as it comes to it.
    const program = `zmodload zsh/zpty
zpty typed zsh -f -i
zpty -w typed 'autoload -Uz compinit; compinit -D; source ./script'
zpty -w typed $'skep image rm b\t'
zpty -w typed $'skep image rm w\t2\t'
zpty -w typed exit
while zpty -r typed line; do :; done`;
    expect(await inShell('zsh', program)).toBe(
      [
        '__complete image rm b',
        'image rm back=',
        '__complete image rm w',
        '__complete image rm web:2',
        'image rm web:2',
        '',
      ].join('\n'),
    );
  });

  test('of another shell is not there', async () => {
    expect((await runCommand(completion, ['tcsh'])).stderr).toContain('Allowed choices are bash');
  });
});
