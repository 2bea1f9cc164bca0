/**
 * Builders and readers of rtnetlink messages about routes and the rules that choose a table of them.
 * Pure: bytes in, bytes out.
 */
import { addressBytes, addressText, parsePrefix } from './address.ts';
import {
  attributes,
  MessageBatch,
  type NetlinkMessage,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from './message.ts';
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  FAMILY_NUMBER,
  type Families,
  familyOf,
  isIp,
} from './rtnl-family.ts';

const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_TABLE = 15;
const FRA_DST = 1;
const FRA_IIFNAME = 3;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const RTPROT_STATIC = 4;
const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_HOST = 254;
export const MAIN_TABLE = 254;
/** What is delivered here: the kernel keeps it with the addresses. */
export const LOCAL_TABLE = 255;
const IPV6_METRIC_DEFAULT = 1024;
/** Of routes to the subnets of a link's own addresses. */
export const IPV6_METRIC_CONNECTED = 256;

export interface RouteOptions {
  /** CIDR; `0.0.0.0/0` and `::/0` = default */
  readonly to: string;
  readonly via?: string;
  readonly index: number;
  readonly source?: string;
  readonly table?: number;
  readonly metric?: number;
  /** packets to it are for this host, if they come by that link */
  readonly isLocal?: boolean;
}

function routeBody(batch: MessageBatch, route: RouteOptions): void {
  const { address, length } = parsePrefix(route.to);
  const table = route.table ?? MAIN_TABLE;
  batch.u8(familyOf(address));
  batch.u8(length);
  batch.u8(0);
  batch.u8(0);
  batch.u8(table < 256 ? table : 0);
  batch.u8(RTPROT_STATIC);
  if (route.isLocal) batch.u8(RT_SCOPE_HOST);
  else batch.u8(route.via === undefined ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
  batch.u8(route.isLocal ? RTN_LOCAL : RTN_UNICAST);
  batch.u32(0);
  if (length > 0) batch.attrBytes(RTA_DST, addressBytes(address));
  batch.attrU32(RTA_OIF, route.index);
  if (route.via !== undefined) batch.attrBytes(RTA_GATEWAY, addressBytes(route.via));
  if (route.source !== undefined) batch.attrBytes(RTA_PREFSRC, addressBytes(route.source));
  if (route.metric !== undefined) batch.attrU32(RTA_PRIORITY, route.metric);
  batch.attrU32(RTA_TABLE, table);
}

/** Adds or replaces. */
export function addRoute(batch: MessageBatch, route: RouteOptions): void {
  batch.message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, `add route to ${route.to}`, () =>
    routeBody(batch, route),
  );
}

/** Beside another one to the same prefix; that it is there already is success. */
export function appendRoute(batch: MessageBatch, route: RouteOptions): void {
  const flags = NLM_F_CREATE | NLM_F_APPEND;
  const body = (): void => routeBody(batch, route);
  batch.message(RTM_NEWROUTE, flags, `add route to ${route.to}`, body, ['EEXIST']);
}

export function deleteRoute(batch: MessageBatch, route: RouteOptions): void {
  batch.message(RTM_DELROUTE, 0, `delete route to ${route.to}`, () => routeBody(batch, route), [
    'ESRCH',
  ]);
}

export interface RouteInfo {
  readonly to: string;
  readonly length: number;
  readonly index: number;
  /** null = on the link itself */
  readonly via: string | null;
  readonly table: number;
  readonly metric: number;
}

export function dumpRoutes(families: Families = 'ipv4'): MessageBatch {
  const batch = new MessageBatch(64);
  batch.message(RTM_GETROUTE, NLM_F_DUMP, 'list routes', () => {
    batch.u32(FAMILY_NUMBER[families]);
    batch.u32(0);
    batch.u32(0);
  });
  return batch;
}

export function readRoutes(messages: readonly NetlinkMessage[]): RouteInfo[] {
  const found: RouteInfo[] = [];
  for (const { type, payload } of messages) {
    if (type !== RTM_NEWROUTE || !isIp(payload[0])) continue;
    const attrs = attributes(payload.subarray(12));
    const destination = attrs.get(RTA_DST);
    const anywhere = payload[0] === AF_INET6 ? '::' : '0.0.0.0';
    found.push({
      to: destination ? addressText(destination) : anywhere,
      length: payload.readUInt8(1),
      index: attrs.get(RTA_OIF)?.readUInt32LE() ?? 0,
      via: textOrNull(attrs.get(RTA_GATEWAY)),
      table: attrs.get(RTA_TABLE)?.readUInt32LE() ?? payload.readUInt8(4),
      metric: metricOf(payload[0], attrs.get(RTA_PRIORITY)?.readUInt32LE() ?? 0),
    });
  }
  return found;
}

/** What the kernel gives IPv6 routes that name none is none. */
function metricOf(family: number | undefined, metric: number): number {
  return family === AF_INET6 && metric === IPV6_METRIC_DEFAULT ? 0 : metric;
}

function textOrNull(address: Buffer | undefined): string | null {
  return address ? addressText(address) : null;
}

export interface MarkRule {
  readonly family: 'ipv4' | 'ipv6';
  readonly mark: number;
  readonly mask: number;
  readonly table: number;
  readonly priority: number;
}

interface RuleHead {
  readonly family: number;
  readonly table: number;
  /** bits of the destination that count */
  readonly length: number;
}

function ruleHead(batch: MessageBatch, { family, table, length }: RuleHead): void {
  batch.u8(family);
  batch.u8(length);
  batch.u8(0);
  batch.u8(0);
  batch.u8(table < 256 ? table : 0);
  batch.u8(0);
  batch.u8(0);
  batch.u8(1); // FR_ACT_TO_TBL
  batch.u32(0);
}

function ruleBody(batch: MessageBatch, { family, table, priority, mark, mask }: MarkRule): void {
  ruleHead(batch, { family: family === 'ipv6' ? AF_INET6 : AF_INET, table, length: 0 });
  batch.attrU32(FRA_PRIORITY, priority);
  batch.attrU32(FRA_FWMARK, mark);
  batch.attrU32(FRA_FWMASK, mask);
  batch.attrU32(FRA_TABLE, table);
}

export function addMarkRule(batch: MessageBatch, rule: MarkRule): void {
  batch.message(
    RTM_NEWRULE,
    NLM_F_CREATE | NLM_F_EXCL,
    `add rule for mark ${rule.mark}`,
    () => ruleBody(batch, rule),
    ['EEXIST'],
  );
}

export function deleteMarkRule(batch: MessageBatch, rule: MarkRule): void {
  batch.message(RTM_DELRULE, 0, `delete rule for mark ${rule.mark}`, () => ruleBody(batch, rule), [
    'ENOENT',
    'EAFNOSUPPORT',
  ]);
}

/** What comes in by a link for an address is routed by a table. */
export interface LinkRule {
  readonly link: string;
  /** CIDR */
  readonly to: string;
  readonly table: number;
  readonly priority: number;
}

function linkRuleBody(batch: MessageBatch, { link, to, table, priority }: LinkRule): void {
  const { address, length } = parsePrefix(to);
  ruleHead(batch, { family: familyOf(address), table, length });
  batch.attrBytes(FRA_DST, addressBytes(address));
  batch.attrBytes(FRA_IIFNAME, Buffer.from(`${link}\0`));
  batch.attrU32(FRA_PRIORITY, priority);
  batch.attrU32(FRA_TABLE, table);
}

export function addLinkRule(batch: MessageBatch, rule: LinkRule): void {
  const what = `add rule for what comes by ${rule.link}`;
  const flags = NLM_F_CREATE | NLM_F_EXCL;
  batch.message(RTM_NEWRULE, flags, what, () => linkRuleBody(batch, rule), ['EEXIST']);
}

export function deleteLinkRule(batch: MessageBatch, rule: LinkRule): void {
  const what = `delete rule for what comes by ${rule.link}`;
  const tolerated = ['ENOENT', 'EAFNOSUPPORT'];
  batch.message(RTM_DELRULE, 0, what, () => linkRuleBody(batch, rule), tolerated);
}

/** Rules of both families. */
export function dumpRules(): MessageBatch {
  const batch = new MessageBatch(64);
  batch.message(RTM_GETRULE, NLM_F_DUMP, 'list routing rules', () => {
    batch.u8(AF_UNSPEC);
    batch.u8(0);
    batch.u16(0);
    batch.u32(0);
    batch.u32(0);
  });
  return batch;
}

/** The rules that go by a mark. */
export function readMarkRules(messages: readonly NetlinkMessage[]): MarkRule[] {
  const found: MarkRule[] = [];
  for (const { type, payload } of messages) {
    if (type !== RTM_NEWRULE || !isIp(payload[0])) continue;
    const attrs = attributes(payload.subarray(12));
    const number = (attribute: number): number => attrs.get(attribute)?.readUInt32LE() ?? 0;
    if (!attrs.has(FRA_FWMARK)) continue;
    found.push({
      family: payload[0] === AF_INET6 ? 'ipv6' : 'ipv4',
      mark: number(FRA_FWMARK),
      mask: number(FRA_FWMASK),
      table: attrs.has(FRA_TABLE) ? number(FRA_TABLE) : payload.readUInt8(4),
      priority: number(FRA_PRIORITY),
    });
  }
  return found;
}

/** The rules that go by a link and a destination. */
export function readLinkRules(messages: readonly NetlinkMessage[]): LinkRule[] {
  return messages.flatMap(({ type, payload }) => {
    if (type !== RTM_NEWRULE || !isIp(payload[0])) return [];
    const attrs = attributes(payload.subarray(12));
    const [name, destination] = [attrs.get(FRA_IIFNAME), attrs.get(FRA_DST)];
    if (!name || !destination) return [];
    return {
      link: name.toString('latin1').replace(/\0.*$/, ''),
      to: `${addressText(destination)}/${payload.readUInt8(1)}`,
      table: attrs.get(FRA_TABLE)?.readUInt32LE() ?? payload.readUInt8(4),
      priority: attrs.get(FRA_PRIORITY)?.readUInt32LE() ?? 0,
    };
  });
}
