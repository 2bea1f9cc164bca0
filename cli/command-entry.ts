/** What the table of commands is made of. */
import type { Configure } from './commands/context.ts';

export interface CommandEntry {
  readonly summary: string;
  readonly aliases?: readonly string[];
  readonly load: () => Promise<Configure>;
}

export interface CommandGroup {
  readonly summary: string;
  readonly aliases?: readonly string[];
  readonly commands: Readonly<Record<string, CommandEntry>>;
}

export type Groups = Readonly<Record<string, Pick<CommandGroup, 'summary' | 'commands'>>>;

/** Where a command that stands alone as well is in its group: `container ls` of `ps`; null = it stands alone only. */
export function pathOf(groups: Groups, entry: CommandEntry): string | null {
  for (const [group, { commands }] of Object.entries(groups)) {
    for (const [name, one] of Object.entries(commands)) {
      if (one === entry) return `${group} ${name}`;
    }
  }
  return null;
}
