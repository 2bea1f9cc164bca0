import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type SentEvent, sentEvents } from '../../../../cli/client/server-sent-events.ts';

async function read(chunks: readonly string[]): Promise<SentEvent[]> {
  const events: SentEvent[] = [];
  async function* body() {
    yield* chunks;
  }
  for await (const event of sentEvents(body())) events.push(event);
  return events;
}

const TEXT = `id: 1
event: ready
data: {"Revision":1}

id: 2

: silence
event: commit
data: one
data:two

data: plain

event: cut
data: off
`;

test('events have a name and their lines of data; ids alone and comments are none', async () => {
  expect(await read([TEXT])).toEqual([
    { name: 'ready', data: '{"Revision":1}' },
    { name: 'commit', data: 'one\ntwo' },
    { name: 'message', data: 'plain' },
  ]);
});

test('it does not matter where the chunks end', async () => {
  const whole = await read([TEXT]);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(TEXT.length)), async (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), TEXT.length];
      const chunks = at.slice(1).map((end, index) => TEXT.slice(at[index], end));
      expect(await read(chunks)).toEqual(whole);
    }),
  );
});
