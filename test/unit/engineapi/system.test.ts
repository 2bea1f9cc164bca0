import { describe, expect, test } from 'vitest';
import { type ErrorCode, SkepError } from '../../../common/base/errors.ts';
import { DEFAULT_LOG_DRIVER } from '../../../common/model/log-driver.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import type { RouteParts } from '../../../daemon/engineapi/parts.ts';
import type { Handler } from '../../../daemon/engineapi/server.ts';
import { addSystemRoutes } from '../../../daemon/engineapi/system.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** `/info` of a manager whose cluster answers with this error. */
async function infoWhen(failure: SkepError): Promise<unknown> {
  const fails = async () => {
    throw failure;
  };
  const parts = {
    worker: {
      containers: { list: () => [], cgroupVersion: () => '2' },
      images: { list: () => [] },
    },
    swarm: {
      state: () => ({
        local: 'active',
        nodeId: 'n1',
        nodeAddress: '10.0.0.1',
        role: 'manager',
        error: '',
      }),
      remoteManagers: () => [],
      requireManager: () => ({ control: { listNodes: fails, getCluster: fails } }),
    },
    labels: {},
    logDriver: DEFAULT_LOG_DRIVER,
    runtimes: { defaultName: 'crun', others: new Map([['crun', '/usr/bin/crun']]) },
    isRemapped: true,
    registries: {
      insecureRegistries: [],
      mirrors: [],
      proxy: { http: null, https: null, except: [] },
    },
    clock: new FakeClock(),
  } as unknown as RouteParts;
  const handlers = new Map<string, Handler>();
  addSystemRoutes(
    { add: (method, path, handler) => handlers.set(`${method} ${path}`, handler) },
    parts,
  );
  let sent: unknown;
  const send = (_: number, json: unknown) => {
    sent = json;
  };
  await handlers.get('GET /info')!({ send } as unknown as RequestContext);
  return sent;
}

describe('info', () => {
  test.each<ErrorCode>(['no-leader', 'unavailable', 'not-a-manager'])(
    'is given also when the cluster cannot be read: %s',
    async (code) => {
      const failure = new SkepError(code, 'read: this manager was removed from the cluster');
      expect(await infoWhen(failure)).toMatchObject({
        Swarm: { NodeID: 'n1', Error: 'read: this manager was removed from the cluster' },
      });
    },
  );

  test('names each driver that a network can be made with', async () => {
    const info = await infoWhen(new SkepError('no-leader', 'nobody'));
    const own = ['bridge', 'host', 'ipvlan', 'macvlan', 'null', 'overlay'];
    expect(info).toMatchObject({ Plugins: { Network: own } });
  });

  test('names the runtimes that containers may have', async () => {
    expect(await infoWhen(new SkepError('no-leader', 'none'))).toMatchObject({
      CgroupVersion: '2',
      Runtimes: { native: { path: 'skep-shim' }, crun: { path: '/usr/bin/crun' } },
      DefaultRuntime: 'crun',
    });
  });

  test('tells of faults that are ours', async () => {
    await expect(infoWhen(new SkepError('internal', 'broken'))).rejects.toThrow('broken');
  });
});
