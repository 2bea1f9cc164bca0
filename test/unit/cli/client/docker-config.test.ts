import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DockerConfig } from '../../../../cli/client/docker-config.ts';

const ALICE = { username: 'alice', password: 's:ecret' };
const base64 = (text: string): string => Buffer.from(text).toString('base64');

let dir: string;
let config: DockerConfig;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'skep-docker-config-'));
  config = new DockerConfig({ HOME: dir, PATH: `${dir}:${process.env['PATH']}` });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function write(value: object): void {
  mkdirSync(join(dir, '.docker'), { recursive: true });
  writeFileSync(config.path, JSON.stringify(value));
}
const read = (): Record<string, unknown> => JSON.parse(readFileSync(config.path, 'utf8'));

/** A credential helper that keeps what it is given in one file. */
function installHelper(name: string): string {
  const kept = join(dir, `${name}.kept`);
  const program = join(dir, `docker-credential-${name}`);
  writeFileSync(
    program,
    `#!/bin/sh
case $1 in
  store) cat > ${kept} ;;
  get) test -e ${kept} && cat ${kept} || { echo 'credentials not found in native keychain'; exit 1; } ;;
  erase) rm -f ${kept} ;;
esac
`,
  );
  chmodSync(program, 0o755);
  return kept;
}

describe('docker config', () => {
  test('lies in $DOCKER_CONFIG, else in $HOME/.docker', () => {
    expect(config.path).toBe(join(dir, '.docker/config.json'));
    expect(new DockerConfig({ HOME: '/h', DOCKER_CONFIG: '/d' }).path).toBe('/d/config.json');
  });

  test('knows nobody before the first login', async () => {
    expect(await config.get('r:5000')).toBeNull();
    expect(await config.remove('r:5000')).toBe(false);
  });

  test('keeps credentials as docker does, for the owner alone, and all other keys', async () => {
    write({ HttpHeaders: { a: 'b' }, auths: { other: { auth: 'eDp5' } } });
    expect(await config.set('r:5000', ALICE)).toBe(false);
    expect(read()).toEqual({
      HttpHeaders: { a: 'b' },
      auths: { other: { auth: 'eDp5' }, 'r:5000': { auth: base64('alice:s:ecret') } },
    });
    expect(statSync(config.path).mode & 0o777).toBe(0o600);
    expect(await config.get('r:5000')).toEqual(ALICE);
    expect(await config.get('other')).toEqual({ username: 'x', password: 'y' });
    expect(await config.remove('r:5000')).toBe(true);
    expect(read()['auths']).toEqual({ other: { auth: 'eDp5' } });
  });

  test('finds the hub under its old address, and entries that are URLs', async () => {
    const auth = base64('alice:s:ecret');
    write({ auths: { 'https://index.docker.io/v1/': { auth }, 'https://r:5000/v2/': { auth } } });
    expect(await config.get('docker.io')).toEqual(ALICE);
    expect(await config.get('r:5000')).toEqual(ALICE);
    expect(await config.get('r:5001')).toBeNull();
  });

  test('reads tokens that stand for users', async () => {
    write({ auths: { r: { auth: base64('alice:'), identitytoken: 'token' } } });
    expect(await config.get('r')).toEqual({
      username: 'alice',
      password: '',
      identityToken: 'token',
    });
  });

  test.each([
    ['of the registry', { credHelpers: { 'r:5000': 'test' } }],
    ['of all registries', { credsStore: 'test' }],
  ])('gives passwords to the helper %s and keeps none', async (_, settings) => {
    const kept = installHelper('test');
    write(settings);
    expect(await config.get('r:5000')).toBeNull();
    expect(await config.set('r:5000', ALICE)).toBe(true);
    expect(JSON.parse(readFileSync(kept, 'utf8'))).toEqual({
      ServerURL: 'r:5000',
      Username: 'alice',
      Secret: 's:ecret',
    });
    expect(read()).toEqual({ ...settings, auths: { 'r:5000': {} } });
    expect(await config.get('r:5000')).toEqual(ALICE);
    expect(await config.remove('r:5000')).toBe(true);
    expect(existsSync(kept)).toBe(false);
  });

  test('a helper that is not installed is named', async () => {
    write({ credsStore: 'absent' });
    await expect(config.get('r')).rejects.toThrow('run docker-credential-absent');
    write({ credsStore: '../../bin/sh' });
    await expect(config.get('r')).rejects.toThrow('malformed name');
  });

  test('a file that is damaged is named, and not quoted', async () => {
    mkdirSync(join(dir, '.docker'));
    writeFileSync(config.path, '{"auths":{"r":{"auth":"c2VjcmV0"');
    const err = await config.get('r').catch((e: unknown) => e as Error);
    expect(String(err)).toContain(`read ${config.path}: not JSON`);
    expect(String(err)).not.toContain('c2Vj');
  });
});
