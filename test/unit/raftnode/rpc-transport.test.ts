import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
import type { LinkReceiver } from '../../../common/rpc/link-server.ts';
import type { RpcClientPool } from '../../../common/rpc/pool.ts';
import type { RpcServer } from '../../../common/rpc/server.ts';
import type { SnapshotAck, SnapshotChunk } from '../../../common/wire/raft.ts';
import { message } from '../../../manager/raft/types.ts';
import type { PeerHandler, SnapshotSource } from '../../../manager/raftnode/peer-transport.ts';
import { RpcTransport } from '../../../manager/raftnode/rpc-transport.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

const DATA_BYTES = 100;
const CHUNK_BYTES = 10;
const PEER = { raftId: 2, address: '10.0.0.2:2377' };

const source: SnapshotSource = {
  fileId: 'file',
  membership: new Uint8Array(0),
  dataBytes: DATA_BYTES,
  async *chunks(fromOffset) {
    for (let offset = fromOffset; offset < DATA_BYTES; offset += CHUNK_BYTES) {
      yield { offset, data: Buffer.alloc(CHUNK_BYTES) };
    }
  },
};

/** A receiver whose link breaks after so many chunks of each call. */
class Receiver {
  offset = 0;
  calls = 0;
  readonly #chunksPerCall: number;

  constructor(chunksPerCall: number) {
    this.#chunksPerCall = chunksPerCall;
  }

  call() {
    let left = this.#chunksPerCall;
    this.calls++;
    return {
      send: async (chunk: SnapshotChunk): Promise<void> => {
        if (chunk.kind === 'offer') return;
        if (left-- === 0) throw new SkepError('unavailable', 'the link broke');
        expect(chunk.offset).toBe(this.offset);
        this.offset += chunk.data.length;
      },
      finish: async (): Promise<SnapshotAck> => ({
        offset: this.offset,
        finished: this.offset === DATA_BYTES,
      }),
      cancel: (): void => {},
    };
  }
}

async function sent(receiver: Receiver): Promise<unknown> {
  const clock = new FakeClock();
  const release = (): Promise<void> => Promise.resolve();
  const server = { handleLink: () => release, handleClientStream: () => release };
  const transport = new RpcTransport({
    server: server as unknown as RpcServer,
    pool: {
      client: () => ({ clientStream: async () => receiver.call() }),
    } as unknown as RpcClientPool,
    random: new SeededRandom(1),
    log: silentLogger,
    clock,
  });
  await transport.start({ raftId: 1, address: '10.0.0.1:2377' }, {} as PeerHandler);
  transport.setPeers([PEER]);
  const offer = message({ type: 'snapshot', to: PEER.raftId });
  const sending = transport.sendSnapshot(offer, source, new AbortController().signal);
  const outcome = sending.then(
    () => 'sent',
    (err: unknown) => err,
  );
  await clock.advance(60_000);
  await transport.stop();
  return outcome;
}

describe('sending a snapshot', () => {
  test('goes on for as long as each attempt brings a part of it', async () => {
    const receiver = new Receiver(1);
    expect(await sent(receiver)).toBe('sent');
    expect(receiver.offset).toBe(DATA_BYTES);
  });

  test('ends when several attempts in a row bring nothing', async () => {
    const receiver = new Receiver(0);
    expect(await sent(receiver)).toMatchObject({ code: 'unavailable' });
    expect(receiver.calls).toBe(2 * 5); // each attempt asks first
  });
});

type Exchange = (link: unknown, peer: unknown) => LinkReceiver<unknown>;

type Snapshots = (chunks: unknown, context: unknown) => Promise<SnapshotAck>;

/** A transport that serves links and snapshots to `handler`; links that it opens fail. */
async function serving(handler: Partial<PeerHandler>) {
  let exchange: Exchange = () => ({ receive: () => {}, ended: () => {} });
  let snapshots: Snapshots = async () => ({ offset: 0, finished: false });
  const calls = { opened: 0, heard: [] as string[] };
  const release = (): Promise<void> => Promise.resolve();
  const server = {
    handleLink: (_method: unknown, served: Exchange) => {
      exchange = served;
      return release;
    },
    handleClientStream: (_method: unknown, served: Snapshots) => {
      snapshots = served;
      return release;
    },
  };
  const pool = {
    link: async () => {
      calls.opened++;
      throw new SkepError('unavailable', 'nobody is there');
    },
    heard: (address: string) => calls.heard.push(address),
  };
  const transport = new RpcTransport({
    server: server as unknown as RpcServer,
    pool: pool as unknown as RpcClientPool,
    random: new SeededRandom(1),
    log: silentLogger,
    clock: new FakeClock(),
  });
  const whole = { identify: () => {}, unreachable: () => {}, lost: () => {}, ...handler };
  await transport.start({ raftId: 1, address: '10.0.0.1:2377' }, whole as PeerHandler);
  transport.setPeers([PEER]);
  const open = (link: unknown = { end: () => {} }): ReturnType<Exchange> =>
    exchange(link, { nodeId: 'node-2' });
  const offer = (raftId: number, forwarded = false): Promise<SnapshotAck> => {
    const chunk = { kind: 'offer', from: { ...PEER, raftId }, dataBytes: 100 };
    const chunks = [chunk, null];
    const context = { peer: { nodeId: 'node-2' }, forwarded };
    return snapshots({ next: async () => chunks.shift() }, context);
  };
  return { transport, calls, open, offer };
}

describe('a peer that opens a stream', () => {
  test('is called again at once, whatever failed before', async () => {
    const { transport, calls, open } = await serving({ receive: () => {} });
    const send = async (): Promise<void> => {
      transport.send([message({ type: 'heartbeat', to: PEER.raftId })]);
      await settle();
    };
    await send();
    await send();
    expect(calls.opened).toBe(1); // the second one came too soon
    open().receive({ from: PEER, messages: [] });
    await send();
    expect(calls.opened).toBe(2);
    expect(calls.heard).toEqual([PEER.address]);
    await transport.stop();
  });

  test('is the node of its certificate, and nobody hears what it says as another one', async () => {
    const heard: number[] = [];
    const { transport, calls, open, offer } = await serving({
      identify: ({ raftId }, nodeId) => {
        if (nodeId !== `node-${raftId}`) throw new SkepError('permission-denied', 'another node');
      },
      receive: ({ raftId }) => heard.push(raftId),
      beginSnapshot: async () => ({ offset: 10, write: async () => {}, finish: async () => {} }),
    });
    const batch = (raftId: number) => ({ from: { ...PEER, raftId }, messages: [] });
    expect(() => open().receive(batch(3))).toThrow(/another node/);
    expect(calls.heard).toEqual([]);
    open().receive(batch(2));
    expect(heard).toEqual([2]);
    await expect(offer(3)).rejects.toThrow(/another node/);
    await expect(offer(2, true)).rejects.toThrow(/it was passed on/);
    expect(await offer(2)).toEqual({ offset: 10, finished: false });
    await transport.stop();
  });

  test('is one sender for the life of its link', async () => {
    const heard: number[] = [];
    const { transport, open } = await serving({ receive: ({ raftId }) => heard.push(raftId) });
    const link = open();
    link.receive({ from: PEER, messages: [] });
    expect(() => link.receive({ from: { ...PEER, raftId: 3 }, messages: [] })).toThrow(
      expect.objectContaining({ code: 'permission-denied' }),
    );
    expect(heard).toEqual([2]);
    await transport.stop();
  });

  test('is told when this transport stops, but for links that it has ended itself', async () => {
    const lost: number[] = [];
    const ended: string[] = [];
    const handler = { receive: () => {}, lost: (raftId: number) => lost.push(raftId) };
    const { transport, open } = await serving(handler);
    const links = ['gone', 'here'].map((name) => open({ end: () => ended.push(name) }));
    for (const link of links) link.receive({ from: PEER, messages: [] });
    links[0]!.ended();
    expect(lost).toEqual([2]);
    await transport.stop();
    expect(ended).toEqual(['here']);
    links[1]!.ended();
    expect(lost).toEqual([2]);
  });
});
