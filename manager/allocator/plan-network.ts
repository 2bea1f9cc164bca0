/** Decides subnet, gateway and VXLAN id of an overlay network. Takes them in the book; writes nothing. */
import { createHash } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { SkepError } from '../../common/base/errors.ts';
import { address6Of } from '../../common/base/ipv6.ts';
import type { NetworkId } from '../../common/model/ids.ts';
import {
  type IpamConfig,
  isIpv6Config,
  isOverlay,
  type Network,
} from '../../common/model/network.ts';
import type { Node } from '../../common/model/node.ts';
import type { AllocationBook } from './allocation-book.ts';
import { contains, formatIpv4, parseIpv4, parseIpv4Subnet, subnetSize } from './cidr.ts';
import type { Problem } from './problem.ts';
import { VXLAN_ID_LAST } from './vxlan-id-pool.ts';

/** Option that fixes the VXLAN ids of a network, comma separated; the first is used. */
const VXLAN_ID_OPTION = 'com.docker.network.driver.overlay.vxlanid_list';

const NO_WISHES: IpamConfig = { subnet: '', gateway: '', range: '', reserved: {} };

export interface NetworkAllocation {
  readonly ipam: readonly IpamConfig[];
  readonly vxlanId: number;
}

/** True when the network waits for us. */
export function needsAllocation(network: Network): boolean {
  return isOverlay(network.spec) && network.vxlanId === null;
}

/**
 * What the network gets; or why it gets nothing, with nothing taken. A subnet from the pools holds the address of no
 * node: in the ingress network, which hosts are in themselves, the way to that node would end.
 */
export function planNetwork(
  book: AllocationBook,
  network: Network,
  nodes: readonly Node[],
): NetworkAllocation | Problem {
  const taken: string[] = [];
  try {
    const vxlanId = takeVxlanId(book, network);
    try {
      const ipam = resolveIpam(book, network, nodes, taken);
      book.addNetwork({ ...network, ipam, vxlanId });
      return { ipam, vxlanId };
    } catch (err) {
      book.vxlanIds.release(vxlanId);
      throw err;
    }
  } catch (err) {
    for (const subnet of taken) book.subnets.release(subnet);
    if (err instanceof SkepError) {
      return { problem: `network '${network.spec.name}' cannot be set up: ${err.message}` };
    }
    throw err;
  }
}

function takeVxlanId(book: AllocationBook, network: Network): number {
  const wanted = network.spec.driverOptions[VXLAN_ID_OPTION];
  if (wanted === undefined) {
    const id = book.vxlanIds.takeNext();
    if (id === null) throw new SkepError('resource-exhausted', 'no free VXLAN id');
    return id;
  }
  const id = Number((wanted.split(',')[0] ?? '').trim());
  if (!Number.isInteger(id) || id < 1 || id > VXLAN_ID_LAST) {
    throw new SkepError('invalid-argument', `VXLAN id '${wanted}' is not in 1..${VXLAN_ID_LAST}`);
  }
  if (!book.vxlanIds.take(id)) {
    throw new SkepError('conflict', `VXLAN id ${id} is in use by another network`);
  }
  return id;
}

function resolveIpam(
  book: AllocationBook,
  network: Network,
  nodes: readonly Node[],
  taken: string[],
): IpamConfig[] {
  const asked = network.spec.ipam.configs.filter((config) => !isIpv6Config(config));
  const configs = asked.length > 0 ? asked : [NO_WISHES];
  const ipv4 = configs.map((config) => {
    const subnet =
      config.subnet === '' ? cutSubnet(book, nodes) : chosenSubnet(book, config.subnet);
    taken.push(subnet);
    return { ...config, subnet, gateway: resolveGateway(subnet, config.gateway) };
  });
  return network.spec.ipv6 ? [...ipv4, resolveIpv6(network, ipv4[0]?.gateway ?? '')] : ipv4;
}

/** Addresses in it are not given: each is known by its IPv4 address. */
function resolveIpv6({ id, spec }: Network, gateway: string): IpamConfig {
  const subnet = spec.ipam.configs.find(isIpv6Config)?.subnet ?? localSubnet(id);
  return { ...NO_WISHES, subnet, gateway: address6Of(subnet, gateway) };
}

/** A unique local one (RFC 4193): `fd` and 56 bits that no other network has. */
function localSubnet(id: NetworkId): string {
  const bits = createHash('sha256').update(id).digest('hex').slice(0, 14);
  const groups = `fd${bits}`
    .match(/.{4}/g)
    ?.map((group) => Number.parseInt(group, 16).toString(16));
  return `${groups?.join(':')}::/64`;
}

function cutSubnet(book: AllocationBook, nodes: readonly Node[]): string {
  const subnet = book.subnets.takeNext(nodes.flatMap(addressesOf));
  if (subnet !== null) return subnet;
  throw new SkepError(
    'resource-exhausted',
    `all ${book.subnets.size} subnets of the default address pools are in use`,
  );
}

/** Of IPv4: as the node tells, and as its session came. */
function addressesOf({ status, description }: Node): number[] {
  const told = [status.address, description?.address ?? '', description?.dataPathAddress ?? ''];
  return told.flatMap((text) => {
    const host = text.replace(/:\d+$/, '');
    return isIPv4(host) ? [parseIpv4(host)] : [];
  });
}

function chosenSubnet(book: AllocationBook, text: string): string {
  if (subnetSize(parseIpv4Subnet(text)) < 4) {
    throw new SkepError('invalid-argument', `subnet ${text} has no room for a gateway and a task`);
  }
  book.subnets.use(text);
  return text;
}

/** The subnet's first host address, unless the user chose another. */
function resolveGateway(subnetText: string, wanted: string): string {
  const subnet = parseIpv4Subnet(subnetText);
  if (wanted === '') return formatIpv4(subnet.base + 1);
  if (!contains(subnet, parseIpv4(wanted))) {
    throw new SkepError('invalid-argument', `gateway ${wanted} is outside subnet ${subnetText}`);
  }
  return wanted;
}
