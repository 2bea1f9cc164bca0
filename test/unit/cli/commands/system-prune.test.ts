import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { save } from '../../../../cli/commands/image-save.ts';
import { create } from '../../../../cli/commands/run.ts';
import { systemPrune, volumePrune } from '../../../../cli/commands/system-prune.ts';
import { type FakeEngine, runCommand } from '../../../support/cli-command.ts';
import { temporaryFolders } from '../../../support/temporary-folder.ts';

const makeFolder = temporaryFolders();

function engine() {
  const calls: unknown[] = [];
  const note = (name: string, answer: object) => async (filters: object) => {
    calls.push([name, filters]);
    return answer;
  };
  const fake: FakeEngine = {
    containersPrune: note('containers', { ContainersDeleted: ['c1'] }),
    networksPrune: note('networks', { NetworksDeleted: null }),
    volumesPrune: note('volumes', { VolumesDeleted: ['v1', 'v2'] }),
    imagesPrune: note('images', {
      ImagesDeleted: [{ Untagged: 'x:1' }],
      SpaceReclaimed: 2_000_000,
    }),
  };
  return { fake, calls };
}

test('system prune removes containers before what they use', async () => {
  const { fake, calls } = engine();
  const argv = ['-f', '-a', '--volumes', '--filter', 'label=a'];
  const { stdout } = await runCommand(systemPrune, argv, { engine: fake });
  expect(stdout).toBe(
    'Deleted Containers:\nc1\n\nDeleted Volumes:\nv1\nv2\n\nDeleted Images:\nuntagged: x:1\n\nTotal reclaimed space: 2MB\n',
  );
  const label = ['a'];
  expect(calls).toEqual([
    ['containers', { label }],
    ['networks', { label }],
    ['volumes', { label }],
    ['images', { label, dangling: ['false'] }],
  ]);
});

test('system prune by age leaves volumes alone, and refuses to be asked for them', async () => {
  const { fake, calls } = engine();
  const argv = ['-f', '--filter', 'until=1h'];
  await runCommand(systemPrune, argv, { engine: fake });
  const until = ['1h'];
  const byAge = [
    ['containers', { until }],
    ['networks', { until }],
    ['images', { until, dangling: ['true'] }],
  ];
  expect(calls).toEqual(byAge);
  const refused = await runCommand(systemPrune, [...argv, '--volumes'], { engine: fake });
  expect(refused).toEqual({
    status: 1,
    stdout: '',
    stderr: 'The "until" filter is not supported with "--volumes"\n',
  });
  expect(calls).toEqual(byAge);
});

test('prune asks, and takes no answer for a no', async () => {
  const { fake, calls } = engine();
  for (const configure of [systemPrune, volumePrune]) {
    await runCommand(configure, [], { engine: fake, stdin: '\n' });
  }
  expect(calls).toEqual([]);
  await runCommand(volumePrune, ['-a'], { engine: fake, stdin: 'y\n' });
  expect(calls).toEqual([['volumes', { all: ['true'] }]]);
});

test('image save writes the daemon’s tar', async () => {
  const fake: FakeEngine = { imagesSave: async (names: string[]) => Readable.from([names.join()]) };
  expect((await runCommand(save, ['a', 'b:1'], { engine: fake })).stdout).toBe('a,b:1');
  const terminal = { columns: 80, rows: 24 };
  expect((await runCommand(save, ['a'], { engine: fake, terminal })).stderr).toContain('-o flag');
});

test('labels of files come before those of flags', async () => {
  const cwd = await makeFolder();
  writeFileSync(join(cwd, 'labels'), '# comment\na=1\n\nb=2\n');
  const asked: object[] = [];
  const fake: FakeEngine = {
    containerCreate: async (_: string, request: object) => {
      asked.push(request);
      return { Id: 'ID' };
    },
  };
  const argv = ['--label-file', 'labels', '-l', 'a=3', '--cpu-quota', '5000', 'box'];
  await runCommand(create, argv, { engine: fake, cwd });
  expect(asked).toMatchObject([{ Labels: { a: '3', b: '2' }, HostConfig: { CpuQuota: 5000 } }]);
});
