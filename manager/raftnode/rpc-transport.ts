/**
 * `PeerTransport` on sockets: per peer one link of batches out, and theirs in; each snapshot on a gRPC
 * stream and a connection apart from it, taken up where it broke off. Knows nothing of roles and logs.
 */
import { assert } from '../../common/base/assert.ts';
import { Backoff } from '../../common/base/backoff.ts';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { Scope } from '../../common/base/lifecycle.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { CallContext } from '../../common/rpc/call-runner.ts';
import type { LinkReceiver, ServedLink } from '../../common/rpc/link-server.ts';
import type { Peer } from '../../common/rpc/peer.ts';
import type { RpcClients } from '../../common/rpc/pool.ts';
import { raftExchange, raftSendSnapshot } from '../../common/rpc/raft-methods.ts';
import type { RpcService } from '../../common/rpc/server.ts';
import type { ReceiveStream } from '../../common/rpc/stream.ts';
import type {
  RaftBatch,
  RaftBatchAck,
  RaftWireMessage,
  SnapshotAck,
  SnapshotChunk,
} from '../../common/wire/raft.ts';
import type { Message } from '../raft/types.ts';
import { type LinkStream, PeerLink } from './peer-link.ts';
import {
  type PeerAddress,
  type PeerHandler,
  type PeerTransport,
  RemovedMemberError,
  type SnapshotSource,
} from './peer-transport.ts';

/** Attempts of a snapshot that bring nothing new, until the core is told that it failed. */
const FRUITLESS_ATTEMPTS_MAX = 4;
const SNAPSHOT_BACKOFF = { baseMs: 200, maxMs: 2_000 };

export interface RpcTransportOptions {
  readonly server: RpcService;
  readonly pool: RpcClients;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export class RpcTransport implements PeerTransport {
  readonly #options: RpcTransportOptions;
  readonly #scope = new Scope();
  readonly #links = new Map<number, PeerLink>();
  /** Links to peers that left or moved, until they have ended. */
  readonly #ending = new Set<Promise<void>>();
  /** Links of peers that are open. */
  readonly #served = new Set<ServedLink<RaftBatchAck>>();
  #self: PeerAddress | null = null;
  #handler: PeerHandler | null = null;

  constructor(options: RpcTransportOptions) {
    this.#options = options;
  }

  async start(self: PeerAddress, handler: PeerHandler): Promise<void> {
    assert(this.#self === null, 'raft transport: started twice');
    this.#self = self;
    this.#handler = handler;
    const { server } = this.#options;
    this.#scope.defer(
      server.handleLink(raftExchange, (link, peer) =>
        this.#serve(
          serveExchange(handler, link, peer, (from) => this.#heard(from)),
          link,
        ),
      ),
    );
    this.#scope.defer(
      server.handleClientStream(raftSendSnapshot, (chunks, context) =>
        serveSnapshot(handler, chunks, context),
      ),
    );
  }

  async stop(): Promise<void> {
    this.#handler = null;
    await this.#scope.close();
    for (const link of this.#served) link.end();
    this.#served.clear();
    for (const raftId of [...this.#links.keys()]) this.#endLink(raftId);
    await Promise.all(this.#ending);
  }

  setPeers(peers: readonly PeerAddress[]): void {
    const wanted = new Map(peers.map(({ raftId, address }) => [raftId, address]));
    for (const [raftId, link] of [...this.#links]) {
      if (wanted.get(raftId) !== link.address) this.#endLink(raftId);
    }
    if (this.#handler === null) return;
    for (const peer of peers) {
      if (!this.#links.has(peer.raftId)) this.#links.set(peer.raftId, this.#createLink(peer));
    }
  }

  send(messages: readonly Message[]): void {
    for (const message of messages) this.#links.get(message.to)?.send(message);
  }

  greet(): void {
    for (const link of this.#links.values()) link.greet();
  }

  async isGone(raftId: number, signal: AbortSignal): Promise<boolean> {
    const address = this.#links.get(raftId)?.address;
    return address !== undefined && (await this.#options.pool.refuses(address, signal));
  }

  async sendSnapshot(message: Message, source: SnapshotSource, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#options;
    const backoff = new Backoff(SNAPSHOT_BACKOFF, random);
    let best = 0;
    let fruitless = 0;
    const arrived = (offset: number): void => {
      if (offset <= best) return;
      best = offset;
      fruitless = 0;
    };
    for (;;) {
      try {
        if (await this.#attemptSnapshot(message, source, signal, arrived)) return;
        throw new SkepError('unavailable', `send snapshot: ${best} of ${source.dataBytes}`);
      } catch (err) {
        signal.throwIfAborted();
        const isFinal = err instanceof SkepError && err.code === 'permission-denied';
        if (isFinal || ++fruitless > FRUITLESS_ATTEMPTS_MAX) throw err;
        log.debug({ err, to: message.to.toString(16) }, 'raft snapshot broke off');
      }
      await clock.sleep(backoff.nextDelayMs(), signal);
    }
  }

  /**
   * Asks where the receiver is and sends the rest; true when it has all.
   * @param arrived told how much the receiver has, whenever it says so: most attempts end by an error
   */
  async #attemptSnapshot(
    message: Message,
    source: SnapshotSource,
    signal: AbortSignal,
    arrived: (offset: number) => void,
  ): Promise<boolean> {
    const address = this.#links.get(message.to)?.address;
    if (address === undefined || this.#self === null) {
      throw new SkepError('permission-denied', 'send snapshot: the receiver is no member');
    }
    const client = this.#options.pool.client(address);
    const { fileId, membership, dataBytes } = source;
    const offer: SnapshotChunk = {
      kind: 'offer',
      from: this.#self,
      message: wireMessage(message),
      ...{ fileId, membership, dataBytes },
    };
    const question = await client.clientStream(raftSendSnapshot, { signal });
    await question.send(offer, signal);
    const answer = await question.finish();
    arrived(answer.offset);
    if (answer.finished) return true;
    const call = await client.clientStream(raftSendSnapshot, { signal });
    try {
      await call.send(offer, signal);
      for await (const { offset, data } of source.chunks(answer.offset)) {
        await call.send({ kind: 'data', offset, data }, signal);
      }
      const ack = await call.finish();
      arrived(ack.offset);
      return ack.finished;
    } catch (err) {
      call.cancel();
      throw err;
    }
  }

  /** Hears a link until the transport stops; its end is not told after that. */
  #serve(
    { receive, ended }: LinkReceiver<RaftBatch>,
    link: ServedLink<RaftBatchAck>,
  ): LinkReceiver<RaftBatch> {
    this.#served.add(link);
    return { receive, ended: () => this.#served.delete(link) && ended() };
  }

  /** A peer opened a stream: what was down to it is up. */
  #heard({ raftId }: PeerAddress): void {
    const link = this.#links.get(raftId);
    if (link === undefined) return;
    this.#options.pool.heard(link.address);
    link.retryNow();
  }

  #createLink({ raftId, address }: PeerAddress): PeerLink {
    const { clock, random, log } = this.#options;
    return new PeerLink({
      ...{ raftId, address, clock, random, log },
      open: (signal) => this.#openStream({ raftId, address }, signal),
      unreachable: () => this.#handler?.unreachable(raftId),
    });
  }

  async #openStream({ raftId, address }: PeerAddress, signal: AbortSignal): Promise<LinkStream> {
    const from = this.#self;
    assert(from !== null, 'raft transport: a link before start');
    const link = await this.#options.pool.link(
      raftExchange,
      address,
      ({ removed }) => {
        if (removed) this.#handler?.removed(raftId);
      },
      signal,
    );
    return {
      write: (batch) => link.write({ from, messages: batch.map(wireMessage) }),
      drained: () => link.drained(),
      ended: link.ended,
      cancel: () => link.cancel(),
    };
  }

  #endLink(raftId: number): void {
    const link = this.#links.get(raftId);
    if (link === undefined) return;
    this.#links.delete(raftId);
    const ending = link.stop();
    this.#ending.add(ending);
    void ending.finally(() => this.#ending.delete(ending)); // stop does not reject
  }
}

/**
 * One link of a peer's; tells of its end, unless the peer is no member. Its node is asked for with each
 * batch: a member may become known after its link was opened.
 */
function serveExchange(
  handler: PeerHandler,
  link: ServedLink<RaftBatchAck>,
  peer: Peer,
  opened: (by: PeerAddress) => void,
): LinkReceiver<RaftBatch> {
  const nodeId = nodeOf(peer);
  let from: number | null = null;
  let isRemoved = false;
  return {
    receive: (batch) => {
      if (isRemoved) return;
      try {
        if (from !== null && from !== batch.from.raftId) {
          throw new SkepError(
            'permission-denied',
            'receive raft messages: of two senders by one link',
          );
        }
        handler.identify(batch.from, nodeId);
        if (from === null) opened(batch.from);
        from = batch.from.raftId;
        handler.receive(batch.from, batch.messages);
      } catch (err) {
        if (!(err instanceof RemovedMemberError)) throw err;
        isRemoved = true;
        link.write({ removed: true });
        link.end();
      }
    },
    ended: () => {
      if (from !== null && !isRemoved) handler.lost(from);
    },
  };
}

async function serveSnapshot(
  handler: PeerHandler,
  chunks: ReceiveStream<SnapshotChunk>,
  { peer, forwarded, signal }: CallContext,
): Promise<SnapshotAck> {
  if (forwarded) throw new SkepError('permission-denied', 'receive snapshot: it was passed on');
  const nodeId = nodeOf(peer);
  const offer = await chunks.next(signal);
  if (offer === null || offer.kind !== 'offer') {
    throw new SkepError('invalid-argument', 'receive snapshot: the stream begins without an offer');
  }
  handler.identify(offer.from, nodeId);
  const sink = await handler.beginSnapshot(offer.from, offer);
  for (;;) {
    const chunk = await chunks.next(signal);
    if (chunk === null) break;
    if (chunk.kind !== 'data') {
      throw new SkepError('invalid-argument', 'receive snapshot: a second offer in one stream');
    }
    await sink.write(chunk.offset, chunk.data);
  }
  if (sink.offset < offer.dataBytes) return { offset: sink.offset, finished: false };
  await sink.finish();
  return { offset: sink.offset, finished: true };
}

/** What the certificate of the other end says. */
function nodeOf({ nodeId }: Peer): string {
  assert(nodeId !== null, 'raft transport: its methods are for managers, who have a certificate');
  return nodeId;
}

/** Only messages between nodes reach a transport; `responses` are local and stay here. */
function wireMessage(message: Message): RaftWireMessage {
  return { ...(message as Omit<Message, 'type'> & Pick<RaftWireMessage, 'type'>), responses: [] };
}
