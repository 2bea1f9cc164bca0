/** Networks that one task cannot be in together. */
import { BlockList, isIPv4 } from 'node:net';
import { isOverlay, type Network } from './network.ts';

/**
 * Two of the networks whose subnets overlap, in words; null = there are none. Each network for itself may have
 * any subnet, but a task in two of them would have one route for both, and reach a stranger under the address of
 * what it looks for. Where nodes give the addresses nobody knows them; IPv6 subnets never overlap.
 */
export function overlapProblem(networks: readonly Pick<Network, 'spec' | 'ipam'>[]): string | null {
  for (const [at, one] of networks.entries()) {
    for (const other of networks.slice(0, at)) {
      const pair = overlap(other, one);
      if (!pair) continue;
      return `networks ${nameOf(other)} and ${nameOf(one)}: their subnets ${pair.join(' and ')} overlap, no container can be in both`;
    }
  }
  return null;
}

function overlap(
  one: Pick<Network, 'spec' | 'ipam'>,
  other: Pick<Network, 'spec' | 'ipam'>,
): readonly [string, string] | null {
  for (const a of subnetsOf(one)) {
    for (const b of subnetsOf(other)) if (holds(a, b) || holds(b, a)) return [a, b];
  }
  return null;
}

/**
 * As they were given, else as they were asked for; what comes from the pools overlaps no other. One that is no subnet is
 * never given.
 */
function subnetsOf({ spec, ipam }: Pick<Network, 'spec' | 'ipam'>): readonly string[] {
  if (!isOverlay(spec)) return [];
  const configs = ipam.length > 0 ? ipam : spec.ipam.configs;
  return configs.map(({ subnet }) => subnet).filter(isSubnet4);
}

function isSubnet4(cidr: string): boolean {
  const [base = '', prefix = ''] = cidr.split('/');
  return isIPv4(base) && /^\d+$/.test(prefix) && Number(prefix) <= 32;
}

/** Of two subnets that overlap one holds the other's base. */
function holds(cidr: string, other: string): boolean {
  const [base = '', prefix] = cidr.split('/');
  const block = new BlockList();
  block.addSubnet(base, Number(prefix), 'ipv4');
  return block.check(other.split('/')[0] ?? '');
}

const nameOf = ({ spec }: Pick<Network, 'spec'>): string =>
  spec.ingress ? `${spec.name} (of published ports)` : spec.name;
