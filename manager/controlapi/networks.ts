/** Writes to networks, and what their specs must obey. */
import { BlockList, isIP } from 'node:net';
import { SkepError } from '../../common/base/errors.ts';
import { SUBNET6_PREFIX_MAX } from '../../common/base/ipv6.ts';
import { configNetworkProblem, operatorFieldsProblem } from '../../common/model/config-networks.ts';
import { type NetworkId, newId } from '../../common/model/ids.ts';
import { checkName } from '../../common/model/names.ts';
import {
  ENCRYPTED_OPTION,
  type IpamConfig,
  isEncrypted,
  isIpv6Config,
  isOverlay,
  MTU_OPTION,
  type Network,
  type NetworkSpec,
} from '../../common/model/network.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import { isPredefinedNetwork } from '../../common/model/predefined-networks.ts';
import { usesIngress } from '../../common/model/service-references.ts';
import { checkSize } from '../../common/model/spec-size.ts';
import { isAfter } from '../../common/model/task-state.ts';
import type { CreateRequest, RemoveRequest } from '../../common/rpc/control-methods.ts';
import type { ReadView, WriteTx } from '../store/types.ts';
import { requireByRef } from './lookup.ts';
import { checkNodeMadeSpec } from './node-made-networks.ts';
import { failed, invalid, notDone } from './refusal.ts';
import type { WriteEnvironment } from './writes.ts';

const PREDEFINED_LABEL = 'com.docker.swarm.predefined';
const VXLAN_IDS_OPTION = 'com.docker.network.driver.overlay.vxlanid_list';
const KNOWN_OPTIONS = [MTU_OPTION, VXLAN_IDS_OPTION, ENCRYPTED_OPTION];
/** Docker's `--opt encrypted` has no value. */
const ENCRYPTED_VALUES = ['', 'true', 'false'];
const MTU_MIN = 68;
/** The kernel has no IPv6 on links with less. */
const IPV6_MTU_MIN = 1280;
const MTU_MAX = 65_535;
const VXLAN_ID_MAX = 2 ** 24 - 1;
/** What providers have for all their customers: a wider one takes the way to others. */
const PREFIX6_LENGTH_MIN = 32;
/** Where no task can have an address, and why. */
const NOT_FOR_TASKS6 = [
  ['ff00::/8', 'is multicast'],
  ['fe80::/10', 'is link-local'],
  ['::/8', 'is reserved (loopback, mapped and translated IPv4)'],
] as const;
const NOT_FOR_TASKS4 = [
  ['0.0.0.0/8', 'is of no host'],
  ['127.0.0.0/8', 'is loopback'],
  ['224.0.0.0/4', 'is multicast'],
  ['240.0.0.0/4', 'is reserved (class E and broadcast)'],
] as const;
/** Of a subnet with its own address, the broadcast, a gateway and one task. */
const PREFIX_LENGTH_MAX = 30;

export function createNetwork(
  tx: WriteTx,
  { spec }: CreateRequest<NetworkSpec>,
  environment: WriteEnvironment,
): Network {
  checkNetworkSpec(spec);
  if (tx.byName('network', spec.name).length > 0) {
    // Compose knows by these words that another one made it first.
    throw new SkepError('name-conflict', `network with name ${spec.name} already exists`);
  }
  requireCreatable(tx, spec);
  return tx.create('network', {
    id: newId<NetworkId>(environment.random),
    meta: UNSTAMPED,
    spec,
    ipam: [],
    vxlanId: null,
  });
}

/**
 * What a network that obeys the rules still needs of the cluster: that a node can encrypt, that no other has its IPv6
 * subnet or its VXLAN id, that it is not a second ingress network. Throws `failed-precondition` or `already-exists`.
 * @param before that are created before it
 */
export function requireCreatable(
  view: ReadView,
  spec: NetworkSpec,
  before: readonly NetworkSpec[] = [],
): void {
  if (isEncrypted(spec)) requireEncryption(view);
  const others = [
    ...view.list('network'),
    ...before.map((other) => ({
      ...{ spec: other, ipam: other.ipam.configs, id: other.name, vxlanId: null },
    })),
  ];
  requireOwnIpv6(spec, others);
  requireOwnVxlanId(spec, others);
  if (!spec.ingress) return;
  const ingress = others.find((other) => other.spec.ingress);
  if (!ingress) return;
  throw new SkepError('already-exists', `ingress network (${ingress.id}) is already present`);
}

/** IPv4 subnets are the allocator's to compare; it gives none of these. */
function requireOwnIpv6(
  { ipam }: NetworkSpec,
  others: readonly Pick<Network, 'spec' | 'ipam'>[],
): void {
  const wanted = ipam.configs.find(isIpv6Config);
  if (!wanted) return;
  for (const { spec, ipam: given } of others) {
    const other = [...given, ...spec.ipam.configs].find(
      (config) => isIpv6Config(config) && overlap6(config.subnet, wanted.subnet),
    );
    if (!other) continue;
    throw failed(
      `ipam configuration: subnet ${wanted.subnet} overlaps ${other.subnet} of network ${spec.name}`,
    );
  }
}

function requireOwnVxlanId(
  spec: NetworkSpec,
  others: readonly Pick<Network, 'spec' | 'vxlanId'>[],
): void {
  const wanted = chosenVxlanId(spec);
  if (wanted === null) return;
  // One that waits for its id gets what it asks for.
  const other = others.find((it) => (it.vxlanId ?? chosenVxlanId(it.spec)) === wanted);
  if (!other) return;
  throw failed(
    `driver option "${VXLAN_IDS_OPTION}": VXLAN id ${wanted} is in use by network ${other.spec.name}`,
  );
}

/** Of the list the first is used; null = the allocator may choose. */
function chosenVxlanId({ driverOptions }: NetworkSpec): number | null {
  const list = driverOptions[VXLAN_IDS_OPTION];
  return list === undefined ? null : Number(list.split(',')[0]);
}

/** One is in the other. */
function overlap6(a: string, b: string): boolean {
  return contains6(a, b) || contains6(b, a);
}

function contains6(cidr: string, other: string): boolean {
  const [base = '', prefix] = cidr.split('/');
  const list = new BlockList();
  list.addSubnet(base, Number(prefix), 'ipv6');
  return list.check(other.split('/')[0] ?? '', 'ipv6');
}

/** What no node can do would wait for ever. */
function requireEncryption(view: ReadView): void {
  const able = view.list('node').some(({ description }) => description?.encryptionKey);
  if (able) return;
  throw failed(
    `driver option "${ENCRYPTED_OPTION}": no node of this cluster has WireGuard in its kernel, and nothing is ever sent unencrypted instead`,
  );
}

export function removeNetwork(tx: WriteTx, { ref }: RemoveRequest): string {
  const network = requireByRef(tx, 'network', ref);
  if (isPredefinedNetwork(network.spec.name)) {
    throw failed(`${network.spec.name} is a pre-defined network and cannot be removed`);
  }
  requireUnused(tx, network);
  tx.guard('unused', 'network', network.id);
  tx.remove('network', network.id);
  return network.id;
}

function requireUnused(view: ReadView, network: Network): void {
  const { id } = network;
  for (const service of view.list('service')) {
    if (network.spec.ingress && usesIngress(service.spec)) {
      throw failed(`ingress network cannot be removed because service ${service.id} depends on it`);
    }
    if (service.spec.task.networks.some((attachment) => attachment.target === id)) {
      throw failed(`network ${id} is in use by service ${service.id}`);
    }
  }
  const attached = view
    .list('node')
    .flatMap(({ containerAttachments }) => containerAttachments)
    .find(({ networkId }) => networkId === id);
  if (attached) throw failed(`network ${id} is in use by container ${attached.containerId}`);
  for (const task of view.tasksByNetwork(id)) {
    // Tasks of a removed service are on their way out: `stack rm` removes its networks right away.
    const wanted =
      (task.desiredState === 'ready' || task.desiredState === 'running') &&
      view.get('service', task.serviceId) !== undefined;
    if (wanted && !isAfter(task.status.state, 'running')) {
      throw failed(`network ${id} is in use by task ${task.id}`);
    }
  }
}

/** Throws `invalid-argument`, `permission-denied`, or `unimplemented` for what is not done. */
export function checkNetworkSpec(spec: NetworkSpec): void {
  checkName(spec.name);
  checkSize(`network ${spec.name}: spec`, spec);
  if (isPredefinedNetwork(spec.name)) {
    throw new SkepError(
      'permission-denied',
      `operation is not permitted on predefined ${spec.name} network`,
    );
  }
  if (Object.hasOwn(spec.labels, PREDEFINED_LABEL)) {
    throw new SkepError(
      'permission-denied',
      `label ${PREDEFINED_LABEL} is for internally created predefined networks and cannot be applied by users`,
    );
  }
  if (!isOverlay(spec)) {
    checkNodeMadeSpec(spec);
    return;
  }
  const problem = spec.configOnly ? operatorFieldsProblem() : configNetworkProblem(spec);
  if (problem) throw problem;
  if (spec.ingress && spec.attachable) {
    throw invalid('ingress network cannot be attachable');
  }
  checkOptions(spec);
  checkIpam(spec);
}

function checkOptions({ driverOptions, ipv6 }: NetworkSpec): void {
  for (const [name, value] of Object.entries(driverOptions)) {
    if (!KNOWN_OPTIONS.includes(name)) throw notDone(`driver option "${name}" is`);
    if (name === ENCRYPTED_OPTION && !ENCRYPTED_VALUES.includes(value)) {
      throw invalid(`driver option "${name}": '${value}' is neither true nor false`);
    }
  }
  checkVxlanIds(driverOptions[VXLAN_IDS_OPTION]);
  const mtu = driverOptions[MTU_OPTION];
  if (mtu === undefined) return;
  const bytes = Number(mtu);
  const min = ipv6 ? IPV6_MTU_MIN : MTU_MIN;
  if (!/^\d+$/.test(mtu) || bytes < min || bytes > MTU_MAX) {
    throw invalid(`driver option "${MTU_OPTION}": '${mtu}' is not in ${min}..${MTU_MAX}`);
  }
}

function checkVxlanIds(list: string | undefined): void {
  for (const text of list?.split(',') ?? []) {
    const id = Number(text);
    if (/^\s*\d+\s*$/.test(text) && id >= 1 && id <= VXLAN_ID_MAX) continue;
    throw invalid(`driver option "${VXLAN_IDS_OPTION}": '${text}' is not in 1..${VXLAN_ID_MAX}`);
  }
}

function checkIpam({ ipam, ipv6 }: NetworkSpec): void {
  if (ipam.driver !== '' && ipam.driver !== 'default') {
    throw notDone(`IPAM driver "${ipam.driver}": IPAM drivers other than default are`);
  }
  const [option] = Object.keys(ipam.options);
  if (option !== undefined) throw notDone(`IPAM option "${option}" is`);
  const six = ipam.configs.filter(isIpv6Config);
  const four = ipam.configs.filter((config) => !isIpv6Config(config));
  six.forEach(checkIpv6Config);
  if (six.length > 0 && !ipv6) {
    throw invalid(`ipam configuration: subnet ${six[0]?.subnet} needs IPv6 to be enabled`);
  }
  if (six.length > 1) throw notDone('ipam configuration: more than one IPv6 subnet is');
  four.forEach(checkIpamConfig);
  checkApart(four.map(({ subnet }) => subnet).filter((subnet) => subnet !== ''));
}

/** Those of one network: an address in two of them would be given twice. */
function checkApart(subnets: readonly string[]): void {
  for (const [at, one] of subnets.entries()) {
    const other = subnets.slice(0, at).find((before) => overlap4(before, one));
    if (other) throw invalid(`ipam configuration: subnets ${other} and ${one} overlap`);
  }
}

/** One is in the other. */
function overlap4(a: string, b: string): boolean {
  const base = (subnet: string): string => subnet.split('/')[0]!;
  return subnetOf(a, 'subnet').check(base(b)) || subnetOf(b, 'subnet').check(base(a));
}

function checkIpamConfig({ subnet, range, gateway, reserved }: IpamConfig): void {
  if (subnet === '') {
    if (range === '' && gateway === '' && Object.keys(reserved).length === 0) return;
    throw invalid('ipam configuration: a range, gateway or reserved address needs a subnet');
  }
  const inside = subnetOf(subnet, 'subnet');
  if (prefixLength(subnet) > PREFIX_LENGTH_MAX) {
    throw invalid(
      `ipam configuration: subnet ${subnet} has no room for a gateway and a task: /${PREFIX_LENGTH_MAX} is the smallest`,
    );
  }
  const unfit = NOT_FOR_TASKS4.find(([block]) => overlap4(block, subnet));
  if (unfit) {
    throw invalid(`ipam configuration: subnet ${subnet} overlaps ${unfit[0]}, which ${unfit[1]}`);
  }
  if (range !== '') {
    subnetOf(range, 'range');
    const wider = prefixLength(range) < prefixLength(subnet);
    if (wider || !inside.check(range.split('/')[0]!)) {
      throw invalid(`ipam configuration: range ${range} is not contained in subnet ${subnet}`);
    }
  }
  const addresses = gateway === '' ? [] : [['gateway', gateway] as const];
  for (const [name, address] of [...addresses, ...Object.entries(reserved)]) {
    if (isIP(address) === 0) {
      throw invalid(`ipam configuration: ${name} ${address} is not an IP address`);
    }
    if (isIP(address) !== 4 || !inside.check(address)) {
      throw invalid(`ipam configuration: ${name} ${address} is not contained in subnet ${subnet}`);
    }
  }
}

/** Every address in it ends with an IPv4 address of the network: nothing else can be chosen. */
function checkIpv6Config({ subnet, range, gateway, reserved }: IpamConfig): void {
  const [base = '', prefix = ''] = subnet.split('/');
  if (isIP(base) !== 6 || base.includes('%') || !/^\d{1,3}$/.test(prefix)) {
    throw invalid(`ipam configuration: invalid subnet ${subnet}: not in CIDR notation`);
  }
  if (Number(prefix) > SUBNET6_PREFIX_MAX) {
    throw invalid(
      `ipam configuration: subnet ${subnet} has no room for addresses that end with an IPv4 address: /${SUBNET6_PREFIX_MAX} is the smallest`,
    );
  }
  if (Number(prefix) < PREFIX6_LENGTH_MIN) {
    throw invalid(
      `ipam configuration: subnet ${subnet} is too wide: /${PREFIX6_LENGTH_MIN} is the widest`,
    );
  }
  const unfit = NOT_FOR_TASKS6.find(([cidr]) => contains6(cidr, subnet));
  if (unfit) throw invalid(`ipam configuration: subnet ${subnet} ${unfit[1]}`);
  const chosen = gateway || range || Object.keys(reserved)[0];
  if (chosen) {
    throw notDone(
      `ipam configuration: a range, gateway or reserved address (${chosen}) of an IPv6 subnet is`,
    );
  }
}

function prefixLength(cidr: string): number {
  return Number(cidr.split('/')[1]);
}

function subnetOf(cidr: string, what: string): BlockList {
  const [base = '', prefix = ''] = cidr.split('/');
  const family = isIP(base);
  if (family !== 4 || !/^\d{1,2}$/.test(prefix) || Number(prefix) > 32) {
    throw invalid(`ipam configuration: invalid ${what} ${cidr}: not in CIDR notation`);
  }
  const block = new BlockList();
  block.addSubnet(base, Number(prefix), 'ipv4');
  return block;
}
