/** Examples are read as the command line they are: of the command whose help they are in, with flags that it has. */
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { COMMANDS, findCommand, GROUPS } from '../../../cli/command-table.ts';
import type { CommandContext } from '../../../cli/commands/context.ts';
import { splitShellWords } from '../../../cli/compose/shell-words.ts';
import { examplesOf, examplesText } from '../../../cli/examples.ts';
import { parseGlobal } from '../../../cli/global-options.ts';

const PATHS = [
  ...Object.entries(GROUPS).flatMap(([group, { commands }]) =>
    Object.keys(commands).map((name) => `${group} ${name}`),
  ),
  ...Object.entries(COMMANDS)
    .filter(([name, entry]) => {
      const found = findCommand([name]);
      return found && !('group' in found) && found.path === name && found.entry === entry;
    })
    .map(([name]) => name),
];

/** Without settings of whoever runs this. */
const CONTEXT = { env: { HOME: '/nowhere' } } as unknown as CommandContext;

/** What `skep` is called with: of a line with other programs and files, too. */
function wordsOf(line: string): string[] {
  const [, call = ''] = /(?:^|[ (])skep (.*)$/.exec(line) ?? [];
  return splitShellWords(call.replace(/\)$/, '').replace(/ [<>|] .*$/, ''));
}

describe('the examples of', () => {
  test.each(PATHS)('%s', async (path) => {
    const examples = examplesOf(path);
    expect(examples.length).toBeGreaterThan(0);
    let own = 0;
    for (const [, line] of examples) {
      const found = findCommand(parseGlobal(wordsOf(line)).args);
      if (!found || 'group' in found) throw new Error(`no command: ${line}`);
      if (found.path === path) own++;
      const command = new Command().exitOverride().configureOutput({ writeErr: () => {} });
      (await found.entry.load())(command, CONTEXT);
      command.action(() => {});
      await expect(
        command.parseAsync([...found.rest], { from: 'user' }),
        line,
      ).resolves.toBeDefined();
    }
    expect(own).toBeGreaterThan(0);
  });

  test('nothing that is no command', () => {
    expect(examplesText('service nothing')).toBe('');
    expect(examplesText('toString')).toBe('');
  });
});
