/** Flags that `config.json` gives a default for, as docker reads it. */
import type { Command } from 'commander';
import { type SettingKey, userSetting } from '../client/user-settings.ts';
import { type CommandContext, errorLine, warnLine } from './context.ts';

/** Of `--format`, when neither it nor `--quiet` is given. A file that cannot be read is told, and no more. */
export function defaultFormat(command: Command, context: CommandContext, key: SettingKey): void {
  command.hook('preAction', () => {
    if (command.getOptionValue('quiet')) return;
    setDefault(command, context, 'format', key);
  });
}

/** Of `--detach-keys`. */
export function defaultDetachKeys(command: Command, context: CommandContext): void {
  command.hook('preAction', () => setDefault(command, context, 'detachKeys', 'detachKeys'));
}

function setDefault(
  command: Command,
  context: CommandContext,
  option: string,
  key: SettingKey,
): void {
  if (command.getOptionValue(option) !== undefined) return;
  try {
    const value = userSetting(context.env, key);
    if (value !== undefined) command.setOptionValueWithSource(option, value, 'config');
  } catch (err) {
    warnLine(context, `WARNING: ${errorLine(err)}`);
  }
}
