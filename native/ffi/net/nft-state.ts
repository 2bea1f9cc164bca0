/**
 * Reads back what the kernel has of one nft table: chains, rules, sets and their
 * elements. Knows what a dump looks like, not what the table should hold.
 */
import {
  attributeList,
  attributes,
  MessageBatch,
  type NetlinkMessage,
  NLM_F_DUMP,
  textOf,
} from './message.ts';
import { HOOK_NUMBER, type HookName, type NftFamily, VERDICT_CODE } from './nft.ts';
import type { NetlinkSocket } from './sockets.ts';

const SUBSYSTEM = 10 << 8;
const NEWCHAIN = SUBSYSTEM | 3;
const GETCHAIN = SUBSYSTEM | 4;
const NEWRULE = SUBSYSTEM | 6;
const GETRULE = SUBSYSTEM | 7;
const NEWSET = SUBSYSTEM | 9;
const GETSET = SUBSYSTEM | 10;
const NEWSETELEM = SUBSYSTEM | 12;
const GETSETELEM = SUBSYSTEM | 13;
const NFGENMSG_BYTES = 4;
const EMPTY = Buffer.alloc(0);

/** What a table holds. Rules and elements are raw: the attributes of an expression list, of a key or value. */
export interface TableState {
  /** chain -> attributes of its message */
  readonly chains: ReadonlyMap<string, ReadonlyMap<number, Buffer>>;
  /** chain -> expression lists of its rules, in order */
  readonly rules: ReadonlyMap<string, readonly Buffer[]>;
  /** set -> attributes of its message */
  readonly sets: ReadonlyMap<string, ReadonlyMap<number, Buffer>>;
  /** set -> attributes of each element */
  readonly elements: ReadonlyMap<string, readonly ReadonlyMap<number, Buffer>[]>;
}

function dump(family: NftFamily, type: number, fill: (batch: MessageBatch) => void): MessageBatch {
  const batch = new MessageBatch(128);
  const body = (): void => {
    batch.u8(family);
    batch.u8(0);
    batch.u16(0);
    fill(batch);
  };
  // A table or set that is not there is an empty answer.
  batch.message(type, NLM_F_DUMP, 'list nft table', body, ['ENOENT']);
  return batch;
}

function read(messages: readonly NetlinkMessage[], type: number): Map<number, Buffer>[] {
  return messages
    .filter((message) => message.type === type)
    .map(({ payload }) => attributes(payload.subarray(NFGENMSG_BYTES)));
}

const textIn = (found: ReadonlyMap<number, Buffer>, type: number): string =>
  textOf(found.get(type) ?? EMPTY);

/** One dump for the chains, the rules and the sets each, then one for every set, each kind in one turn. */
export async function readTable(
  socket: NetlinkSocket,
  family: NftFamily,
  table: string,
): Promise<TableState> {
  const ofTable = (batch: MessageBatch): void => batch.attrText(1, table);
  const requests = [GETCHAIN, GETRULE, GETSET].map((type) => dump(family, type, ofTable));
  const lists = await socket.dumpEach(requests);
  const list = (at: number, type: number) =>
    read(lists[at]!, type).filter((it) => textIn(it, 1) === table);
  const chains = new Map(list(0, NEWCHAIN).map((it) => [textIn(it, 3), it]));
  const rules = new Map<string, Buffer[]>();
  for (const it of list(1, NEWRULE)) {
    const chain = textIn(it, 2);
    rules.set(chain, [...(rules.get(chain) ?? []), it.get(4) ?? EMPTY]);
  }
  const sets = new Map(list(2, NEWSET).map((it) => [textIn(it, 2), it]));
  const elements = new Map<string, Map<number, Buffer>[]>();
  const names = [...sets.keys()];
  const ofSet = (name: string) =>
    dump(family, GETSETELEM, (batch) => {
      batch.attrText(1, table);
      batch.attrText(2, name);
    });
  for (const [at, answer] of (await socket.dumpEach(names.map(ofSet))).entries()) {
    const parts = read(answer, NEWSETELEM).map((it) => it.get(3) ?? EMPTY);
    const each = parts.flatMap((it) => attributeList(it).map(({ value }) => attributes(value)));
    elements.set(names[at]!, each);
  }
  return { chains, rules, sets, elements };
}

/** A chain at a hook, of whatever table. */
export interface HookedChain {
  readonly table: string;
  readonly chain: string;
  readonly type: string;
  readonly hook: HookName;
  readonly policy: 'accept' | 'drop';
}

export async function readHookedChains(
  socket: NetlinkSocket,
  family: NftFamily,
): Promise<HookedChain[]> {
  const found: HookedChain[] = [];
  const hooks = Object.entries(HOOK_NUMBER) as [HookName, number][];
  for (const it of read(await socket.dump(dump(family, GETCHAIN, () => {})), NEWCHAIN)) {
    const number = attributes(it.get(4) ?? EMPTY)
      .get(1)
      ?.readUInt32BE();
    const [hook] = hooks.find(([, value]) => value === number) ?? [];
    if (hook === undefined) continue;
    const isDrop = it.get(5)?.readUInt32BE() === VERDICT_CODE.drop;
    found.push({
      table: textIn(it, 1),
      chain: textIn(it, 3),
      type: textIn(it, 7),
      hook,
      policy: isDrop ? 'drop' : 'accept',
    });
  }
  return found;
}

export interface ChainRule {
  readonly handle: Buffer;
  /** '' = none */
  readonly comment: string;
}

/** The rules of one chain, in order. */
export async function readRules(
  socket: NetlinkSocket,
  family: NftFamily,
  table: string,
  chain: string,
): Promise<ChainRule[]> {
  const request = dump(family, GETRULE, (batch) => {
    batch.attrText(1, table);
    batch.attrText(2, chain);
  });
  return read(await socket.dump(request), NEWRULE)
    .filter((it) => textIn(it, 1) === table && textIn(it, 2) === chain)
    .map((it) => ({ handle: it.get(3) ?? EMPTY, comment: commentIn(it.get(7) ?? EMPTY) }));
}

/** Type, length, value, again and again; type 0 is the comment. */
function commentIn(userData: Buffer): string {
  for (let at = 0; at + 2 <= userData.length; ) {
    const [type, bytes] = [userData[at], userData[at + 1] as number];
    if (type === 0) return textOf(userData.subarray(at + 2, at + 2 + bytes));
    at += 2 + bytes;
  }
  return '';
}
