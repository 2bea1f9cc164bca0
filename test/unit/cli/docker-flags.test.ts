/**
 * Every command and flag of docker 28.2.2 in the groups that we have: ours has it, or refuses it by name. The list is
 * what `docker GROUP COMMAND --help` prints.
 */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { expect, test } from 'vitest';
import { ABSENT, COMMANDS, findCommand, GROUPS } from '../../../cli/command-table.ts';
import type { CommandContext } from '../../../cli/commands/context.ts';

const RECORD = new URL('../../fixtures/docker/flags-28.2.2.json', import.meta.url);
const recorded = JSON.parse(readFileSync(RECORD, 'utf8')) as Record<string, readonly string[]>;

async function declared(path: string): Promise<ReadonlyMap<string, string | undefined> | null> {
  const [group = '', name = ''] = path.split(' ');
  const entry = GROUPS[group]?.commands[name];
  if (!entry) return null;
  const command = new Command();
  (await entry.load())(command, {} as CommandContext);
  return new Map(command.options.map(({ long, short }) => [long ?? '', short]));
}

test.each(Object.entries(recorded))('docker %s', async (path, flags) => {
  const ours = await declared(path);
  if (ABSENT[path]) {
    expect(ours).toBe(null);
    return;
  }
  expect(ours, `skep ${path}`).not.toBe(null);
  const missing = flags.filter((flag) => {
    const [long = '', short] = flag.split(', ').reverse();
    return !ours!.has(long) || (short !== undefined && ours!.get(long) !== short);
  });
  expect(missing).toEqual([]);
});

test.each(Object.keys(ABSENT))('what is refused by name is not there: %s', (words) => {
  const found = findCommand(words.split(' '));
  expect(found === null || ('group' in found && found.unknown !== null)).toBe(true);
  expect(COMMANDS).not.toHaveProperty(words);
});
