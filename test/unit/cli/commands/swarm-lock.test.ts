import { describe, expect, test } from 'vitest';
import { init, update } from '../../../../cli/commands/swarm.ts';
import { unlock, unlockKey } from '../../../../cli/commands/swarm-lock.ts';
import { runCommand } from '../../../support/cli-command.ts';

const KEY = `SWMKEY-1-${'A'.repeat(43)}`;
const BLOCK = `To unlock a swarm manager after it restarts, run the \`skep swarm unlock\`
command and provide the following key:

    ${KEY}

Remember to store this key in a password manager, since without it you
will not be able to restart the manager.
`;

function engine(autolock: boolean, state = 'active') {
  const sent: unknown[] = [];
  const said = {
    swarm: async () => ({
      Version: { Index: 7 },
      Spec: { EncryptionConfig: { AutoLockManagers: autolock } },
      JoinTokens: { Worker: 'w', Manager: 'm' },
    }),
    node: async () => ({ ManagerStatus: { Addr: '10.0.0.1:2377' } }),
    swarmInit: async (request: { AutoLockManagers: boolean; Spec: unknown }) => {
      sent.push(request.AutoLockManagers, request.Spec);
      return 'node-id';
    },
    swarmUpdate: async (version: number, spec: unknown, rotate: unknown) => {
      sent.push(version, spec, rotate);
    },
    unlockKey: async () => ({ UnlockKey: autolock || sent.length > 0 ? KEY : '' }),
    unlock: async (key: string) => void sent.push(key),
    info: async () => ({ Swarm: { LocalNodeState: state } }),
  };
  return { sent, engine: said };
}

describe('a locked swarm', () => {
  test('is made by init --autolock, which shows the key', async () => {
    const { engine: said, sent } = engine(true);
    const { stdout, status } = await runCommand(init, ['--autolock'], { engine: said });
    expect(status).toBe(0);
    expect(stdout.endsWith(BLOCK)).toBe(true);
    expect(sent).toEqual([true, { EncryptionConfig: { AutoLockManagers: true } }]);
  });

  test('is what an update makes of an open one, and shows the key then only', async () => {
    const locking = engine(false);
    const first = await runCommand(update, ['--autolock'], { engine: locking.engine });
    expect(first.stdout).toBe(`Swarm updated.\n${BLOCK}`);
    expect(locking.sent).toEqual([7, { EncryptionConfig: { AutoLockManagers: true } }, {}]);
    const again = await runCommand(update, ['--autolock=true'], { engine: engine(true).engine });
    expect(again.stdout).toBe('Swarm updated.\n');
    const opening = engine(true);
    const open = await runCommand(update, ['--autolock=false'], { engine: opening.engine });
    expect(open.stdout).toBe('Swarm updated.\n');
    expect(opening.sent[1]).toEqual({ EncryptionConfig: { AutoLockManagers: false } });
  });

  test('shows its key, and a new one', async () => {
    const shown = await runCommand(unlockKey, [], { engine: engine(true).engine });
    expect(shown).toEqual({ status: 0, stdout: BLOCK, stderr: '' });
    const quiet = await runCommand(unlockKey, ['-q'], { engine: engine(true).engine });
    expect(quiet.stdout).toBe(`${KEY}\n`);
    const rotating = engine(true);
    const rotated = await runCommand(unlockKey, ['--rotate'], { engine: rotating.engine });
    expect(rotated.stdout).toBe(`Successfully rotated manager unlock key.\n\n${BLOCK}`);
    expect(rotating.sent.at(-1)).toEqual({ unlockKey: true });
  });

  test('has no key to show or to rotate while it is open', async () => {
    const shown = await runCommand(unlockKey, ['-q'], { engine: engine(false).engine });
    expect(shown).toMatchObject({ status: 1, stderr: 'no unlock key is set\n' });
    const rotated = await runCommand(unlockKey, ['--rotate'], { engine: engine(false).engine });
    expect(rotated.status).toBe(1);
    expect(rotated.stderr).toBe('cannot rotate because autolock is not turned on\n');
  });

  test('takes the key from the first line of the input', async () => {
    const { engine: said, sent } = engine(true, 'locked');
    const { status, stdout } = await runCommand(unlock, [], {
      engine: said,
      stdin: `${KEY}\nrest`,
    });
    expect([status, stdout, sent]).toEqual([0, '', [KEY]]);
  });

  test.each([
    ['inactive', 'Error: This node is not part of a swarm\n'],
    ['active', 'Error: swarm is not locked\n'],
    ['error', 'Error: swarm is not locked\n'],
  ])('is not unlocked when it is %s', async (state, words) => {
    const result = await runCommand(unlock, [], { engine: engine(true, state).engine });
    expect(result).toMatchObject({ status: 1, stderr: words });
  });
});
