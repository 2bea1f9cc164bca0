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
    { containers, clock },
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
