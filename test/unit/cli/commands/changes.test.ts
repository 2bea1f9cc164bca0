import { describe, expect, test } from 'vitest';
import type { WatchOptions } from '../../../../cli/client/engine-client.ts';
import { ApiError } from '../../../../cli/client/transport.ts';
import { Changes } from '../../../../cli/commands/changes.ts';
import type { CommandContext } from '../../../../cli/commands/context.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';

/** A daemon whose stream of changes the test holds, and what commands see of it. */
function daemon() {
  const clock = new FakeClock();
  const abort = new AbortController();
  const opened: { readonly filters: object; readonly options: WatchOptions }[] = [];
  const ways: { change: () => void; fail: (err: Error) => void }[] = [];
  let refusal: Error | null = null;
  const client = {
    async *watch(filters: object, options: WatchOptions): AsyncIterable<object> {
      opened.push({ filters, options });
      if (refusal) throw refusal;
      options.onReady?.();
      for (;;) {
        yield await new Promise<object>((resolve, reject) => {
          ways.push({ change: () => resolve({}), fail: reject });
          options.signal?.addEventListener('abort', () => reject(new Error('aborted')));
        });
      }
    },
  };
  const context = { client, clock, signal: abort.signal } as unknown as CommandContext;
  return {
    context,
    clock,
    abort,
    opened,
    change: () => ways.at(-1)!.change(),
    breakWith: (err: Error) => ways.at(-1)!.fail(err),
    refuseWith: (err: Error | null) => {
      refusal = err;
    },
  };
}

/** How long the next wait takes, by its clock. */
async function waited(it: ReturnType<typeof daemon>, next: Promise<void>): Promise<number> {
  const startMs = it.clock.monotonicMs();
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  next.then(over, over);
  for (let step = 0; !isOver && step < 1_000; step++) await it.clock.advance(10);
  await next;
  return it.clock.monotonicMs() - startMs;
}

describe('waiting for changes', () => {
  test('ends with the first change, and after a second without one', async () => {
    const it = daemon();
    const changes = new Changes(it.context, ['task']);
    expect(it.opened).toEqual([{ filters: { kind: ['task'] }, options: expect.anything() }]);
    expect(it.opened[0]!.options.previous).toBeUndefined();
    // What changed before the stream was there is not known: the first look is made anyhow.
    expect(await waited(it, changes.next())).toBe(250);
    expect(await waited(it, changes.next())).toBe(1_000);
    const next = changes.next();
    await it.clock.advance(600);
    it.change();
    await settle();
    expect(await waited(it, next)).toBe(10);
    changes.close();
  });

  test('looks four times a second at most, however much changes', async () => {
    const it = daemon();
    const changes = new Changes(it.context);
    for (let time = 0; time < 4; time++) {
      it.change();
      await settle();
      expect(await waited(it, changes.next())).toBe(250);
    }
    changes.close();
  });

  test('ends sooner when it is to, change or not', async () => {
    const it = daemon();
    const changes = new Changes(it.context);
    expect(await waited(it, changes.next(40))).toBe(40);
    expect(await waited(it, changes.next(40))).toBe(40);
    expect(await waited(it, changes.next(400))).toBe(400);
    changes.close();
  });

  test('of a daemon that tells of none is looking again', async () => {
    const it = daemon();
    it.refuseWith(new ApiError(404, 'page not found'));
    const changes = new Changes(it.context);
    await settle();
    for (let time = 0; time < 3; time++) expect(await waited(it, changes.next())).toBe(250);
    await it.clock.advance(10_000);
    expect(it.opened).toHaveLength(1);
    changes.close();
  });

  test('goes on by looking when the stream breaks, until it is there again', async () => {
    const it = daemon();
    const changes = new Changes(it.context);
    await waited(it, changes.next());
    it.breakWith(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
    await settle();
    expect(await waited(it, changes.next())).toBe(250);
    expect(await waited(it, changes.next())).toBe(250);
    await it.clock.advance(2_000);
    expect(it.opened).toHaveLength(2);
    await waited(it, changes.next());
    expect(await waited(it, changes.next())).toBe(1_000);
    changes.close();
  });

  test('tells of an answer that is none, and of a mistake of ours', async () => {
    const it = daemon();
    const changes = new Changes(it.context);
    await waited(it, changes.next());
    it.breakWith(new SyntaxError('Unexpected token'));
    await settle();
    await expect(waited(it, changes.next())).rejects.toThrow('Unexpected token');
    changes.close();
  });

  test('leaves nothing behind', async () => {
    const it = daemon();
    const closed = new Changes(it.context);
    await waited(it, closed.next());
    closed.close();
    await settle();
    expect(it.opened[0]!.options.signal?.aborted).toBe(true);
    const interrupted = new Changes(it.context);
    await waited(it, interrupted.next());
    const next = interrupted.next();
    it.abort.abort(new Error('interrupted'));
    await expect(next).rejects.toThrow('interrupted');
    await settle();
    expect(it.clock.pending).toBe(0);
    interrupted.close();
  });
});
