import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseDockerd } from '../../../daemon/dockerd-options.ts';
import { writePidFile } from '../../../daemon/pid-file.ts';

const noGroup = async (): Promise<boolean> => false;
const parse = (...args: string[]) => parseDockerd(args, '0', {}, noGroup);

describe('started as dockerd', () => {
  test('is where dockerd is', async () => {
    expect(await parse()).toMatchObject({
      kind: 'serve',
      pidFile: null,
      options: { hosts: [{ kind: 'unix', path: '/var/run/docker.sock' }], logLevel: 'info' },
    });
  });

  test('takes the flags of dockerd', async () => {
    const invocation = await parse(
      ...['-H', 'unix:///a.sock', '--host=tcp://10.0.0.1:2376', '--data-root', '/d'],
      ...['--exec-root', '/e', '--pidfile', '/p', '--swarm-default-advertise-addr', '10.0.0.1'],
      ...['--debug', '--label', 'a=b', '--insecure-registry', 'r:5000', '-G', 'ops'],
      ...['--tlsverify', '--tlscacert', '/ca', '--tlscert', '/c', '--tlskey', '/k'],
    );
    const tls = { kind: 'tls', certPath: '/c', keyPath: '/k', clientCaPath: '/ca' };
    expect(invocation).toMatchObject({
      pidFile: '/p',
      options: {
        hosts: [
          { kind: 'unix', path: '/a.sock' },
          { kind: 'tcp', host: '10.0.0.1', port: 2376, security: tls },
        ],
        dataDir: '/d',
        advertiseAddress: '10.0.0.1',
        logLevel: 'debug',
        labels: { a: 'b' },
        registries: { insecureRegistries: ['r:5000'] },
        group: 'ops',
      },
    });
  });

  test.each([
    [['--debug=true'], 'debug'],
    [['--debug=T', '-l', 'warn'], 'debug'],
    [['-D', '--tls=false'], 'debug'],
    [['--debug=false', '-l', 'warn'], 'warn'],
    [['--debug=0'], 'info'],
    [['-Dl', 'warn'], 'debug'],
  ])('takes switches as Go does: %j', async (args, logLevel) => {
    expect(await parse(...args)).toMatchObject({ options: { logLevel } });
  });

  test('gives its socket to the group docker where there is one and none is named', async () => {
    const asked: string[] = [];
    const hasGroup = async (name: string): Promise<boolean> => asked.push(name) > 0;
    const parseThere = (...args: string[]) => parseDockerd(args, '0', {}, hasGroup);
    expect(await parseThere()).toMatchObject({ options: { group: 'docker' } });
    expect(await parseThere('--group', 'ops')).toMatchObject({ options: { group: 'ops' } });
    expect(await parse()).toMatchObject({ options: { group: '' } });
    expect(asked).toEqual(['docker']);
  });

  test.each([
    [{ DOCKER_CERT_PATH: '/certs', DOCKER_CONFIG: '/config' }, '/certs'],
    [{ DOCKER_CERT_PATH: '', DOCKER_CONFIG: '/config' }, '/config'],
    [{}, join(homedir(), '.docker')],
  ])('has its files of TLS where dockerd has them with %j', async (env, folder) => {
    const args = ['-H', 'tcp://10.0.0.1', '--tlsverify', '--tlskey', '/k'];
    const security = {
      ...{ kind: 'tls', keyPath: '/k' },
      ...{ certPath: join(folder, 'cert.pem'), clientCaPath: join(folder, 'ca.pem') },
    };
    expect(await parseDockerd(args, '0', env, noGroup)).toMatchObject({
      options: { hosts: [{ security }] },
    });
  });

  test.each([
    ['warn', 'warn'],
    ['fatal', 'error'],
  ])('has the log level %s as %s', async (level, ours) => {
    expect(await parse('-l', level)).toMatchObject({ options: { logLevel: ours } });
  });

  test.each([['--storage-driver=overlay2'], ['--userland-proxy=false'], ['operand']])(
    'refuses %s, which it does not know',
    async (flag) => {
      const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
      const exit = vi.spyOn(process, 'exit').mockImplementation((code) => {
        throw new Error(`exit ${code}`);
      });
      try {
        await expect(parse(flag)).rejects.toThrow('exit 1');
        expect(String(said.mock.calls[0]![0])).toMatch(/unknown option|too many arguments/);
      } finally {
        said.mockRestore();
        exit.mockRestore();
      }
    },
  );
});

describe('a pid file', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'skep-pid-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  test('holds the number of the process, and goes with it', async () => {
    const path = join(dir, 'run/skep.pid');
    const remove = await writePidFile(path, 4321);
    expect(await readFile(path, 'utf8')).toBe('4321');
    await remove();
    await expect(readFile(path)).rejects.toThrow('ENOENT');
  });

  test('of a process that is gone is taken over, of one that runs is not', async () => {
    const path = join(dir, 'skep.pid');
    await writeFile(path, String(2 ** 22 + 1)); // above the largest number of a process
    await writePidFile(path, process.pid);
    await expect(writePidFile(path, 1)).rejects.toMatchObject({ code: 'conflict' });
    expect(await readFile(path, 'utf8')).toBe(String(process.pid));
  });
});
