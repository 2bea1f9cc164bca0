import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { pull, push } from '../../../../cli/commands/image.ts';
import { login, logout } from '../../../../cli/commands/login.ts';
import { create } from '../../../../cli/commands/service-create.ts';
import { update } from '../../../../cli/commands/service-update.ts';
import { parseRegistryAuth } from '../../../../common/model/registry-auth.ts';
import { runCommand } from '../../../support/cli-command.ts';

const ALICE = { username: 'alice', password: 'secret' };

let home: string;
let env: Record<string, string>;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'skep-login-'));
  env = { HOME: home };
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const configPath = (): string => join(home, '.docker/config.json');

function loggedIn(domain: string): void {
  mkdirSync(join(home, '.docker'), { recursive: true });
  const auth = Buffer.from('alice:secret').toString('base64');
  writeFileSync(configPath(), JSON.stringify({ auths: { [domain]: { auth } } }));
}

/** An engine that takes logins with Alice's password. */
const asked: object[] = [];
const engine = {
  login: async (credentials: { password: string }) => {
    asked.push(credentials);
    if (credentials.password === 'secret') return { Status: 'Login Succeeded' };
    throw new ApiError(401, 'log in to r:5000: unauthorized: authentication required');
  },
};

describe('login', () => {
  beforeEach(() => asked.splice(0));

  test('asks the registry, then keeps the password where docker does', async () => {
    const argv = ['-u', 'alice', '--password-stdin', 'https://r:5000/v2/'];
    const result = await runCommand(login, argv, { engine, env, stdin: 'secret\n' });
    expect(result).toEqual({
      status: 0,
      stdout: 'Login Succeeded\n',
      stderr: `WARNING! Your password will be stored unencrypted in ${configPath()}.\nConfigure a credential helper to remove this warning.\n`,
    });
    expect(asked).toEqual([{ ...ALICE, serveraddress: 'r:5000' }]);
    const auth = Buffer.from('alice:secret').toString('base64');
    expect(JSON.parse(readFileSync(configPath(), 'utf8'))).toEqual({
      auths: { 'r:5000': { auth } },
    });
  });

  test('keeps nothing that the registry refused', async () => {
    const argv = ['-u', 'alice', '-p', 'guess', 'r:5000'];
    const { status, stderr } = await runCommand(login, argv, { engine, env });
    expect(status).toBe(1);
    expect(stderr).toContain('unauthorized: authentication required');
    expect(() => readFileSync(configPath())).toThrow('ENOENT');
  });

  test.each([
    [['--password-stdin'], 'Must provide --username with --password-stdin'],
    [['-u', 'a', '-p', 'b', '--password-stdin'], 'mutually exclusive'],
    [[], 'Cannot perform an interactive login from a non TTY device'],
    [['-u', 'a', '--password-stdin'], 'Password required'],
  ])('%j is refused: %s', async (argv, words) => {
    const { status, stderr } = await runCommand(login, argv, { engine, env, stdin: '\n' });
    expect(status).toBe(1);
    expect(stderr).toContain(words);
    expect(asked).toEqual([]);
  });

  test('logout forgets', async () => {
    loggedIn('r:5000');
    const first = await runCommand(logout, ['r:5000'], { env });
    expect(first.stdout).toBe('Removing login credentials for r:5000\n');
    const second = await runCommand(logout, ['r:5000'], { env });
    expect(second).toEqual({ status: 0, stdout: 'Not logged in to r:5000\n', stderr: '' });
  });
});

describe('credentials of the one who is logged in', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const seen: (string | undefined)[] = [];
  const lines = async function* (_: string, __: string, auth?: string): AsyncGenerator<object> {
    seen.push(auth);
    yield { status: 'x' };
  };
  const known = {
    imagePull: lines,
    imagePush: lines,
    distribution: async (_: string, auth?: string) => {
      seen.push(auth);
      return { Descriptor: { digest } };
    },
    serviceCreate: async (_: object, options: { registryAuth?: string }) => {
      seen.push(options.registryAuth);
      return { ID: 'new' };
    },
    service: async () => ({
      ID: 's1',
      Version: { Index: 7 },
      Spec: { TaskTemplate: { ContainerSpec: { Image: `r:5000/web:1@${digest}` } } },
    }),
    serviceUpdate: async (
      _: string,
      __: number,
      ___: object,
      options: { registryAuth?: string },
    ) => {
      seen.push(options.registryAuth);
      return {};
    },
    info: async () => ({ Swarm: { ControlAvailable: true } }),
  };
  beforeEach(() => seen.splice(0));
  const credentials = (): unknown[] => seen.map((auth) => parseRegistryAuth(auth ?? null));

  test('go with pulls and pushes', async () => {
    loggedIn('r:5000');
    await runCommand(pull, ['r:5000/web:1'], { engine: known, env });
    await runCommand(push, ['r:5000/web:1'], { engine: known, env });
    await runCommand(pull, ['other:5000/web:1'], { engine: known, env });
    expect(credentials()).toEqual([ALICE, ALICE, null]);
  });

  test.each([
    ['service create', create, ['-d', 'r:5000/web:1']],
    ['service update', update, ['-d', '--image', 'r:5000/web:2', 'web']],
  ] as const)('go with %s when that is asked for', async (_, command, argv) => {
    loggedIn('r:5000');
    const without = await runCommand(command, argv, { engine: known, env });
    expect(without.status).toBe(0);
    expect(credentials()).toEqual([null, null]);
    seen.splice(0);
    await runCommand(command, ['--with-registry-auth', ...argv], { engine: known, env });
    expect(credentials()).toEqual([ALICE, ALICE]);
  });
});

describe('image push', () => {
  test.each([
    [['web'], 'web', 'latest', 'Using default tag: latest\n'],
    [['r:5000/web:2'], 'r:5000/web', '2', ''],
    [['-a', 'r:5000/web'], 'r:5000/web', null, ''],
  ])('%j', async (argv, repository, tag, begins) => {
    const calls: unknown[] = [];
    const engine = {
      imagePush: async function* (...call: unknown[]) {
        calls.push(call.slice(0, 2));
        yield { status: 'The push refers to repository [web]' };
        yield { id: 'abc', status: 'Preparing', progressDetail: {} };
        yield { id: 'abc', status: 'Pushing', progressDetail: { current: 1, total: 2 } };
        yield { id: 'abc', status: 'Pushing', progressDetail: { current: 2, total: 2 } };
        yield { id: 'abc', status: 'Pushed' };
        yield { progressDetail: {}, aux: { Tag: '1' } };
      },
    };
    const result = await runCommand(push, argv, { engine, env });
    expect(calls).toEqual([[repository, tag]]);
    expect(result).toEqual({
      status: 0,
      stdout: `${begins}The push refers to repository [web]\nabc: Preparing\nabc: Pushing\nabc: Pushed\n`,
      stderr: '',
    });
  });

  test('to the cluster asks no registry, and fails when a node has not got it', async () => {
    const engine = {
      imageDistribute: async function* (name: string) {
        yield { status: `Distributing ${name}` };
        yield { id: 'vega', status: 'Image is there' };
        yield { id: 'deneb', status: 'node is not ready' };
        yield { errorDetail: { message: 'distribute web: not on deneb' }, error: 'x' };
      },
    };
    const result = await runCommand(push, ['--cluster', 'web'], { engine, env });
    expect(result).toEqual({
      status: 1,
      stdout: 'Distributing web\nvega: Image is there\ndeneb: node is not ready\n',
      stderr: 'distribute web: not on deneb\n',
    });
  });

  test('fails with the words of the stream', async () => {
    const engine = {
      imagePush: async function* () {
        yield { errorDetail: { message: 'push web:1 to r: denied' }, error: 'x' };
      },
    };
    const result = await runCommand(push, ['r:5000/web:1'], { engine, env });
    expect(result).toMatchObject({ status: 1, stderr: 'push web:1 to r: denied\n' });
  });

  test.each([
    [['--cluster', '-a', 'web'], '--cluster takes one image, not --all-tags'],
    [['-a', 'web:1'], "tag can't be used with --all-tags/-a"],
    [[`web@sha256:${'a'.repeat(64)}`], 'cannot push a digest reference'],
  ])('%j is refused', async (argv, words) => {
    const result = await runCommand(push, argv, { env });
    expect(result).toMatchObject({ status: 1, stderr: `${words}\n` });
  });
});
