import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import { withRemoteContainers } from '../../../daemon/engineapi/remote-containers.ts';
import type { Handler, Routes } from '../../../daemon/engineapi/server.ts';
import { onlyProcessesOfTasks, withLeave } from '../../../daemon/engineapi/worker-execs.ts';
import type { ContainerInfo } from '../../../worker/container-view.ts';
import { allRoutes } from '../../support/api-requests.ts';

function recorder(): { routes: Routes; handlers: Map<string, Handler> } {
  const handlers = new Map<string, Handler>();
  const routes = {
    add: (method: string, path: string, handler: Handler) =>
      void handlers.set(`${method} ${path}`, handler),
  } as Routes;
  return { routes, handlers };
}

const context = (id: string) => ({ param: () => id }) as unknown as RequestContext;
const notFound = (id: string): never => {
  throw new SkepError('not-found', `No such container: ${id}`);
};
const container = (id: string): ContainerInfo =>
  (({ task: { task: {} }, plain: { task: null } })[id] ?? notFound(id)) as ContainerInfo;

describe('what a manager answers for workers about containers', () => {
  const options = { containerOf: container, containerOfExec: container };

  test('is about processes alone: no container is ended, changed or copied', () => {
    const { routes, handlers } = recorder();
    const some = onlyProcessesOfTasks(routes, options);
    for (const [method, path] of allRoutes()) some.add(method, path, () => {});
    expect([...handlers.keys()].sort()).toEqual([
      'GET /containers/:id/json',
      'GET /containers/:id/stats',
      'GET /containers/:id/top',
      'GET /exec/:id/json',
      'POST /containers/:id/exec',
      'POST /exec/:id/resize',
      'POST /exec/:id/start',
    ]);
  });

  test.each(['/containers/:id/top', '/exec/:id/json'])(
    '%s: of a task, not of containers outside of services',
    (path) => {
      const { routes, handlers } = recorder();
      onlyProcessesOfTasks(routes, options).add('GET', path, () => 'answered' as never);
      const handler = handlers.get(`GET ${path}`)!;
      expect(handler(context('task'))).toBe('answered');
      expect(() => handler(context('plain'))).toThrow(/^No such container/);
      expect(() => handler(context('nobody'))).toThrow(/^No such container/);
    },
  );

  test('is nothing without leave, and says how that is given', () => {
    const { routes, handlers } = recorder();
    withLeave(routes, false).add('GET', '/x', () => {});
    withLeave(routes, true).add('GET', '/y', () => {});
    expect(() => handlers.get('GET /x')!(context(''))).toThrow(/--api-exec-on-workers as well$/);
    expect(() => handlers.get('GET /y')!(context(''))).not.toThrow();
  });
});

describe('a worker', () => {
  const asked = async (method: 'GET' | 'POST', path: string, id: string, isAsked = true) => {
    const { routes, handlers } = recorder();
    let by = '';
    withRemoteContainers(routes, {
      remote: () => null,
      requireContainer: container,
      requireExec: container,
      far: {
        isAsked: () => isAsked,
        passOn: async () => {
          by = 'a manager';
        },
      },
    }).add(method, path, () => {
      by = 'this node';
    });
    await handlers.get(`${method} ${path}`)!(context(id));
    return by;
  };

  test.each([
    ['POST', '/containers/:id/exec', 'far', true, 'a manager'],
    ['POST', '/exec/:id/start', 'far', true, 'a manager'],
    ['POST', '/containers/:id/exec', 'task', true, 'this node'],
    ['POST', '/containers/:id/exec', 'far', false, 'this node'],
    ['POST', '/containers/:id/kill', 'far', true, 'this node'],
  ] as const)(
    '%s %s of "%s" (may ask: %s) is answered by %s',
    async (method, path, id, may, by) => {
      expect(await asked(method, path, id, may)).toBe(by);
    },
  );
});
