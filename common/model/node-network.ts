/** Networks whose links a node makes itself, its own and the cluster's: what of a request for one can be done. */
import { isIPv4 } from 'node:net';
import { SkepError } from '../base/errors.ts';
import { ipv4NumberOf } from './fixed-address.ts';
import { type IpamConfig, MTU_OPTION, type NetworkSpec } from './network.ts';

export const BRIDGE_OPTION = 'com.docker.network.bridge.';
const BRIDGE_OPTIONS = ['name', 'enable_icc', 'enable_ip_masquerade', 'host_binding_ipv4'];
/** Of a way out by the bridge itself. */
const WAY_OUT_OPTIONS = ['enable_ip_masquerade', 'host_binding_ipv4'];
const LINK_NAME = /^[A-Za-z0-9_.-]{1,15}$/;
const MTU_MIN = 576;
const MTU_MAX = 65_535;
/** A gateway and a container, beside the two that mean the subnet itself. */
const PREFIX_LENGTH_MAX = 30;
const PREFIX_LENGTH_MIN = 8;

const MACVLAN_MODES = ['bridge', 'private', 'vepa', 'passthru'];
const IPVLAN_MODES = ['l2', 'l3', 'l3s'];

/**
 * Throws `unimplemented` for an option that does nothing in a network of the cluster: there tasks go out, and have their
 * ports on the host, by a bridge that is none of the network's.
 */
export function refuseWayOutOptions({ driverOptions }: Pick<NetworkSpec, 'driverOptions'>): void {
  for (const name of WAY_OUT_OPTIONS.map((option) => BRIDGE_OPTION + option)) {
    if (driverOptions[name] === undefined) continue;
    throw notDone(
      `driver option "${name}" is not supported in networks of the cluster: their tasks go out, and are published, by the node's gateway bridge`,
    );
  }
}

/** Of all that it is made by: with what it takes from a configuration network. Throws `invalid-argument`, or `unimplemented`. */
export function checkConfiguration(spec: NetworkSpec): void {
  if (spec.ingress) throw invalid('ingress network must be of driver overlay');
  if (spec.ipv6) throw notDone(`EnableIPv6: networks of driver ${spec.driver} have IPv4 only`);
  checkOptions(spec);
  checkPools(spec);
}

function checkOptions({ driver, driverOptions, internal }: NetworkSpec): void {
  const known =
    driver === 'bridge'
      ? BRIDGE_OPTIONS.map((name) => BRIDGE_OPTION + name)
      : ['parent', 'mode', `${driver}_mode`];
  for (const name of Object.keys(driverOptions)) {
    if (name === MTU_OPTION || known.includes(name)) continue;
    throw notDone(`driver option "${name}" is not supported: ${driver} knows ${known.join(', ')}`);
  }
  const mtu = driverOptions[MTU_OPTION];
  if (mtu !== undefined && !(/^\d+$/.test(mtu) && +mtu >= MTU_MIN && +mtu <= MTU_MAX)) {
    throw invalid(`driver option "${MTU_OPTION}": '${mtu}' is not in ${MTU_MIN}..${MTU_MAX}`);
  }
  if (driver === 'bridge') checkBridgeOptions(driverOptions);
  else checkParent(driver, driverOptions, internal);
}

function checkBridgeOptions(options: NetworkSpec['driverOptions']): void {
  const name = options[`${BRIDGE_OPTION}name`];
  if (name !== undefined && (!LINK_NAME.test(name) || /^(skep|skg|skl|skm)/.test(name))) {
    throw invalid(
      `driver option "${BRIDGE_OPTION}name": '${name}' is no name for a bridge: up to 15 letters and digits, not beginning with skep, skg, skl or skm`,
    );
  }
  for (const flag of ['enable_icc', 'enable_ip_masquerade']) {
    const value = options[BRIDGE_OPTION + flag];
    if (value === undefined || value === 'true' || value === 'false') continue;
    throw invalid(`driver option "${BRIDGE_OPTION}${flag}": '${value}' is neither true nor false`);
  }
  const bind = options[`${BRIDGE_OPTION}host_binding_ipv4`];
  if (bind === undefined || isIPv4(bind)) return;
  throw invalid(
    `driver option "${BRIDGE_OPTION}host_binding_ipv4": '${bind}' is not an IPv4 address`,
  );
}

function checkParent(
  driver: string,
  options: NetworkSpec['driverOptions'],
  internal: boolean,
): void {
  const parent = options['parent'] ?? '';
  if (parent === '') {
    throw invalid(`driver ${driver}: option "parent" must name a link of this host`);
  }
  if (!LINK_NAME.test(parent)) throw invalid(`driver ${driver}: parent '${parent}' is no link`);
  if (internal) throw notDone(`driver ${driver}: internal networks are not supported`);
  const modes = driver === 'macvlan' ? MACVLAN_MODES : IPVLAN_MODES;
  const mode = options[`${driver}_mode`] ?? options['mode'];
  if (mode === undefined || modes.includes(mode)) return;
  throw invalid(`driver ${driver}: mode '${mode}' is not one of ${modes.join(', ')}`);
}

/** Throws as `checkConfiguration`. */
export function checkPools({ ipam }: NetworkSpec): void {
  if (ipam.driver !== '' && ipam.driver !== 'default') {
    throw notDone(`IPAM driver "${ipam.driver}" is not supported: there is default`);
  }
  const [option] = Object.keys(ipam.options);
  if (option !== undefined) throw notDone(`IPAM option "${option}" is not supported`);
  if (ipam.configs.length > 1) throw notDone('ipam configuration: several subnets');
  for (const config of ipam.configs) checkPool(config);
}

function checkPool({ subnet, range, gateway, reserved }: IpamConfig): void {
  if (subnet === '') {
    if (range === '' && gateway === '' && Object.keys(reserved).length === 0) return;
    throw invalid('ipam configuration: a range, gateway or reserved address needs a subnet');
  }
  const whole = blockOf(subnet, 'subnet');
  if (whole.prefixLength > PREFIX_LENGTH_MAX || whole.prefixLength < PREFIX_LENGTH_MIN) {
    throw invalid(`ipam configuration: subnet ${subnet} is not between /8 and /30`);
  }
  if (range !== '') {
    const part = blockOf(range, 'range');
    if (part.first < whole.first || part.last > whole.last) {
      throw invalid(`ipam configuration: range ${range} is not contained in subnet ${subnet}`);
    }
  }
  const addresses = gateway === '' ? [] : [['gateway', gateway] as const];
  for (const [name, address] of [...addresses, ...Object.entries(reserved)]) {
    const number = ipv4NumberOf(address);
    if (number > whole.first && number < whole.last) continue; // neither the subnet's own nor that of all in it
    throw invalid(`ipam configuration: ${name} ${address} is not contained in subnet ${subnet}`);
  }
}

/** First and last address. */
interface Block {
  readonly first: number;
  readonly last: number;
  readonly prefixLength: number;
}

function blockOf(cidr: string, what: string): Block {
  if (cidr.includes(':')) throw notDone(`ipam configuration: IPv6 ${what} ${cidr}`);
  const [, address = '', prefix = ''] = /^([\d.]+)\/(\d{1,2})$/.exec(cidr) ?? [];
  const prefixLength = Number(prefix);
  if (!isIPv4(address) || prefixLength > 32) {
    throw invalid(`ipam configuration: invalid ${what} ${cidr}: not in CIDR notation`);
  }
  const size = 2 ** (32 - prefixLength);
  const first = Math.floor(ipv4NumberOf(address) / size) * size;
  return { first, last: first + size - 1, prefixLength };
}

const invalid = (words: string): SkepError => new SkepError('invalid-argument', words);
const notDone = (words: string): SkepError => new SkepError('unimplemented', words);
