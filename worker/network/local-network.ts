/**
 * Networks whose links a node makes by itself, its own or those of the cluster: what one is, what of a request for one can be
 * done, and which addresses it gives. Pure; `local-networks.ts` programs them.
 */
import { createHash } from 'node:crypto';
import { SkepError } from '../../common/base/errors.ts';
import { configNetworkProblem } from '../../common/model/config-networks.ts';
import { checkName } from '../../common/model/names.ts';
import {
  type IpamConfig,
  MTU_OPTION,
  type NetworkSpec,
  NODE_DRIVERS,
} from '../../common/model/network.ts';
import { BRIDGE_OPTION, checkConfiguration, checkPools } from '../../common/model/node-network.ts';
import {
  ipv4Number,
  ipv4Text,
  networkNumber,
  type Prefix,
  parsePrefix,
} from '../../native/ffi/net/address.ts';
import type { ForwardingUser } from './ipv4-forwarding.ts';
import { LOCAL_NAMES, MADE_NAMES, type OwnNames } from './kernel-names.ts';

/** The network `bridge`, which every node has. */
export const DEFAULT_BRIDGE_ID = 'bridge';

const PREDEFINED = ['bridge', 'host', 'none', 'default'];
const DEFAULT_MTU_BYTES = 1500;
/** What a node says it can do: those that networks are made with, and those of the two that every node has. */
export const NETWORK_DRIVERS: readonly string[] = [
  ...NODE_DRIVERS,
  'host',
  'null',
  'overlay',
].sort();

export interface LocalNetwork {
  /** 64 hexadecimal characters; the built-in ones have words */
  readonly id: string;
  readonly createdAtMs: number;
  readonly spec: NetworkSpec;
  /** with subnet and gateway; null = a pool is chosen when the first container comes */
  readonly ipam: IpamConfig | null;
}

/** What a network is in the kernel. */
export type LocalDevice =
  | {
      readonly kind: 'bridge';
      readonly link: string;
      readonly mtuBytes: number;
      /** containers do not reach one another directly */
      readonly isolated: boolean;
      readonly masquerade: boolean;
      /** where ports are published whose address was not given */
      readonly bindAddress: string;
    }
  | {
      readonly kind: 'macvlan' | 'ipvlan';
      /** a link of the host, or `LINK.VLAN` of one */
      readonly parent: string;
      readonly mode: string;
      /** null = the parent's */
      readonly mtuBytes: number | null;
    };

export const DEFAULT_BRIDGE: LocalNetwork = {
  id: DEFAULT_BRIDGE_ID,
  createdAtMs: 0,
  spec: {
    name: DEFAULT_BRIDGE_ID,
    labels: {},
    driver: 'bridge',
    driverOptions: { [`${BRIDGE_OPTION}name`]: 'skep0' },
    ...{ internal: false, attachable: false, ingress: false, ipv6: false },
    ipam: { driver: 'default', options: {}, configs: [] },
    ...{ configOnly: false, configFrom: '' },
  },
  ipam: null,
};

/** The way out, and published ports, of containers that are in networks of the cluster alone: nobody sees or names it. */
export const GATEWAY_NETWORK_ID = 'gateway';

export const GATEWAY_NETWORK: LocalNetwork = {
  ...DEFAULT_BRIDGE,
  id: GATEWAY_NETWORK_ID,
  spec: {
    ...DEFAULT_BRIDGE.spec,
    name: GATEWAY_NETWORK_ID,
    driverOptions: { [`${BRIDGE_OPTION}name`]: 'skep1', [`${BRIDGE_OPTION}enable_icc`]: 'false' },
  },
};

/** Networks of one kind whose links this node makes, for a set of its own. */
export interface LocalKind {
  readonly names: OwnNames;
  readonly forwarding: ForwardingUser;
  readonly builtIns: readonly LocalNetwork[];
  /** for people, of its part of a proof */
  readonly where: string;
}

export const OF_THIS_NODE: LocalKind = {
  names: LOCAL_NAMES,
  forwarding: 'local',
  builtIns: [DEFAULT_BRIDGE, GATEWAY_NETWORK],
  where: "this node's own networks",
};

export const OF_THE_CLUSTER: LocalKind = {
  names: MADE_NAMES,
  forwarding: 'made',
  builtIns: [],
  where: 'networks of the cluster that this node makes',
};

export const isBuiltIn = ({ id }: Pick<LocalNetwork, 'id'>): boolean =>
  id === DEFAULT_BRIDGE_ID || id === GATEWAY_NETWORK_ID;

export const isLocalDriver = (driver: string): boolean => NODE_DRIVERS.includes(driver);

export function deviceOf({ id, spec }: Pick<LocalNetwork, 'id' | 'spec'>): LocalDevice {
  const { driver, driverOptions: options } = spec;
  const mtu = options[MTU_OPTION];
  if (driver === 'macvlan' || driver === 'ipvlan') {
    const modeOption = options[`${driver}_mode`] ?? options['mode'];
    return {
      kind: driver,
      parent: options['parent'] ?? '',
      mode: modeOption ?? (driver === 'macvlan' ? 'bridge' : 'l2'),
      mtuBytes: mtu === undefined ? null : Number(mtu),
    };
  }
  const option = (name: string): string | undefined => options[BRIDGE_OPTION + name];
  const digest = createHash('sha256').update(id).digest('hex');
  return {
    kind: 'bridge',
    link: option('name') || `skb${digest.slice(0, 11)}`,
    mtuBytes: mtu === undefined ? DEFAULT_MTU_BYTES : Number(mtu),
    isolated: option('enable_icc') === 'false',
    masquerade: option('enable_ip_masquerade') !== 'false',
    bindAddress: option('host_binding_ipv4') || '',
  };
}

/** Throws `invalid-argument`, `permission-denied`, or `unimplemented` for what is not done. */
export function checkLocalSpec(spec: NetworkSpec): void {
  checkName(spec.name);
  if (PREDEFINED.includes(spec.name)) {
    const words = `operation is not permitted on predefined ${spec.name} network`;
    throw new SkepError('permission-denied', words);
  }
  if (!isLocalDriver(spec.driver)) {
    const known = ['overlay', ...NODE_DRIVERS].join(', ');
    throw notDone(`network driver "${spec.driver}" is not supported: there are ${known}`);
  }
  const problem = configNetworkProblem(spec);
  if (problem) throw problem;
  if (spec.configOnly)
    checkPools(spec); // the rest is looked at with who takes it
  else if (spec.configFrom === '') checkConfiguration(spec);
}

/** An address inside, neither the subnet's own nor that of all in it. */
export function isHostOf(subnet: Prefix, address: string): boolean {
  let number: number;
  try {
    number = ipv4Number(address);
  } catch {
    return false;
  }
  const first = networkNumber(subnet);
  return number > first && number < first + 2 ** (32 - subnet.length) - 1;
}

/** The user's words with what they leave open filled in. */
export function resolvedPool(config: IpamConfig | undefined, subnet: Prefix): IpamConfig {
  const base = networkNumber(subnet);
  return {
    subnet: `${ipv4Text(base)}/${subnet.length}`,
    gateway: config?.gateway || ipv4Text(base + 1),
    range: config?.range ?? '',
    reserved: config?.reserved ?? {},
  };
}

/**
 * An address that nobody has: behind `after` first, so that freed ones come again only after all others.
 * null when all are in use.
 */
export function freeAddress(
  pool: IpamConfig,
  used: ReadonlySet<string>,
  after: string | null,
): string | null {
  const subnet = parsePrefix(pool.subnet);
  const block = pool.range === '' ? subnet : parsePrefix(pool.range);
  const first = networkNumber(block);
  const count = 2 ** (32 - block.length);
  const taken = new Set([...used, pool.gateway, ...Object.values(pool.reserved)]);
  const start = after === null ? 0 : (ipv4Number(after) + 1 - first + count) % count;
  for (let i = 0; i < count; i++) {
    const address = ipv4Text(first + ((start + i) % count));
    if (isHostOf(subnet, address) && !taken.has(address)) return address;
  }
  return null;
}

/** Bytes of `02:42:ac:11:00:05`. Throws `invalid-argument` for anything else, groups included. */
export function macBytes(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll(/[:-]/g, ''), 'hex');
  const written = /^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(text);
  if (written && bytes.length === 6 && (bytes[0]! & 1) === 0) return bytes;
  throw invalid(`invalid MAC address: ${text}`);
}

const invalid = (words: string): SkepError => new SkepError('invalid-argument', words);
const notDone = (words: string): SkepError => new SkepError('unimplemented', words);
