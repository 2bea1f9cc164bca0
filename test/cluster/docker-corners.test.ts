// What a person runs into once in a while, with the real docker command: a terminal that is left by keys, an image for
// another processor, volumes that are not filled, filled in part, moved, or cannot be mounted.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { getXattr, setXattr } from '../../native/ffi/fs.ts';
import { encodeTarHeader, tarTrailer } from '../../worker/images/tar-writer.ts';
import { clusterTestsCanRun, eventually, REPOSITORY, run, succeeded } from '../support/cluster.ts';
import { useCluster } from '../support/use-cluster.ts';

const hasDocker = spawnSync('docker', ['--version']).status === 0;
const title = hasDocker
  ? 'keys, processors and volumes'
  : 'keys, processors and volumes (skipped: docker is not installed)';
const SOON = { withinMs: 15_000 };
const HOST = process.arch === 'x64' ? 'amd64' : process.arch;
const OTHER = HOST === 's390x' ? 'arm64' : 's390x';
/** The head of a program of no processor's (ELF machine 1 is AT&T's WE 32100). */
const FOREIGN_ELF = Buffer.alloc(64);
Buffer.from('7f454c4602010100', 'hex').copy(FOREIGN_ELF);
FOREIGN_ELF.writeUInt16LE(2, 16); // ET_EXEC
FOREIGN_ELF.writeUInt16LE(1, 18);
const CTRL_P_CTRL_Q = '1011';

describe.skipIf(!clusterTestsCanRun || !hasDocker)(title, { timeout: 60_000 }, () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'skep-test-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const shared = useCluster('corners', { managers: 1, workers: 0 }, async (cluster) => {
    await cluster.image({
      name: 'box:latest',
      cmd: ['sleep', '1000'],
      files: { 'srv/page': 'of the image', 'srv/sub/part': 'of the image' },
    });
    await cluster.image({
      name: 'foreign:latest',
      architecture: OTHER,
      files: { foreign: { content: FOREIGN_ELF, mode: 0o755 } },
      cmd: ['/foreign'],
    });
  });
  afterEach(async () => {
    const ids = (await docker('ps', '-aq', '--filter', 'is-task=false')).split('\n');
    const left = ids.filter((id) => id !== '');
    if (left.length > 0) await docker('rm', '-f', ...left);
    const volumes = (await docker('volume', 'ls', '-q')).split('\n').filter((name) => name !== '');
    if (volumes.length > 0) await docker('volume', 'rm', ...volumes);
  });

  const environment = () => ({
    DOCKER_HOST: `unix://${shared.current.hosts[0]!.socket}`,
    DOCKER_CONFIG: dir,
  });
  const tryDocker = (args: readonly string[]) =>
    run(['docker', ...args], { limitMs: 30_000, env: environment() });
  const docker = async (...args: readonly string[]): Promise<string> =>
    succeeded(await tryDocker(args)).stdout.trim();
  const status = (name: string) => docker('inspect', '-f', '{{.State.Status}}', name);
  /** @param typed pairs of what is waited for and the keys that are then pressed, in hexadecimal */
  const onTerminal = (
    typed: readonly (readonly [string, string])[],
    ...args: readonly string[]
  ) => {
    const script = join(REPOSITORY, 'test/support/docker-pty.py');
    const when = typed.flatMap(([word, keys]) => ['--when', word, keys]);
    const command = ['python3', script, ...when, '24', '80', 'docker', ...args];
    return run(command, { limitMs: 30_000, env: environment() });
  };

  describe('the keys for leaving a terminal', () => {
    const TICK = ['box', 'sh', '-c', 'while :; do echo tick; sleep 0.2; done'];

    test('leave what was run, and what was attached to, as it is', async () => {
      const left = await onTerminal(
        [['tick', CTRL_P_CTRL_Q]],
        'run',
        '-it',
        '--name',
        'left',
        ...TICK,
      );
      expect(left).toMatchObject({ code: 0, stdout: expect.stringContaining('tick') });
      expect(await status('left')).toBe('running');
      const again = await onTerminal([['tick', CTRL_P_CTRL_Q]], 'attach', 'left');
      expect(again.stdout).toContain('read escape sequence');
      expect(await status('left')).toBe('running');
    });

    test('are those that are asked for, and no others then', async () => {
      await docker('run', '-dit', '--name', 'left', ...TICK);
      const keys = [
        ['tick', CTRL_P_CTRL_Q],
        ['tick', '0164'], // ctrl-a, d
      ] as const;
      const left = await onTerminal(keys, 'attach', '--detach-keys', 'ctrl-a,d', 'left');
      expect(left.stdout).toContain('read escape sequence');
      expect(await status('left')).toBe('running');
      const wrong = await onTerminal([], 'attach', '--detach-keys', 'ctrl-', 'left');
      expect(wrong.code).not.toBe(0);
      expect(wrong.stdout).toContain('received 400');
    });

    test('leave an exec, which ends with its next word, and its container, which does not', async () => {
      await docker('run', '-d', '--name', 'left', 'box');
      const exec = ['exec', '-it', 'left', 'sh', '-c', 'while :; do echo ready; sleep 0.2; done'];
      const left = await onTerminal([['ready', CTRL_P_CTRL_Q]], ...exec);
      expect(left.stdout).toContain('read escape sequence');
      expect(await status('left')).toBe('running');
      await eventually(
        'the exec has ended',
        async () => expect(await docker('top', 'left')).not.toContain('echo ready'),
        SOON,
      );
    });
  });

  describe('an image for another processor', () => {
    const WORDS = `exec format error: the image is for linux/${OTHER}, this node is linux/${HOST}`;

    test('is told with both when its command is run, and nothing is left', async () => {
      const result = await tryDocker(['run', '--rm', 'foreign']);
      expect(result.code).toBe(125); // docker's own for what it has no words for
      expect(result.stderr).toContain(WORDS);
      await eventually('it is gone', async () => expect(await docker('ps', '-aq')).toBe(''), SOON);
    });

    test('runs all the same where its command can be', async () => {
      expect(await docker('run', '--rm', 'foreign', 'echo', 'here')).toBe('here');
    });

    test('is told with both by the task of a service', async () => {
      const flags = ['--detach', '--no-resolve-image', '--restart-condition', 'none'];
      await docker('service', 'create', ...flags, '--name', 'svc', 'foreign');
      await eventually(
        'its task has failed',
        async () =>
          expect((await shared.current.tasks('svc'))[0]).toMatchObject({
            current: 'Failed',
            error: expect.stringContaining(WORDS),
          }),
        SOON,
      );
      await docker('service', 'rm', 'svc');
    });
  });

  describe('a volume', () => {
    const list = (...flags: string[]) =>
      docker('run', '--rm', ...flags, 'box', 'sh', '-c', 'cd /srv; find . -type f | sort | xargs');

    test('has what the image has there, once, unless it is not to be copied', async () => {
      expect(await list('-v', 'filled:/srv')).toBe('./page ./sub/part');
      expect(await list('-v', 'empty:/srv:nocopy')).toBe('');
      const words = 'echo other > /srv/page; rm /srv/sub/part';
      await docker('run', '--rm', '-v', 'filled:/srv', 'box', 'sh', '-c', words);
      expect(await list('-v', 'filled:/srv')).toBe('./page');
    });

    test('hides what the image has there when it has content; a bind does so always, and is made for -v alone', async () => {
      await docker('run', '--rm', '-v', 'own:/d', 'box', 'touch', '/d/own');
      expect(await list('-v', 'own:/srv')).toBe('./own');
      const folder = join(dir, 'made/for/it');
      const mount = `type=bind,source=${folder},target=/srv`;
      const refused = await tryDocker(['run', '--rm', '--mount', mount, 'box', 'true']);
      expect(refused.stderr).toContain(`bind source path does not exist: ${folder}`);
      expect(existsSync(folder)).toBe(false);
      expect(await list('-v', `${folder}:/srv`)).toBe('');
      expect(readdirSync(folder)).toEqual([]);
      expect(await list('--mount', mount)).toBe('');
    });

    test('is mounted in part, and a part that is not there is named', async () => {
      await list('-v', 'filled:/srv');
      const part = (name: string) =>
        `type=volume,source=filled,target=/part,volume-subpath=${name}`;
      const read = ['run', '--rm', '--mount', part('sub'), 'box', 'ls', '/part'];
      expect(await docker(...read)).toBe('part');
      const missing = await tryDocker(['run', '--rm', '--mount', part('none'), 'box', 'true']);
      expect(missing.code).not.toBe(0);
      expect(missing.stderr).toContain('none');
      const outside = await tryDocker(['run', '--rm', '--mount', part('../..'), 'box', 'true']);
      expect(outside.code).toBe(125);
      expect(outside.stderr).toContain('../..');
    });

    test('moves in an archive that containers write and read, with modes, owners and links', async () => {
      const make = 'mkdir -m 1770 d; echo x > d/f; chown 7:8 d/f; chmod 4750 d/f; ln -s /gone d/l';
      const backup = join(dir, 'backup');
      mkdirSync(backup);
      const box = (volume: string, words: string) => {
        const mounts = ['-v', `${volume}:/d`, '-v', `${backup}:/b`, '-w', '/d'];
        return docker('run', '--rm', ...mounts, 'box', 'sh', '-ec', words);
      };
      const look =
        'find . -exec stat -c "%n %A %u:%g %s" {} + | sort; stat -c %Y d/f; cat d/f; readlink d/l';
      await box('moved', `${make}; touch -h -d @1000000000 d/f; tar cf /b/moved.tar .`);
      const before = await box('moved', look);
      expect(before).toContain('./d/f -rwsr-x--- 7:8 2\n');
      await docker('volume', 'rm', 'moved');
      expect(await docker('volume', 'ls', '-q')).not.toContain('moved');
      await box('elsewhere', 'tar xpf /b/moved.tar');
      expect(await box('elsewhere', look)).toBe(before);
    });

    test('is written out and filled again by skep, as its containers have it', async () => {
      const skep = (...args: string[]) => shared.current.skep(args);
      const file = join(dir, 'volume.tar');
      const pathOf = (name: string) => docker('volume', 'inspect', '-f', '{{.Mountpoint}}', name);
      const within = (volume: string, words: string) =>
        docker('run', '--rm', '-v', `${volume}:/d`, '-w', '/d', 'box', 'sh', '-ec', words);
      const make =
        'mkdir -m 1770 d; echo x > d/f; ln d/f d/same; mkfifo p; ln -s /gone d/l; chown -R 7:8 d; chmod 4750 d/f; ' +
        'touch -h -d @1000000000 d/f d/l d p; chown 9:10 .; chmod 700 .; touch -d @1100000000 .';
      const look =
        'find . -exec stat -c "%n %A %u:%g %h %Y" {} + | sort; cat d/same; readlink d/l; [ d/f -ef d/same ] && echo one';
      await within('from', make);
      const own = join(await pathOf('from'), 'd/f');
      setXattr(own, 'user.who', Buffer.from('me'));
      const before = await within('from', look);
      expect(before).toContain('. drwx------ 9:10 3 1100000000\n');
      expect(before).toContain('./d/f -rwsr-x--- 7:8 2 1000000000\n');
      expect(before).toMatch(/one$/);
      await skep('volume', 'export', '-o', file, 'from');
      expect(await skep('volume', 'import', 'to', file)).toBe('to\n');
      expect(await within('to', look)).toBe(before);
      expect(getXattr(join(await pathOf('to'), 'd/f'), 'user.who')?.toString()).toBe('me');

      const full = await shared.current.try(['volume', 'import', 'to', file]);
      expect(full.code).toBe(1);
      expect(full.stderr).toContain('import volume to: it is not empty');
      await within('to', 'rm d/f; echo own > mine');
      await skep('volume', 'import', '--force', 'to', file);
      expect(await within('to', 'cat d/f mine')).toBe('x\nown');

      // What is no archive makes no volume, and what climbs stays inside.
      const junk = join(dir, 'junk.tar');
      writeFileSync(junk, 'x'.repeat(2000));
      const bad = await shared.current.try(['volume', 'import', 'new', junk]);
      expect(bad.code).toBe(1);
      expect(await docker('volume', 'ls', '-q')).not.toContain('new');
      writeFileSync(
        junk,
        Buffer.concat([
          encodeTarHeader({ name: '../../climbed', kind: 'file', mode: 0o644 }),
          tarTrailer(),
        ]),
      );
      await skep('volume', 'import', 'new', junk);
      expect(readdirSync(await pathOf('new'))).toEqual(['climbed']);
      const none = await shared.current.try(['volume', 'export', '-o', file, 'none']);
      expect(none.stderr).toContain('get none: no such volume');
    });

    test('that a container has, running or not, is not removed', async () => {
      await docker('run', '-d', '--name', 'user', '-v', 'used:/d', 'box');
      for (const state of ['running', 'exited']) {
        expect(await status('user')).toBe(state);
        const refused = await tryDocker(['volume', 'rm', 'used']);
        expect(refused.code, state).toBe(1);
        expect(refused.stderr, state).toContain('volume is in use');
        await docker('stop', '-t', '0', 'user');
      }
      await docker('rm', 'user');
      await docker('volume', 'rm', 'used');
    });

    test('of a server that is not there is told with the mount that failed, and nothing is left', async () => {
      const options = ['type=nfs', 'device=:/x', 'o=addr=127.0.0.1,vers=4,soft,retrans=1,timeo=5'];
      await docker('volume', 'create', ...options.flatMap((one) => ['-o', one]), 'away');
      const result = await tryDocker(['run', '--rm', '-v', 'away:/x', 'box', 'true']);
      expect(result.code).toBe(125);
      expect(result.stderr).toContain('failed to mount local volume');
      expect(await docker('ps', '-aq')).toBe('');
    });
  });
});
