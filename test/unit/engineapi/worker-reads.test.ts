import { duplexPair } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { ANSWER_LIMIT_MS } from '../../../daemon/engineapi/ask-json.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import type { Handler, Routes } from '../../../daemon/engineapi/server.ts';
import {
  clusterNetworks,
  onlyClusterReads,
  onlyNews,
  targetOf,
  withWorkerReads,
  withWorkerWatch,
} from '../../../daemon/engineapi/worker-reads.ts';
import { allRoutes } from '../../support/api-requests.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function recorder(): { routes: Routes; handlers: Map<string, Handler> } {
  const handlers = new Map<string, Handler>();
  const routes = {
    add: (method: string, path: string, handler: Handler) =>
      void handlers.set(`${method} ${path}`, handler),
  } as Routes;
  return { routes, handlers };
}

describe('what workers may read of the cluster', () => {
  test('is what only reads, and nothing with tokens or keys', () => {
    const { routes, handlers } = recorder();
    const reads = onlyClusterReads(routes);
    for (const [method, path] of allRoutes()) reads.add(method, path, () => {});
    expect([...handlers.keys()].sort()).toEqual([
      'GET /configs',
      'GET /configs/:id',
      'GET /events',
      'GET /networks',
      'GET /networks/:id',
      'GET /nodes',
      'GET /nodes/:id',
      'GET /secrets',
      'GET /secrets/:id',
      'GET /services',
      'GET /services/:id',
      'GET /services/:id/logs',
      'GET /skep/services/:id/explain',
      'GET /skep/watch',
      'GET /tasks',
      'GET /tasks/:id',
      'GET /tasks/:id/logs',
    ]);
  });

  test.each([
    ['GET', '/services', true, null, 'a manager'],
    ['GET', '/services', false, null, 'this node'],
    ['POST', '/services/create', true, null, 'this node'],
    ['GET', '/swarm', true, null, 'this node'],
    ['GET', '/networks', true, null, 'this node'],
    ['GET', '/events', true, null, 'this node'],
    ['GET', '/networks/:id', true, 'swarm', 'a manager'],
  ] as const)(
    '%s %s (worker: %s, scope %s) is answered by %s',
    async (method, path, isWorker, scope, by) => {
      const { routes, handlers } = recorder();
      let seen = '';
      const asked = withWorkerReads(routes, {
        isWorker: () => isWorker,
        nodeId: () => 'n',
        connect: async () => {
          seen = 'a manager';
          throw new Error('asked');
        },
      });
      asked.add(method, path, () => {
        seen = 'this node';
      });
      const context = { text: () => scope, signal: new AbortController().signal };
      await Promise.resolve(
        handlers.get(`${method} ${path}`)!(context as unknown as RequestContext),
      ).catch(() => {});
      expect(seen).toBe(by);
    },
  );

  test('without the flag is that something changed; what is refused is told with the flag’s name', () => {
    const { routes, handlers } = recorder();
    let answered = 0;
    const news = onlyNews(routes);
    for (const [method, path] of allRoutes()) news.add(method, path, () => void answered++);
    const answer = (route: string) => handlers.get(route)!({} as RequestContext);
    void answer('GET /events');
    void answer('GET /skep/watch');
    expect(answered).toBe(2);
    for (const route of [...handlers.keys()]) {
      if (['GET /events', 'GET /skep/watch'].includes(route)) continue;
      expect(() => answer(route), route).toThrow('--api-read-on-workers');
    }
    expect(handlers.has('GET /swarm')).toBe(false);
  });

  test('a worker without the flag passes on the watch alone', async () => {
    const { routes, handlers } = recorder();
    const passed: string[] = [];
    const asked = withWorkerWatch(routes, {
      isWorker: () => true,
      nodeId: () => 'n',
      connect: async () => {
        throw new Error('asked');
      },
    });
    for (const [method, path] of allRoutes()) asked.add(method, path, () => {});
    for (const [route, handler] of handlers) {
      const context = { text: () => null, signal: new AbortController().signal };
      const done = Promise.resolve(handler(context as unknown as RequestContext));
      await done.catch(() => passed.push(route));
    }
    expect(passed).toEqual(['GET /skep/watch']);
  });

  test.each([
    ['/v1.50/nodes/self?x=1', '/v1.50/nodes/abc?x=1'],
    ['/nodes/self', '/nodes/abc'],
    ['/nodes/selfish', '/nodes/selfish'],
    ['/services/self', '/services/self'],
  ])('%s at a worker is %s at a manager', (url, target) => {
    expect(targetOf(url, 'abc')).toBe(target);
  });

  test('the networks of the cluster are waited for, but not for good', async () => {
    const clock = new FakeClock();
    const [near, silent] = duplexPair();
    const context = {
      apiMinor: 50,
      query: new URLSearchParams(),
      signal: new AbortController().signal,
    } as unknown as RequestContext;
    const answer = clusterNetworks(context, { connect: async () => near }, clock);
    const refused = expect(answer).rejects.toMatchObject({
      code: 'unavailable',
      message: 'a manager gave no answer within 30 s',
    });
    await new Promise((resolve) => silent.once('data', resolve)); // it was asked
    await clock.advance(ANSWER_LIMIT_MS);
    await refused;
    expect([near.destroyed, clock.pending]).toEqual([true, 0]);
  });
});
