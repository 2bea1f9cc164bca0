import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { address6Of } from '../../../common/base/ipv6.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { NetworkId } from '../../../common/model/ids.ts';
import type { Network, NetworkSpec } from '../../../common/model/network.ts';
import type { Service, ServiceSpec } from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { AllocationBook } from '../../../manager/allocator/allocation-book.ts';
import { Allocator } from '../../../manager/allocator/allocator.ts';
import { planNetwork } from '../../../manager/allocator/plan-network.ts';
import {
  aCluster,
  aNetwork,
  aNetworkSpec,
  aNetworkTarget,
  aNode,
  aPort,
  aService,
  aServiceSpec,
  aTaskOf,
  aTaskSpec,
  aTaskStatus,
} from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

describe('allocator', () => {
  let t: TestStore;
  let allocator: Allocator;
  const failures: unknown[] = [];

  const lead = async (): Promise<void> => {
    const { store, clock, random } = t;
    const onFailure = (err: unknown): void => void failures.push(err);
    allocator = new Allocator({ store, clock, random, log: silentLogger, onFailure });
    await allocator.start();
    await rest();
  };
  const rest = async (): Promise<void> => {
    for (let i = 0; i < 6; i++) await settle();
  };
  beforeEach(async () => {
    t = makeStore();
    await t.create('cluster', aCluster());
    await lead();
  });
  afterEach(async () => {
    await allocator.stop();
    expect(failures).toEqual([]);
  });

  const network = async (spec: Partial<NetworkSpec> = {}): Promise<Network> => {
    const [created] = await t.create('network', aNetwork({ spec: aNetworkSpec(spec) }));
    await rest();
    return t.get('network', created!.id);
  };
  const subnet = (text: string, more: Partial<Network['ipam'][0]> = {}) => ({
    ipam: {
      driver: 'default',
      options: {},
      configs: [{ subnet: text, gateway: '', range: '', reserved: {}, ...more }],
    },
  });
  const on = (...networks: (Network | string)[]) =>
    aTaskSpec({
      networks: networks.map((one) =>
        aNetworkTarget({ target: typeof one === 'string' ? one : one.id, aliases: ['db'] }),
      ),
    });
  const service = async (spec: Partial<ServiceSpec>): Promise<Service> => {
    const [created] = await t.create('service', aService({ spec: aServiceSpec(spec) }));
    await rest();
    return t.get('service', created!.id);
  };
  const task = async (of: Service, overrides: Partial<Task> = {}): Promise<Task> => {
    const [created] = await t.create('task', aTaskOf(of, { endpoint: null, ...overrides }));
    await rest();
    return t.get('task', created!.id);
  };
  const ingress = (): Network => t.store.view((view) => view.byName('network', 'ingress'))[0]!;
  const end = (id: Task['id'], state: 'failed' | 'running'): Promise<unknown> =>
    t.store.update((tx) => {
      const now = tx.require('task', id);
      tx.update('task', { ...now, status: { ...now.status, state } });
    });

  test('makes the ingress network once, first of all', () => {
    expect(ingress()).toMatchObject({
      spec: { driver: 'overlay', ingress: true },
      ipam: [{ subnet: '10.0.0.0/24', gateway: '10.0.0.1' }],
      vxlanId: 4096,
    });
  });

  test('gives it no subnet that holds the address of a node', () => {
    const book = new AllocationBook(['10.0.0.0/8'], 24);
    const node = (address: string) => aNode({ status: { state: 'ready', message: '', address } });
    const nodes = [node('10.0.0.5'), node('10.0.1.255:2377'), node('fd00::1'), node('')];
    expect(planNetwork(book, aNetwork({ ipam: [], vxlanId: null }), nodes)).toMatchObject({
      ipam: [{ subnet: '10.0.2.0/24', gateway: '10.0.2.1' }],
    });
  });

  test('does not make it again after the user removed it from a cluster in use', async () => {
    await network();
    await t.store.update((tx) => tx.remove('network', ingress().id));
    await allocator.stop();
    await lead();
    expect(ingress()).toBeUndefined();
  });

  test('numbers networks and subnets one after the other', async () => {
    const [first, second] = [await network(), await network()];
    expect([first.ipam[0]!.subnet, first.vxlanId]).toEqual(['10.0.1.0/24', 4097]);
    expect([second.ipam[0]!.subnet, second.vxlanId]).toEqual(['10.0.2.0/24', 4098]);
  });

  test('keeps what the user chose and passes it over', async () => {
    const chosen = await network(subnet('10.0.1.0/25', { gateway: '10.0.1.126' }));
    expect(chosen.ipam[0]).toMatchObject({ subnet: '10.0.1.0/25', gateway: '10.0.1.126' });
    expect((await network()).ipam[0]!.subnet).toBe('10.0.2.0/24');
  });

  describe('IPv6', () => {
    test('a network has a local subnet of its own, behind that of IPv4', async () => {
      const [one, other] = [await network({ ipv6: true }), await network({ ipv6: true })];
      const [four, six] = one.ipam;
      expect(four).toMatchObject({ subnet: '10.0.1.0/24', gateway: '10.0.1.1' });
      expect(six!.subnet).toMatch(/^fd[0-9a-f:]+::\/64$/);
      expect(six!.gateway).toBe(address6Of(six!.subnet, '10.0.1.1'));
      expect(other.ipam[1]!.subnet).not.toBe(six!.subnet);
    });

    test('or that which the user chose, beside a chosen one of IPv4 or not', async () => {
      const chosen = await network({ ipv6: true, ...subnet('fd00:7::/64') });
      expect(chosen.ipam.map((it) => it.subnet)).toEqual(['10.0.1.0/24', 'fd00:7::/64']);
      expect(chosen.ipam[1]!.gateway).toBe('fd00:7::a00:101');
    });

    test('addresses are given in IPv4 alone, and a new leader agrees', async () => {
      const dual = await network({ ipv6: true, ...subnet('fd00:7::/64') });
      const web = await service({ task: on(dual) });
      expect(web.endpoint!.virtualIps.map(({ address }) => address)).toEqual(['10.0.1.2/24']);
      await allocator.stop();
      await lead();
      expect((await task(web)).networks[0]!.addresses).toEqual(['10.0.1.3/24']);
    });
  });

  test('takes the VXLAN id from the option', async () => {
    const driverOptions = { 'com.docker.network.driver.overlay.vxlanid_list': '300' };
    expect((await network({ driverOptions })).vxlanId).toBe(300);
    expect((await network({ driverOptions })).vxlanId).toBeNull(); // in use
  });

  test.each(['host', 'none'])('leaves networks of driver %s alone', async (driver) => {
    const local = await network({ driver });
    expect([local.vxlanId, local.ipam]).toEqual([null, []]);
    const web = await service({ task: on(local) });
    expect(web.endpoint!.virtualIps).toEqual([]);
    expect(await task(web)).toMatchObject({ status: { state: 'pending' }, networks: [] });
    const named = await service({ task: on(driver) });
    expect(await task(named)).toMatchObject({ status: { state: 'pending' }, networks: [] });
  });

  test('gives a service one address in each of its networks, ingress first', async () => {
    const [front, back] = [await network(), await network()];
    const web = await service({
      task: on(front, back),
      endpoint: { mode: 'vip', ports: [aPort({ publishedPort: 80 })] },
    });
    expect(web.endpoint!.virtualIps).toEqual([
      { networkId: ingress().id, address: '10.0.0.2/24' },
      { networkId: front.id, address: '10.0.1.2/24' },
      { networkId: back.id, address: '10.0.2.2/24' },
    ]);
    const first = await task(web);
    expect(first.networks).toEqual([
      { networkId: ingress().id, addresses: ['10.0.0.3/24'], aliases: [] },
      { networkId: front.id, addresses: ['10.0.1.3/24'], aliases: ['db'] },
      { networkId: back.id, addresses: ['10.0.2.3/24'], aliases: ['db'] },
    ]);
    expect(first.endpoint).toEqual(web.endpoint);
    expect(first.status).toMatchObject({ state: 'pending', message: 'pending task scheduling' });
  });

  test('gives no virtual address in dnsrr mode, and takes it back on a change of mode', async () => {
    const net = await network();
    const web = await service({ task: on(net), endpoint: { mode: 'dnsrr', ports: [] } });
    expect(web.endpoint!.virtualIps).toEqual([]);
    const change = (mode: 'vip' | 'dnsrr') =>
      t.store.update((tx) => {
        const now = tx.require('service', web.id);
        tx.update('service', { ...now, spec: { ...now.spec, endpoint: { mode, ports: [] } } });
      });
    await change('vip');
    await rest();
    expect(t.get('service', web.id).endpoint!.virtualIps).toHaveLength(1);
    await change('dnsrr');
    await rest();
    expect(t.get('service', web.id).endpoint!.virtualIps).toEqual([]);
  });

  test('nothing leaks when services change or cannot be served', async () => {
    const [tight, full] = [
      await network(subnet('10.9.0.0/29')),
      await network(subnet('10.9.1.0/30')), // one address
    ];
    const first = await service({ task: on(tight) });
    await service({ task: on(full) });
    const hopeless = await service({ task: on(tight, full), endpoint: { mode: 'vip', ports: [] } });
    expect(hopeless.endpoint).toBeNull();
    for (let round = 0; round < 12; round++) {
      await t.store.update((tx) => {
        const mode = round % 2 === 0 ? ('dnsrr' as const) : ('vip' as const);
        const now = tx.require('service', first.id);
        tx.update('service', { ...now, spec: { ...now.spec, endpoint: { mode, ports: [] } } });
        const other = tx.require('service', hopeless.id);
        tx.update('service', { ...other, spec: { ...other.spec, labels: { round: `${round}` } } });
      });
      await rest();
    }
    expect(t.get('service', first.id).endpoint!.virtualIps).toHaveLength(1);
    for (let slot = 1; slot <= 4; slot++) {
      expect((await task(first, { slot })).status.state).toBe('pending');
    }
  });

  test('keeps a dynamic port over updates and leaves host ports to the node', async () => {
    const ports = [aPort(), aPort({ targetPort: 53, publishMode: 'host' })];
    const web = await service({ endpoint: { mode: 'vip', ports } });
    expect(web.endpoint!.ports.map((port) => port.publishedPort)).toEqual([30_000, 0]);
    await t.store.update((tx) => {
      const more = [...ports, aPort({ targetPort: 81, publishedPort: 8081 })];
      tx.update('service', {
        ...web,
        spec: { ...web.spec, endpoint: { mode: 'vip', ports: more } },
      });
    });
    await rest();
    const published = t.get('service', web.id).endpoint!.ports.map((port) => port.publishedPort);
    expect(published).toEqual([30_000, 0, 8081]);
  });

  test('chooses no port that a service has on its nodes itself, its own neither', async () => {
    const onHost = (publishedPort: number) =>
      aPort({ targetPort: 53, publishMode: 'host', publishedPort });
    await service({ endpoint: { mode: 'vip', ports: [onHost(30_000)] } });
    await service({
      endpoint: { mode: 'vip', ports: [{ ...onHost(30_001), protocol: 'udp' }] },
    });
    const ports = [onHost(30_002), aPort(), aPort({ targetPort: 81 })];
    const web = await service({ endpoint: { mode: 'vip', ports } });
    const published = web.endpoint!.ports.map(({ publishedPort }) => publishedPort);
    expect(published).toEqual([30_002, 30_001, 30_003]);
  });

  test('gives up a chosen one that the service then names on its nodes', async () => {
    const dynamic = aPort();
    const web = await service({ endpoint: { mode: 'vip', ports: [dynamic] } });
    const onHost = aPort({ targetPort: 81, publishMode: 'host', publishedPort: 30_000 });
    const endpoint = { mode: 'vip' as const, ports: [dynamic, onHost] };
    await t.store.update((tx) => {
      tx.update('service', { ...web, spec: { ...web.spec, endpoint } });
    });
    await rest();
    const published = t.get('service', web.id).endpoint!.ports.map((port) => port.publishedPort);
    expect(published).toEqual([30_001, 30_000]);
  });

  test('says so when the dynamic range is used up', async () => {
    const taken = Array.from({ length: 2_768 }, (_, i) =>
      aPort({ targetPort: 1 + i, publishMode: 'host', publishedPort: 30_000 + i }),
    );
    await service({ endpoint: { mode: 'vip', ports: taken } });
    const web = await service({ endpoint: { mode: 'vip', ports: [aPort()] } });
    const [created] = await t.create('task', aTaskOf(web));
    await rest();
    expect(t.get('task', created!.id).status).toMatchObject({
      state: 'new',
      err: 'no free tcp port: all 2768 of 30000-32767 are in use, choose another',
    });
  });

  test.each(['', '10.0.0.5'])(
    'a dynamic port that the service names for itself at %j gets another number',
    async (hostIp) => {
      const dynamic = aPort({ targetPort: 80 });
      const web = await service({ endpoint: { mode: 'vip', ports: [dynamic] } });
      const named = aPort({ targetPort: 90, publishedPort: 30_000, hostIp });
      const endpoint = { mode: 'vip' as const, ports: [dynamic, named] };
      await t.store.update((tx) => {
        tx.update('service', { ...web, spec: { ...web.spec, endpoint } });
      });
      await rest();
      const published = t.get('service', web.id).endpoint!.ports.map((port) => port.publishedPort);
      expect(published).toEqual([30_001, 30_000]);
    },
  );

  test('a port in use keeps the tasks in NEW, with the reason, until it is free', async () => {
    const endpoint = { mode: 'vip' as const, ports: [aPort({ publishedPort: 8080 })] };
    const first = await service({ name: 'first', endpoint });
    const second = await service({ endpoint });
    const waiting = await task(second);
    expect(second.endpoint).toBeNull();
    expect(waiting.status).toMatchObject({
      state: 'new',
      err: `port '8080' is already in use by service 'first' (${first.id}) as an ingress port`,
    });
    const udp = { mode: 'vip' as const, ports: [aPort({ publishedPort: 8080, protocol: 'udp' })] };
    expect((await service({ endpoint: udp })).endpoint).not.toBeNull();

    await t.store.update((tx) => tx.remove('service', first.id));
    await rest();
    expect(t.get('task', waiting.id).status).toMatchObject({ state: 'pending', err: '' });
  });

  test('an exhausted network names itself and the numbers, and serves again when one is freed', async () => {
    const small = await network({ name: 'small', ...subnet('10.9.0.0/29') });
    const web = await service({ task: on(small) }); // one of 5 is its own
    const tasks: Task[] = [];
    for (let slot = 1; slot <= 5; slot++) tasks.push(await task(web, { slot }));
    expect(tasks.map(({ status }) => status.state)).toEqual([...Array(4).fill('pending'), 'new']);
    expect(tasks[4]!.status.err).toBe(
      "network 'small' has no free address: 5 of 5 addresses of 10.9.0.0/29 are in use",
    );
    await end(tasks[0]!.id, 'failed');
    await rest();
    expect(t.get('task', tasks[4]!.id).status).toMatchObject({ state: 'pending', err: '' });
  });

  test.each(['shutdown', 'remove'] as const)(
    'what is told to %s before it has a node gives its address back',
    async (desiredState) => {
      const small = await network({ name: 'small', ...subnet('10.9.0.0/29') });
      const web = await service({ task: on(small) }); // one of 5 is its own
      const tasks: Task[] = [];
      for (let slot = 1; slot <= 6; slot++) tasks.push(await task(web, { slot }));
      const states = (): string[] => tasks.map(({ id }) => t.get('task', id).status.state);
      const stop = (one: Task, state: 'pending' | 'assigned') =>
        t.store.update((tx) => {
          const now = tx.require('task', one.id);
          tx.update('task', { ...now, desiredState, status: { ...now.status, state } });
        });
      const pending = Array(4).fill('pending');
      expect(states()).toEqual([...pending, 'new', 'new']);
      await stop(tasks[0]!, 'pending');
      await rest();
      expect(states()).toEqual([...pending, 'pending', 'new']);

      // A new leader knows that the same way, and that one that has a node holds its own until it ends.
      await allocator.stop();
      await stop(tasks[1]!, 'pending');
      await stop(tasks[2]!, 'assigned');
      await lead();
      tasks.push(await task(web, { slot: 7 }));
      expect(states()).toEqual([
        'pending',
        'pending',
        'assigned',
        ...Array(3).fill('pending'),
        'new',
      ]);
    },
  );

  test('without a subnet for their network tasks wait, told how many there are, until one is freed', async () => {
    await allocator.stop();
    await t.store.update((tx) => {
      const [cluster] = tx.list('cluster');
      tx.update('cluster', { ...cluster!, defaultAddressPool: ['10.0.0.0/23'] });
    });
    await lead();
    const first = await network({ name: 'first' }); // the ingress network has the other one
    const late = await network({ name: 'late' });
    const waiting = await task(await service({ task: on(late) }));
    expect(waiting.status).toMatchObject({
      state: 'new',
      err: "network 'late' cannot be set up: all 2 subnets of the default address pools are in use",
    });
    await t.store.update((tx) => tx.remove('network', first.id));
    await rest();
    expect(t.get('network', late.id).ipam[0]!.subnet).toBe('10.0.1.0/24');
    expect(t.get('task', waiting.id).status).toMatchObject({ state: 'pending', err: '' });
  });

  test('a task may ask for its address', async () => {
    const net = await network();
    const networks = [aNetworkTarget({ target: net.id, addresses: ['10.0.1.77'] })];
    const web = await service({ task: aTaskSpec({ networks }) });
    expect((await task(web)).networks[0]!.addresses).toEqual(['10.0.1.77/24']);
    expect((await task(web, { slot: 2 })).status.err).toMatch(
      /^address 10.0.1.77 of network .* is in use$/,
    );
  });

  describe('an address that a service names', () => {
    const named = async (address: string) => {
      const net = await network(subnet('10.9.0.0/29'));
      const networks = [aNetworkTarget({ target: net.id, addresses: [address] })];
      const spec = { endpoint: { mode: 'dnsrr' as const, ports: [] } };
      const db = await service({ ...spec, task: aTaskSpec({ networks }) });
      const web = await service({ ...spec, task: on(net) });
      const addressOf = (one: Task): string =>
        t.get('task', one.id).networks.find(({ networkId }) => networkId === net.id)
          ?.addresses[0] ?? '';
      return { net, db, web, addressOf };
    };

    test('is given to nobody else, also by a new leader, as long as it names it', async () => {
      const { db, web, addressOf } = await named('10.9.0.3');
      await allocator.stop();
      await lead();
      const tasks: Task[] = [];
      for (let slot = 1; slot <= 5; slot++) tasks.push(await task(web, { slot }));
      // Six hosts, of which one is the gateway: four are for others.
      expect(tasks.map(addressOf)).toEqual([
        ...['10.9.0.2/29', '10.9.0.4/29', '10.9.0.5/29', '10.9.0.6/29', ''],
      ]);
      expect(addressOf(await task(db))).toBe('10.9.0.3/29');
      expect(t.get('task', tasks[4]!.id).status.err).toContain('has no free address');
      await t.store.update((tx) => {
        const now = tx.require('service', db.id);
        const networks = now.spec.task.networks.map((it) => ({ ...it, addresses: [] }));
        tx.update('service', {
          ...now,
          spec: { ...now.spec, task: { ...now.spec.task, networks } },
        });
        for (const { id } of tx.tasksByService(db.id)) tx.remove('task', id);
      });
      await rest();
      expect(addressOf(tasks[4]!)).toBe('10.9.0.3/29');
    });

    const follow = async (db: Service, old: Task, state: 'ready' | 'down') => {
      const [node] = await t.create('node', aNode());
      await t.store.update((tx) =>
        tx.update('task', {
          ...tx.require('task', old.id),
          nodeId: node!.id,
          desiredState: 'shutdown',
          status: aTaskStatus({ state: 'running' }),
        }),
      );
      const setNode = (to: 'ready' | 'down') =>
        t.store.update((tx) =>
          tx.update('node', {
            ...tx.require('node', node!.id),
            status: { state: to, message: '', address: '' },
          }),
        );
      await setNode(state);
      await rest();
      const next = await task(db, { desiredState: 'ready' });
      return { next, setNode };
    };

    test('goes on to the next task when the one before it has ended', async () => {
      const { db, addressOf } = await named('10.9.0.3');
      const old = await task(db);
      const { next } = await follow(db, old, 'ready');
      expect(next.status.err).toMatch(/^address 10.9.0.3 of network .* is in use$/);
      await end(old.id, 'failed');
      await rest();
      expect(addressOf(next)).toBe('10.9.0.3/29');
    });

    test('stays with one whose node went down as long as the next task cannot be placed', async () => {
      const { net, db, web, addressOf } = await named('10.9.0.3');
      const other = await task(web);
      expect(addressOf(other)).toBe('10.9.0.2/29');
      const old = await task(db);
      await follow(db, old, 'down');
      expect(addressOf(old)).toBe('');
      const networks = (address: string) => [
        aNetworkTarget({ target: net.id, addresses: [address] }),
      ];
      const db2 = await service({
        endpoint: { mode: 'dnsrr' as const, ports: [] },
        task: aTaskSpec({ networks: networks('10.9.0.5') }),
      });
      const second = await task(db2);
      await t.store.update((tx) => {
        const node = tx.list('node')[0]!;
        const now = tx.require('task', second.id);
        const status = aTaskStatus({ state: 'running' });
        tx.update('task', { ...now, nodeId: node.id, desiredState: 'shutdown', status });
      });
      await rest();
      const spec = aTaskSpec({ networks: networks('10.9.0.2') });
      const next = await task(db2, { desiredState: 'ready', spec });
      expect(next.status.err).toMatch(/^address 10.9.0.2 of network .* is in use$/);
      expect(addressOf(second)).toBe('10.9.0.5/29');
      const third = aTaskSpec({ networks: networks('10.9.0.5') });
      expect((await task(web, { slot: 3, spec: third })).status.err).toContain('is in use');
      // As soon as it can be placed it takes over.
      await end(other.id, 'failed');
      await rest();
      expect(addressOf(next)).toBe('10.9.0.2/29');
      expect(addressOf(second)).toBe('');
    });

    test.each(['before', 'after'])(
      'is taken over from one whose node went down %s',
      async (when) => {
        const { db, addressOf } = await named('10.9.0.3');
        const old = await task(db);
        const { next, setNode } = await follow(db, old, when === 'before' ? 'down' : 'ready');
        if (when === 'after') {
          await setNode('down');
          await rest();
        }
        expect(addressOf(next)).toBe('10.9.0.3/29');
        expect(t.get('task', old.id).networks).toEqual([]);
        // A new leader finds it in use once, and the end of the other gives nothing back.
        await allocator.stop();
        await lead();
        await end(old.id, 'failed');
        await rest();
        const third = await task(db, { slot: 2 });
        expect(third.status.err).toContain('is in use');
      },
    );
  });

  test('a node has an address in ingress from the day it is ready, and in the networks of its tasks', async () => {
    const net = await network();
    const [node] = await t.create(
      'node',
      aNode({ status: { state: 'unknown', message: '', address: '' } }),
    );
    await rest();
    expect(t.get('node', node!.id).attachments).toEqual([]);
    const set = (state: 'ready' | 'down') =>
      t.store.update((tx) => {
        const now = tx.require('node', node!.id);
        tx.update('node', { ...now, status: { ...now.status, state } });
      });
    await set('ready');
    await rest();
    await set('down');
    await rest();
    const networkIds = (): NetworkId[] =>
      t.get('node', node!.id).attachments.map(({ networkId }) => networkId);
    expect(networkIds()).toEqual([ingress().id]);

    const one = await task(await service({ task: on(net) }));
    await t.store.update((tx) => {
      const status = aTaskStatus({ state: 'assigned' });
      tx.update('task', { ...tx.require('task', one.id), nodeId: node!.id, status });
    });
    await rest();
    expect(networkIds()).toEqual([ingress().id, net.id]);
    await end(one.id, 'failed');
    await rest();
    expect(networkIds()).toEqual([ingress().id]);
  });

  test('more nodes than the ingress network has addresses: the rest waits, at rest', async () => {
    const nodes = Array.from({ length: 255 }, () => aNode());
    await t.store.batch(nodes, (tx, node) => void tx.create('node', node));
    await rest();
    const without = (): string[] =>
      nodes.filter(({ id }) => t.get('node', id).attachments.length === 0).map(({ id }) => id);
    expect(without()).toHaveLength(2);
    const { revision } = t.store;
    await rest();
    expect(t.store.revision).toBe(revision);
    await t.store.update((tx) => tx.remove('node', nodes[0]!.id));
    nodes.shift();
    await rest();
    expect(without()).toHaveLength(1);
  });

  test('tasks that nobody wants any more get nothing', async () => {
    const web = await service({});
    expect((await task(web, { desiredState: 'remove' })).status.state).toBe('new');
  });

  test('in a network that each node makes itself a task has its place and no address, a service no VIP', async () => {
    const [mv, overlay] = [
      await network({ driver: 'macvlan', configFrom: 'conf' }),
      await network(),
    ];
    expect(mv).toMatchObject({ ipam: [], vxlanId: null });
    const made = await service({
      task: on(mv, overlay),
      endpoint: { mode: 'vip', ports: [aPort({ publishedPort: 8080 })] },
    });
    expect(made.endpoint?.virtualIps.map(({ networkId }) => networkId)).toEqual([
      ingress().id,
      overlay.id,
    ]);
    const { networks, status } = await task(made);
    expect(status.state).toBe('pending');
    expect(networks).toMatchObject([
      { networkId: ingress().id },
      { networkId: mv.id, addresses: [], aliases: ['db'] },
      { networkId: overlay.id, aliases: ['db'] },
    ]);
    // A new leader takes it up as it is.
    await allocator.stop();
    await lead();
    expect((await task(made)).networks[1]).toEqual(networks[1]);
  });

  test('2,000 tasks are allocated, each with an address of its own', async () => {
    const big = await network(subnet('172.16.0.0/16'));
    const web = await service({ task: on(big) });
    const tasks = Array.from({ length: 2000 }, (_, i) =>
      aTaskOf(web, { slot: i + 1, endpoint: null }),
    );
    await allocator.stop();
    await t.store.batch(tasks, (tx, one) => void tx.create('task', one));
    await lead();
    for (let i = 0; i < 200; i++) await settle();
    const addresses = t.store.view((view) =>
      view.list('task').flatMap(({ networks }) => networks.flatMap((one) => one.addresses)),
    );
    expect(new Set(addresses).size).toBe(2000);
  });

  test('over any history no address or port has two holders, and a new leader agrees', async () => {
    const nets = [await network(subnet('10.7.0.0/27')), await network(subnet('10.7.1.0/28'))];
    const step = fc.record({
      kind: fc.constantFrom('service', 'task', 'task', 'task', 'end', 'remove', 'unserve', 'lead'),
      pick: fc.nat(1000),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (history) => {
        for (const { kind, pick } of history) await act(kind, pick);
        await rest();
        expectNoTwoHolders();
      }),
      { numRuns: 25 },
    );

    async function act(kind: string, pick: number): Promise<void> {
      const services = t.store.view((view) => view.list('service'));
      const tasks = t.store.view((view) => view.list('task'));
      const one = tasks[pick % Math.max(1, tasks.length)];
      const web = services[pick % Math.max(1, services.length)];
      if (kind === 'service') {
        const port = aPort({ publishedPort: pick % 3 === 0 ? 8000 + (pick % 5) : 0 });
        await t.create('service', {
          ...aService({ spec: aServiceSpec({ task: on(...nets.slice(pick % 2)) }) }),
          ...(pick % 2 === 0 && {
            spec: aServiceSpec({ endpoint: { mode: 'vip', ports: [port] }, task: on(nets[0]!) }),
          }),
        });
      } else if (kind === 'task' && web) await t.create('task', aTaskOf(web, { endpoint: null }));
      else if (kind === 'end' && one) await end(one.id, 'failed');
      else if (kind === 'remove' && one) await t.store.update((tx) => tx.remove('task', one.id));
      else if (kind === 'unserve' && web) {
        await t.store.update((tx) => tx.remove('service', web.id));
      } else if (kind === 'lead') {
        await allocator.stop();
        await lead();
      }
      if (pick % 2 === 0) await rest();
    }
  });

  function expectNoTwoHolders(): void {
    const holders = t.store.view((view) => [
      ...view
        .list('service')
        .flatMap(({ endpoint }) => [
          ...(endpoint?.virtualIps ?? []).map((vip) => `${vip.networkId} ${vip.address}`),
          ...(endpoint?.ports ?? []).map((port) => `${port.protocol} ${port.publishedPort}`),
        ]),
      ...view
        .list('task')
        .filter(({ status }) => status.state !== 'failed')
        .flatMap(({ networks }) =>
          networks.flatMap((one) => one.addresses.map((it) => `${one.networkId} ${it}`)),
        ),
    ]);
    expect(holders).toHaveLength(new Set(holders).size);
  }
});
