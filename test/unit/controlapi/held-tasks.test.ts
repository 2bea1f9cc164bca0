import { beforeEach, describe, expect, test } from 'vitest';
import type { ServiceId } from '../../../common/model/ids.ts';
import type { ServiceMode } from '../../../common/model/service.ts';
import { DEPENDS_ON_LABEL, dependsOnLabel } from '../../../common/model/start-order.ts';
import type { DesiredState, TaskState } from '../../../common/model/task-state.ts';
import { aNode, aServiceSpec, aTaskOf, aTaskStatus } from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';

describe('a task that is prepared and not let run', () => {
  const node = aNode();
  let it: TestControlApi;
  beforeEach(async () => {
    it = await makeControlApi();
    await it.create('node', node);
  });

  const ONE: ServiceMode = { kind: 'replicated', replicas: 1 };
  async function service(name: string, waitsFor: string | null, mode = ONE): Promise<ServiceId> {
    const order =
      waitsFor === null
        ? {}
        : {
            [DEPENDS_ON_LABEL]: dependsOnLabel([
              { service: waitsFor, condition: 'service_healthy' },
            ]),
          };
    const { id } = await it.api.createService(aServiceSpec({ name, labels: order, mode }));
    return id;
  }
  async function task(id: ServiceId, desiredState: DesiredState, state: TaskState, err = '') {
    const of = it.get('service', id);
    const status = aTaskStatus({ state, err });
    const made = aTaskOf(of, { desiredState, status, nodeId: node.id });
    await it.create('task', made);
    return made;
  }
  const told = async (id: ServiceId): Promise<readonly string[]> =>
    (await it.api.listTasks({ services: [id] })).map(({ status }) => status.err);

  test('says what its service waits for, until that has come', async () => {
    const db = await service('db', null);
    const web = await service('web', 'db');
    const held = await task(web, 'ready', 'ready');
    expect(await told(web)).toEqual(['waits for db to be healthy']);
    expect((await it.api.getTask(held.id)).status.err).toBe('waits for db to be healthy');
    expect(it.get('task', held.id).status.err).toBe('');
    await task(db, 'running', 'running');
    expect(await told(web)).toEqual(['']);
  });

  test('says so when services wait for each other', async () => {
    const web = await service('web', 'api');
    await service('api', 'db');
    const db = await service('db', 'web');
    await task(web, 'ready', 'ready');
    await task(db, 'ready', 'ready');
    expect(await told(web)).toEqual(['waits for api to be healthy (which waits for web)']);
    const outside = await service('outside', 'web');
    await task(outside, 'ready', 'ready');
    expect(await told(outside)).toEqual(['waits for web to be healthy']);
  });

  test('says that no node takes what it waits for', async () => {
    await service('db', null, { kind: 'global' });
    const web = await service('web', 'db');
    await task(web, 'ready', 'ready');
    expect(await told(web)).toEqual(['waits for db to be healthy (no node takes a task of it)']);
  });

  test('says nothing of it while it is on its way there, has a fault of its own, or a part runs', async () => {
    await service('db', null);
    const web = await service('web', 'db');
    await task(web, 'ready', 'preparing');
    await task(web, 'ready', 'ready', 'its own');
    expect(await told(web)).toEqual(expect.arrayContaining(['', 'its own']));
    await task(web, 'ready', 'ready');
    await task(web, 'running', 'running');
    expect((await told(web)).filter((text) => text.startsWith('waits'))).toEqual([]);
  });
});
