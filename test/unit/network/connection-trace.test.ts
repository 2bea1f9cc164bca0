import { describe, expect, test } from 'vitest';
import { asId, type NodeId } from '../../../common/model/ids.ts';
import { ClusterTables } from '../../../worker/network/cluster-tables.ts';
import { type TraceParts, traceConnection } from '../../../worker/network/connection-trace.ts';
import type { OverlayNetwork } from '../../../worker/network/overlay-network.ts';
import {
  attachRequest,
  endpoint,
  network,
  port,
  service,
  set,
} from '../../support/network-scene.ts';

const INGRESS = network('ingress', 4096, 0, { ingress: true });
const OTHER = network('other', 4097, 1);
const HERE = { nodeId: 'node0', address: '172.30.77.1' };
const THERE = { nodeId: 'node1', address: '172.30.77.2' };

/** The words of a trace from this node to `web`, and the networks that it looked at. */
async function traceFromNode(
  published: Partial<ReturnType<typeof port>> = {},
  localHolder: TraceParts['localHolder'] = () => null,
  refuses = false,
) {
  const tables = new ClusterTables();
  tables.apply(
    [
      ...[INGRESS, OTHER].map((item) => set('network', item)),
      set('endpoint', endpoint(INGRESS, 'web', 1, HERE, '10.0.0.11')),
      set('endpoint', endpoint(INGRESS, 'web', 2, THERE, '10.0.0.12')),
      set('port', { ...port('web', 8080, 80), ...published }),
    ],
    true,
  );
  const compared: string[] = [];
  const overlays = new Map(
    [INGRESS, OTHER].map(({ id, name }) => [
      id,
      {
        vxlanOptions: () => ({}),
        differences: async () => {
          compared.push(name);
          if (refuses) throw new Error('EPERM');
          return [];
        },
      } as unknown as OverlayNetwork,
    ]),
  );
  const parts = {
    ...{ nodeId: asId<NodeId>(HERE.nodeId), vtepAddress: HERE.address, tables, overlays },
    ...{
      host: { gateway: { seat: null }, ingressRefusal: null, differences: async () => [] },
      tasks: new Map(),
    },
    ...{ encrypted: { active: false }, localHolder },
    made: { addressesOf: () => [], subjects: () => [] },
  } as unknown as TraceParts;
  const hops = await traceConnection(parts, { service: 'web', taskId: '' });
  const words = hops.map(({ step, detail, faults }) => [step, detail, ...faults].join(': '));
  return { words, compared };
}

describe('the way of a connection from a node', () => {
  test('leads to tasks of all nodes, and looks at what is on the way only, once', async () => {
    const { words, compared } = await traceFromNode();
    expect(words[0]).toBe('balancing: port 8080/tcp to 80 goes to one of 10.0.0.11, 10.0.0.12');
    expect(compared).toEqual(['ingress']);
  });

  test('leads to tasks of this node where the service wants no others', async () => {
    const { words } = await traceFromNode({ localOnly: true });
    expect(words[0]).toBe('balancing: port 8080/tcp to 80 of tasks here goes to one of 10.0.0.11');
    expect(words.join()).not.toContain('10.0.0.12');
  });

  test('ends at a container that had the port first', async () => {
    const { words } = await traceFromNode(
      {},
      ({ protocol, publishedPort }) => `container of ${protocol}/${publishedPort}`,
    );
    expect(words[0]).toContain('container of tcp/8080 of this node had it first: it answers');
  });

  test('goes on past what cannot be looked at, and says so', async () => {
    const { words } = await traceFromNode({}, () => null, true);
    expect(words).toContainEqual(
      expect.stringMatching(/^neighbour: .*network ingress could not be compared: EPERM$/),
    );
  });
});

test('in a network that each node makes for itself it leads by that, with what is wrong of the link here', async () => {
  const local = { driverOptions: {}, configFrom: 'wire', ipam: [] };
  const lan = network('lan', 0, 0, { driver: 'macvlan', subnet: '', gateway: '', local });
  const tables = new ClusterTables();
  const [here, there] = [
    endpoint(lan, 'web', 1, HERE, '10.231.1.2'),
    endpoint(lan, 'web', 2, THERE, '10.231.2.2'),
  ];
  tables.apply(
    [
      set('network', lan),
      ...[here, there].map((seat) => set('endpoint', seat)),
      set('serviceEntry', service(lan, 'web', null)),
    ],
    true,
  );
  const attachments = [{ networkId: lan.id, addresses: [], aliases: [] }];
  const request = { ...attachRequest([here], { netns: '/nowhere' }), attachments };
  const whose = `container ${here.taskId.slice(0, 12)}: link`;
  const parts = {
    ...{ nodeId: asId<NodeId>(HERE.nodeId), vtepAddress: HERE.address, tables },
    ...{ overlays: new Map(), host: {}, encrypted: { active: false }, localHolder: () => null },
    tasks: new Map([[here.taskId, { request, network: { legs: [] }, missing: new Set() }]]),
    made: {
      addressesOf: () => [{ networkId: lan.id, address: '10.231.1.2/16' }],
      subjects: () => [
        {
          where: 'networks of the cluster that this node makes',
          differences: async () => [{ what: `${whose} eth0`, wanted: 'macvlan', found: null }],
        },
      ],
    },
  } as unknown as TraceParts;
  const hops = await traceConnection(parts, { service: 'web', taskId: here.taskId });
  const fault = `${whose} eth0: wanted macvlan, found absent`;
  expect(hops).toEqual([
    { step: 'name', detail: 'web is 10.231.1.2, 10.231.2.2 in network lan', faults: [] },
    { step: 'from', detail: '10.231.1.2/16 on eth0', faults: [fault] },
    { step: 'backend', detail: `10.231.1.2 is ${here.containerName} on this node`, faults: [] },
    { step: 'link', detail: 'macvlan, made by each node for itself', faults: [fault] },
    {
      step: 'backend',
      detail: `10.231.2.2 is ${there.containerName} on host ${THERE.address}`,
      faults: [],
    },
    { step: 'link', detail: 'macvlan, made by each node for itself', faults: [] },
  ]);
});
