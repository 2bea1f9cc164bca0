/**
 * Builders of nf_tables transactions: tables, chains, sets and maps, rules out of expressions. Pure
 * bytes; one transaction is applied by the kernel as a whole or not at all.
 */
import { addressBytes } from './address.ts';
import { MessageBatch, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE } from './message.ts';
import type { NetlinkSocket } from './sockets.ts';

const SUBSYSTEM = 10 << 8;
const BATCH_BEGIN = 16;
const BATCH_END = 17;
const NEWTABLE = SUBSYSTEM | 0;
const DELTABLE = SUBSYSTEM | 2;
const NEWCHAIN = SUBSYSTEM | 3;
const DELCHAIN = SUBSYSTEM | 5;
const NEWRULE = SUBSYSTEM | 6;
const DELRULE = SUBSYSTEM | 8;
const NEWSET = SUBSYSTEM | 9;
const DELSET = SUBSYSTEM | 11;
const NEWSETELEM = SUBSYSTEM | 12;
const DELSETELEM = SUBSYSTEM | 14;

/** IPv4 and IPv6 alike */
export const NFPROTO_INET = 1;
export const NFPROTO_IPV4 = 2;
export const NFPROTO_BRIDGE = 7;
export const NFPROTO_IPV6 = 10;
/** Families of tables. */
export type NftFamily =
  | typeof NFPROTO_INET
  | typeof NFPROTO_IPV4
  | typeof NFPROTO_IPV6
  | typeof NFPROTO_BRIDGE;
/** Families of addresses. */
export type IpFamily = typeof NFPROTO_IPV4 | typeof NFPROTO_IPV6;
const NFPROTO_UNSPEC = 0;
const NFT_SET_MAP = 0x8;
const DATA_VERDICT = 0xffffff00;
/** An attribute's length has 16 bits; an element takes at most ~70 bytes of names and keys. */
const ELEMENTS_PER_MESSAGE = 500;

/** Values of enum nft_datatypes (nftables' own, used for display only). */
export const NFT_TYPE = {
  ipv4Address: 7,
  ipv6Address: 8,
  etherAddress: 9,
  /** host-order 32 bits: what numgen and marks are */
  mark: 19,
  /** inet_proto . inet_service: a concatenation, 6 bits per member */
  protocolAndPort: (12 << 6) | 13,
  /** ipv4_addr . inet_proto . inet_service */
  addressAndPort: (7 << 12) | (12 << 6) | 13,
  /** ipv6_addr . inet_proto . inet_service */
  address6AndPort: (8 << 12) | (12 << 6) | 13,
  interfaceName: 41,
  /** ifname . ether_addr . ipv4_addr */
  portSeat: (41 << 12) | (9 << 6) | 7,
  /** ifname . ether_addr . ipv6_addr */
  portSeat6: (41 << 12) | (9 << 6) | 8,
} as const;

export type Verdict =
  | { readonly kind: 'accept' | 'drop' | 'return' }
  | { readonly kind: 'jump' | 'goto'; readonly chain: string };

export const VERDICT_CODE = { drop: 0, accept: 1, return: -5, jump: -3, goto: -4 } as const;

/** Writes a verdict as the contents of a NFTA_*_DATA attribute. */
export function writeVerdict(batch: MessageBatch, verdict: Verdict): void {
  batch.nest(2, () => {
    batch.attrBe32(1, VERDICT_CODE[verdict.kind]);
    if ('chain' in verdict) batch.attrText(2, verdict.chain);
  });
}

/** One expression of a rule: writes its NFTA_LIST_ELEM. */
export type Expression = (batch: MessageBatch) => void;

export type HookName = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';
export const HOOK_NUMBER = {
  prerouting: 0,
  input: 1,
  forward: 2,
  output: 3,
  postrouting: 4,
} as const;

export interface ChainHook {
  readonly type: 'filter' | 'nat' | 'route';
  readonly hook: HookName;
  readonly priority: number;
}

export interface SetSpec {
  readonly keyType: number;
  /** bytes; each member of a concatenation is padded to 4 */
  readonly keyBytes: number;
  /** absent = a plain set */
  readonly data?: 'verdict' | { readonly type: number; readonly bytes: number };
}

export interface SetElement {
  readonly key: Uint8Array;
  readonly data?: Verdict | Uint8Array;
}

/** What writes the contents of a table: into the kernel, or into a picture of it to compare with. */
export interface TableWriter {
  addChain(name: string, hook?: ChainHook | null): void;
  addRule(chain: string, expressions: readonly Expression[]): void;
  addSet(name: string, spec: SetSpec): void;
  addElements(set: string, elements: readonly SetElement[]): void;
}

/**
 * One transaction over one table. Messages apply in order. `commit` sends it;
 * an empty one is not sent.
 */
export class NftTransaction implements TableWriter {
  readonly #batch = new MessageBatch(8192);
  readonly #table: string;
  readonly #family: NftFamily;
  #setId = 0;

  constructor(table: string, family: NftFamily = NFPROTO_IPV4) {
    this.#table = table;
    this.#family = family;
    this.#edge(BATCH_BEGIN);
  }

  get empty(): boolean {
    return this.#batch.count === 1;
  }

  addTable(): void {
    this.#message(NEWTABLE, NLM_F_CREATE, 'add table', () => this.#batch.attrText(1, this.#table));
  }

  /** With everything in it; it must exist (add it first when that is not known). */
  deleteTable(): void {
    this.#message(DELTABLE, 0, 'delete table', () => this.#batch.attrText(1, this.#table));
  }

  addChain(name: string, hook: ChainHook | null = null): void {
    const batch = this.#batch;
    this.#message(NEWCHAIN, NLM_F_CREATE, `add chain ${name}`, () => {
      batch.attrText(1, this.#table);
      batch.attrText(3, name);
      if (!hook) return;
      batch.nest(4, () => {
        batch.attrBe32(1, HOOK_NUMBER[hook.hook]);
        batch.attrBe32(2, hook.priority);
      });
      batch.attrBe32(5, VERDICT_CODE.accept);
      batch.attrText(7, hook.type);
    });
  }

  /** It must be empty (see `flushChain`) and unreferenced. */
  deleteChain(name: string): void {
    this.#message(DELCHAIN, 0, `delete chain ${name}`, () => {
      this.#batch.attrText(1, this.#table);
      this.#batch.attrText(3, name);
    });
  }

  flushChain(name: string): void {
    this.#message(DELRULE, 0, `flush chain ${name}`, () => {
      this.#batch.attrText(1, this.#table);
      this.#batch.attrText(2, name);
    });
  }

  addRule(chain: string, expressions: readonly Expression[]): void {
    const batch = this.#batch;
    this.#message(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, `add rule to chain ${chain}`, () => {
      batch.attrText(1, this.#table);
      batch.attrText(2, chain);
      batch.nest(4, () => {
        for (const expression of expressions) expression(batch);
      });
    });
  }

  /** Before all others. @param comment as the nft command shows it, at most 127 characters */
  insertRule(chain: string, expressions: readonly Expression[], comment: string): void {
    const batch = this.#batch;
    this.#message(NEWRULE, NLM_F_CREATE, `insert rule into chain ${chain}`, () => {
      batch.attrText(1, this.#table);
      batch.attrText(2, chain);
      batch.nest(4, () => {
        for (const expression of expressions) expression(batch);
      });
      batch.attrBytes(7, ruleComment(comment));
    });
  }

  /** @param handle as it was read */
  deleteRule(chain: string, handle: Uint8Array): void {
    const batch = this.#batch;
    this.#message(DELRULE, 0, `delete rule of chain ${chain}`, () => {
      batch.attrText(1, this.#table);
      batch.attrText(2, chain);
      batch.attrBytes(3, handle);
    });
  }

  addSet(name: string, spec: SetSpec): void {
    const batch = this.#batch;
    this.#message(NEWSET, NLM_F_CREATE, `add set ${name}`, () => {
      batch.attrText(1, this.#table);
      batch.attrText(2, name);
      batch.attrBe32(3, spec.data === undefined ? 0 : NFT_SET_MAP);
      batch.attrBe32(4, spec.keyType);
      batch.attrBe32(5, spec.keyBytes);
      if (spec.data === 'verdict') {
        batch.attrBe32(6, DATA_VERDICT);
      } else if (spec.data) {
        batch.attrBe32(6, spec.data.type);
        batch.attrBe32(7, spec.data.bytes);
      }
      batch.attrBe32(10, ++this.#setId);
      batch.attrBytes(13, byteOrders(spec));
    });
  }

  deleteSet(name: string): void {
    this.#message(DELSET, 0, `delete set ${name}`, () => {
      this.#batch.attrText(1, this.#table);
      this.#batch.attrText(2, name);
    });
  }

  addElements(set: string, elements: readonly SetElement[]): void {
    this.#elements(NEWSETELEM, NLM_F_CREATE, `add elements to ${set}`, set, elements);
  }

  /** Every one of them must be there. */
  deleteElements(set: string, keys: readonly Uint8Array[]): void {
    const elements = keys.map((key) => ({ key }));
    this.#elements(DELSETELEM, 0, `delete elements of ${set}`, set, elements);
  }

  /** Applies the whole transaction, or rejects and nothing of it is applied. */
  async commit(socket: NetlinkSocket): Promise<void> {
    if (this.empty) return;
    const last = this.#batch.count - 1;
    this.#batch.flagLast(NLM_F_ACK); // kernels before 6.10 do not acknowledge the batch's end
    this.#edge(BATCH_END);
    await socket.transact(this.#batch, last);
  }

  /** For tests: the bytes as they are sent. */
  bytes(): Buffer {
    return Buffer.from(this.#batch.bytes(0));
  }

  #edge(type: number): void {
    this.#batch.message(type, 0, 'nft transaction', () => {
      this.#batch.u8(NFPROTO_UNSPEC);
      this.#batch.u8(0);
      this.#batch.u16(0x0a00); // NFNL_SUBSYS_NFTABLES, big endian
    });
  }

  #message(type: number, flags: number, what: string, fill: () => void): void {
    this.#batch.message(type, flags, `nft: ${what}`, () => {
      this.#batch.u8(this.#family);
      this.#batch.u8(0);
      this.#batch.u16(0);
      fill();
    });
  }

  #elements(
    type: number,
    flags: number,
    what: string,
    set: string,
    elements: readonly SetElement[],
  ): void {
    const batch = this.#batch;
    for (let at = 0; at < elements.length; at += ELEMENTS_PER_MESSAGE) {
      this.#message(type, flags, what, () => {
        batch.attrText(1, this.#table);
        batch.attrText(2, set);
        batch.nest(3, () => {
          for (const element of elements.slice(at, at + ELEMENTS_PER_MESSAGE)) {
            batch.nest(1, () => writeElement(batch, element));
          }
        });
      });
    }
  }
}

/**
 * What the nft command keeps with a set to show its contents (libnftnl's udata: type, length,
 * value): the byte order of keys and of data. The kernel does not look at it.
 */
function byteOrders(spec: SetSpec): Uint8Array {
  const order = (type: number): number => (type === NFT_TYPE.mark ? 1 : 2);
  const field = (kind: number, value: number): number[] => [kind, 4, value, 0, 0, 0];
  const key = field(0, order(spec.keyType));
  const hasValues = spec.data !== undefined && spec.data !== 'verdict';
  return Uint8Array.from(hasValues ? [...key, ...field(1, order(spec.data.type))] : key);
}

/** libnftnl's udata again: type 0 is a comment, with its NUL. */
function ruleComment(comment: string): Buffer {
  const text = Buffer.from(`${comment}\0`);
  return Buffer.concat([Buffer.from([0, text.length]), text]);
}

function writeElement(batch: MessageBatch, element: SetElement): void {
  batch.nest(1, () => batch.attrBytes(1, element.key));
  const { data } = element;
  if (data === undefined) return;
  batch.nest(2, () => {
    if (data instanceof Uint8Array) batch.attrBytes(1, data);
    else writeVerdict(batch, data);
  });
}

/** A set key: a host-order 32-bit number, as numgen and marks give it. */
export function numberKey(value: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(value >>> 0);
  return key;
}

/** A set key: an address of either family. */
export function addressKey(address: string): Buffer {
  return addressBytes(address);
}

/** A set key: the name of a link. */
export function interfaceKey(name: string): Buffer {
  const key = Buffer.alloc(16);
  key.write(name);
  return key;
}

/** A set key: link . MAC . address of either family. */
export function portSeatKey(link: string, mac: Uint8Array, address: string): Buffer {
  const bytes = addressBytes(address);
  const key = Buffer.alloc(24 + bytes.length);
  interfaceKey(link).copy(key);
  key.set(mac, 16);
  bytes.copy(key, 24);
  return key;
}

/** A set key: address of either family . protocol number . port. */
export function addressPortKey(address: string, protocol: number, port: number): Buffer {
  return Buffer.concat([addressBytes(address), protocolPortKey(protocol, port)]);
}

/** A set key: protocol number . port. */
export function protocolPortKey(protocol: number, port: number): Buffer {
  const key = Buffer.alloc(8);
  key.writeUInt8(protocol, 0);
  key.writeUInt16BE(port, 4);
  return key;
}
