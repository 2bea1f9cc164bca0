import { expect, test } from 'vitest';
import { ls } from '../../../../cli/commands/image.ts';
import { runCommand } from '../../../support/cli-command.ts';

const DIGEST = `sha256:${'d'.repeat(64)}`;

test('an image that has digests alone shows the repositories that they are of', async () => {
  const common = { Created: Date.UTC(2026, 0, 15, 10) / 1000, Size: 5, Labels: {} };
  const engine = {
    images: async () => [
      {
        ...{ ...common, Id: `sha256:${'a1'.repeat(32)}`, RepoTags: [] },
        RepoDigests: [`r.example:5000/web@${DIGEST}`],
      },
      { ...common, Id: `sha256:${'b2'.repeat(32)}`, RepoTags: [], RepoDigests: [] },
    ],
  };
  const { stdout } = await runCommand(ls, ['--digests'], { engine });
  const cells = stdout.split('\n').map((line) => line.split(/ {2,}/).slice(0, 4));
  expect(cells.slice(1, 3)).toEqual([
    ['r.example:5000/web', '<none>', DIGEST, 'a1a1a1a1a1a1'],
    ['<none>', '<none>', '<none>', 'b2b2b2b2b2b2'],
  ]);
});
