import { beforeEach, describe, expect, test } from 'vitest';
import { defaultHostname } from '../../../common/model/container-id.ts';
import { asId, type ServiceId } from '../../../common/model/ids.ts';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import { lookupAddress, lookupName } from '../../../worker/network/dns-resolver.ts';
import {
  endpoint,
  network,
  peer,
  port,
  remove,
  service,
  set,
} from '../../support/network-scene.ts';

const FRONT = network('front', 4097, 1);
const BACK = network('back', 4098, 2);
const INGRESS = network('ingress', 4096, 0, { ingress: true });
const HERE = { nodeId: 'n1', address: '172.30.0.1' };
const THERE = { nodeId: 'n2', address: '172.30.0.2' };
const WEB1 = endpoint(FRONT, 'web', 1, HERE, '10.0.1.11', { hostname: 'Box' });
const WEB2 = endpoint(FRONT, 'web', 2, THERE, '10.0.1.12');
const client = { networkIds: [FRONT.id, INGRESS.id] };

describe('cluster tables', () => {
  let tables: ClusterTables;
  const webBackends = () => [
    ...(tables.networks.get(FRONT.id)?.servingOf(asId<ServiceId>('svc-web')) ?? []),
  ];

  beforeEach(() => {
    tables = new ClusterTables();
    tables.apply(
      [
        ...[FRONT, BACK, INGRESS].map((item) => set('network', item)),
        set('endpoint', WEB1),
        set('endpoint', WEB2),
        set('endpoint', endpoint(BACK, 'db', 1, HERE, '10.0.2.11')),
        set('endpoint', endpoint(INGRESS, 'web', 1, HERE, '10.0.0.11')),
        set('serviceEntry', service(FRONT, 'web', '10.0.1.2', ['Site'])),
        set('serviceEntry', service(FRONT, 'pool', null)),
        set('endpoint', endpoint(FRONT, 'pool', 1, HERE, '10.0.1.20')),
        set('port', port('web', 8080, 80)),
      ],
      true,
    );
  });

  test.each([
    ['web', ['10.0.1.2']],
    ['site', ['10.0.1.2']],
    ['tasks.web', ['10.0.1.11', '10.0.1.12']],
    ['tasks.site', ['10.0.1.11', '10.0.1.12']],
    ['pool', ['10.0.1.20']],
    ['web.2', ['10.0.1.12']],
    ['web.2.task-web-2', ['10.0.1.12']],
    ['box', ['10.0.1.11']],
    [defaultHostname(WEB2.taskId), ['10.0.1.12']],
    ['web.front', ['10.0.1.2']],
    ['web.2.front', ['10.0.1.12']],
    ['db', null],
    ['db.back', null],
    ['web.back', null],
    ['web.ingress', null],
    ['example.com', null],
  ])('%s means %j to a task in front', (name, addresses) => {
    expect(lookupName(tables, client, name)).toEqual(addresses);
  });

  test('an address has its holder’s names in the own networks only', () => {
    expect(lookupAddress(tables, client, '10.0.1.12')).toEqual(['web.2.task-web-2.front']);
    expect(lookupAddress(tables, client, '10.0.1.2')).toEqual(['web.front']);
    expect(lookupAddress(tables, client, '10.0.2.11')).toEqual([]);
  });

  test.each(['x', '', '10.0.1', '10.0.1.300', 'fd00::5'])(
    'an endpoint at %j, which is no address, is passed over, also when it had one before and when it goes',
    (address) => {
      const wrong = { ...WEB1, address };
      const touched = tables.apply([set('endpoint', wrong)], false);
      expect([...(touched.gone.get(FRONT.id) ?? [])]).toEqual(['10.0.1.11']);
      expect([...tables.networks.get(FRONT.id)!.seats()].map(([it]) => it)).not.toContain(address);
      expect(webBackends()).toEqual(['10.0.1.12']);
      expect(lookupName(tables, client, 'tasks.web')).toEqual(['10.0.1.12']);
      expect(tables.apply([remove('endpoint', wrong)], false).gone.size).toBe(0);
      tables.apply([set('endpoint', WEB1)], false);
      expect(webBackends()).toEqual(['10.0.1.12', '10.0.1.11']);
    },
  );

  test('an endpoint that stops serving leaves names and backends but keeps its seat', () => {
    const touched = tables.apply([set('endpoint', { ...WEB1, serving: false })], false);
    expect(webBackends()).toEqual(['10.0.1.12']);
    expect(lookupName(tables, client, 'box')).toBeNull();
    expect(tables.networks.get(FRONT.id)?.hostOf('10.0.1.11')).toBe(HERE.address);
    expect([...(touched.gone.get(FRONT.id) ?? [])]).toEqual([]);
    expect(touched.unserved.get(FRONT.id)).toEqual(new Set(['10.0.1.11']));
  });

  test('an address is unserved when nobody serves there any more, once, and not when it is gone', () => {
    const unserved = (changes: Parameters<ClusterTables['apply']>[0]) => [
      ...(tables.apply(changes, false).unserved.get(FRONT.id) ?? []),
    ];
    expect(unserved([set('endpoint', { ...WEB1, aliases: ['other'] })])).toEqual([]);
    expect(unserved([set('endpoint', { ...WEB1, serving: false })])).toEqual(['10.0.1.11']);
    expect(unserved([set('endpoint', { ...WEB1, serving: false })])).toEqual([]);
    expect(unserved([remove('endpoint', WEB1), remove('endpoint', WEB2)])).toEqual([]);
    tables.apply([set('endpoint', WEB2)], false);
    const heir = endpoint(FRONT, 'web', 3, THERE, '10.0.1.12');
    const waiting = set('endpoint', { ...heir, serving: false });
    expect(unserved([remove('endpoint', WEB2), waiting])).toEqual(['10.0.1.12']);
  });

  test('an endpoint that is removed is gone, unless its address changed hands at once', () => {
    const touched = tables.apply([remove('endpoint', WEB2)], false);
    expect([...(touched.gone.get(FRONT.id) ?? [])]).toEqual(['10.0.1.12']);
    expect(tables.networks.get(FRONT.id)?.hostOf('10.0.1.12')).toBeNull();
    const heir = endpoint(FRONT, 'web', 3, THERE, '10.0.1.11');
    const handed = tables.apply([remove('endpoint', WEB1), set('endpoint', heir)], false);
    expect([...(handed.gone.get(FRONT.id) ?? [])]).toEqual([]);
    expect(tables.networks.get(FRONT.id)?.hostOf('10.0.1.11')).toBe(THERE.address);
  });

  test('the heir of an address keeps it when the old holder is removed later', () => {
    const heir = endpoint(FRONT, 'web', 3, THERE, '10.0.1.11');
    tables.apply([set('endpoint', heir)], false);
    tables.apply([remove('endpoint', WEB1)], false);
    expect(tables.networks.get(FRONT.id)?.hostOf('10.0.1.11')).toBe(THERE.address);
  });

  test('a service whose virtual IP changed gives the old one back', () => {
    const touched = tables.apply([set('serviceEntry', service(FRONT, 'web', '10.0.1.3'))], false);
    expect([...(touched.virtualIpsGone.get(FRONT.id) ?? [])]).toEqual(['10.0.1.2']);
    expect(lookupName(tables, client, 'web')).toEqual(['10.0.1.3']);
    expect(lookupName(tables, client, 'site')).toBeNull();
  });

  test('the subnets are those of the networks that are known', () => {
    expect(tables.subnets).toEqual([FRONT.subnet, BACK.subnet, INGRESS.subnet]);
    tables.apply([remove('endpoint', WEB1), remove('network', FRONT)], false);
    expect(tables.subnets).toEqual([BACK.subnet, INGRESS.subnet]);
  });

  test('a complete set removes what it does not name', () => {
    tables.apply([set('network', FRONT), set('endpoint', WEB1)], true);
    expect([...tables.networks.keys()]).toEqual([FRONT.id]);
    expect(tables.ports.size).toBe(0);
    expect(webBackends()).toEqual(['10.0.1.11']);
    expect(lookupName(tables, client, 'web')).toBeNull();
  });

  test('a peer holds a seat too', () => {
    const seat = peer(INGRESS, THERE, '10.0.0.3');
    tables.apply([set('peer', seat)], false);
    expect(tables.ingress()?.hostOf('10.0.0.3')).toBe(THERE.address);
    tables.apply([remove('peer', seat)], false);
    expect(tables.ingress()?.hostOf('10.0.0.3')).toBeNull();
  });
});
