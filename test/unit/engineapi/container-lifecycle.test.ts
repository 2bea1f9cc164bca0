import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { DEFAULT_LOG_DRIVER } from '../../../common/model/log-driver.ts';
import { addContainerLifecycleRoutes } from '../../../daemon/engineapi/container-lifecycle.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import type { ContainerView } from '../../../worker/container-view.ts';
import type { ContainerDefinition } from '../../../worker/containers/definition.ts';
import type { PlainContainers } from '../../../worker/containers/plain-containers.ts';
import type { TaskContainers } from '../../../worker/containers/task-container.ts';
import { aContainerInfo } from '../../support/container-info.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** What is made of a request, beside one container that there is: `there`. */
async function create(
  hostConfig: object,
  { apiMinor = 50, config = {} } = {},
): Promise<ContainerDefinition> {
  const there = aContainerInfo({ name: 'there' });
  const made: ContainerDefinition[] = [];
  let handler: (context: RequestContext) => unknown = () => {};
  const routes = {
    add: (_: string, path: string, it: typeof handler) => {
      if (path === '/containers/create') handler = it;
    },
  } as unknown as Routes;
  addContainerLifecycleRoutes(routes, {
    containers: {
      require: (reference: string) => {
        if (reference === there.name) return there;
        throw new SkepError('not-found', `No such container: ${reference}`);
      },
      volumesOf: async () => [{ name: 'data', path: '/v', target: '/data', readOnly: false }],
    } as unknown as ContainerView,
    plain: {
      create: async (_: unknown, definition: ContainerDefinition) => {
        made.push(definition);
        return { id: 'new' };
      },
    } as unknown as PlainContainers,
    tasks: {} as TaskContainers,
    images: { get: () => undefined },
    ...{ clock: new FakeClock(), events: { tell: () => {} } },
    networkRef: (reference) => reference,
    logDriver: DEFAULT_LOG_DRIVER,
  });
  await handler({
    json: async () => ({ Image: 'box', HostConfig: hostConfig, ...config }),
    apiMinor,
    ...{ text: () => null, send: () => {} },
  } as unknown as RequestContext);
  return made[0]!;
}

test('a client whose API version has no start interval of health checks sets none', async () => {
  const config = { Healthcheck: { Test: ['CMD', 'true'], StartInterval: 2e9 } };
  for (const [apiMinor, startIntervalNanos] of [
    [43, 0],
    [44, 2e9],
  ]) {
    const { container } = await create({}, { apiMinor: apiMinor!, config });
    expect(container.healthcheck).toMatchObject({ startIntervalNanos });
  }
});

describe('a container that names another', () => {
  test('has its volumes or its network', async () => {
    const { container, network } = await create({
      VolumesFrom: ['there'],
      NetworkMode: 'container:there',
    });
    expect(container.mounts).toMatchObject([{ source: 'data', target: '/data' }]);
    expect(network).toEqual({ kind: 'container', containerId: 'there'.padEnd(64, '0') });
  });

  test.each([{ VolumesFrom: ['nobody'] }, { NetworkMode: 'container:nobody' }])(
    'that is not there is refused: by 404 the docker command would pull the image, %j',
    async (hostConfig) => {
      await expect(create(hostConfig)).rejects.toMatchObject({
        code: 'invalid-argument',
        message: 'No such container: nobody',
      });
    },
  );
});

test('a prune is told of when it is done, with what came free', async () => {
  const events: unknown[] = [];
  const handlers = new Map<string, (context: RequestContext) => unknown>();
  const add = (method: string, path: string, handler: (context: RequestContext) => unknown) =>
    handlers.set(`${method} ${path}`, handler);
  addContainerLifecycleRoutes({ add } as unknown as Routes, {
    containers: {} as ContainerView,
    plain: {
      prune: async () => {
        expect(events).toEqual([]);
        return { ids: ['a', 'b'], bytes: 70 };
      },
    } as unknown as PlainContainers,
    ...{ tasks: {} as TaskContainers, images: { get: () => undefined } },
    ...{ clock: new FakeClock(), events: { tell: (event) => void events.push(event) } },
    ...{ networkRef: (reference) => reference, logDriver: DEFAULT_LOG_DRIVER },
  });
  const context = { text: () => null, send: () => {} };
  await handlers.get('POST /containers/prune')!(context as unknown as RequestContext);
  expect(events).toEqual([
    { type: 'container', action: 'prune', id: '', attributes: { reclaimed: '70' } },
  ]);
});
