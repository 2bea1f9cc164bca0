/**
 * Links between machines: delay, loss, duplicates, overtaking, clogs and cuts, each direction for
 * itself. Carries batches and snapshots between the transports of whole raft nodes.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { SeededRandom } from '../../common/base/random.ts';
import type { Message } from '../../manager/raft/types.ts';
import {
  type PeerAddress,
  type PeerHandler,
  type PeerTransport,
  RemovedMemberError,
  type SnapshotSource,
} from '../../manager/raftnode/peer-transport.ts';
import type { EventKind, SimClock } from './clock.ts';
import type { LinkQuality } from './plan.ts';

/** A listening process. */
export interface Endpoint {
  readonly self: PeerAddress;
  readonly handler: PeerHandler;
  /** Resolves when the process is gone: connections to it break. */
  readonly gone: Promise<void>;
}

export interface NetworkObserver {
  sending(from: number, message: Message): void;
  /** Called before the receiver gets it. */
  delivering(to: number, message: Message): void;
  lost(from: number, to: number, count: number): void;
  duplicated(): void;
  overtaken(): void;
}

/** Of duplicates: those that come when the sender may have led, lost and led again. */
const ANCIENT_SHARE = 0.3;
const ANCIENT_MS = 8_000;

export class SimNetwork {
  readonly #clock: SimClock;
  readonly #random: SeededRandom;
  readonly #quality: LinkQuality;
  readonly #observer: NetworkObserver;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #linkFreeMs = new Map<string, number>();
  readonly #cloggedUntilMs = new Map<string, number>();
  readonly #cut = new Set<string>();
  /** Machines that run, whether or not a process does: their kernels answer. */
  readonly #powered = new Set<number>();
  /** All links are perfect and quick: the time after the faults. */
  isHealed = false;

  constructor(
    clock: SimClock,
    random: SeededRandom,
    quality: LinkQuality,
    observer: NetworkObserver,
  ) {
    this.#clock = clock;
    this.#random = random;
    this.#quality = quality;
    this.#observer = observer;
  }

  get observer(): NetworkObserver {
    return this.#observer;
  }

  cut(from: number, to: number): void {
    this.#cut.add(keyOf(from, to));
  }

  isCut(from: number, to: number): boolean {
    return this.#cut.has(keyOf(from, to));
  }

  /** What is under way and what comes waits for so long. */
  clog(from: number, to: number, forMs: number): void {
    this.#cloggedUntilMs.set(keyOf(from, to), this.#clock.nowMs + forMs);
  }

  isClogged(from: number, to: number): boolean {
    return (this.#cloggedUntilMs.get(keyOf(from, to)) ?? 0) > this.#clock.nowMs;
  }

  heal(): void {
    this.#cut.clear();
    this.#cloggedUntilMs.clear();
  }

  attach(endpoint: Endpoint): () => void {
    this.#endpoints.set(endpoint.self.address, endpoint);
    this.#powered.add(endpoint.self.raftId);
    return () => {
      if (this.#endpoints.get(endpoint.self.address) === endpoint) {
        this.#endpoints.delete(endpoint.self.address);
      }
    };
  }

  /** Null when nobody answers there, or the way there is cut. */
  reach(from: number, to: PeerAddress): Endpoint | null {
    if (this.isCut(from, to.raftId)) return null;
    return this.#endpoints.get(to.address) ?? null;
  }

  /** The machine of `raftId` answers nothing any more, until a process runs there. */
  powerOff(raftId: number): void {
    this.#powered.delete(raftId);
  }

  /** See `PeerTransport.isGone`: a connection there and the kernel's answer back. */
  async isGone(from: number, to: PeerAddress): Promise<boolean> {
    await this.#delay(from, 'deliver');
    if (this.isCut(from, to.raftId) || !this.#powered.has(to.raftId)) return false;
    const isGone = !this.#endpoints.has(to.address);
    await this.#delay(from, 'deliver');
    return isGone && !this.isCut(to.raftId, from);
  }

  deliver(sender: Endpoint, to: PeerAddress, messages: readonly Message[]): void {
    const from = sender.self.raftId;
    for (const message of messages) this.#observer.sending(from, message);
    if (this.#chance(this.#quality.loss)) {
      this.#observer.lost(from, to.raftId, messages.length);
      // A stream that breaks is noticed, a packet that gets lost is not.
      if (this.#chance(0.5)) this.#later(sender, () => sender.handler.unreachable(to.raftId));
      if (this.#chance(0.1)) this.#endStream(sender, to);
      return;
    }
    this.#carry(sender, to, messages);
    if (messages.length > 0 && this.#chance(this.#quality.duplicate)) {
      this.#observer.duplicated();
      if (this.#chance(ANCIENT_SHARE)) {
        const delayMs = this.#random.unit() * ANCIENT_MS;
        this.#clock.schedule(delayMs, to.raftId, 'deliver', () => {
          this.#arrive(sender, to, messages);
        });
      } else {
        this.#carry(sender, to, messages);
      }
    }
  }

  async carrySnapshot(
    sender: Endpoint,
    to: PeerAddress,
    message: Message,
    source: SnapshotSource,
    signal: AbortSignal,
  ): Promise<void> {
    this.#observer.sending(sender.self.raftId, message);
    const { fileId, membership, dataBytes } = source;
    const offer = { message, fileId, membership, dataBytes };
    const ended = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    ended.catch(() => {}); // told by the races
    const hop = async (): Promise<Endpoint> => {
      signal.throwIfAborted();
      await Promise.race([this.#delay(to.raftId, 'snapshot'), ended]);
      const target = this.reach(sender.self.raftId, to);
      if (target !== null && !this.#chance(this.#quality.loss)) return target;
      throw new SkepError('unavailable', 'send snapshot: unreachable');
    };
    const receiver = await hop();
    const broken = receiver.gone.then(() => {
      throw new SkepError('unavailable', 'send snapshot: the receiver is gone');
    });
    broken.catch(() => {}); // told by the races
    const unless = [broken, ended];
    const sink = await Promise.race([
      receiver.handler.beginSnapshot(sender.self, offer),
      ...unless,
    ]);
    for await (const { offset, data } of source.chunks(sink.offset)) {
      await Promise.race([hop(), ...unless]);
      await Promise.race([sink.write(offset, data), ...unless]);
    }
    await Promise.race([hop(), ...unless]);
    this.#observer.delivering(to.raftId, message);
    await Promise.race([sink.finish(), ...unless]);
  }

  #carry(sender: Endpoint, to: PeerAddress, messages: readonly Message[]): void {
    const link = keyOf(sender.self.raftId, to.raftId);
    const now = this.#clock.nowMs;
    let dueMs = Math.max(now + this.#drawDelay(), this.#cloggedUntilMs.get(link) ?? 0);
    if (this.#chance(this.#quality.overtake)) {
      this.#observer.overtaken();
    } else {
      dueMs = Math.max(dueMs, this.#linkFreeMs.get(link) ?? 0);
      this.#linkFreeMs.set(link, dueMs);
    }
    this.#clock.schedule(dueMs - now, to.raftId, 'deliver', () => {
      this.#arrive(sender, to, messages);
    });
  }

  #arrive(sender: Endpoint, to: PeerAddress, messages: readonly Message[]): void {
    const { handler, self } = sender;
    const target = this.reach(self.raftId, to);
    if (target === null) {
      this.#later(sender, () => handler.unreachable(to.raftId));
      return;
    }
    for (const message of messages) this.#observer.delivering(to.raftId, message);
    try {
      target.handler.receive(self, messages);
    } catch (err) {
      const isRemoved = err instanceof RemovedMemberError;
      if (!isRemoved && !(err instanceof SkepError)) throw err;
      this.#later(sender, () => {
        if (isRemoved) handler.removed(to.raftId);
        else handler.unreachable(to.raftId);
      });
    }
  }

  /** The process at `endpoint` ended and its kernel closed its connections: who is reached sees that. */
  closeConnections(endpoint: Endpoint): void {
    const { raftId } = endpoint.self;
    for (const other of this.#endpoints.values()) {
      if (other.self.raftId === raftId || this.isCut(raftId, other.self.raftId)) continue;
      this.#later(other, () => other.handler.lost(raftId));
    }
  }

  /** Both ends live on, and the receiver sees the end of the stream. */
  #endStream(sender: Endpoint, to: PeerAddress): void {
    const receiver = this.#endpoints.get(to.address);
    if (receiver === undefined || receiver.self.raftId !== to.raftId) return;
    this.#later(receiver, () => receiver.handler.lost(sender.self.raftId));
  }

  /** News for a process, in its own time. */
  #later({ self }: Endpoint, tell: () => void): void {
    this.#clock.schedule(this.#drawDelay(), self.raftId, 'deliver', tell);
  }

  #delay(owner: number, kind: EventKind): Promise<void> {
    return this.#clock.sleep(this.#drawDelay(), owner, kind);
  }

  #drawDelay(): number {
    const { delayMinMs, delayMeanMs, delayMaxMs } = this.#quality;
    if (this.isHealed || delayMeanMs === 0) return delayMinMs;
    return Math.min(delayMaxMs, delayMinMs - delayMeanMs * Math.log(1 - this.#random.unit()));
  }

  #chance(probability: number): boolean {
    return !this.isHealed && probability > 0 && this.#random.unit() < probability;
  }
}

function keyOf(from: number, to: number): string {
  return `${from}>${to}`;
}

/** The network's end in one life of a process. */
export class SimTransport implements PeerTransport {
  readonly #network: SimNetwork;
  #endpoint: Endpoint | null = null;
  #detach: (() => void) | null = null;
  #breakConnections: () => void = () => {};
  #peers = new Map<number, PeerAddress>();

  constructor(network: SimNetwork) {
    this.#network = network;
  }

  async start(self: PeerAddress, handler: PeerHandler): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      this.#breakConnections = resolve;
    });
    this.#endpoint = { self, handler, gone };
    this.#detach = this.#network.attach(this.#endpoint);
  }

  async stop(): Promise<void> {
    this.kill();
  }

  /** The process is gone; the machine goes on and closes its connections. */
  kill(): void {
    const endpoint = this.#endpoint;
    this.#end();
    if (endpoint !== null) this.#network.closeConnections(endpoint);
  }

  /** The machine is gone: nobody is told. */
  vanish(): void {
    if (this.#endpoint !== null) this.#network.powerOff(this.#endpoint.self.raftId);
    this.#end();
  }

  setPeers(peers: readonly PeerAddress[]): void {
    this.#peers = new Map(peers.map((peer) => [peer.raftId, peer]));
  }

  send(messages: readonly Message[]): void {
    if (this.#endpoint === null) return;
    const batches = new Map<number, Message[]>();
    for (const message of messages) {
      const batch = batches.get(message.to);
      if (batch === undefined) batches.set(message.to, [message]);
      else batch.push(message);
    }
    for (const [to, batch] of batches) {
      const peer = this.#peers.get(to);
      if (peer !== undefined) this.#network.deliver(this.#endpoint, peer, batch);
    }
  }

  greet(): void {
    for (const peer of this.#peers.values()) {
      if (this.#endpoint !== null) this.#network.deliver(this.#endpoint, peer, []);
    }
  }

  async isGone(raftId: number): Promise<boolean> {
    const peer = this.#peers.get(raftId);
    const endpoint = this.#endpoint;
    if (endpoint === null || peer === undefined) return false;
    const isGone = await this.#network.isGone(endpoint.self.raftId, peer);
    if (this.#endpoint !== endpoint) return await new Promise(() => {}); // this process is gone
    return isGone;
  }

  async sendSnapshot(message: Message, source: SnapshotSource, signal: AbortSignal): Promise<void> {
    const peer = this.#peers.get(message.to);
    if (this.#endpoint === null || peer === undefined) {
      throw new SkepError('unavailable', 'send snapshot: no such peer');
    }
    await this.#network.carrySnapshot(this.#endpoint, peer, message, source, signal);
  }

  #end(): void {
    this.#detach?.();
    this.#breakConnections();
    this.#endpoint = null;
  }
}
