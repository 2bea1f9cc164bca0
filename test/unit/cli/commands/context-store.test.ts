import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Configure } from '../../../../cli/commands/context.ts';
import {
  create,
  exportContext,
  importContext,
  inspect,
  ls,
  rm,
  show,
  update,
  use,
} from '../../../../cli/commands/context-store.ts';
import { daemonAddress } from '../../../../cli/daemon-address.ts';
import { parseGlobal } from '../../../../cli/global-options.ts';
import { runCommand } from '../../../support/cli-command.ts';
import { temporaryFolders } from '../../../support/temporary-folder.ts';

const makeFolder = temporaryFolders();
let home: string;
beforeEach(async () => {
  home = await makeFolder();
});

const run = (configure: Configure, argv: readonly string[], env: Record<string, string> = {}) =>
  runCommand(configure, argv, { cwd: home, env: { HOME: home, ...env } });

/** Where a command would go. */
const address = (env: Record<string, string> = {}) =>
  daemonAddress(parseGlobal([]), { HOME: home, ...env });

/** As `docker context create` makes one. */
function dockerContext(name: string, host: string): void {
  const folder = join(
    home,
    '.docker/contexts/meta',
    createHash('sha256').update(name).digest('hex'),
  );
  mkdirSync(folder, { recursive: true });
  const meta = { Name: name, Metadata: {}, Endpoints: { docker: { Host: host } } };
  writeFileSync(join(folder, 'meta.json'), JSON.stringify(meta));
}

const certificates = (): string => {
  for (const name of ['ca', 'cert', 'key']) writeFileSync(join(home, name), `${name} of it`);
  return 'host=tcp://10.0.0.1:2376,ca=ca,cert=cert,key=key';
};

describe('skep context', () => {
  test('is created, used, shown and removed', async () => {
    expect(await run(create, ['prod', '--docker', 'host=ssh://root@10.0.0.1'])).toEqual({
      status: 0,
      stdout: 'prod\n',
      stderr: 'Successfully created context "prod"\n',
    });
    expect(address().host).toBe('unix:///run/skep/skep.sock');
    await run(use, ['prod']);
    expect(address()).toEqual({ host: 'ssh://root@10.0.0.1', tls: null });
    expect((await run(show, [])).stdout).toBe('prod\n');
    expect((await run(rm, ['prod'])).stderr).toContain('is in use, set -f');
    expect((await run(rm, ['-f', 'prod'])).stdout).toBe('prod\n');
    expect((await run(show, [])).stdout).toBe('default\n');
  });

  test('lists ours and docker’s, and marks the one in force', async () => {
    dockerContext('cloud', 'tcp://c:2375');
    await run(create, ['prod', '--docker', 'host=unix:///x', '--description', 'the live one']);
    await run(use, ['cloud']);
    const { stdout } = await run(ls, []);
    expect(stdout.split('\n').map((line) => line.split(/ {3,}/))).toEqual([
      ['NAME', 'DESCRIPTION', 'DOCKER ENDPOINT', 'ERROR'],
      ['default', 'unix:///run/skep/skep.sock', ''],
      ['cloud *', 'tcp://c:2375', ''],
      ['prod', 'the live one', 'unix:///x', ''],
      [''],
    ]);
    expect((await run(ls, ['-q'])).stdout).toBe('default\ncloud\nprod\n');
  });

  test('leaves docker’s alone', async () => {
    dockerContext('cloud', 'tcp://c:2375');
    for (const [configure, argv] of [
      [rm, ['cloud']],
      [update, ['cloud', '--description', 'x']],
    ] as const) {
      expect((await run(configure, argv)).stderr).toBe(
        'context "cloud" is docker\'s: use docker context\n',
      );
    }
  });

  test('keeps certificates, and gives them to TLS', async () => {
    await run(create, ['tls', '--docker', certificates()]);
    const { tls, host } = address({ SKEP_CONTEXT: 'tls' });
    expect([host, tls?.verify, readFileSync(tls!.key.path, 'utf8')]).toEqual([
      'tcp://10.0.0.1:2376',
      true,
      'key of it',
    ]);
    const { stdout } = await run(inspect, ['tls', '-f', '{{json .TLSMaterial}}']);
    expect(JSON.parse(stdout)).toEqual({ docker: ['ca.pem', 'cert.pem', 'key.pem'] });
  });

  test('comes back from a file as it was', async () => {
    await run(create, ['tls', '--docker', certificates(), '--description', 'd']);
    expect((await run(exportContext, ['tls'])).stderr).toBe('Written file "tls.dockercontext"\n');
    expect((await run(exportContext, ['tls'])).stderr).toContain('file already exists');
    await run(importContext, ['again', 'tls.dockercontext']);
    const there = address({ SKEP_CONTEXT: 'again' });
    expect(there.host).toBe('tcp://10.0.0.1:2376');
    expect(readFileSync(there.tls!.ca.path, 'utf8')).toBe('ca of it');
    writeFileSync(join(home, 'bad'), 'no tar at all'.repeat(100));
    expect((await run(importContext, ['bad', 'bad'])).stderr).toMatch(/^bad: (not a tar|no meta)/);
  });

  test('is changed in part', async () => {
    await run(create, ['tls', '--docker', certificates(), '--description', 'old']);
    await run(update, ['tls', '--description', 'new']);
    const { stdout } = await run(inspect, ['tls']);
    expect(JSON.parse(stdout)[0]).toMatchObject({
      Metadata: { Description: 'new' },
      Endpoints: { docker: { Host: 'tcp://10.0.0.1:2376' } },
      TLSMaterial: { docker: ['ca.pem', 'cert.pem', 'key.pem'] },
    });
    await run(update, ['tls', '--docker', 'host=unix:///x']);
    expect(address({ SKEP_CONTEXT: 'tls' })).toEqual({ host: 'unix:///x', tls: null });
  });

  test('keeps what other tools wrote of it', async () => {
    await run(create, ['prod', '--docker', certificates(), '--description', 'old']);
    const { stdout } = await run(inspect, ['prod', '-f', '{{.Storage.MetadataPath}}']);
    const path = join(stdout.trim(), 'meta.json');
    const meta = JSON.parse(readFileSync(path, 'utf8')) as Record<string, object>;
    const kubernetes = { Host: 'https://k' };
    writeFileSync(
      path,
      JSON.stringify({
        ...meta,
        Metadata: { ...meta['Metadata'], Team: 'web' },
        Endpoints: { ...meta['Endpoints'], kubernetes },
      }),
    );
    await run(update, ['prod', '--description', 'new', '--docker', 'host=unix:///x']);
    expect(JSON.parse((await run(inspect, ['prod'])).stdout)[0]).toMatchObject({
      Metadata: { Description: 'new', Team: 'web' },
      Endpoints: { docker: { Host: 'unix:///x' }, kubernetes },
    });
  });

  test('stays whole when a change of it cannot be written', async () => {
    await run(create, ['prod', '--docker', certificates()]);
    const { stdout } = await run(inspect, ['prod', '-f', '{{.Storage.MetadataPath}}']);
    mkdirSync(join(stdout.trim(), 'meta.json.new')); // in the way
    writeFileSync(join(home, 'key'), 'another key');
    const changed = await run(update, [
      'prod',
      '--docker',
      'host=tcp://10.0.0.2:2376,ca=ca,cert=cert,key=key',
    ]);
    expect([changed.status, changed.stderr]).toEqual([1, expect.stringContaining('meta.json.new')]);
    const { host, tls } = address({ SKEP_CONTEXT: 'prod' });
    expect([host, readFileSync(tls!.key.path, 'utf8')]).toEqual([
      'tcp://10.0.0.1:2376',
      'key of it',
    ]);
  });

  test('is left out of the list when it is damaged, and that is said', async () => {
    dockerContext('cloud', 'tcp://c:2375');
    dockerContext('bad', 'tcp://c:2375');
    const id = createHash('sha256').update('bad').digest('hex');
    writeFileSync(join(home, '.docker/contexts/meta', id, 'meta.json'), '{');
    expect(await run(ls, ['-q'])).toEqual({
      status: 0,
      stdout: 'default\ncloud\n',
      stderr: expect.stringMatching(/^read .*meta\.json: not the description of a context/),
    });
  });

  test('is copied from another', async () => {
    await run(create, ['aa', '--docker', 'host=unix:///x', '--description', 'd']);
    await run(create, ['bb', '--from', 'aa']);
    await run(create, ['cc', '--docker', 'from=aa']);
    expect((await run(ls, ['--format', '{{.Name}} {{.DockerEndpoint}}'])).stdout).toBe(
      'default unix:///run/skep/skep.sock\naa unix:///x\nbb unix:///x\ncc unix:///x\n',
    );
  });

  test.each([
    [['default', '--docker', 'host=unix:///x'], 'is a reserved context name'],
    [['../x', '--docker', 'host=unix:///x'], 'context name "../x" is invalid'],
    [['ab'], '--docker says which daemon it is'],
    [['ab', '--docker', 'host=ftp://x'], "unable to parse docker host 'ftp://x'"],
    [['ab', '--docker', 'hosts=x'], "unknown key 'hosts'"],
    [['ab', '--docker', 'ca=/none,host=tcp://x'], 'open /none: no such file'],
    [['ab', '--from', 'none'], 'context "none": context not found'],
  ])('create %j is refused, and makes nothing', async (argv, words) => {
    const { status, stderr } = await run(create, argv);
    expect([status, stderr]).toEqual([1, expect.stringContaining(words)]);
    expect((await run(ls, ['-q'])).stdout).toBe('default\n');
  });
});

describe('the daemon', () => {
  beforeEach(async () => {
    dockerContext('cloud', 'tcp://c:2375');
    await run(create, ['prod', '--docker', 'host=unix:///prod']);
    await run(use, ['prod']);
  });

  test.each([
    [{}, 'unix:///prod'],
    [{ DOCKER_CONTEXT: 'cloud' }, 'tcp://c:2375'],
    [{ DOCKER_HOST: 'unix:///d', DOCKER_CONTEXT: 'cloud' }, 'unix:///d'],
    [{ SKEP_CONTEXT: 'cloud', DOCKER_HOST: 'unix:///d' }, 'tcp://c:2375'],
    [{ SKEP_HOST: 'unix:///s', SKEP_CONTEXT: 'cloud' }, 'unix:///s'],
    [{ SKEP_CONTEXT: 'default', DOCKER_HOST: 'unix:///d' }, 'unix:///d'],
  ])('with %j is %s', (env, host) => {
    expect(address(env as Record<string, string>).host).toBe(host);
  });

  test('is not guessed when the context is not there', () => {
    expect(() => address({ SKEP_CONTEXT: 'gone' })).toThrow('context "gone": context not found');
  });

  test('cannot be named twice', () => {
    expect(() => parseGlobal(['-H', 'unix:///x', '--context', 'prod', 'ps'])).toThrow(
      'cannot specify both --host and --context',
    );
  });
});
