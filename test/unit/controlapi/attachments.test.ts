import { beforeEach, describe, expect, test } from 'vitest';
import type { NodeId } from '../../../common/model/ids.ts';
import type { ContainerAttachment } from '../../../common/model/node.ts';
import { findAttachable, setAttachments } from '../../../common/rpc/attachment-methods.ts';
import type { UnaryMethod } from '../../../common/rpc/method.ts';
import { removeNetwork } from '../../../manager/controlapi/networks.ts';
import { type AttachmentCall, attachmentCalls } from '../../support/attachment-calls.ts';
import {
  aContainerAttachment,
  aNetwork,
  aNetworkSpec,
  aNode,
  idOf,
} from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const nodeId = idOf<NodeId>('node');

describe('attachments of containers outside of services', () => {
  let t: TestStore;
  let ask: AttachmentCall;

  beforeEach(async () => {
    t = makeStore();
    await t.create('node', aNode({ id: nodeId }));
    ask = attachmentCalls(t);
  });

  const call = <Req, Res>(
    method: UnaryMethod<Req, Res>,
    request: Req,
    by: NodeId | null = nodeId,
  ): Promise<Res> => ask(method, request, by);
  const network = async (name: string, attachable: boolean) => {
    const spec = aNetworkSpec({ name, attachable });
    const [made] = await t.create('network', aNetwork({ spec, vxlanId: 4096 }));
    return made!;
  };
  /** As the allocator does. */
  const allocate = (place: Pick<ContainerAttachment, 'address' | 'problem'>) =>
    t.store.update((tx) => {
      const node = tx.require('node', nodeId);
      const containerAttachments = node.containerAttachments.map((it) => ({ ...it, ...place }));
      tx.update('node', { ...node, containerAttachments });
    });

  test('networks are found by name and by id, if they are attachable', async () => {
    const { id } = await network('front', true);
    await network('back', false);
    const found = { id, name: 'front', internal: false };
    expect(await call(findAttachable, { ref: 'front' })).toEqual(found);
    expect(await call(findAttachable, { ref: id })).toEqual(found);
    await expect(call(findAttachable, { ref: 'back' })).rejects.toMatchObject({
      code: 'permission-denied',
      message:
        'Could not attach to network back: rpc error: code = PermissionDenied desc = network back not manually attachable',
    });
    await expect(call(findAttachable, { ref: 'nowhere' })).rejects.toMatchObject({
      code: 'not-found',
      message: 'network nowhere not found',
    });
  });

  test('a node is answered when the allocator has looked at all of them', async () => {
    const { id: networkId } = await network('front', true);
    const wish = aContainerAttachment({ networkId });
    let answer: readonly ContainerAttachment[] | null = null;
    const asked = call(setAttachments, { attachments: [wish], sequence: 1 }).then((it) => {
      answer = it;
    });
    for (let i = 0; i < 4; i++) await settle();
    expect(answer).toBeNull();
    await allocate({ address: '10.0.1.2/24', problem: '' });
    await asked;
    expect(answer).toEqual([{ ...wish, address: '10.0.1.2/24' }]);
    // What goes on keeps its address; what is not named ends.
    const more = aContainerAttachment({ networkId, containerId: 'dd'.repeat(32) });
    const both = call(setAttachments, { attachments: [wish, more], sequence: 2 });
    for (let i = 0; i < 4; i++) await settle();
    const { containerAttachments } = t.get('node', nodeId);
    expect(containerAttachments.map(({ address }) => address)).toEqual(['10.0.1.2/24', '']);
    await allocate({ address: '', problem: 'no addresses' });
    expect((await both).map(({ problem }) => problem)).toEqual(['no addresses', 'no addresses']);
    expect(await call(setAttachments, { attachments: [], sequence: 3 })).toEqual([]);
  });

  test('a place that this cluster does not know asks for the address that is in use', async () => {
    const { id: networkId } = await network('front', true);
    const used = aContainerAttachment({ networkId, address: '10.0.1.9/24' });
    const asked = call(setAttachments, { attachments: [used], sequence: 1 });
    for (let i = 0; i < 4; i++) await settle();
    expect(t.get('node', nodeId).containerAttachments[0]).toMatchObject({
      wanted: '10.0.1.9/24',
      address: '',
    });
    await allocate({ address: '10.0.1.9/24', problem: '' });
    await asked;
  });

  test('a word that comes late is refused, and told which one is the latest', async () => {
    await call(setAttachments, { attachments: [], sequence: 5 });
    await expect(call(setAttachments, { attachments: [], sequence: 4 })).rejects.toMatchObject({
      code: 'conflict',
      details: { latest: '5' },
    });
    await call(setAttachments, { attachments: [], sequence: 5 }); // a call that was repeated
  });

  test('what is no attachment is refused', async () => {
    const { id: networkId } = await network('front', true);
    const one = aContainerAttachment({ networkId });
    const set = (...attachments: ContainerAttachment[]) =>
      call(setAttachments, { attachments, sequence: 1 });
    await expect(set(one, one)).rejects.toThrow('named twice');
    await expect(set({ ...one, containerId: 'web' })).rejects.toThrow("'web' is not the id");
    const nobody = call(setAttachments, { attachments: [], sequence: 1 }, null);
    await expect(nobody).rejects.toMatchObject({ code: 'unauthenticated' });
    const stranger = call(setAttachments, { attachments: [], sequence: 1 }, idOf('stranger'));
    await expect(stranger).rejects.toMatchObject({ code: 'permission-denied' });
  });

  test('a network with a container in it is not removed', async () => {
    const { id: networkId } = await network('front', true);
    const asked = call(setAttachments, {
      attachments: [aContainerAttachment({ networkId })],
      sequence: 1,
    });
    for (let i = 0; i < 4; i++) await settle();
    const removed = t.store.update((tx) => removeNetwork(tx, { ref: 'front', force: false }));
    await expect(removed).rejects.toThrow(`network ${networkId} is in use by container c0c0`);
    await allocate({ address: '10.0.1.2/24', problem: '' });
    await asked;
    await call(setAttachments, { attachments: [], sequence: 2 });
    await t.store.update((tx) => removeNetwork(tx, { ref: 'front', force: false }));
  });

  test('nor one that a container comes into while its removal is under way', async () => {
    const { id: networkId } = await network('front', true);
    t.proposer.hold = true;
    const asked = call(setAttachments, {
      attachments: [aContainerAttachment({ networkId })],
      sequence: 1,
    });
    const removed = t.store.update((tx) => removeNetwork(tx, { ref: 'front', force: false }));
    const refused = expect(removed).rejects.toThrow('is in use by container c0c0');
    for (let i = 0; i < 4; i++) await settle();
    t.proposer.hold = false;
    t.proposer.release();
    await refused;
    await allocate({ address: '10.0.1.2/24', problem: '' });
    await asked;
  });
});
