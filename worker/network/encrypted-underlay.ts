/**
 * The way by which packets of encrypted networks go from host to host: a namespace whose only link is a
 * WireGuard device. VXLAN devices whose sockets are in there have no other way out, so nothing of
 * theirs is ever sent or taken in clear text. Knows hosts and keys, not networks.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SkepError } from '../../common/base/errors.ts';
import { addressBytes, isIpv6 } from '../../native/ffi/net/address.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import { addAddress, dumpAddresses, readAddresses } from '../../native/ffi/net/rtnl-address.ts';
import { addWireguard, setLink } from '../../native/ffi/net/rtnl-link.ts';
import { addRoute, dumpRoutes, MAIN_TABLE, readRoutes } from '../../native/ffi/net/rtnl-route.ts';
import {
  createNetns,
  NETLINK_GENERIC,
  NETLINK_ROUTE,
  NetlinkSocket,
  OWN_NAMESPACE,
  removeNetns,
  writeNetSysctls,
} from '../../native/ffi/net/sockets.ts';
import { type WireguardDevice, WireguardFamily } from '../../native/ffi/net/wireguard.ts';
import { compareFacts, type Difference, FACT, type Facts, factsOf } from './kernel-facts.ts';
import { WIREGUARD_LINK } from './kernel-names.ts';
import { findLink, ifNamespace, listLinks, removeLink, withNetns } from './legs.ts';
import { UnderlayPeers, type WritePeers } from './underlay-peers.ts';

export interface EncryptedUnderlayParts {
  /** where the namespace is pinned */
  readonly pin: string;
  /** rtnetlink socket of the host's namespace: WireGuard's own packets go from there */
  readonly host: NetlinkSocket;
  /** this host's address, inside as outside */
  readonly vtepAddress: string;
}

/** What must be the same on every host, and what follows from the link that carries it. */
export interface UnderlayShape {
  /** UDP port, on every host */
  readonly port: number;
  /** bytes inside */
  readonly mtu: number;
}

interface Inside {
  readonly route: NetlinkSocket;
  readonly generic: NetlinkSocket;
  readonly family: WireguardFamily;
}

interface KeyPair {
  readonly privateKey: Buffer;
  /** base64 */
  readonly publicKey: string;
}

export class EncryptedUnderlay {
  readonly #parts: EncryptedUnderlayParts;
  /** null = the kernel has no WireGuard */
  readonly #keys: KeyPair | null;
  /** null = no encrypted network was needed here yet */
  #inside: Inside | null;
  #shape: UnderlayShape | null;
  /** false = a step of `#build` failed, or was cut short by the end of an earlier life */
  #isBuilt = false;
  readonly #peers: UnderlayPeers;

  private constructor(
    parts: EncryptedUnderlayParts,
    keys: KeyPair | null,
    found: {
      readonly inside: Inside;
      readonly shape: UnderlayShape;
      readonly peers: ReadonlyMap<string, string>;
    } | null,
  ) {
    this.#parts = parts;
    this.#keys = keys;
    this.#inside = found?.inside ?? null;
    this.#shape = found?.shape ?? null;
    this.#peers = new UnderlayPeers((set, gone) => this.#writePeers(set, gone), found?.peers);
  }

  /**
   * Takes up the device of an earlier life of the daemon, with its key; without one the key is a new one.
   * No key is ever written to a disk.
   */
  static async open(parts: EncryptedUnderlayParts): Promise<EncryptedUnderlay> {
    if (!(await hasWireguard())) return new EncryptedUnderlay(parts, null, null);
    const inside = await ifNamespace(enter(parts.pin));
    if (inside) {
      try {
        const found = await EncryptedUnderlay.#takeUp(parts, inside);
        if (found) return found;
      } catch (err) {
        await leave(inside);
        throw err;
      }
      await leave(inside);
    }
    await removeNetns(parts.pin);
    return new EncryptedUnderlay(parts, newKeys(), null);
  }

  /** Null when there is no device with a key. */
  static async #takeUp(
    parts: EncryptedUnderlayParts,
    inside: Inside,
  ): Promise<EncryptedUnderlay | null> {
    const link = await findLink(inside.route, WIREGUARD_LINK);
    const device = link && (await inside.family.read(WIREGUARD_LINK));
    if (!device?.privateKey) return null;
    const shape = { port: device.listenPort, mtu: link?.mtu ?? 0 };
    const found = { inside, shape, peers: peersOf(device) };
    const underlay = new EncryptedUnderlay(parts, keysOf(device.privateKey), found);
    underlay.#isBuilt = await underlay.#isUp(inside);
    return underlay;
  }

  /** What other hosts must know of this one, base64; '' = no encrypted network can be here. */
  get publicKey(): string {
    return this.#keys?.publicKey ?? '';
  }

  get active(): boolean {
    return this.#inside !== null;
  }

  /** The socket by which VXLAN devices of encrypted networks are made. Only after `ensure`. */
  get route(): NetlinkSocket {
    if (!this.#inside) throw new SkepError('internal', 'use encrypted underlay: it was not made');
    return this.#inside.route;
  }

  /** Makes the namespace and its device unless they are there. Throws `failed-precondition` without WireGuard. */
  async ensure(shape: UnderlayShape): Promise<void> {
    if (!this.#keys) {
      throw new SkepError(
        'failed-precondition',
        'encrypt between hosts: the kernel of this node has no WireGuard',
      );
    }
    const isSame = this.#shape?.port === shape.port && this.#shape.mtu === shape.mtu;
    if (this.#inside && this.#isBuilt && isSame) return;
    this.#shape = shape;
    const { pin } = this.#parts;
    if (!this.#inside) {
      await mkdir(dirname(pin), { recursive: true, mode: 0o700 });
      await createNetns(pin);
      this.#inside = await enter(pin);
    }
    await this.#build();
  }

  /** @param told address of a host -> its public key, base64; who is not named is sent nothing */
  async setPeers(told: ReadonlyMap<string, string>): Promise<void> {
    if (this.#inside) await this.#peers.want(told, this.publicKey);
  }

  /** How the kernel's state differs from ours. */
  async differences(): Promise<Difference[]> {
    if (!this.#inside) return [];
    return compareFacts(this.#wanted(), await this.#found(this.#inside), isPeerFact);
  }

  /** Everything as it is wanted, the device made anew when it is gone. */
  async restore(): Promise<void> {
    if (this.#inside) await this.#build();
  }

  /** Closes our sockets; the device goes on. */
  async close(): Promise<void> {
    if (this.#inside) await leave(this.#inside);
    this.#inside = null;
  }

  async destroy(): Promise<void> {
    if (this.#inside) await removeLink(this.#inside.route, WIREGUARD_LINK);
    await this.close();
    await removeNetns(this.#parts.pin);
  }

  async #build(): Promise<void> {
    const { pin, host, vtepAddress } = this.#parts;
    this.#isBuilt = false;
    const { route, family } = this.#required();
    const { port, mtu } = this.#shape as UnderlayShape;
    if (!(await findLink(route, WIREGUARD_LINK))) {
      const batch = new MessageBatch(256);
      await withNetns(pin, async (netnsFd) => {
        addWireguard(batch, { name: WIREGUARD_LINK, mtu, netnsFd });
        await host.transact(batch);
      });
    }
    // Takes all peers away, those of others too.
    await family.setDevice(WIREGUARD_LINK, (this.#keys as KeyPair).privateKey, port);
    await this.#peers.rewrite();
    if (isIpv6(vtepAddress)) {
      await writeNetSysctls(pin, { [`ipv6/conf/${WIREGUARD_LINK}/disable_ipv6`]: '0' });
    }
    const index = (await findLink(route, WIREGUARD_LINK))?.index ?? 0;
    const batch = new MessageBatch(512);
    setLink(batch, { index }, { up: true, mtu });
    addAddress(batch, index, hostPrefix(vtepAddress));
    addRoute(batch, { to: isIpv6(vtepAddress) ? '::/0' : '0.0.0.0/0', index });
    await route.transact(batch);
    this.#isBuilt = true;
  }

  /** Its route is the last step, and there only while the link is up. */
  async #isUp({ route }: Inside): Promise<boolean> {
    const { vtepAddress } = this.#parts;
    const facts = factsOf({
      addresses: readAddresses(await route.dump(dumpAddresses('both'))),
      links: await listLinks(route),
      routes: readRoutes(await route.dump(dumpRoutes('both'))),
    });
    const to = isIpv6(vtepAddress) ? '::/0' : '0.0.0.0/0';
    return (
      facts.get(FACT.state(WIREGUARD_LINK)) === 'up' &&
      facts.has(FACT.address(WIREGUARD_LINK, hostPrefix(vtepAddress))) &&
      facts.has(FACT.linkRoute(MAIN_TABLE, to, WIREGUARD_LINK))
    );
  }

  #wanted(): Facts {
    const { vtepAddress } = this.#parts;
    const { port, mtu } = this.#shape as UnderlayShape;
    const facts = new Map([
      [FACT.link(WIREGUARD_LINK), 'wireguard'],
      [FACT.state(WIREGUARD_LINK), 'up'],
      [FACT.mtu(WIREGUARD_LINK), `${mtu}`],
      [FACT.address(WIREGUARD_LINK, hostPrefix(vtepAddress)), 'there'],
      [
        FACT.linkRoute(MAIN_TABLE, isIpv6(vtepAddress) ? '::/0' : '0.0.0.0/0', WIREGUARD_LINK),
        'there',
      ],
      [FACT.wireguard(WIREGUARD_LINK), deviceWords(this.publicKey, port)],
    ]);
    for (const [address, key] of this.#peers.wanted)
      facts.set(FACT.wireguardPeer(key), hostPrefix(address));
    return facts;
  }

  async #found({ route, family }: Inside): Promise<Facts> {
    const links = await listLinks(route);
    const facts = new Map(
      factsOf({
        links,
        addresses: readAddresses(await route.dump(dumpAddresses('both'))),
        routes: readRoutes(await route.dump(dumpRoutes('both'))),
      }),
    );
    if (!links.some(({ name }) => name === WIREGUARD_LINK)) return facts;
    const device = await family.read(WIREGUARD_LINK);
    const key = device.publicKey?.toString('base64') ?? '';
    facts.set(FACT.wireguard(WIREGUARD_LINK), deviceWords(key, device.listenPort));
    for (const { publicKey, allowed } of device.peers) {
      facts.set(FACT.wireguardPeer(publicKey.toString('base64')), allowed.join(' '));
    }
    return facts;
  }

  async #writePeers(...[set, gone]: Parameters<WritePeers>): Promise<void> {
    const port = this.#shape?.port ?? 0;
    await this.#required().family.setPeers(
      WIREGUARD_LINK,
      set.map(([address, key]) => ({ publicKey: Buffer.from(key, 'base64'), address, port })),
      gone.map((key) => Buffer.from(key, 'base64')),
    );
  }

  #required(): Inside {
    if (!this.#inside) throw new SkepError('internal', 'build encrypted underlay: not entered');
    return this.#inside;
  }
}

const deviceWords = (key: string, port: number): string => `${key} at port ${port}`;

const isPeerFact = (what: string): boolean => what.startsWith(FACT.wireguardPeer(''));

const hostPrefix = (address: string): string => `${address}/${addressBytes(address).length * 8}`;

function peersOf({ peers }: WireguardDevice): Map<string, string> {
  return new Map(
    peers.map(({ publicKey, allowed }) => [
      allowed[0]?.split('/')[0] ?? '',
      publicKey.toString('base64'),
    ]),
  );
}

async function hasWireguard(): Promise<boolean> {
  const socket = await NetlinkSocket.open(OWN_NAMESPACE, NETLINK_GENERIC);
  try {
    return (await WireguardFamily.find(socket)) !== null;
  } finally {
    await socket.close();
  }
}

async function enter(pin: string): Promise<Inside> {
  const route = await NetlinkSocket.open(pin, NETLINK_ROUTE);
  let generic: NetlinkSocket | null = null;
  try {
    generic = await NetlinkSocket.open(pin, NETLINK_GENERIC);
    const family = await WireguardFamily.find(generic);
    if (!family) throw new SkepError('failed-precondition', 'find WireGuard: the kernel has none');
    return { route, generic, family };
  } catch (err) {
    await generic?.close();
    await route.close();
    throw err;
  }
}

async function leave({ route, generic }: Inside): Promise<void> {
  await route.close();
  await generic.close();
}

function newKeys(): KeyPair {
  const jwk = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
  return keysOf(Buffer.from(jwk.d ?? '', 'base64url'));
}

/** DER of a private key of X25519, without the key. */
const PKCS8_HEADER = Buffer.from('302e020100300506032b656e04220420', 'hex');

function keysOf(privateKey: Buffer): KeyPair {
  const der = Buffer.concat([PKCS8_HEADER, privateKey]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const jwk = createPublicKey(key).export({ format: 'jwk' });
  return {
    privateKey,
    publicKey: Buffer.from(jwk.x ?? '', 'base64url').toString('base64'),
  };
}
