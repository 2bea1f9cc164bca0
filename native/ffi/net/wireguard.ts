/**
 * Builders and readers of WireGuard's messages: a device's key, port and peers. Pure but for
 * `WireguardFamily.find`; what to build is the caller's decision.
 */
import { addressBytes, addressText } from './address.ts';
import { findFamily, genlHeader } from './genl.ts';
import {
  attributeList,
  attributes,
  MessageBatch,
  type NetlinkMessage,
  NLM_F_DUMP,
} from './message.ts';
import { familyOf } from './rtnl-family.ts';
import type { NetlinkSocket } from './sockets.ts';

const GET_DEVICE = 0;
const SET_DEVICE = 1;
const DEVICE = {
  ifname: 2,
  privateKey: 3,
  publicKey: 4,
  flags: 5,
  listenPort: 6,
  peers: 8,
} as const;
const REPLACE_PEERS = 1;
const PEER = { publicKey: 1, flags: 3, endpoint: 4, allowedIps: 9 } as const;
const REMOVE_PEER = 1;
const REPLACE_ALLOWED_IPS = 2;
const ALLOWED = { family: 1, address: 2, maskBits: 3 } as const;
/** Some 120 bytes each; an attribute's length has 16 bits. */
const PEERS_PER_MESSAGE = 300;

/** One other host: what is encrypted for it, and what is believed to be from it. */
export interface WireguardPeer {
  /** 32 bytes */
  readonly publicKey: Uint8Array;
  /** its only address inside, and where its packets are sent outside */
  readonly address: string;
  /** UDP port at `address` */
  readonly port: number;
}

export interface WireguardDevice {
  /** 32 bytes; null = none is set */
  readonly privateKey: Buffer | null;
  readonly publicKey: Buffer | null;
  readonly listenPort: number;
  readonly peers: readonly {
    readonly publicKey: Buffer;
    /** CIDRs */
    readonly allowed: readonly string[];
  }[];
}

/** The family's messages in one namespace's socket. */
export class WireguardFamily {
  readonly #socket: NetlinkSocket;
  readonly #type: number;

  private constructor(socket: NetlinkSocket, type: number) {
    this.#socket = socket;
    this.#type = type;
  }

  /** Null when the kernel has no WireGuard. @param socket NETLINK_GENERIC */
  static async find(socket: NetlinkSocket): Promise<WireguardFamily | null> {
    const type = await findFamily(socket, 'wireguard');
    return type === null ? null : new WireguardFamily(socket, type);
  }

  /** Key and port; the peers that there were go. */
  async setDevice(name: string, privateKey: Uint8Array, listenPort: number): Promise<void> {
    await this.#socket.transact(setDeviceMessage(this.#type, name, privateKey, listenPort));
  }

  async setPeers(
    name: string,
    set: readonly WireguardPeer[],
    gone: readonly Uint8Array[] = [],
  ): Promise<void> {
    // What goes first: an address has one peer, and the last one to claim it would have it.
    for (const batch of peerMessages(this.#type, name, set, gone))
      await this.#socket.transact(batch);
  }

  async read(name: string): Promise<WireguardDevice> {
    const batch = new MessageBatch(64);
    batch.message(this.#type, NLM_F_DUMP, `read WireGuard device ${name}`, () => {
      genlHeader(batch, GET_DEVICE);
      batch.attrText(DEVICE.ifname, name);
    });
    return readDevice(await this.#socket.dump(batch));
  }
}

export function setDeviceMessage(
  type: number,
  name: string,
  privateKey: Uint8Array,
  listenPort: number,
): MessageBatch {
  const batch = new MessageBatch(128);
  batch.message(type, 0, `set key and port of WireGuard device ${name}`, () => {
    genlHeader(batch, SET_DEVICE);
    batch.attrText(DEVICE.ifname, name);
    batch.attrBytes(DEVICE.privateKey, privateKey);
    batch.attrU16(DEVICE.listenPort, listenPort);
    batch.attrU32(DEVICE.flags, REPLACE_PEERS);
  });
  return batch;
}

export function peerMessages(
  type: number,
  name: string,
  set: readonly WireguardPeer[],
  gone: readonly Uint8Array[],
): MessageBatch[] {
  const steps: ((batch: MessageBatch) => void)[] = [
    ...gone.map((key) => (batch: MessageBatch) => writeRemoval(batch, key)),
    ...set.map((peer) => (batch: MessageBatch) => writePeer(batch, peer)),
  ];
  const batches: MessageBatch[] = [];
  for (let at = 0; at < steps.length; at += PEERS_PER_MESSAGE) {
    const batch = new MessageBatch(4096);
    batch.message(type, 0, `set peers of WireGuard device ${name}`, () => {
      genlHeader(batch, SET_DEVICE);
      batch.attrText(DEVICE.ifname, name);
      batch.nest(DEVICE.peers, () => {
        for (const step of steps.slice(at, at + PEERS_PER_MESSAGE))
          batch.nest(0, () => step(batch));
      });
    });
    batches.push(batch);
  }
  return batches;
}

function writeRemoval(batch: MessageBatch, publicKey: Uint8Array): void {
  batch.attrBytes(PEER.publicKey, publicKey);
  batch.attrU32(PEER.flags, REMOVE_PEER);
}

function writePeer(batch: MessageBatch, { publicKey, address, port }: WireguardPeer): void {
  const bytes = addressBytes(address);
  batch.attrBytes(PEER.publicKey, publicKey);
  batch.attrU32(PEER.flags, REPLACE_ALLOWED_IPS);
  batch.attrBytes(PEER.endpoint, socketAddress(address, port));
  batch.nest(PEER.allowedIps, () =>
    batch.nest(0, () => {
      batch.attrU16(ALLOWED.family, familyOf(address));
      batch.attrBytes(ALLOWED.address, bytes);
      batch.attrU8(ALLOWED.maskBits, bytes.length * 8);
    }),
  );
}

/** struct sockaddr_in or sockaddr_in6 */
function socketAddress(address: string, port: number): Buffer {
  const bytes = addressBytes(address);
  const v6 = bytes.length === 16;
  const result = Buffer.alloc(v6 ? 28 : 16);
  result.writeUInt16LE(familyOf(address), 0);
  result.writeUInt16BE(port, 2);
  bytes.copy(result, v6 ? 8 : 4);
  return result;
}

/** A device with many peers comes in several messages; its own attributes are in the first. */
export function readDevice(messages: readonly NetlinkMessage[]): WireguardDevice {
  let own = new Map<number, Buffer>();
  const peers = new Map<string, { publicKey: Buffer; allowed: string[] }>();
  for (const [i, { payload }] of messages.entries()) {
    const found = attributes(payload.subarray(4));
    if (i === 0) own = found;
    for (const { value } of attributeList(found.get(DEVICE.peers) ?? Buffer.alloc(0))) {
      const { publicKey, allowed } = readPeer(value);
      if (!publicKey) continue;
      const key = publicKey.toString('hex');
      // A peer whose addresses did not fit goes on in the next message.
      const known = peers.get(key);
      if (known) known.allowed.push(...allowed);
      else peers.set(key, { publicKey, allowed });
    }
  }
  return {
    privateKey: own.get(DEVICE.privateKey) ?? null,
    publicKey: own.get(DEVICE.publicKey) ?? null,
    listenPort: own.get(DEVICE.listenPort)?.readUInt16LE() ?? 0,
    peers: [...peers.values()],
  };
}

function readPeer(value: Buffer): { publicKey: Buffer | undefined; allowed: string[] } {
  const peer = attributes(value);
  const allowed = attributeList(peer.get(PEER.allowedIps) ?? Buffer.alloc(0)).map((entry) => {
    const members = attributes(entry.value);
    const address = members.get(ALLOWED.address) ?? Buffer.alloc(4);
    return `${addressText(address)}/${members.get(ALLOWED.maskBits)?.readUInt8() ?? 0}`;
  });
  return { publicKey: peer.get(PEER.publicKey), allowed };
}
