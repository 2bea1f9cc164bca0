import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { addContainerUsageRoutes } from '../../../daemon/engineapi/container-usage.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import type { Handler } from '../../../daemon/engineapi/server.ts';
import type { ContainerView } from '../../../worker/container-view.ts';
import { aContainerInfo } from '../../support/container-info.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

test('stats go on while a container is there, also one that stopped, and end when it is removed', async () => {
  const clock = new FakeClock();
  const handlers = new Map<string, Handler>();
  let isThere = true;
  const containers = {
    require: () => aContainerInfo({ name: 'web' }),
    usage: () => ({ stats: null, systemCpuNanos: 0 }),
    isThere: () => isThere,
  } as unknown as ContainerView;
  addContainerUsageRoutes(
    { add: (method, path, handler) => handlers.set(`${method} ${path}`, handler) },
    { containers, clock, events: { tell: () => {} } },
  );
  const out = new PassThrough();
  let lines = 0;
  out.on('data', () => lines++);
  const client = new AbortController();
  const answered = handlers.get('GET /containers/:id/stats')!({
    param: () => 'web',
    flag: (_: string, absent = false) => absent,
    stream: () => out,
    signal: client.signal,
  } as unknown as RequestContext);
  await settle();
  await clock.advance(1000);
  expect([lines, out.writableEnded]).toEqual([2, false]);
  isThere = false;
  await clock.advance(1000);
  expect([lines, out.writableEnded]).toEqual([2, true]);
  await answered;
});

test('the processes of a container are told of to who follows events, unless the request is refused', async () => {
  const handlers = new Map<string, Handler>();
  const info = aContainerInfo({ name: 'web', attributes: { name: 'web' } });
  const events: unknown[] = [];
  const processes = (): [] => [];
  addContainerUsageRoutes(
    { add: (method, path, handler) => handlers.set(`${method} ${path}`, handler) },
    {
      containers: { require: () => info, processes } as unknown as ContainerView,
      ...{ clock: new FakeClock(), events: { tell: (event) => void events.push(event) } },
    },
  );
  const top = (args: string): unknown =>
    handlers.get('GET /containers/:id/top')!({
      ...{ param: () => 'web', text: () => args, send: () => {} },
    } as unknown as RequestContext);
  await top('');
  await expect(async () => top('no such column')).rejects.toThrow();
  const { id } = info;
  expect(events).toEqual([{ type: 'container', action: 'top', id, attributes: { name: 'web' } }]);
});
