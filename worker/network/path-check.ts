/**
 * Whether the packets of this node's overlays pass to the other hosts uncut. Links tell what they carry, not what is between
 * them: a path that drops larger packets without a word is found by trying only. Knows no kernel: who probes is told.
 */

import { isIpv6 } from '../../native/ffi/net/address.ts';
import type { PathProbe } from '../../native/ffi/net/path-probe.ts';
import type { NetworkTable } from './cluster-tables.ts';
import { outerBytes } from './kernel-names.ts';
import type { OverlayNetwork } from './overlay-network.ts';
import type { Drift } from './self-proof.ts';

/** To one other host. */
export interface Path {
  readonly address: string;
  /** of the largest packet that our networks send there */
  readonly packetBytes: number;
  /** of that network */
  readonly networkName: string;
}

/** In the order of the probes: whether each was answered within `timeoutMs`. */
export type ProbePaths = (probes: readonly PathProbe[], timeoutMs: number) => Promise<boolean[]>;

/** Of a round in which every host answers none of it passes. */
const TIMEOUT_MS = 300;
/** What every path carries (RFC 791; RFC 8200). */
const SURE_BYTES = { ipv4: 576, ipv6: 1280 } as const;

/** Where this node sends from. */
export interface PathStart {
  readonly address: string;
  /** of its link, bytes: larger packets go in fragments */
  readonly underlayMtu: number;
}

/** From this node's networks to the hosts of their tasks. */
export function pathsOf(
  overlays: Iterable<Pick<OverlayNetwork, 'id' | 'mtu'>>,
  tableOf: (overlay: Pick<OverlayNetwork, 'id'>) => NetworkTable | undefined,
  { address: own, underlayMtu }: PathStart,
): Path[] {
  const paths = new Map<string, Path>();
  for (const overlay of overlays) {
    const table = tableOf(overlay);
    if (!table?.network) continue;
    const packetBytes = Math.min(outerBytes(table.network, overlay.mtu, own), underlayMtu);
    const path = { packetBytes, networkName: table.network.name };
    for (const [, address] of table.seats()) {
      if (address === own || (paths.get(address)?.packetBytes ?? 0) >= packetBytes) continue;
      paths.set(address, { address, ...path });
    }
  }
  return [...paths.values()];
}

/**
 * What passes of each path: bytes of the largest packet, at most what is sent there; null = the host does not answer at
 * all. It may be down, or echo requests may not be let through.
 */
export async function measurePaths(
  paths: readonly Path[],
  probe: ProbePaths,
): Promise<readonly (number | null)[]> {
  const sized = (some: readonly Path[], sizeOf: (path: Path, i: number) => number) =>
    probe(
      some.map((path, i) => ({ address: path.address, packetBytes: sizeOf(path, i) })),
      TIMEOUT_MS,
    );
  const passes = await sized(paths, ({ packetBytes }) => packetBytes);
  const doubtful = paths.filter((_, i) => !passes[i]);
  const answers = await sized(doubtful, sureBytes);
  const narrow = doubtful.filter((path, i) => answers[i] && sureBytes(path) < path.packetBytes);
  // INVARIANT: packets of `low` pass, those of `high` had no answer.
  const bounds = narrow.map((path) => ({ low: sureBytes(path), high: path.packetBytes }));
  const middle = (i: number): number => (bounds[i]!.low + bounds[i]!.high) >> 1;
  while (bounds.some(({ low, high }) => high - low > 1)) {
    const fits = await sized(narrow, (_, i) => middle(i));
    for (const [i, bound] of bounds.entries()) {
      if (bound.high - bound.low <= 1) continue;
      if (fits[i]) bound.low = middle(i);
      else bound.high = middle(i);
    }
  }
  // The first answers may have been late or lost: that alone makes no path narrow.
  const passesAfterAll = await sized(narrow, ({ packetBytes }) => packetBytes);
  const least = new Map(
    narrow.map((path, i) => [path, passesAfterAll[i] ? path.packetBytes : bounds[i]!.low]),
  );
  return paths.map((path, i) => (passes[i] ? path.packetBytes : (least.get(path) ?? null)));
}

/** Paths that carry less than is sent there. Nothing is told of a host that does not answer at all. */
export async function narrowPaths(paths: readonly Path[], probe: ProbePaths): Promise<Drift[]> {
  const passing = await measurePaths(paths, probe);
  return paths.flatMap(({ address, packetBytes, networkName }, i) => {
    const found = passing[i] ?? packetBytes;
    if (found >= packetBytes) return [];
    return {
      where: `way to ${address}`,
      what: `largest packet that passes, of network ${networkName}`,
      wanted: `${packetBytes}`,
      found: `${found}`,
    };
  });
}

/** Of a packet that every path carries. */
export function sureBytes({ address }: Pick<Path, 'address'>): number {
  return SURE_BYTES[isIpv6(address) ? 'ipv6' : 'ipv4'];
}
