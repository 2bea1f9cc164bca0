import { describe, expect, test } from 'vitest';
import type { NodeId } from '../../../common/model/ids.ts';
import type { NetworkProof } from '../../../common/model/network-proof.ts';
import { verifyNetwork } from '../../../common/rpc/node-methods.ts';
import type { RpcClients } from '../../../common/rpc/pool.ts';
import { networkProofToJson } from '../../../daemon/engineapi/json/network-proof.ts';
import { NetworkProver } from '../../../manager/netproof/network-prover.ts';
import { aNode, aNodeDescription, idOf } from '../../support/builders.ts';
import { makeStore } from '../../support/store.ts';

const PROOF: NetworkProof = {
  compared: 3,
  driftCount: 2,
  leftCount: 1,
  drifts: [
    { where: 'host', what: 'chain output', wanted: 'there', found: null, repaired: true },
    { where: 'task a', what: 'rule 1', wanted: null, found: 'there', repaired: false },
  ],
  failures: [{ where: 'task b', reason: 'EACCES' }],
  repairedSinceStart: 9,
};

const nodeOf = (name: string, state: 'ready' | 'down') =>
  aNode({
    id: idOf<NodeId>(name),
    description: aNodeDescription({ hostname: name, address: `${name}:2377` }),
    status: { state, message: '', address: '' },
  });

async function proverWith(answer: (address: string, request: unknown) => NetworkProof) {
  const { store, create } = makeStore();
  await create('node', nodeOf('b', 'ready'), nodeOf('a', 'ready'), nodeOf('c', 'down'));
  const client = (address: string) => ({
    unary: async (_method: unknown, request: unknown) => answer(address, request),
  });
  return new NetworkProver({ store, pool: { client } as unknown as RpcClients });
}

describe('the proof of the cluster’s networks', () => {
  const { signal } = new AbortController();

  test('asks every node that is up, and tells them in the order of their names', async () => {
    const asked: unknown[] = [];
    const prover = await proverWith((address, request) => {
      asked.push([address, request]);
      return PROOF;
    });
    const proofs = await prover.verify(true, signal);
    expect(proofs.map(({ node, kind }) => [node.description?.hostname, kind])).toEqual([
      ['a', 'proof'],
      ['b', 'proof'],
      ['c', 'down'],
    ]);
    expect(asked).toEqual([
      ['a:2377', { repair: true }],
      ['b:2377', { repair: true }],
    ]);
  });

  test('a node that does not answer is named with its reason, the others are told', async () => {
    const prover = await proverWith((address) => {
      if (address === 'a:2377') throw new Error('no such host');
      return PROOF;
    });
    const json = (await prover.verify(false, signal)).map(networkProofToJson);
    expect(json[0]).toMatchObject({ State: 'failed', Error: 'no such host', Compared: 0 });
    expect(json[1]).toMatchObject({
      State: 'compared',
      DriftCount: 2,
      LeftCount: 1,
      RepairedSinceStart: 9,
    });
    expect(json[2]).toMatchObject({ State: 'down' });
  });

  test('ends with the caller’s reason', async () => {
    const abort = new AbortController();
    const prover = await proverWith(() => {
      abort.abort(new Error('enough'));
      throw new Error('cancelled');
    });
    await expect(prover.verify(false, abort.signal)).rejects.toThrow('enough');
  });

  test('goes over the wire as it is, absent things too', () => {
    const { request, response } = verifyNetwork;
    expect(response.decode(response.encode(PROOF))).toEqual(PROOF);
    for (const repair of [true, false]) {
      expect(request.decode(request.encode({ repair }))).toEqual({ repair });
    }
    expect(verifyNetwork.roles).toEqual(['manager']);
  });
});
