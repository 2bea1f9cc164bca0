import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { history, importImage, prune, verify } from '../../../../cli/commands/image-more.ts';
import { df } from '../../../../cli/commands/system-df.ts';
import { runCommand } from '../../../support/cli-command.ts';
import { InstantClock } from '../../../support/instant-clock.ts';

const ID = `sha256:${'a1'.repeat(32)}`;

describe('image history', () => {
  const step = { Created: Date.UTC(2026, 0, 15, 10) / 1000, Comment: 'c', Size: 0 };
  const engine = {
    imageHistory: async (name: string) => {
      expect(name).toBe('web:1');
      return [
        { ...step, Id: ID, CreatedBy: 'CMD ["httpd"]' },
        {
          ...step,
          Id: '<missing>',
          CreatedBy: 'COPY a very long line of a Dockerfile to somewhere',
          Size: 1_500_000,
        },
      ];
    },
  };

  test('shows each step, the newest first', async () => {
    const { stdout } = await runCommand(history, ['web:1'], { engine });
    expect(stdout.split('\n').map((line) => line.trimEnd())).toEqual([
      'IMAGE          CREATED       CREATED BY                                      SIZE      COMMENT',
      'a1a1a1a1a1a1   2 hours ago   CMD ["httpd"]                                   0B        c',
      '<missing>      2 hours ago   COPY a very long line of a Dockerfile to som…   1.5MB     c',
      '',
    ]);
  });

  test('shows everything with --no-trunc, ids alone with -q', async () => {
    const full = await runCommand(history, ['--no-trunc', '--no-human', 'web:1'], { engine });
    expect(full.stdout).toContain(ID);
    expect(full.stdout).toContain('Dockerfile to somewhere');
    expect(full.stdout).toContain('1500000');
    const ids = await runCommand(history, ['-q', 'web:1'], { engine });
    expect(ids.stdout).toBe('a1a1a1a1a1a1\n<missing>\n');
  });
});

describe('image import', () => {
  test('sends the file, with name, message and changes', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'skep-import-'));
    try {
      writeFileSync(join(dir, 'fs.tar'), 'the tar');
      const calls: unknown[] = [];
      const engine = {
        imageImport: async function* (tar: Readable, options: object) {
          const chunks = await tar.toArray();
          calls.push([Buffer.concat(chunks as Buffer[]).toString(), options]);
          yield { status: ID };
        },
      };
      const argv = ['-m', 'why', '-c', 'CMD /x', '-c', 'ENV A=1', 'fs.tar', 'r:5000/web:2'];
      const result = await runCommand(importImage, argv, { engine, cwd: dir });
      expect(result).toEqual({ status: 0, stdout: `${ID}\n`, stderr: '' });
      const options = { source: '-', repository: 'r:5000/web', tag: '2', message: 'why' };
      expect(calls).toEqual([['the tar', { ...options, changes: ['CMD /x', 'ENV A=1'] }]]);
      await runCommand(importImage, ['http://x/fs.tar'], { engine });
      const unnamed = { repository: '', tag: '', message: '', changes: [] };
      expect(calls[1]).toEqual(['', { source: 'http://x/fs.tar', ...unnamed }]);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});

describe('image prune', () => {
  const calls: unknown[] = [];
  const engine = {
    imagesPrune: async (filters: object) => {
      calls.push(filters);
      return { ImagesDeleted: [{ Untagged: 'web:1' }, { Deleted: ID }], SpaceReclaimed: 2_000_000 };
    },
  };

  test('asks before, unless it is told not to', async () => {
    calls.splice(0);
    const no = await runCommand(prune, [], { engine, stdin: 'n\n' });
    expect(no.stderr).toContain('This will remove all dangling images.');
    expect(calls).toEqual([]);
    const yes = await runCommand(prune, ['-a', '--filter', 'until=24h'], { engine, stdin: 'y\n' });
    expect(yes.stderr).toContain('all images without at least one container');
    expect(yes.stdout).toBe(
      `Deleted Images:\nuntagged: web:1\ndeleted: ${ID}\n\nTotal reclaimed space: 2MB\n`,
    );
    await runCommand(prune, ['-f'], { engine });
    expect(calls).toEqual([{ until: ['24h'], dangling: ['false'] }, { dangling: ['true'] }]);
  });
});

describe('image verify', () => {
  test('tells of each image, and fails when something is damaged', async () => {
    const lines = [
      { id: 'a', status: 'ok' },
      { id: 'b', status: 'blob x is missing' },
    ];
    const engine = {
      imagesVerify: async function* () {
        yield* lines;
        yield { errorDetail: { message: 'verify images: 1 problems' } };
      },
    };
    expect(await runCommand(verify, [], { engine })).toEqual({
      status: 1,
      stdout: 'a: ok\nb: blob x is missing\n',
      stderr: 'verify images: 1 problems\n',
    });
  });
});

describe('system df', () => {
  const image = { Id: ID, RepoTags: ['web:1'], Created: 0, Size: 300, SharedSize: 100 };
  const container = {
    ...{ Id: 'c1'.repeat(32), Names: ['/web'], Image: 'web:1', Command: 'httpd -f' },
    ...{ Created: 0, Status: 'Up 3 hours' },
  };
  const engine = {
    diskUsage: async () => ({
      LayersSize: 1000,
      Images: [
        { ...image, Containers: 1 },
        { ...image, RepoTags: [], Containers: 0 },
      ],
      Containers: [
        { ...container, State: 'running', SizeRw: 600 },
        { ...container, State: 'exited', SizeRw: 400, Names: ['/gone'] },
        { ...container, State: 'paused' },
      ],
      Volumes: [
        { Name: 'used', UsageData: { Size: 700, RefCount: 2 } },
        { Name: 'free', UsageData: { Size: 300, RefCount: 0 } },
      ],
    }),
  };

  test('sums up, and says what could go', async () => {
    const { stdout } = await runCommand(df, [], { engine });
    expect(stdout.split('\n').map((line) => line.trimEnd().split(/\s{2,}/))).toEqual([
      ['TYPE', 'TOTAL', 'ACTIVE', 'SIZE', 'RECLAIMABLE'],
      ['Images', '2', '1', '1kB', '200B (20%)'],
      ['Containers', '3', '2', '1kB', '400B (40%)'],
      ['Local Volumes', '2', '1', '1kB', '300B (30%)'],
      ['Build Cache', '0', '0', '0B', '0B'],
      [''],
    ]);
  });

  test('lists each image, container and volume when asked to', async () => {
    const clock = new InstantClock(Date.UTC(1970, 0, 1, 3));
    const { stdout } = await runCommand(df, ['-v'], { engine, clock });
    expect(stdout).toMatch(/web +1 +a1a1a1a1a1a1 +3 hours ago +300B +100B +200B +1\n/);
    expect(stdout).toMatch(/<none> +<none> /);
    expect(stdout).toMatch(/used +2 +700B\n/);
    expect(stdout).toMatch(
      /c1c1c1c1c1c1 +web:1 +"httpd -f" +0 +400B +3 hours ago +Up 3 hours +gone\n/,
    );
  });
});
