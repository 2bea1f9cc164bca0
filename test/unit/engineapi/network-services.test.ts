import { beforeEach, describe, expect, test } from 'vitest';
import type { NodeId, ServiceId } from '../../../common/model/ids.ts';
import type { Network } from '../../../common/model/network.ts';
import { taskName } from '../../../common/model/task.ts';
import {
  networkServicesToJson,
  peersToJson,
} from '../../../daemon/engineapi/json/network-services.ts';
import {
  aNetwork,
  aNetworkSpec,
  aNode,
  aPort,
  aService,
  aServiceSpec,
  aTaskOf,
  aTaskStatus,
} from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';

const NODE = 'n1' as NodeId;
let it: TestControlApi;
beforeEach(async () => {
  it = await makeControlApi();
});

/** A service with a task that runs and one that does not yet. */
async function serve(network: Network) {
  const ports = [aPort({ targetPort: 80, publishedPort: 8080 })];
  const virtualIps = [{ networkId: network.id, address: '10.0.1.2/24' }];
  const spec = aServiceSpec({ name: 'web' });
  const endpoint = { spec: spec.endpoint, ports, virtualIps };
  const service = aService({ id: 'svc1' as ServiceId, spec, endpoint });
  const networks = [{ networkId: network.id, addresses: ['10.0.1.3/24'], aliases: [] }];
  const at = { networks, nodeId: NODE };
  const task = aTaskOf(service, { ...at, status: aTaskStatus({ state: 'running' }) });
  await it.create('network', network);
  await it.create(
    'node',
    aNode({ id: NODE, status: { state: 'ready', message: '', address: '192.0.2.7' } }),
  );
  await it.create('service', service);
  await it.create('task', task, aTaskOf(service, { ...at, slot: 2 }));
  return task;
}

describe('a network of the cluster', () => {
  test.each([
    [false, []],
    [true, ['Target: 80, Publish: 8080']],
  ])('tells its services and where they are (ingress: %s)', async (ingress, Ports) => {
    const network = aNetwork({ spec: aNetworkSpec({ ingress }) });
    const task = await serve(network);
    const [services, peers] = it.store.view((view) => [
      networkServicesToJson(view, network),
      peersToJson(view, network),
    ]);
    expect(services).toEqual({
      web: {
        VIP: '10.0.1.2',
        Ports,
        LocalLBIndex: 0,
        Tasks: [
          {
            Name: taskName(task),
            EndpointID: expect.stringMatching(/^[0-9a-f]{64}$/),
            EndpointIP: '10.0.1.3',
            Info: { 'Host IP': '192.0.2.7' },
          },
        ],
      },
    });
    expect(peers).toEqual([{ Name: NODE, IP: '192.0.2.7' }]);
  });

  test('of both families tells its addresses of IPv6 besides', async () => {
    const ipv6 = { subnet: 'fd61::/64', gateway: 'fd61::1', range: '', reserved: {} };
    const network = aNetwork({ ipam: [ipv6] });
    await serve(network);
    expect(it.store.view((view) => networkServicesToJson(view, network))).toMatchObject({
      web: {
        VIP: '10.0.1.2',
        VIP6: 'fd61::a00:102',
        Tasks: [{ EndpointIP: '10.0.1.3', EndpointIP6: 'fd61::a00:103' }],
      },
    });
  });
});
