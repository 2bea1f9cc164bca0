// What a daemon's flags say of every container of its node: which runtime makes it, and whose ids its users are.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  clusterTestsCanRun,
  eventually,
  REPOSITORY,
  run,
  SKEP,
  succeeded,
} from '../support/cluster.ts';
import { buildBusyboxImage } from '../support/image-builder.ts';
import { programPath } from '../support/programs.ts';

const SKEPD = join(REPOSITORY, 'bin/skepd');
const hasCrun = programPath('crun') !== null;
/** With subordinate ids in a copy of /etc, and a network of its own: nothing of this machine changes. */
const WITHIN = `
  ip link set lo up && cp -a /etc "$1/etc" && mount --bind "$1/etc" /etc &&
  echo remapped:200000:65536 > /etc/subuid && cp /etc/subuid /etc/subgid && shift && exec "$@"`;

describe.skipIf(!clusterTestsCanRun || !hasCrun)(
  'a daemon with --userns-remap and --default-runtime',
  () => {
    let dir: string;
    let daemon: ChildProcess;
    let said = '';

    const skepd = (...flags: readonly string[]): string[] => [
      ...['unshare', '--mount', '--net', '--propagation', 'private', 'sh', '-c', WITHIN, 'sh', dir],
      ...[SKEPD, '--data-dir', join(dir, 'data'), '--cgroup-parent', `skep-rt-${process.pid}`],
      ...['-H', `unix://${join(dir, 'sock')}`, ...flags],
    ];
    const skep = async (...args: readonly string[]): Promise<string> =>
      succeeded(await run([SKEP, '-H', `unix://${join(dir, 'sock')}`, ...args])).stdout.trim();

    beforeAll(async () => {
      dir = mkdtempSync(join(tmpdir(), 'skep-flags-'));
      const image = join(dir, 'image.tar');
      buildBusyboxImage({ name: 'box:latest', outTar: image });
      const [program = '', ...args] = skepd(
        '--userns-remap',
        'remapped',
        '--default-runtime',
        'crun',
      );
      daemon = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      for (const stream of [daemon.stdout!, daemon.stderr!]) {
        stream.on('data', (chunk) => {
          said += String(chunk);
        });
      }
      await eventually('the daemon is ready', () => expect(said).toContain('daemon ready'), {
        withinMs: 30_000,
      });
      await skep('image', 'load', '-i', image);
    }, 60_000);

    afterAll(async () => {
      const ended = new Promise((resolve) => daemon.once('exit', resolve));
      daemon.kill('SIGTERM');
      await ended;
      rmSync(dir, { recursive: true, force: true });
    });

    const uidMap = async (...flags: readonly string[]): Promise<string[]> => {
      const words = [
        'run',
        '--rm',
        '--network',
        'none',
        ...flags,
        'box',
        'cat',
        '/proc/self/uid_map',
      ];
      return (await skep(...words)).split(/\s+/);
    };

    test('gives containers the subordinate ids, but for those that ask for none', async () => {
      expect(await uidMap('--runtime', 'native')).toEqual(['0', '200000', '65536']);
      expect(await uidMap('--runtime', 'native', '--userns', 'host')).toEqual([
        '0',
        '0',
        '4294967295',
      ]);
    });

    test('makes containers by the runtime that they do not name', async () => {
      expect(await skep('info', '--format', '{{.DefaultRuntime}}')).toBe('crun');
      expect(await uidMap('--userns', 'host')).toEqual(['0', '0', '4294967295']);
      const flags = ['--network', 'none', '--userns', 'host', '--name', 'one'];
      const id = await skep('container', 'create', ...flags, 'box', 'true');
      expect(await skep('inspect', '--format', '{{.HostConfig.Runtime}}', 'one')).toBe('crun');
      expect(existsSync(join(dir, 'data/tasks', id, 'config.json'))).toBe(true);
      await skep('rm', 'one');
      // What that cannot do is told by its name.
      const refused = await run([
        SKEP,
        '-H',
        `unix://${join(dir, 'sock')}`,
        'run',
        '--network',
        'none',
        'box',
      ]);
      expect(refused.stderr).toContain(
        'runtime crun: user namespaces are done by the native runtime only',
      );
    });

    test.each([
      [
        ['--default-runtime', 'nope'],
        "--default-runtime: specified default runtime 'nope' does not exist",
      ],
      [['--userns-remap', 'nobody-here'], '/etc/subuid has no ids for nobody-here'],
    ])('ends at once with flags that mean nothing: %j', async (flags, words) => {
      const other = mkdtempSync(join(tmpdir(), 'skep-flags-'));
      const argv = [
        SKEPD,
        '--data-dir',
        join(other, 'data'),
        '-H',
        `unix://${join(other, 'sock')}`,
      ];
      const ended = await run([...argv, ...flags], { limitMs: 20_000 });
      rmSync(other, { recursive: true, force: true });
      expect(ended.code).not.toBe(0);
      expect(ended.stdout + ended.stderr).toContain(words);
    });
  },
);
