/**
 * What the kernel has otherwise than it ought to for the networks of this node, and how it is put back.
 * Decides nothing about when.
 */
import { SHORT_ID_CHARS } from '../../common/model/container-id.ts';
import {
  type NetlinkSocket,
  OWN_NAMESPACE,
  writeNetSysctls,
} from '../../native/ffi/net/sockets.ts';
import type { ForwardPermits } from './forward-permits.ts';
import type { Ipv4Forwarding } from './ipv4-forwarding.ts';
import { type Difference, FACT } from './kernel-facts.ts';
import { IPV4_FORWARDING } from './kernel-names.ts';
import { findLink } from './legs.ts';
import {
  bridgeDifferences,
  insideDifferences,
  plugLink,
  restoreBridge,
  restoreInside,
  type WantedLink,
  withRoute,
} from './local-links.ts';
import { type LocalScene, linksOf, pathOf, wantedBridges, wayOutOf } from './local-plan.ts';
import type { LocalRules } from './local-rules.ts';
import type { PortGuard } from './port-guard.ts';

export interface LocalKernel {
  readonly route: NetlinkSocket;
  readonly rules: LocalRules;
  readonly guard: PortGuard;
  readonly permits: ForwardPermits;
  readonly forwarding: Ipv4Forwarding;
}

/** Published ports answer on 127.0.0.1 as well; what comes from outside is dropped by rule. */
export async function openBridge(link: string): Promise<void> {
  await writeNetSysctls(OWN_NAMESPACE, {
    [`ipv4/conf/${link}/route_localnet`]: '1',
    [`ipv6/conf/${link}/disable_ipv6`]: '1',
  });
}

export async function localDifferences(
  { route, rules, guard, permits, forwarding }: LocalKernel,
  scene: LocalScene,
): Promise<Difference[]> {
  const bridges = wantedBridges(scene);
  // Containers on links of the host alone need no rules and no forwarding: there are none then.
  const found =
    bridges.length === 0
      ? []
      : [
          ...(await bridgeDifferences(route, bridges)),
          ...(await rules.differences()),
          ...(await guard.differences()),
          ...(await permits.differences(bridges.map(({ device }) => device.link).sort())),
        ];
  if (bridges.length > 0 && !forwarding.isOn) {
    found.push({ what: FACT.setting(IPV4_FORWARDING), wanted: '1', found: '0' });
  }
  for (const holder of scene.holders.values()) {
    const links = linksOf(scene, holder);
    const inside = await insideDifferences(pathOf(holder), links, wayOutOf(holder));
    const whose = `container ${holder.id.slice(0, SHORT_ID_CHARS)}`;
    found.push(...inside.map((it) => ({ ...it, what: `${whose}: ${it.what}` })));
  }
  return found;
}

/** @param settle writes the rules, has packets forwarded, and takes away what nobody is on */
export async function restoreLocal(
  route: NetlinkSocket,
  scene: LocalScene,
  settle: () => Promise<void>,
): Promise<void> {
  for (const bridge of wantedBridges(scene)) {
    await restoreBridge(route, bridge);
    await openBridge(bridge.device.link);
  }
  for (const holder of scene.holders.values()) {
    const path = pathOf(holder);
    const links = linksOf(scene, holder);
    for (const wanted of links) {
      if (!(await isPlugged(route, path, wanted))) await plugLink(route, path, wanted);
    }
    await restoreInside(path, links, wayOutOf(holder));
  }
  await settle();
  for (const bridge of wantedBridges(scene)) await restoreBridge(route, bridge);
}

async function isPlugged(
  route: NetlinkSocket,
  netnsPath: string,
  { port, link }: WantedLink,
): Promise<boolean> {
  if (port !== '' && !(await findLink(route, port))) return false;
  return withRoute(netnsPath, async (inside) => (await findLink(inside, link)) !== null);
}
