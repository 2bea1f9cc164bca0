import { openSync, type Stats, statSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import type { EngineEvent } from '../../../common/model/engine-event.ts';
import {
  addContainerFileRoutes,
  bodyOf,
  sendPieces,
  statHeader,
} from '../../../daemon/engineapi/container-files.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import { patiently, SENDER_PATIENCE_MS } from '../../../daemon/engineapi/patient-reader.ts';
import { drained, READER_PATIENCE_MS } from '../../../daemon/engineapi/patient-writer.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import type { ContainerView } from '../../../worker/container-view.ts';
import { SAME_OWNERS } from '../../../worker/containers/owners.ts';
import { aContainerInfo } from '../../support/container-info.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const TEXT = Buffer.from('text '.repeat(1000));

describe('the body of an upload of files', () => {
  /** What was read, after `begin` came and `then` was done to the request. */
  async function read(
    begin: Buffer,
    then: (request: PassThrough, gone: AbortController) => void,
    request = new PassThrough(),
  ): Promise<Buffer> {
    const gone = new AbortController();
    const chunks: Buffer[] = [];
    const whole = (async () => {
      for await (const chunk of bodyOf({ request, signal: gone.signal })) chunks.push(chunk);
    })();
    request.write(begin);
    setImmediate(() => then(request, gone));
    await whole;
    return Buffer.concat(chunks);
  }

  test.each([
    ['plain', TEXT],
    ['with gzip', gzipSync(TEXT)],
  ])('is read whole %s', async (_how, bytes) => {
    const body = await read(bytes.subarray(0, 20), (request) => request.end(bytes.subarray(20)));
    expect(body.equals(TEXT)).toBe(true);
  });

  test.each([
    ['plain', TEXT],
    ['with gzip', gzipSync(TEXT)],
  ])('fails as cancelled when the client leaves in the middle, %s', async (_how, bytes) => {
    const leave = (request: PassThrough, gone: AbortController): void => {
      gone.abort(new SkepError('cancelled', 'client went away'));
      request.destroy();
    };
    await expect(read(bytes.subarray(0, 20), leave)).rejects.toMatchObject({ code: 'cancelled' });
  });

  test.each([
    ['damaged', Buffer.concat([gzipSync(TEXT).subarray(0, 20), Buffer.alloc(100, 0xff)])],
    ['cut short', gzipSync(TEXT).subarray(0, 20)],
  ])(
    'is refused when its gzip is %s, and the connection stays for the answer',
    async (_how, bytes) => {
      const request = new PassThrough();
      const refused = read(bytes, () => request.end(), request);
      await expect(refused).rejects.toMatchObject({ code: 'invalid-argument' });
      expect(request.errored).toBe(null);
    },
  );
});

describe('an upload that others wait for', () => {
  function uploading() {
    const clock = new FakeClock();
    const request = new PassThrough();
    const chunks: Buffer[] = [];
    const { signal } = new AbortController();
    const read = (async () => {
      for await (const chunk of patiently(bodyOf({ request, signal }), clock)) {
        chunks.push(chunk);
        await clock.sleep(SENDER_PATIENCE_MS * 2); // a disk that is slow is no fault of the client
      }
      return Buffer.concat(chunks);
    })();
    read.catch(() => {});
    return { clock, request, read, chunks };
  }
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  test('comes whole from a client that sends, however slowly', async () => {
    const { clock, request, read, chunks } = uploading();
    for (const text of ['one', 'two']) {
      await clock.advance(SENDER_PATIENCE_MS - 1);
      request.write(text);
      while (!chunks.some((chunk) => chunk.toString() === text)) await turn();
      await clock.advance(SENDER_PATIENCE_MS * 2);
    }
    request.end();
    expect(String(await read)).toBe('onetwo');
    expect(clock.pending).toBe(0);
  });

  test.each([
    ['plain', TEXT],
    ['with gzip', gzipSync(TEXT)],
  ])('is given up when the client stops to send, and can be answered, %s', async (_how, bytes) => {
    const { clock, request, read } = uploading();
    request.write(bytes.subarray(0, 20));
    for (let i = 0; i < 5; i++) await turn();
    await clock.advance(SENDER_PATIENCE_MS * 3);
    await expect(read).rejects.toMatchObject({ code: 'deadline-exceeded' });
    expect(request.destroyed).toBe(false);
    expect(clock.pending).toBe(0);
  });
});

test.each([
  ['was never started', 'created'],
  ['has ended', 'exited'],
  ['waits for its next start', 'restarting'],
] as const)(
  'an upload into a container that %s holds it, and has an end',
  async (_how, condition) => {
    const clock = new FakeClock();
    let put: ((context: RequestContext) => Promise<void>) | undefined;
    const routes = {
      add: (method: string, _path: string, handler: typeof put) => {
        if (method === 'PUT') put = handler;
      },
    } as unknown as Routes;
    const info = aContainerInfo({ condition, pid: 0 });
    const root = { fd: -1, owners: SAME_OWNERS, openDirectory: () => openSync('/', 'r') };
    const containers = {
      require: () => info,
      withRoot: (_: unknown, work: (it: typeof root) => Promise<void>) => work(root),
    } as unknown as ContainerView;
    addContainerFileRoutes(routes, { containers, clock, events: { tell: () => {} } });
    const context = {
      ...{ request: new PassThrough(), signal: new AbortController().signal },
      ...{ param: () => 'c', text: () => '/', flag: () => false },
    };
    const refused = put!(context as unknown as RequestContext);
    refused.catch(() => {});
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(SENDER_PATIENCE_MS * 3);
    await expect(refused).rejects.toMatchObject({ code: 'deadline-exceeded' });
  },
);

describe('files sent to a client', () => {
  function sending() {
    const clock = new FakeClock();
    const gone = new AbortController();
    const out = new PassThrough({ highWaterMark: 1 });
    let closed = false;
    async function* pieces() {
      try {
        for (let i = 0; i < 3; i++) yield Buffer.from('piece');
      } finally {
        closed = true;
      }
    }
    const context = { signal: gone.signal, begin: () => out } as unknown as RequestContext;
    const sent = sendPieces(context, clock, pieces());
    sent.catch(() => {});
    return { clock, gone, out, sent, isClosed: () => closed };
  }

  test('come whole to one that reads', async () => {
    const { out, sent } = sending();
    let text = '';
    out.on('data', (chunk) => {
      text += String(chunk);
    });
    await sent;
    expect(text).toBe('piecepiecepiece');
  });

  test('are given up when it takes nothing, and the container is let go', async () => {
    const { clock, sent, isClosed } = sending();
    await clock.advance(READER_PATIENCE_MS);
    await expect(sent).rejects.toMatchObject({ code: 'cancelled' });
    expect(isClosed()).toBe(true);
  });

  test.each([
    ['files', () => sending()],
    [
      'lines of logs',
      () => {
        const [gone, out] = [new AbortController(), new PassThrough()];
        return { gone, sent: drained(out, gone.signal) };
      },
    ],
  ])('that leaves while it is waited for: no error of ours, with %s', async (_what, begin) => {
    const { gone, sent } = begin();
    const end = expect(sent).rejects.toMatchObject({ code: 'cancelled' });
    await new Promise((resolve) => setImmediate(resolve));
    gone.abort(new SkepError('cancelled', 'client went away'));
    await end;
  });
});

test('a file of the year 1970 is not shown as one without a time', () => {
  const no = (): boolean => false;
  const kinds = {
    ...{ isDirectory: no, isSymbolicLink: no, isBlockDevice: no, isCharacterDevice: no },
    ...{ isFIFO: no, isSocket: no },
  };
  const stats = { ...kinds, size: 3, mode: 0o100644, mtimeMs: 0 } as Stats;
  const header = statHeader({ name: 'a', stats, linkTarget: '' });
  expect(JSON.parse(Buffer.from(header, 'base64').toString())).toEqual({
    ...{ name: 'a', size: 3, mode: 0o644, linkTarget: '' },
    mtime: '1970-01-01T00:00:00.000Z',
  });
});

test.each(['', 'a\0b'])('a path like %j is refused, whoever asks', async (path) => {
  const handlers = new Map<string, (context: RequestContext) => unknown>();
  const routes = {
    add: (method: string, at: string, handler: (context: RequestContext) => unknown) => {
      handlers.set(`${method} ${at}`, handler);
    },
  } as unknown as Routes;
  const options = { clock: new FakeClock(), events: { tell: () => {} } };
  addContainerFileRoutes(routes, { containers: {} as ContainerView, ...options });
  for (const method of ['HEAD', 'GET', 'PUT']) {
    const ask = handlers.get(`${method} /containers/:id/archive`)!;
    const context = { text: () => path } as unknown as RequestContext;
    await expect(async () => ask(context)).rejects.toMatchObject({ code: 'invalid-argument' });
  }
});

describe('files of a container that go out or in', () => {
  let actions: string[];
  let handlers: Map<string, (context: RequestContext) => unknown>;
  beforeEach(() => {
    [actions, handlers] = [[], new Map()];
    const routes = {
      add: (method: string, at: string, handler: (context: RequestContext) => unknown) => {
        handlers.set(`${method} ${at}`, handler);
      },
    } as unknown as Routes;
    const root = {
      ...{ fd: -1, owners: SAME_OWNERS, openDirectory: () => openSync('/', 'r') },
      stat: (path: string) => {
        if (path === '/none') throw new SkepError('not-found', 'no such file');
        return { name: 'a', stats: statSync('/'), linkTarget: '' };
      },
      async *pack() {
        yield Buffer.from('a tar');
      },
    };
    const info = aContainerInfo({ attributes: { name: 'c' } });
    const containers = {
      require: () => info,
      withRoot: (_: unknown, work: (it: typeof root) => Promise<void>) => work(root),
    } as unknown as ContainerView;
    const tell = ({ type, action, id, attributes }: EngineEvent): void => {
      expect([type, id, attributes]).toEqual(['container', info.id, info.attributes]);
      actions.push(action);
    };
    addContainerFileRoutes(routes, { containers, clock: new FakeClock(), events: { tell } });
  });

  async function ask(route: string, path = '/etc', body = Buffer.alloc(1024)): Promise<void> {
    const request = new PassThrough();
    request.end(body);
    await handlers.get(route)!({
      ...{ request, signal: new AbortController().signal, response: { setHeader: () => {} } },
      ...{ param: () => 'c', text: () => path, flag: () => false, empty: () => {} },
      begin: () => new PassThrough().resume(),
    } as unknown as RequestContext);
  }

  test.each([
    ['GET /containers/:id/archive', ['archive-path']],
    ['PUT /containers/:id/archive', ['extract-to-dir']],
    ['GET /containers/:id/export', ['export']],
    ['HEAD /containers/:id/archive', []],
  ])('by %s are told of as %j', async (route, told) => {
    await ask(route);
    expect(actions).toEqual(told);
  });

  test('are not told of when they are not there, or are no archive', async () => {
    await expect(ask('GET /containers/:id/archive', '/none')).rejects.toThrow('no such file');
    const text = Buffer.from('no tar at all. '.repeat(100));
    await expect(ask('PUT /containers/:id/archive', '/etc', text)).rejects.toThrow();
    expect(actions).toEqual([]);
  });
});
