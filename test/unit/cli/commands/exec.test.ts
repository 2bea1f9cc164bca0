import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { exec } from '../../../../cli/commands/exec.ts';
import { type FakeEngine, runCommand } from '../../../support/cli-command.ts';

test('Ctrl-C ends the command at once, whatever its process does', async () => {
  const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  const abort = new AbortController();
  const fake: FakeEngine = {
    container: async () => ({ Id: 'ID' }),
    execCreate: async () => ({ Id: 'EXEC' }),
    execAttach: async () => {
      setImmediate(() => abort.abort(new Error('interrupted')));
      return { socket, head: Buffer.alloc(0), contentType: '' };
    },
  };
  const world = { engine: fake, signal: abort.signal };
  expect(await runCommand(exec, ['box', 'sleep', '15'], world)).toEqual({
    status: 1,
    stdout: '',
    stderr: 'interrupted\n',
  });
  expect(socket.destroyed).toBe(true);
});

test('one that came before its process began does so too', async () => {
  const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  const fake: FakeEngine = {
    container: async () => ({ Id: 'ID' }),
    execCreate: async () => ({ Id: 'EXEC' }),
    execAttach: async () => ({ socket, head: Buffer.alloc(0), contentType: '' }),
  };
  const world = { engine: fake, signal: AbortSignal.abort(new Error('interrupted')) };
  expect((await runCommand(exec, ['box', 'true'], world)).stderr).toBe('interrupted\n');
  expect(socket.destroyed).toBe(true);
});
