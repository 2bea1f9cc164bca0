import { createServer, type RequestListener } from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { passOnEvents } from '../../../daemon/engineapi/events.ts';
import { farEventsOf, openFarEvents } from '../../../daemon/engineapi/far-events.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** A manager that answers one request, without a socket. */
function manager(answer: RequestListener): Duplex {
  const [near, far] = duplexPair();
  createServer(answer).emit('connection', far);
  return near;
}

function open(near: Duplex, query = '', signal = new AbortController().signal) {
  return openFarEvents({ connect: async () => near }, new URLSearchParams(query), signal);
}

async function read(
  events: AsyncIterable<string>,
  untilMs: number | null,
): Promise<{ lines: string; failure: unknown }> {
  let lines = '';
  const write = async (chunk: string | Uint8Array): Promise<void> => {
    lines += String(chunk);
  };
  const failure = await passOnEvents(events, untilMs, { write }).then(
    () => null,
    (err: unknown) => err,
  );
  return { lines, failure };
}

describe('events of the cluster on a worker', () => {
  test('are asked for with the same words, and passed on line by line however they are cut', async () => {
    let asked = '';
    const near = manager((request, response) => {
      asked = request.url ?? '';
      response.write('{"a":1}\n{"b"');
      response.write(':"ü"}\n');
      response.end();
    });
    const events = await open(near, 'since=5&filters={"type":["service"]}');
    expect(await read(events, 1)).toEqual({ lines: '{"a":1}\n{"b":"ü"}\n', failure: null });
    expect(asked).toBe('/events?since=5&filters=%7B%22type%22%3A%5B%22service%22%5D%7D');
  });

  test('that end before their time are a failure: silence would look like peace', async () => {
    const near = manager((_request, response) => void response.end('{}\n'));
    expect(await read(await open(near), null)).toMatchObject({
      lines: '{}\n',
      failure: { code: 'unavailable' },
    });
  });

  test('that break off are a failure', async () => {
    const near = manager((_request, response) => void response.write('{}\n'));
    const events = await open(near);
    setImmediate(() => near.destroy(new Error('reset')));
    expect(await read(events, 1)).toMatchObject({
      lines: '{}\n',
      failure: { code: 'unavailable' },
    });
  });

  test('a manager that refuses is told of before anything is sent', async () => {
    const near = manager((_request, response) => {
      response.statusCode = 404;
      response.end();
    });
    await expect(open(near)).rejects.toMatchObject({ code: 'unavailable' });
    expect(near.destroyed).toBe(true);
  });

  test('are left out where no manager can be reached in time, unless an operator counts on them', async () => {
    const clock = new FakeClock();
    const ask = (isVital: boolean, connect: (signal: AbortSignal) => Promise<Duplex>) => {
      const far = { isAsked: () => true, isVital, connect };
      return farEventsOf(far, new URLSearchParams(), clock, new AbortController().signal);
    };
    const refuses = async () => {
      throw new SkepError('unavailable', 'nobody answers');
    };
    expect(await ask(false, refuses)).toBeNull();
    await expect(ask(true, refuses)).rejects.toThrow('nobody answers');
    const hangs = (signal: AbortSignal): Promise<Duplex> =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    const silent = ask(false, hangs);
    await clock.advance(3_000);
    expect(await silent).toBeNull();
    const answers = async () => manager((_request, response) => void response.end('{}\n'));
    expect(await read((await ask(false, answers))!, 1)).toMatchObject({ lines: '{}\n' });
    expect(clock.pending).toBe(0);
  });

  test('a client that goes ends the connection', async () => {
    const near = manager((_request, response) => void response.write('{}\n'));
    const client = new AbortController();
    const events = await open(near, '', client.signal);
    const reading = read(events, null);
    const gone = new Error('gone');
    client.abort(gone);
    expect((await reading).failure).toBe(gone);
    expect(near.destroyed).toBe(true);
  });
});
