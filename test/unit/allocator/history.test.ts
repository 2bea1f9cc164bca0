/**
 * Random histories of networks, services, tasks, nodes and leaders. Whatever happens, nothing is held by
 * two, nothing is given that may not be, and what nobody holds can be had again.
 */
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import type { Network } from '../../../common/model/network.ts';
import type { PortConfig, Service, ServiceSpec } from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { isTerminal } from '../../../common/model/task-state.ts';
import { Allocator } from '../../../manager/allocator/allocator.ts';
import {
  contains,
  parseInterfaceAddress,
  parseIpv4Subnet,
} from '../../../manager/allocator/cidr.ts';
import type { WriteTx } from '../../../manager/store/types.ts';
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
} from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const STEPS = [
  'network',
  'remove-network',
  'service',
  'service',
  'update',
  'remove-service',
  'task',
  'task',
  'task',
  'assign',
  'assign',
  'end',
  'end',
  'stop',
  'stop',
  'remove-task',
  'node',
  'node-down',
  'lose',
  'lose',
  'remove-node',
  'lead',
] as const;
const step = fc.record({
  kind: fc.constantFrom(...STEPS),
  pick: fc.nat(1_000),
  /** whether the allocator comes to rest before the next step */
  rest: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Small enough to be exhausted; the second gives out of a range, with reserved and gateway inside. */
const SUBNETS: readonly Network['ipam'][0][] = [
  { subnet: '10.7.0.0/28', gateway: '', range: '', reserved: {} },
  {
    subnet: '10.7.1.0/24',
    gateway: '10.7.1.130',
    range: '10.7.1.128/28',
    reserved: { printer: '10.7.1.133' },
  },
  { subnet: '', gateway: '', range: '', reserved: {} },
];

class History {
  readonly t: TestStore = makeStore();
  readonly failures: unknown[] = [];
  #allocator: Allocator | null = null;

  async lead(): Promise<void> {
    await this.stop();
    const { store, clock, random } = this.t;
    const onFailure = (err: unknown): void => void this.failures.push(err);
    this.#allocator = new Allocator({ store, clock, random, log: silentLogger, onFailure });
    await this.#allocator.start();
    await this.rest();
  }

  async stop(): Promise<void> {
    await this.#allocator?.stop();
  }

  async rest(): Promise<void> {
    for (let revision = -1; revision !== this.t.store.revision; ) {
      revision = this.t.store.revision;
      for (let i = 0; i < 4; i++) await settle();
    }
  }

  async act({ kind, pick }: Step): Promise<void> {
    const { store } = this.t;
    const one = <T>(list: readonly T[]): T | undefined => list[pick % Math.max(1, list.length)];
    const { networks, services, tasks, nodes } = this.#objects();
    const [network, service, task, node] = [one(networks), one(services), one(tasks), one(nodes)];
    if (kind === 'lead') return this.lead();
    if (kind === 'network') {
      const configs = [SUBNETS[pick % SUBNETS.length]!];
      const ipam = { driver: 'default', options: {}, configs };
      await this.t.create('network', aNetwork({ spec: aNetworkSpec({ ipam }) }));
    }
    if (kind === 'service') {
      await this.t.create('service', aService({ spec: aServiceSpec(specOf(networks, pick)) }));
    }
    if (kind === 'task' && service)
      await this.t.create('task', aTaskOf(service, { endpoint: null }));
    if (kind === 'node') await this.t.create('node', aNode());
    await store.update((tx) => {
      if (kind === 'remove-network' && network) {
        const inUse = services.some((it) => it.spec.task.networks[0]?.target === network.id);
        if (!inUse && !network.spec.ingress) tx.remove('network', network.id);
      }
      if (kind === 'update' && service) {
        tx.update('service', { ...service, spec: { ...service.spec, ...specOf(networks, pick) } });
      }
      if (kind === 'remove-service' && service) tx.remove('service', service.id);
      const isPending = task?.status.state === 'pending' && task.desiredState === 'running';
      if (kind === 'assign' && isPending && node) {
        tx.update('task', {
          ...task,
          nodeId: node.id,
          status: { ...task.status, state: 'assigned' },
        });
      }
      if (kind === 'end' && task) {
        tx.update('task', { ...task, status: { ...task.status, state: 'failed' } });
      }
      if (kind === 'stop' && task) tx.update('task', { ...task, desiredState: 'shutdown' });
      if (kind === 'remove-task' && task) tx.remove('task', task.id);
      if (kind === 'node-down' && node) {
        tx.update('node', { ...node, status: { ...node.status, state: 'down' } });
      }
      if (kind === 'remove-node' && node) tx.remove('node', node.id);
      if (kind === 'lose') lose(tx, one(tasks.filter(({ nodeId }) => nodeId !== null)));
    });
  }

  /** `network address` and `protocol port` of everything that is held. */
  holders(): string[] {
    const { services, tasks, nodes } = this.#objects();
    return [
      ...services.flatMap(({ endpoint }) => [
        ...(endpoint?.virtualIps ?? []).map(({ networkId, address }) => `${networkId} ${address}`),
        ...(endpoint?.ports ?? [])
          .filter(({ publishMode }) => publishMode === 'ingress')
          .map(({ protocol, publishedPort }) => `${protocol} ${publishedPort}`),
      ]),
      ...tasks
        .filter(({ desiredState, nodeId }) => desiredState !== 'shutdown' || nodeId !== null)
        .filter(({ status }) => !isTerminal(status.state))
        .flatMap(({ networks }) =>
          networks.flatMap(({ networkId, addresses }) =>
            addresses.map((address) => `${networkId} ${address}`),
          ),
        ),
      ...nodes.flatMap(({ attachments }) =>
        attachments.map(({ networkId, address }) => `${networkId} ${address}`),
      ),
    ];
  }

  expectSound(): void {
    const holders = this.holders();
    expect(holders).toHaveLength(new Set(holders).size);
    const { networks } = this.#objects();
    for (const { id, ipam } of networks) {
      const [config] = ipam;
      if (!config) continue;
      const subnet = parseIpv4Subnet(config.subnet);
      const window = config.range === '' ? subnet : parseIpv4Subnet(config.range);
      const withheld = [config.gateway, ...Object.values(config.reserved)].map(
        parseInterfaceAddress,
      );
      for (const holder of holders) {
        if (!holder.startsWith(`${id} `)) continue;
        const address = parseInterfaceAddress(holder.slice(id.length + 1));
        expect(contains(window, address)).toBe(true);
        expect(withheld).not.toContain(address);
        expect(address).not.toBe(subnet.base);
      }
    }
    const ids = networks.flatMap(({ vxlanId }) => (vxlanId === null ? [] : [vxlanId]));
    expect(ids).toHaveLength(new Set(ids).size);
  }

  /** When nobody holds anything, each network gives all its addresses again. */
  async expectNothingLost(): Promise<void> {
    const { services, tasks, nodes, networks } = this.#objects();
    await this.t.store.update((tx) => {
      for (const { id } of tasks) tx.remove('task', id);
      for (const { id } of services) tx.remove('service', id);
      for (const { id } of nodes) tx.remove('node', id);
    });
    await this.rest();
    const small = networks.find(({ ipam }) => ipam[0]?.subnet === '10.7.0.0/28');
    if (!small) return;
    const task = aTaskSpec({ networks: [aNetworkTarget({ target: small.id })] });
    const endpoint = { mode: 'dnsrr' as const, ports: [] };
    const [service] = await this.t.create(
      'service',
      aService({ spec: aServiceSpec({ task, endpoint }) }),
    );
    const wanted = Array.from({ length: 14 }, () => aTaskOf(service!, { endpoint: null }));
    await this.t.create('task', ...wanted);
    await this.rest();
    const states = wanted.map(({ id }) => this.t.get('task', id).status);
    expect(states.filter(({ state }) => state === 'pending')).toHaveLength(13); // one is the gateway
    expect(states.find(({ state }) => state === 'new')?.err).toContain(
      `network '${small.spec.name}' has no free address: 13 of 13 addresses`,
    );
  }

  #objects() {
    return this.t.store.view((view) => ({
      networks: view.list('network'),
      services: view.list('service'),
      tasks: view.list('task'),
      nodes: view.list('node'),
    }));
  }
}

/** Its node goes down, and the orchestrator has another take its place. */
function lose(tx: WriteTx, task: Task | undefined): void {
  const node = task?.nodeId && tx.get('node', task.nodeId);
  const service = task && tx.get('service', task.serviceId);
  if (!task || !node || !service) return;
  tx.update('node', { ...node, status: { ...node.status, state: 'down' } });
  tx.update('task', { ...task, desiredState: 'shutdown' });
  tx.create('task', aTaskOf(service, { endpoint: null }));
}

function specOf(all: readonly Network[], pick: number): Pick<ServiceSpec, 'task' | 'endpoint'> {
  const own = all.filter(({ spec }) => !spec.ingress);
  const network = own[pick % Math.max(1, own.length)];
  const protocol = (['tcp', 'udp', 'sctp'] as const)[pick % 3]!;
  const port: PortConfig = aPort({ protocol, publishedPort: pick % 4 === 0 ? 8_000 : 0 });
  const mode: Service['spec']['endpoint']['mode'] = pick % 5 === 0 ? 'dnsrr' : 'vip';
  // Some have an address of their own; tasks are all in one slot, so that one follows another there.
  const addresses = pick % 3 === 0 && network ? addressesIn(network) : [];
  const networks = network ? [aNetworkTarget({ target: network.id, addresses })] : [];
  return {
    task: aTaskSpec({ networks }),
    endpoint: { mode, ports: mode === 'vip' && pick % 2 === 0 ? [port] : [] },
  };
}

function addressesIn({ spec }: Network): readonly string[] {
  const { subnet = '' } = spec.ipam.configs[0] ?? {};
  return { '10.7.0.0/28': ['10.7.0.5'], '10.7.1.0/24': ['10.7.1.140'] }[subnet] ?? [];
}

let history: History | null = null;
afterEach(async () => {
  await history?.stop();
});

test('over any history nothing has two holders, nothing withheld is given, nothing is lost', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      history = new History();
      await history.t.create('cluster', aCluster());
      await history.lead();
      for (const kind of ['network', 'node', 'service', 'task', 'assign'] as const) {
        await history.act({ kind, pick: 0, rest: true });
        await history.rest();
      }
      for (const one of steps) {
        await history.act(one);
        if (one.rest) await history.rest();
        if (one.rest) history.expectSound();
      }
      await history.rest();
      history.expectSound();
      await history.expectNothingLost();
      await history.stop();
      expect(history.failures).toEqual([]);
    }),
    { numRuns: 60 },
  );
}, 60_000);
