/**
 * Whether what this node's overlays send arrives at the other hosts: their own seats in the ingress network are asked, through the
 * tunnel. A firewall that lets no VXLAN in makes no link, route or rule of ours differ. Knows no kernel: who probes is told.
 */
import type { NodeId } from '../../common/model/ids.ts';
import type { NetworkTable } from './cluster-tables.ts';
import { type ProbePaths, sureBytes } from './path-check.ts';
import type { Drift } from './self-proof.ts';

/** To one other host. */
export interface Tunnel {
  /** by which it is reached outside of overlays */
  readonly hostAddress: string;
  /** of its seat in the ingress network */
  readonly seat: string;
}

/** A second try of a probe is in it. */
const TIMEOUT_MS = 300;

/**
 * From this node's seat to those of the others; none where it has none itself. Only of hosts with a task in the ingress
 * network: without one a host is told of no seat but its own, so that it has no way to answer another's.
 */
export function tunnelsOf(ingress: NetworkTable | null, own: NodeId): Tunnel[] {
  if (!ingress?.peers.has(own)) return [];
  const answering = new Set(Array.from(ingress.endpoints.values(), ({ nodeId }) => nodeId));
  const others = [...ingress.peers.values()].filter(
    ({ nodeId }) => nodeId !== own && answering.has(nodeId),
  );
  return others.map(({ hostAddress, address }) => ({ hostAddress, seat: address }));
}

/** Hosts that answer outside of the tunnel and not through it. Nothing is told of one that does not answer at all. */
export async function closedTunnels(
  tunnels: readonly Tunnel[],
  probe: ProbePaths,
): Promise<Drift[]> {
  const asked = (addresses: readonly string[]) =>
    probe(
      addresses.map((address) => ({ address, packetBytes: sureBytes({ address }) })),
      TIMEOUT_MS,
    );
  const passes = await asked(tunnels.map(({ seat }) => seat));
  const silent = tunnels.filter((_, i) => !passes[i]);
  const answers = await asked(silent.map(({ hostAddress }) => hostAddress));
  return silent
    .filter((_, i) => answers[i])
    .map(({ hostAddress }) => ({
      where: `way to ${hostAddress}`,
      what: 'packets of overlay networks (the data path port, UDP)',
      wanted: 'answered',
      found: null,
    }));
}
