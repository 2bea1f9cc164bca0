import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { PacedOutput } from '../../../../cli/commands/paced-output.ts';

/** Takes four bytes before its reader has to read. */
function outputs() {
  const ended = new AbortController();
  const [stdout, stderr] = [0, 1].map(() => new PassThrough({ highWaterMark: 4 }));
  const output = new PacedOutput({ stdout: stdout!, stderr: stderr!, signal: ended.signal });
  return { stdout: stdout!, stderr: stderr!, output, ended };
}

describe('paced output', () => {
  test('makes all writers wait for a reader that has not read, with one listener', async () => {
    const { stdout, output } = outputs();
    const done: number[] = [];
    const writes = Array.from({ length: 20 }, (_, at) =>
      output.write('stdout', 'abcde').then(() => done.push(at)),
    );
    await new Promise(setImmediate);
    expect([done, stdout.listenerCount('drain')]).toEqual([[], 1]);
    stdout.resume();
    await Promise.all(writes);
    expect(done).toHaveLength(20);
  });

  test('waits for the stream that is full alone, and no longer than the command lasts', async () => {
    const { output, ended } = outputs();
    const waits = output.write('stdout', 'abcde');
    await output.write('stderr', 'abc');
    ended.abort();
    await expect(waits).rejects.toThrow('aborted');
  });
});
