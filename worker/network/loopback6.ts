/**
 * Published ports at [::1]. Such a connection is translated as it leaves the host; its replies come back by the link of the
 * ingress network for ::1, to which the kernel has a route on the loopback link alone, and for this address it looks at no other.
 * So what comes in by our link for it is routed by a table of ours, in which it is local there. From outside nothing comes that
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
import { INGRESS_LINK } from './kernel-names.ts';

const TO = '::1/128';
/** Ours alone in the host's namespace. */
const TABLE = 0x5ce1;
const RULE: LinkRule = { link: INGRESS_LINK, to: TO, table: TABLE, priority: 1001 };

/** @param index of the ingress network's link */
export function addLoopbackReturn(batch: MessageBatch, index: number): void {
  addRoute(batch, { to: TO, index, table: TABLE, isLocal: true });
  addLinkRule(batch, RULE);
}

/** The route goes with its link. */
export function removeLoopbackReturn(batch: MessageBatch): void {
  deleteLinkRule(batch, RULE);
}

export function loopbackReturnFacts(): Facts {
  return new Map([
    [FACT.linkRoute(TABLE, TO, INGRESS_LINK), 'there'],
    [FACT.linkRule(RULE.priority, RULE.link, RULE.to), `table ${TABLE}`],
  ]);
}
