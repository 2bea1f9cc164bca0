import { Duplex, PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { relay } from '../../../daemon/engineapi/process-streams.ts';

/** A client's connection that takes nothing: what is written to it waits for good. */
const stuckClient = () => new Duplex({ read: () => {}, write: () => {} });
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('what a process writes goes on once its client leaves it, though that client took nothing', async () => {
  const socket = stuckClient();
  const process = {
    stdin: new PassThrough(),
    stdout: new PassThrough(),
    stderr: new PassThrough(),
  };
  const rules = { tty: true, stdout: true, stderr: true, input: 'ends' as const };
  const detachKeys = Buffer.from([16, 17]);
  const relayed = relay(socket, process, { ...rules, detachKeys });
  const fill = Buffer.alloc(socket.writableHighWaterMark);
  for (const output of [process.stdout, process.stderr]) output.write(fill);
  await turn();
  expect([process.stdout.isPaused(), process.stderr.isPaused()]).toEqual([true, true]);
  socket.push(detachKeys);
  expect(await relayed).toBe('detached');
  socket.destroy();
  for (const output of [process.stdout, process.stderr]) {
    output.write(fill);
    output.end();
    await turn();
    expect([output.readableLength, output.readableEnded]).toEqual([0, true]);
  }
});
