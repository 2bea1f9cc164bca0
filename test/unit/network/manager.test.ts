import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import { asId, type NodeId, type ServiceId, type TaskId } from '../../../common/model/ids.ts';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import {
  chooseGatewayPool,
  DEFAULT_GATEWAY_POOLS,
} from '../../../worker/network/gateway-bridge.ts';
import { gatewayPortName, overlayPortName } from '../../../worker/network/kernel-names.ts';
import { hostsFile, resolvConf } from '../../../worker/network/name-files.ts';
import { NetworkManager } from '../../../worker/network/network-manager.ts';
import { checkRequest, type TaskNetworkRequest } from '../../../worker/network/task-request.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { network, set } from '../../support/network-scene.ts';

const OPEN = network('open', 1, 1);
const INNER = network('inner', 2, 2, { internal: true });
const INGRESS = network('ingress', 3, 0, { ingress: true });

function request(...names: string[]): TaskNetworkRequest {
  return {
    taskId: asId<TaskId>('task-1'),
    serviceId: asId<ServiceId>('svc-1'),
    containerName: 'web.1.task-1',
    hostname: 'web',
    netnsPath: '/nowhere',
    attachments: names.map((name, i) => ({
      networkId: network(name, 1, 1).id,
      addresses: [`10.0.${i}.5/24`],
      aliases: [],
    })),
    hostPorts: [
      {
        name: '',
        protocol: 'tcp',
        targetPort: 80,
        publishedPort: 0,
        publishMode: 'host',
        hostIp: '',
      },
    ],
    dns: { nameservers: [], search: [], options: [] },
  };
}

describe('attach', () => {
  const manager = (clock: FakeClock) =>
    new NetworkManager({
      dir: '/nowhere',
      nodeId: asId<NodeId>('n1'),
      vtepAddress: '172.30.0.1',
      clock,
      random: new SeededRandom(1),
      log: silentLogger,
      onFailure: () => {},
      upstreamNameservers: () => [],
    });

  test('names the network that did not appear within 30 s', async () => {
    const clock = new FakeClock();
    const attached = manager(clock).attachTask(request('open'));
    const failed = expect(attached).rejects.toThrow(/net-open.*30 s/);
    await clock.advance(30_001);
    await failed;
  });

  test('waits for this node’s seat in the ingress network', async () => {
    const clock = new FakeClock();
    const it = manager(clock);
    await it.apply([set('network', INGRESS)], true);
    const attached = it.attachTask(request('ingress'));
    const failed = expect(attached).rejects.toThrow(/ingress \(no seat/);
    await clock.advance(30_001);
    await failed;
  });

  test('ends with the caller’s reason', async () => {
    const abort = new AbortController();
    const attached = manager(new FakeClock()).attachTask(request('open'), abort.signal);
    abort.abort(new Error('enough'));
    await expect(attached).rejects.toThrow('enough');
  });

  test.each([
    [['inner'], /internal networks only/],
    [['inner', 'ingress'], /internal networks only/],
    [['inner', 'open'], null],
    [['ingress'], null],
    [[], null],
  ])('a host-mode port with networks %j: %s', (names, error) => {
    const tables = new ClusterTables();
    tables.apply(
      [OPEN, INNER, INGRESS].map((item) => set('network', item)),
      true,
    );
    const check = () => checkRequest(tables, request(...names));
    if (error) expect(check).toThrow(error);
    else expect(check).not.toThrow();
  });

  test('a network of another driver is refused by name', () => {
    const tables = new ClusterTables();
    tables.apply([set('network', { ...OPEN, driver: 'macvlan' })], true);
    expect(() => checkRequest(tables, request('open'))).toThrow(/open.*macvlan/);
  });
});

describe('names in the kernel', () => {
  test('are at most 15 characters and differ between tasks', () => {
    const names = ['a', 'b'].flatMap((id) => {
      const taskId = asId<TaskId>(id.repeat(25));
      return [overlayPortName(taskId), gatewayPortName(taskId)];
    });
    expect(new Set(names).size).toBe(4);
    for (const name of names) expect(name.length).toBeLessThanOrEqual(15);
  });

  test.each([
    [[], '172.18.0.0'],
    [['0.0.0.0/0'], '172.18.0.0'],
    [['172.18.3.0/24'], '172.19.0.0'],
    [['172.16.0.0/12'], '192.168.0.0'],
    [['172.16.0.0/12', '192.168.0.0/16'], undefined],
  ])('with routes %j the gateway bridge gets %s', (routes, pool) => {
    const taken = routes.map((route) => {
      const [address = '', length] = route.split('/');
      return { address, length: Number(length) };
    });
    expect(chooseGatewayPool(DEFAULT_GATEWAY_POOLS, taken)?.address).toBe(pool);
  });
});

describe('files of names', () => {
  test('resolv.conf points to the own resolver and keeps given options', () => {
    expect(
      resolvConf({ nameservers: ['1.1.1.1'], search: ['a.b', 'c'], options: ['timeout:1'] }),
    ).toBe('nameserver 127.0.0.11\nsearch a.b c\noptions timeout:1 ndots:0\n');
    expect(resolvConf({ nameservers: [], search: [], options: ['ndots:2'] })).toBe(
      'nameserver 127.0.0.11\noptions ndots:2\n',
    );
  });

  test('hosts has the own addresses and the extra lines', () => {
    const text = hostsFile({
      hostname: 'web',
      domainname: '',
      addresses: ['10.0.1.5/24'],
      extra: ['1.2.3.4 db'],
    });
    expect(text).toContain('127.0.0.1\tlocalhost\n');
    expect(text).toContain('10.0.1.5\tweb\n1.2.3.4\tdb\n');
  });

  test('with a domain the full name comes first', () => {
    const text = hostsFile({
      hostname: 'web',
      domainname: 'shop.example',
      addresses: ['10.0.1.5/24'],
      extra: [],
    });
    expect(text).toContain('10.0.1.5\tweb.shop.example web\n');
  });
});
