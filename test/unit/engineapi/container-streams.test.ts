import { Duplex, PassThrough } from 'node:stream';
import { expect, test, vi } from 'vitest';
import type { EngineEvent } from '../../../common/model/engine-event.ts';
import { addContainerStreamRoutes } from '../../../daemon/engineapi/container-streams.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import type { ContainerView } from '../../../worker/container-view.ts';
import { aContainerSpec } from '../../support/builders.ts';
import { aContainerInfo } from '../../support/container-info.ts';

/** Answers an attach; `onAttach` is called before the container's streams are there. */
async function attach(
  onAttach: (client: Duplex) => void,
  {
    tty = false,
    detachKeys = null,
    isTask = false,
  }: { tty?: boolean; detachKeys?: string | null; isTask?: boolean } = {},
) {
  const told: string[] = [];
  const client: Duplex = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  let detached = 0;
  const streams = {
    stdin: new PassThrough(),
    stdout: new PassThrough(),
    stderr: new PassThrough(),
  };
  const session = {
    ...streams,
    isClosed: false,
    close: () => {
      session.isClosed = true;
      streams.stdout.end();
      streams.stderr.end();
    },
  };
  const containers = {
    require: () => ({
      condition: 'running',
      spec: { container: aContainerSpec({ openStdin: true, tty }) },
      plain: isTask
        ? null
        : { record: { definition: { stdinOnce: true } }, detached: () => detached++ },
    }),
    attach: async () => {
      onAttach(client);
      await new Promise((resolve) => setImmediate(resolve));
      return session;
    },
  } as unknown as ContainerView;
  let handler: (context: RequestContext) => Promise<void> = async () => {};
  const routes = {
    add: (_method: string, path: string, it: typeof handler) => {
      if (path.endsWith('/attach')) handler = it;
    },
  } as unknown as Routes;
  addContainerStreamRoutes(routes, {
    containers,
    events: { tell: ({ action }) => void told.push(action) },
  });
  const answered = handler({
    param: () => 'web',
    text: () => detachKeys,
    flag: (name: string) => name !== 'logs',
    hijack: () => client,
    headWasRead: async () => {},
  } as unknown as RequestContext);
  return { client, session, answered, told, detached: () => detached };
}

test('an attach whose client leaves before the container is there gives its streams up', async () => {
  const { session, answered } = await attach((client) => void client.destroy());
  await answered;
  expect(session.isClosed).toBe(true);
  expect(session.stdin.writableEnded).toBe(true);
});

test('an attach ends with its client, and its input with it when it was for one client', async () => {
  const { client, session, answered } = await attach(() => {});
  await new Promise((resolve) => setImmediate(resolve));
  expect(session.isClosed).toBe(false);
  client.destroy();
  await answered;
  expect([session.isClosed, session.stdin.writableEnded]).toEqual([true, true]);
});

test.each([
  [null, '\x10\x11'],
  ['ctrl-x,y', '\x18y'],
])(
  'an attach to a terminal is left by the keys, which are %j, and the container told of',
  async (detachKeys, typed) => {
    const { client, session, answered, told, detached } = await attach(() => {}, {
      tty: true,
      detachKeys,
    });
    client.push('words');
    client.push(typed);
    await answered;
    expect([session.isClosed, client.writableEnded, detached()]).toEqual([true, true, 1]);
    expect(told).toEqual([]); // it tells of it itself
    expect([String(session.stdin.read()), session.stdin.writableEnded]).toEqual(['words', false]);
  },
);

test('an attach to a task is told of, and that its client left it by the keys', async () => {
  const { client, answered, told } = await attach(() => {}, { isTask: true, tty: true });
  await vi.waitFor(() => expect(told).toEqual(['attach']));
  client.push('\x10\x11');
  await answered;
  expect(told).toEqual(['attach', 'detach']);
});

test('the size of a terminal is told of when it was changed', async () => {
  const events: EngineEvent[] = [];
  const handlers = new Map<string, (context: RequestContext) => unknown>();
  const add = (_: string, path: string, it: (context: RequestContext) => unknown) =>
    handlers.set(path, it);
  const sizes: unknown[] = [];
  const info = aContainerInfo({ name: 'web', attributes: { name: 'web' } });
  const containers = {
    require: () => info,
    resize: async (_: unknown, ...size: number[]) => {
      expect(events).toEqual([]);
      sizes.push(size);
    },
  } as unknown as ContainerView;
  const tell = (event: EngineEvent): void => void events.push(event);
  addContainerStreamRoutes({ add } as unknown as Routes, { containers, events: { tell } });
  const integer = (name: string): number => (name === 'h' ? 24 : 80);
  await handlers.get('/containers/:id/resize')!({
    ...{ integer, param: () => 'web', empty: () => {} },
  } as unknown as RequestContext);
  const attributes = { name: 'web', height: '24', width: '80' };
  expect(events).toEqual([{ type: 'container', action: 'resize', id: info.id, attributes }]);
  expect(sizes).toEqual([[24, 80]]);
});
