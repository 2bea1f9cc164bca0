/**
 * The state of one network namespace as a list of facts: what is asked about -> what it is. Pure:
 * reads dumps, compares; what ought to be is `wanted-facts.ts`'s.
 */
import { macText } from '../../native/ffi/net/address.ts';
import type { AddressInfo } from '../../native/ffi/net/rtnl-address.ts';
import type { LinkInfo, VxlanOptions } from '../../native/ffi/net/rtnl-link.ts';
import type { ForwardingEntry, NeighbourInfo } from '../../native/ffi/net/rtnl-neighbour.ts';
import type { LinkRule, MarkRule, RouteInfo } from '../../native/ffi/net/rtnl-route.ts';

/** e.g. `link eth0 mtu` -> `1450`. Keys are made by `FACT` only. */
export type Facts = ReadonlyMap<string, string>;

/** One thing that is not as it ought to be. */
export interface Difference {
  /** e.g. `route 0.0.0.0/0 of table 254` */
  readonly what: string;
  /** null = it ought not to be there */
  readonly wanted: string | null;
  /** null = it is not there */
  readonly found: string | null;
}

export const FACT = {
  link: (name: string) => `link ${name}`,
  state: (name: string) => `link ${name} state`,
  mtu: (name: string) => `link ${name} mtu`,
  mac: (name: string) => `link ${name} mac`,
  master: (name: string) => `link ${name} master`,
  port: (name: string) => `link ${name} as a port`,
  vxlan: (name: string) => `link ${name} vxlan`,
  pinnedMac: (name: string, mac: Buffer) => `mac ${macText(mac)} behind ${name}`,
  remoteMac: (name: string, mac: Buffer) => `mac ${macText(mac)} beyond ${name}`,
  neighbour: (name: string, address: string) => `neighbour ${address} on ${name}`,
  address: (name: string, cidr: string) => `address ${cidr} on ${name}`,
  route: (table: number, to: string, metric = 0) =>
    `route ${to} of table ${table}${metric > 0 ? ` metric ${metric}` : ''}`,
  /** without a next hop: two links may have one to the same subnet */
  linkRoute: (table: number, to: string, name: string, metric = 0) =>
    `${FACT.route(table, to, metric)} on ${name}`,
  markRule: (priority: number, mark: number, family: MarkRule['family'] = 'ipv4') =>
    `rule ${priority} for mark ${mark}${family === 'ipv6' ? ' of IPv6' : ''}`,
  linkRule: (priority: number, link: string, to: string) =>
    `rule ${priority} for ${to} from ${link}`,
  setting: (name: string) => `setting ${name}`,
  wireguard: (name: string) => `link ${name} key`,
  wireguardPeer: (key: string) => `peer ${key}`,
} as const;

export interface Dumps {
  readonly links: readonly LinkInfo[];
  readonly addresses?: readonly AddressInfo[];
  readonly routes?: readonly RouteInfo[];
  readonly markRules?: readonly MarkRule[];
  readonly linkRules?: readonly LinkRule[];
  readonly forwarding?: readonly ForwardingEntry[];
  readonly neighbours?: readonly NeighbourInfo[];
}

export function portWords(port: {
  readonly learning: boolean;
  readonly unicastFlood: boolean;
  readonly isolated: boolean;
  readonly hairpin?: boolean;
}): string {
  const words = [
    ...(port.learning ? ['learning'] : []),
    ...(port.unicastFlood ? ['flooded'] : []),
    ...(port.isolated ? ['isolated'] : []),
    ...(port.hairpin ? ['hairpin'] : []),
  ];
  return words.length > 0 ? words.join(' ') : 'plain';
}

/** Everything that the dumps say. */
export function factsOf(dumps: Dumps): Facts {
  const facts = new Map<string, string>();
  const names = new Map(dumps.links.map(({ index, name }) => [index, name]));
  const nameOf = (index: number): string => names.get(index) ?? `#${index}`;
  for (const link of dumps.links) addLink(facts, link, nameOf);
  for (const { index, address, length } of dumps.addresses ?? []) {
    facts.set(FACT.address(nameOf(index), `${address}/${length}`), 'there');
  }
  for (const { table, to, length, metric, via, index } of dumps.routes ?? []) {
    const prefix = `${to}/${length}`;
    if (via === null) facts.set(FACT.linkRoute(table, prefix, nameOf(index), metric), 'there');
    else facts.set(FACT.route(table, prefix, metric), `via ${via} on ${nameOf(index)}`);
  }
  for (const { priority, mark, table, family } of dumps.markRules ?? []) {
    facts.set(FACT.markRule(priority, mark, family), `table ${table}`);
  }
  for (const { priority, link, to, table } of dumps.linkRules ?? []) {
    facts.set(FACT.linkRule(priority, link, to), `table ${table}`);
  }
  for (const { index, mac, host, pinned } of dumps.forwarding ?? []) {
    if (host !== null) facts.set(FACT.remoteMac(nameOf(index), mac), host);
    else if (pinned) facts.set(FACT.pinnedMac(nameOf(index), mac), 'pinned');
  }
  for (const { index, address, mac } of dumps.neighbours ?? []) {
    facts.set(FACT.neighbour(nameOf(index), address), macText(mac));
  }
  return facts;
}

function addLink(
  facts: Map<string, string>,
  link: LinkInfo,
  nameOf: (index: number) => string,
): void {
  const { name, kind, up, mtu, mac, master, port, vxlan } = link;
  facts.set(FACT.link(name), kind);
  facts.set(FACT.state(name), up ? 'up' : 'down');
  facts.set(FACT.mtu(name), `${mtu}`);
  facts.set(FACT.mac(name), macText(mac));
  if (master > 0) facts.set(FACT.master(name), nameOf(master));
  if (port) facts.set(FACT.port(name), portWords(port));
  if (vxlan) facts.set(FACT.vxlan(name), vxlanWords(vxlan));
}

export const vxlanWords = ({ vni, local, port }: VxlanOptions): string =>
  `${vni} from ${local}:${port}`;

/**
 * What is wanted and is not so, and what is there and must not be: `owned` says of which facts there
 * may be none but the wanted ones.
 */
export function compareFacts(
  wanted: Facts,
  found: Facts,
  owned: (what: string) => boolean = () => false,
): Difference[] {
  const differences: Difference[] = [];
  for (const [what, value] of wanted) {
    const is = found.get(what) ?? null;
    if (is !== value) differences.push({ what, wanted: value, found: is });
  }
  for (const [what, value] of found) {
    if (owned(what) && !wanted.has(what)) differences.push({ what, wanted: null, found: value });
  }
  return differences;
}
