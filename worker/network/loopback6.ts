/**
 * Published ports at [::1]. Such a connection is translated as it leaves the host; its replies come back by a link of
 * ours for ::1, to which the kernel has a route on the loopback link alone, and for this address it looks at no other.
 * So what comes in by such a link for it is routed by a table of ours, in which it is local there. From outside nothing comes that
 * way: the kernel drops what is sent to ::1 by any other link before it looks at rules or routes. Pure.
 */
import type { MessageBatch } from '../../native/ffi/net/message.ts';
import {
  addLinkRule,
  addRoute,
  deleteLinkRule,
  type LinkRule,
} from '../../native/ffi/net/rtnl-route.ts';
import { FACT, type Facts } from './kernel-facts.ts';
import { GATEWAY_BRIDGE, INGRESS_LINK } from './kernel-names.ts';

const TO = '::1/128';
/** Ours alone in the host's namespace, one for each link. */
const TABLES = { [INGRESS_LINK]: 0x5ce1, [GATEWAY_BRIDGE]: 0x5ce2 } as const;
const PRIORITY = 1001;
export type LoopbackLink = keyof typeof TABLES;

const ruleOf = (link: LoopbackLink): LinkRule => ({
  ...{ link, to: TO, table: TABLES[link], priority: PRIORITY },
});

/** @param index of the link */
export function addLoopbackReturn(batch: MessageBatch, link: LoopbackLink, index: number): void {
  addRoute(batch, { to: TO, index, table: TABLES[link], isLocal: true });
  addLinkRule(batch, ruleOf(link));
}

/** The route goes with its link. */
export function removeLoopbackReturn(batch: MessageBatch, link: LoopbackLink): void {
  deleteLinkRule(batch, ruleOf(link));
}

export function loopbackReturnFacts(link: LoopbackLink): Facts {
  return new Map([
    [FACT.linkRoute(TABLES[link], TO, link), 'there'],
    [FACT.linkRule(PRIORITY, link, TO), `table ${TABLES[link]}`],
  ]);
}
