import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import type { Network, NetworkSpec } from '../../../common/model/network.ts';
import type { ContainerAttachment, Node } from '../../../common/model/node.ts';
import { Allocator } from '../../../manager/allocator/allocator.ts';
import {
  aCluster,
  aContainerAttachment,
  aNetwork,
  aNetworkSpec,
  aNode,
  idOf,
} from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const FIRST = 'aa'.repeat(32);
const SECOND = 'bb'.repeat(32);

describe('containers outside of services in networks of the cluster', () => {
  let t: TestStore;
  let allocator: Allocator;
  const failures: unknown[] = [];

  const rest = async (): Promise<void> => {
    for (let i = 0; i < 6; i++) await settle();
  };
  const lead = async (): Promise<void> => {
    const { store, clock, random } = t;
    const onFailure = (err: unknown): void => void failures.push(err);
    allocator = new Allocator({ store, clock, random, log: silentLogger, onFailure });
    await allocator.start();
    await rest();
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

  const network = async (subnet: string, words: Partial<NetworkSpec> = {}): Promise<Network> => {
    const configs = [{ subnet, gateway: '', range: '', reserved: {} }];
    const ipam = { driver: 'default', options: {}, configs };
    const spec: Partial<NetworkSpec> = { attachable: true, ipam, ...words };
    const [created] = await t.create('network', aNetwork({ spec: aNetworkSpec(spec) }));
    await rest();
    return t.get('network', created!.id);
  };
  const node = async (): Promise<NodeId> => {
    const [created] = await t.create('node', aNode());
    await rest();
    return created!.id;
  };
  /** What a node says of its containers from now on; what it has of them then. */
  const says = async (
    id: NodeId,
    ...attachments: readonly ContainerAttachment[]
  ): Promise<Node['containerAttachments']> => {
    await t.store.update((tx) => {
      const now = tx.require('node', id);
      const known = (wanted: ContainerAttachment): string =>
        now.containerAttachments.find(
          (it) => it.containerId === wanted.containerId && it.networkId === wanted.networkId,
        )?.address ?? '';
      tx.update('node', {
        ...now,
        containerAttachments: attachments.map((it) => ({ ...it, address: known(it) })),
      });
    });
    await rest();
    return t.get('node', id).containerAttachments;
  };
  const addresses = (list: Node['containerAttachments']) => list.map(({ address }) => address);

  test('are in no two networks whose subnets overlap; another container is in the second', async () => {
    const front = await network('10.9.0.0/24', { name: 'front' });
    const back = await network('10.9.0.0/25', { name: 'back' });
    const nodeId = await node();
    const wish = (of: Network, containerId: string) =>
      aContainerAttachment({ networkId: of.id, containerId });
    await says(nodeId, wish(front, FIRST));
    const [held, refused, other] = await says(
      nodeId,
      wish(front, FIRST),
      wish(back, FIRST),
      wish(back, SECOND),
    );
    expect(held?.address).toBe('10.9.0.2/24');
    expect(refused).toMatchObject({
      address: '',
      problem:
        'networks front and back: their subnets 10.9.0.0/24 and 10.9.0.0/25 overlap, no container can be in both',
    });
    expect(other).toMatchObject({ address: '10.9.0.2/25', problem: '' });
  });

  test('get an address, and their node one of its own there', async () => {
    const { id: networkId } = await network('10.9.0.0/24');
    const nodeId = await node();
    const wish = aContainerAttachment({ networkId, containerId: FIRST });
    expect(addresses(await says(nodeId, wish))).toEqual(['10.9.0.2/24']);
    const own = t.get('node', nodeId).attachments.find((it) => it.networkId === networkId);
    expect(own?.address).toBe('10.9.0.3/24');
    expect(await says(nodeId)).toEqual([]);
    const { attachments } = t.get('node', nodeId);
    expect(attachments.some((it) => it.networkId === networkId)).toBe(false);
  });

  test('get the address that they want, once', async () => {
    const { id: networkId } = await network('10.9.0.0/24');
    const nodeId = await node();
    const wanted = '10.9.0.77';
    const [first, second] = await says(
      nodeId,
      aContainerAttachment({ networkId, containerId: FIRST, wanted }),
      aContainerAttachment({ networkId, containerId: SECOND, wanted }),
    );
    expect(first).toMatchObject({ address: '10.9.0.77/24', problem: '' });
    expect(second).toMatchObject({ address: '' });
    expect(second?.problem).toContain('10.9.0.77');
    expect(second?.problem).toContain('in use');
    // The first one leaves, and the other is served.
    expect(addresses(await says(nodeId, second!))).toEqual(['10.9.0.77/24']);
    const outside = aContainerAttachment({ networkId, containerId: FIRST, wanted: '10.8.0.1' });
    expect((await says(nodeId, outside))[0]?.problem).toContain('10.8.0.1');
  });

  test('wait for a network that is not set up, and for an address that is freed', async () => {
    const { id: networkId } = await network('10.9.0.0/29'); // six hosts, one of them the gateway
    const [one, two] = [await node(), await node()];
    const ids = ['1', '2', '3', '4'].map((digit) => digit.repeat(64));
    const all = ids.map((containerId) => aContainerAttachment({ networkId, containerId }));
    expect(addresses(await says(one, ...all))).not.toContain('');
    const late = aContainerAttachment({ networkId, containerId: FIRST });
    const [waiting] = await says(two, late);
    expect(waiting?.problem).toContain('no free address');
    await says(one, all[0]!);
    expect(t.get('node', two).containerAttachments[0]?.address).toMatch(/^10\.9\.0\./);
  });

  test('keep what they have under a new leader, and are freed with their node', async () => {
    const { id: networkId } = await network('10.9.0.0/24');
    const [one, two] = [await node(), await node()];
    const wanted = '10.9.0.77';
    await says(one, aContainerAttachment({ networkId, containerId: FIRST, wanted }));
    await allocator.stop();
    await lead();
    const rival = aContainerAttachment({ networkId, containerId: SECOND, wanted });
    expect(addresses(await says(two, rival))).toEqual(['']);
    await t.store.update((tx) => tx.remove('node', one));
    await rest();
    expect(addresses(t.get('node', two).containerAttachments)).toEqual(['10.9.0.77/24']);
  });

  test('keep it when they left and came back before the allocator heard of it', async () => {
    const { id: networkId } = await network('10.9.0.0/24');
    const nodeId = await node();
    const container = aContainerAttachment({ networkId, containerId: FIRST });
    await says(nodeId, container);
    // The allocator waits for a write; what it hears next is what was said first, and what it plans by is the last word.
    t.proposer.hold = true;
    void t.create('network', aNetwork());
    t.proposer.release();
    await rest();
    expect(t.proposer.held).toBe(1);
    t.proposer.hold = false;
    await t.store.update((tx) =>
      tx.update('node', { ...tx.require('node', nodeId), renewCertificate: true }),
    );
    await rest();
    await says(nodeId);
    await says(nodeId, container);
    t.proposer.release();
    await rest();
    expect(addresses(t.get('node', nodeId).containerAttachments)).toEqual(['10.9.0.2/24']);
  });

  test.each([
    ['not attachable', { attachable: false }],
    ['the ingress network', { ingress: true }],
  ])('are told of a network that is not for them: %s', async (_, words) => {
    const { id: networkId } = await network('10.9.0.0/24', words);
    const nodeId = await node();
    const [told] = await says(nodeId, aContainerAttachment({ networkId }));
    expect(told).toMatchObject({ address: '' });
    expect(told?.problem).toContain('not manually attachable');
  });

  test('are told of a network that is not there', async () => {
    const nodeId = await node();
    const wish = aContainerAttachment({ networkId: idOf('gone') });
    expect((await says(nodeId, wish))[0]?.problem).toContain('not found');
  });
});
