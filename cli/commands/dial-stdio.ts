/**
 * `skep system dial-stdio`: standard input and output as a connection to the daemon, for clients on other machines
 * that come by ssh.
 */
import { once } from 'node:events';
import type { Configure } from './context.ts';

export const dialStdio: Configure = (command, context) => {
  command.action(async () => {
    const connection = await context.client.dial();
    connection.on('error', () => {}); // its close is what counts
    context.stdin.pipe(connection);
    // The process's own output is not ended by a pipe: what comes last is written before it exits.
    connection.pipe(context.stdout, { end: false });
    try {
      if (!connection.closed) await once(connection, 'close', { signal: context.signal });
    } finally {
      context.stdin.unpipe(connection);
      connection.destroy();
    }
  });
};
