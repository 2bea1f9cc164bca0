/**
 * The nf_tables expressions that our rules are made of. Each function returns one or more
 * expressions; registers are fixed by convention: R1 carries the value being matched or looked up,
 * R2 a second one (a port, the next member of a concatenation lies in R1_NEXT).
 */
import type { MessageBatch } from './message.ts';
import {
  type Expression,
  type IpFamily,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  type Verdict,
  writeVerdict,
} from './nft.ts';

/** NFT_REG_1 to 4: 16 bytes each. */
const R1 = 1;
const R2 = 2;
/** NFT_REG32_01: the second 4 bytes of R1. */
const R1_NEXT = 9;
/** NFT_REG32_06: behind a link's name (16 bytes) and a MAC (6 of 8). */
const R1_AFTER_LINK_AND_MAC = 14;
/** Behind an address in R1: two members of 4 bytes. As the kernel names them: where R2 begins it is R2. */
const AFTER_ADDRESS = { [NFPROTO_IPV4]: [R1_NEXT, 10], [NFPROTO_IPV6]: [R2, 13] } as const;
const REG_VERDICT = 0;

const CMP_EQ = 0;
const CMP_NEQ = 1;

const META_PROTOCOL = 1;
const META_MARK = 3;
const META_IIFNAME = 6;
const META_OIFNAME = 7;
const META_L4PROTO = 16;
const CT_DIRECTION = 1;
/** IP_CT_DIR_ORIGINAL and IP_CT_DIR_REPLY */
const CT_ORIGINAL = 0;
const CT_REPLY = 1;
const CT_STATUS = 2;
const CT_MARK = 3;
const CT_ZONE = 17;
const PAYLOAD_LINK = 0;
const PAYLOAD_NETWORK = 1;
const PAYLOAD_TRANSPORT = 2;
const RTN_LOCAL = 2;
const IPS_DST_NAT = 32;

export const IPPROTO = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;

/** Where an IP header has its addresses. */
const HEADER = {
  [NFPROTO_IPV4]: { source: 12, destination: 16, bytes: 4 },
  [NFPROTO_IPV6]: { source: 8, destination: 24, bytes: 16 },
} as const;

function expression(name: string, fill: (batch: MessageBatch) => void): Expression {
  return (batch) =>
    batch.nest(1, () => {
      batch.attrText(1, name);
      batch.nest(2, () => fill(batch));
    });
}

function compare(value: Uint8Array, op: number): Expression {
  return expression('cmp', (batch) => {
    batch.attrBe32(1, R1);
    batch.attrBe32(2, op);
    batch.nest(3, () => batch.attrBytes(1, value));
  });
}

function payload(base: number, offset: number, bytes: number, register: number): Expression {
  return expression('payload', (batch) => {
    batch.attrBe32(1, register);
    batch.attrBe32(2, base);
    batch.attrBe32(3, offset);
    batch.attrBe32(4, bytes);
  });
}

function meta(key: number, register: number): Expression {
  return expression('meta', (batch) => {
    batch.attrBe32(2, key);
    batch.attrBe32(1, register);
  });
}

function ct(key: number, register: number): Expression {
  return expression('ct', (batch) => {
    batch.attrBe32(2, key);
    batch.attrBe32(1, register);
  });
}

function lookup(set: string, register: number | null): Expression {
  return expression('lookup', (batch) => {
    batch.attrText(1, set);
    batch.attrBe32(2, R1);
    if (register !== null) batch.attrBe32(3, register);
  });
}

function immediate(value: Uint8Array, register: number): Expression {
  return expression('immediate', (batch) => {
    batch.attrBe32(1, register);
    batch.nest(2, () => batch.attrBytes(1, value));
  });
}

/** Keeps `mask` of R1 (host order, 32 bits). */
function keepBits(mask: number): Expression {
  const maskBytes = Buffer.alloc(4);
  maskBytes.writeUInt32LE(mask);
  return expression('bitwise', (batch) => {
    batch.attrBe32(1, R1);
    batch.attrBe32(2, R1);
    batch.attrBe32(3, 4);
    batch.nest(4, () => batch.attrBytes(1, maskBytes));
    batch.nest(5, () => batch.attrBytes(1, Buffer.alloc(4)));
  });
}

function interfaceName(name: string): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.write(name);
  return bytes;
}

/** `iifname NAME` (or `iifname != NAME`) */
export function fromInterface(name: string, not = false): Expression[] {
  return [meta(META_IIFNAME, R1), compare(interfaceName(name), not ? CMP_NEQ : CMP_EQ)];
}

/** `iifname "PREFIX*"` */
export function fromInterfacesCalled(prefix: string): Expression[] {
  return [meta(META_IIFNAME, R1), compare(Buffer.from(prefix), CMP_EQ)];
}

/** `oifname NAME` (or `oifname != NAME`) */
export function toInterface(name: string, not = false): Expression[] {
  return [meta(META_OIFNAME, R1), compare(interfaceName(name), not ? CMP_NEQ : CMP_EQ)];
}

/** `iifname @SET` (or `iifname != @SET`) */
export function fromInterfaceInSet(set: string, not = false): Expression[] {
  return [
    meta(META_IIFNAME, R1),
    expression('lookup', (batch) => {
      batch.attrText(1, set);
      batch.attrBe32(2, R1);
      if (not) batch.attrBe32(5, 1); // NFT_LOOKUP_F_INV
    }),
  ];
}

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;

/** `meta protocol N` */
export function etherType(type: number): Expression[] {
  return [meta(META_PROTOCOL, R1), compare(portBytes(type), CMP_EQ)];
}

/**
 * `iifname . MAC . ADDRESS @SET`: who sends. The MAC is that of the frame, or the one that ARP names;
 * the address that of the IP header, or the one that ARP or a neighbour advertisement names.
 */
export function senderInSet(
  set: string,
  mac: 'frame' | 'arp',
  address: keyof typeof SENDER_ADDRESS,
): Expression[] {
  const [base, offset, bytes] = SENDER_ADDRESS[address];
  return [
    meta(META_IIFNAME, R1),
    mac === 'frame' ? payload(PAYLOAD_LINK, 6, 6, R2) : payload(PAYLOAD_NETWORK, 8, 6, R2),
    payload(base, offset, bytes, R1_AFTER_LINK_AND_MAC),
    lookup(set, null),
  ];
}

const SENDER_ADDRESS = {
  ipv4: [PAYLOAD_NETWORK, 12, 4],
  arp: [PAYLOAD_NETWORK, 14, 4],
  ipv6: [PAYLOAD_NETWORK, 8, 16],
  advertisement: [PAYLOAD_TRANSPORT, 8, 16],
} as const;

/** Types of ICMPv6 messages (RFC 4861). */
export const ICMPV6 = {
  routerAdvertisement: 134,
  neighbourAdvertisement: 136,
  redirect: 137,
} as const;

/** `icmpv6 type N` */
export function icmpv6Type(type: number): Expression[] {
  return [
    ...l4Protocol(IPPROTO.icmpv6),
    payload(PAYLOAD_TRANSPORT, 0, 1, R1),
    compare(Buffer.from([type]), CMP_EQ),
  ];
}

/** `ip6 daddr ADDRESS` */
export function toAddress6(address: Uint8Array): Expression[] {
  return [destinationAddress(NFPROTO_IPV6), compare(address, CMP_EQ)];
}

/** `ip6 saddr ADDRESS` */
export function fromAddress6(address: Uint8Array): Expression[] {
  const { source, bytes } = HEADER[NFPROTO_IPV6];
  return [payload(PAYLOAD_NETWORK, source, bytes, R1), compare(address, CMP_EQ)];
}

/** `meta l4proto N` (or `meta l4proto != N`) */
export function l4Protocol(protocol: number, not = false): Expression[] {
  return [meta(META_L4PROTO, R1), compare(Buffer.from([protocol]), not ? CMP_NEQ : CMP_EQ)];
}

/** `fib daddr type local` */
export function toLocalAddress(): Expression[] {
  return [
    expression('fib', (batch) => {
      batch.attrBe32(1, R1);
      batch.attrBe32(2, 3); // NFT_FIB_RESULT_ADDRTYPE
      batch.attrBe32(3, 2); // NFTA_FIB_F_DADDR
    }),
    compare(Buffer.from([RTN_LOCAL, 0, 0, 0]), CMP_EQ),
  ];
}

function prefixMatch(offset: number, address: Uint8Array, mask: Uint8Array, not: boolean) {
  const { length } = address;
  return [
    payload(PAYLOAD_NETWORK, offset, length, R1),
    expression('bitwise', (batch) => {
      batch.attrBe32(1, R1);
      batch.attrBe32(2, R1);
      batch.attrBe32(3, length);
      batch.nest(4, () => batch.attrBytes(1, mask));
      batch.nest(5, () => batch.attrBytes(1, Buffer.alloc(length)));
    }),
    compare(address, not ? CMP_NEQ : CMP_EQ),
  ];
}

function mask4(mask: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(mask >>> 0);
  return bytes;
}

/** `ip saddr ADDRESS/MASK`; the host bits of `address` must be 0 */
export function sourceIn(address: Uint8Array, mask: number, not = false): Expression[] {
  return prefixMatch(HEADER[NFPROTO_IPV4].source, address, mask4(mask), not);
}

/** `ip daddr ADDRESS/MASK`; the host bits of `address` must be 0 */
export function destinationIn(address: Uint8Array, mask: number, not = false): Expression[] {
  return prefixMatch(HEADER[NFPROTO_IPV4].destination, address, mask4(mask), not);
}

function mask6(length: number): Buffer {
  return Buffer.from(
    Array.from(
      { length: 16 },
      (_, i) => (0xff00 >> Math.min(8, Math.max(0, length - i * 8))) & 0xff,
    ),
  );
}

/** `ip6 saddr ADDRESS/LENGTH`; the host bits of `address` must be 0 */
export function sourceIn6(address: Uint8Array, length: number, not = false): Expression[] {
  return prefixMatch(HEADER[NFPROTO_IPV6].source, address, mask6(length), not);
}

/** `ip6 daddr ADDRESS/LENGTH`; the host bits of `address` must be 0 */
export function destinationIn6(address: Uint8Array, length: number): Expression[] {
  return prefixMatch(HEADER[NFPROTO_IPV6].destination, address, mask6(length), false);
}

/** R1 := the destination's address */
function destinationAddress(family: IpFamily): Expression {
  return payload(PAYLOAD_NETWORK, HEADER[family].destination, HEADER[family].bytes, R1);
}

/** `ip daddr vmap @MAP` */
export function verdictByDestination(map: string, family: IpFamily = NFPROTO_IPV4): Expression[] {
  return [destinationAddress(family), lookup(map, REG_VERDICT)];
}

/** `meta l4proto . th dport vmap @MAP` */
export function verdictByProtocolAndPort(map: string): Expression[] {
  return [
    meta(META_L4PROTO, R1),
    payload(PAYLOAD_TRANSPORT, 2, 2, R1_NEXT),
    lookup(map, REG_VERDICT),
  ];
}

/** `ip daddr . meta l4proto . th dport vmap @MAP` */
export function verdictByAddressProtocolAndPort(map: string, family: IpFamily): Expression[] {
  const [protocol, port] = AFTER_ADDRESS[family];
  return [
    destinationAddress(family),
    meta(META_L4PROTO, protocol),
    payload(PAYLOAD_TRANSPORT, 2, 2, port),
    lookup(map, REG_VERDICT),
  ];
}

/** `ct direction original` or `reply` */
export function connectionDirection(direction: 'original' | 'reply'): Expression[] {
  return [
    ct(CT_DIRECTION, R1),
    compare(Buffer.from([direction === 'original' ? CT_ORIGINAL : CT_REPLY]), CMP_EQ),
  ];
}

/** `ct status dnat`, or that it is not so */
export function destinationTranslated(yes: boolean): Expression[] {
  return [
    ct(CT_STATUS, R1),
    keepBits(IPS_DST_NAT),
    compare(Buffer.alloc(4), yes ? CMP_NEQ : CMP_EQ),
  ];
}

export type Spread =
  /** each connection to the next */
  | { readonly kind: 'round-robin' }
  /** by the client's address: the same client, the same backend */
  | { readonly kind: 'source-hash'; readonly seed: number };

/** R1 := an index below `modulus` */
function pick(modulus: number, spread: Spread, family: IpFamily): Expression[] {
  if (spread.kind === 'round-robin') {
    return [
      expression('numgen', (batch) => {
        batch.attrBe32(1, R1);
        batch.attrBe32(2, modulus);
        batch.attrBe32(3, 0); // NFT_NG_INCREMENTAL
        batch.attrBe32(4, 0);
      }),
    ];
  }
  const { source, bytes } = HEADER[family];
  return [
    payload(PAYLOAD_NETWORK, source, bytes, R2),
    expression('hash', (batch) => {
      batch.attrBe32(1, R2);
      batch.attrBe32(2, R1);
      batch.attrBe32(3, bytes);
      batch.attrBe32(4, modulus);
      batch.attrBe32(5, spread.seed);
      batch.attrBe32(6, 0);
      batch.attrBe32(7, 0); // NFT_HASH_JENKINS
    }),
  ];
}

/** To the address in R1. */
function nat(portRegister: number | null, family: IpFamily): Expression {
  return expression('nat', (batch) => {
    batch.attrBe32(1, 1); // NFT_NAT_DNAT
    batch.attrBe32(2, family);
    batch.attrBe32(3, R1);
    if (portRegister !== null) batch.attrBe32(5, portRegister);
  });
}

function portBytes(port: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return bytes;
}

/**
 * `dnat to numgen inc mod N map @MAP [: port]`: the map has exactly the keys `0 .. modulus - 1`.
 * @param port null = the connection's own
 */
export function dnatByMap(
  map: string,
  modulus: number,
  port: number | null,
  spread: Spread = { kind: 'round-robin' },
  family: IpFamily = NFPROTO_IPV4,
): Expression[] {
  const chosen = [...pick(modulus, spread, family), lookup(map, R1)];
  return port === null
    ? [...chosen, nat(null, family)]
    : [...chosen, immediate(portBytes(port), R2), nat(R2, family)];
}

/** `dnat to ADDRESS[:port]` */
export function dnatTo(address: Uint8Array, port: number | null): Expression[] {
  const target = immediate(address, R1);
  const family = address.length === 16 ? NFPROTO_IPV6 : NFPROTO_IPV4;
  return port === null
    ? [target, nat(null, family)]
    : [target, immediate(portBytes(port), R2), nat(R2, family)];
}

export function masquerade(): Expression[] {
  return [expression('masq', () => {})];
}

/** `udp dport PORT` */
export function toUdpPort(port: number): Expression[] {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return [...l4Protocol(IPPROTO.udp), payload(PAYLOAD_TRANSPORT, 2, 2, R1), compare(bytes, CMP_EQ)];
}

/** `notrack`: the packet is of no connection */
export function untracked(): Expression[] {
  // Without data, of which it has none: the kernel tells of it so.
  return [(batch) => batch.nest(1, () => batch.attrText(1, 'notrack'))];
}

/** `reject with icmp type port-unreachable`: refused at once for TCP and UDP alike */
export function rejectPortUnreachable(family: IpFamily = NFPROTO_IPV4): Expression[] {
  return [
    expression('reject', (batch) => {
      batch.attrBe32(1, 0); // NFT_REJECT_ICMP_UNREACH
      batch.attrU8(2, family === NFPROTO_IPV6 ? 4 : 3);
    }),
  ];
}

export function verdict(value: Verdict): Expression[] {
  return [
    expression('immediate', (batch) => {
      batch.attrBe32(1, REG_VERDICT);
      batch.nest(2, () => writeVerdict(batch, value));
    }),
  ];
}

/**
 * `ct original zone set ether saddr map @MAP`: for a chain that packets meet before their connection is known. What different
 * senders pass on are different connections, even between the same ports; of the values the low 16 bits count.
 */
export function zoneBySourceMac(map: string): Expression[] {
  return [
    payload(PAYLOAD_LINK, 6, 6, R1),
    lookup(map, R1),
    expression('ct', (batch) => {
      batch.attrBe32(2, CT_ZONE);
      batch.attrBe32(4, R1);
      batch.attrU8(3, CT_ORIGINAL);
    }),
  ];
}

/** `ct mark set ether saddr map @MAP`: the connection remembers who sent it */
export function markConnectionBySourceMac(map: string): Expression[] {
  return [
    payload(PAYLOAD_LINK, 6, 6, R1),
    lookup(map, R1),
    expression('ct', (batch) => {
      batch.attrBe32(2, CT_MARK);
      batch.attrBe32(4, R1);
    }),
  ];
}

/** `meta mark set ct mark` */
export function markFromConnection(): Expression[] {
  return [
    ct(CT_MARK, R1),
    expression('meta', (batch) => {
      batch.attrBe32(2, META_MARK);
      batch.attrBe32(3, R1);
    }),
  ];
}

/** `ct mark != 0`, or that it is 0 */
export function connectionMarked(yes = true): Expression[] {
  return [ct(CT_MARK, R1), compare(Buffer.alloc(4), yes ? CMP_NEQ : CMP_EQ)];
}
