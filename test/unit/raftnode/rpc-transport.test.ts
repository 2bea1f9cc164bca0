import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { SeededRandom } from '../../../common/base/random.ts';
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

describe('a peer that opens a stream', () => {
  test('is called again at once, whatever failed before', async () => {
    type Exchange = (link: unknown) => { receive: (batch: unknown) => void };
    let exchange: Exchange = () => ({ receive: () => {} });
    let opened = 0;
    const heard: string[] = [];
    const release = (): Promise<void> => Promise.resolve();
    const server = {
      handleLink: (_method: unknown, handler: Exchange) => {
        exchange = handler;
        return release;
      },
      handleClientStream: () => release,
    };
    const pool = {
      link: async () => {
        opened++;
        throw new SkepError('unavailable', 'nobody is there');
      },
      heard: (address: string) => heard.push(address),
    };
    const transport = new RpcTransport({
      server: server as unknown as RpcServer,
      pool: pool as unknown as RpcClientPool,
      random: new SeededRandom(1),
      log: silentLogger,
      clock: new FakeClock(),
    });
    const handler = { receive: () => {}, unreachable: () => {}, lost: () => {} };
    await transport.start(
      { raftId: 1, address: '10.0.0.1:2377' },
      handler as unknown as PeerHandler,
    );
    transport.setPeers([PEER]);
    const send = async (): Promise<void> => {
      transport.send([message({ type: 'heartbeat', to: PEER.raftId })]);
      await settle();
    };
    await send();
    await send();
    expect(opened).toBe(1); // the second one came too soon
    exchange({}).receive({ from: PEER, messages: [] });
    await send();
    expect(opened).toBe(2);
    expect(heard).toEqual([PEER.address]);
    await transport.stop();
  });
});
