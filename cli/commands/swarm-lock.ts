/** `skep swarm unlock-key` and `unlock`: the key that locked managers need after a restart. */
import { InvalidArgumentError } from 'commander';
import { SkepError } from '../../common/base/errors.ts';
import { askSecret } from './ask.ts';
import { type CommandContext, type Configure, printLine } from './context.ts';

/** Docker's boolean flags: `--autolock`, `--autolock=false`. */
export function boolean(value: string): boolean {
  if (['true', 't', 'TRUE', 'True', '1'].includes(value)) return true;
  if (['false', 'f', 'FALSE', 'False', '0'].includes(value)) return false;
  throw new InvalidArgumentError('expected true or false.');
}

/** The key, and what it is for. */
export async function printUnlockKey(context: CommandContext): Promise<void> {
  printUnlockCommand(context, await requireUnlockKey(context));
}

function printUnlockCommand(context: CommandContext, key: string): void {
  printLine(
    context,
    `To unlock a swarm manager after it restarts, run the \`skep swarm unlock\`
command and provide the following key:

    ${key}

Remember to store this key in a password manager, since without it you
will not be able to restart the manager.`,
  );
}

async function requireUnlockKey(context: CommandContext): Promise<string> {
  const { UnlockKey } = await context.client.unlockKey();
  if (!UnlockKey) throw new SkepError('failed-precondition', 'no unlock key is set');
  return UnlockKey;
}

interface UnlockKeyFlags {
  readonly quiet?: boolean;
  readonly rotate?: boolean;
}

export const unlockKey: Configure = (command, context) => {
  command
    .option('-q, --quiet', 'print the key only')
    .option('--rotate', 'make a new key; the managers that run take it over')
    .action(async (flags: UnlockKeyFlags) => {
      if (flags.rotate) {
        await rotate(context);
        if (!flags.quiet) printLine(context, 'Successfully rotated manager unlock key.\n');
      }
      const key = await requireUnlockKey(context);
      if (flags.quiet) printLine(context, key);
      else printUnlockCommand(context, key);
    });
};

async function rotate(context: CommandContext): Promise<void> {
  const { Version, Spec } = await context.client.swarm();
  if (!Spec.EncryptionConfig?.AutoLockManagers) {
    throw new SkepError('failed-precondition', 'cannot rotate because autolock is not turned on');
  }
  await context.client.swarmUpdate(Version.Index, Spec, { unlockKey: true });
}

export const unlock: Configure = (command, context) => {
  command.action(async () => {
    const { Swarm } = await context.client.info();
    if (Swarm.LocalNodeState === 'inactive') {
      throw new SkepError('not-in-swarm', 'Error: This node is not part of a swarm');
    }
    if (Swarm.LocalNodeState !== 'locked') {
      throw new SkepError('conflict', 'Error: swarm is not locked');
    }
    await context.client.unlock(await askSecret(context, 'Enter unlock key'));
  });
};
