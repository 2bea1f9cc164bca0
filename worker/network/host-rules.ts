/**
 * The nft table in the host's namespace: published ports to serving tasks, host-mode ports to this
 * node's tasks, outbound masquerade, and what must not cross. Knows the table, not how it is decided.
 */
import type { Random } from '../../common/base/random.ts';
import { type PublishedPort, sharesPort } from '../../common/model/host-ip.ts';
import type { Protocol } from '../../common/model/service.ts';
import {
  addressBytes,
  isIpv6,
  maskNumber,
  networkOf,
  type Prefix,
  parsePrefix,
} from '../../native/ffi/net/address.ts';
import {
  addressPortKey,
  type Expression,
  type IpFamily,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  NFT_TYPE,
  type NftTransaction,
  protocolPortKey,
  type TableWriter,
} from '../../native/ffi/net/nft.ts';
import {
  connectionDirection,
  destinationIn,
  destinationIn6,
  destinationTranslated,
  dnatByMap,
  dnatTo,
  fromAddress6,
  fromInterface,
  fromInterfacesCalled,
  IPPROTO,
  l4Protocol,
  masquerade,
  sourceIn,
  sourceIn6,
  toAddress6,
  toInterface,
  toLocalAddress,
  toUdpPort,
  untracked,
  verdict,
  verdictByAddressProtocolAndPort,
  verdictByProtocolAndPort,
} from '../../native/ffi/net/nft-expressions.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { BackendMap, spreadFor } from './balancer.ts';
import { GATEWAY_BRIDGE, HOST_LINK_PREFIX, INGRESS_LINK, PRIORITY } from './kernel-names.ts';
import { OwnedTable } from './nft-table.ts';

const PORT_VERDICTS = 'ports';
/** of ports that answer on one address only */
const BOUND_VERDICTS = 'bound_ports';
/** what enters the host by one of our links */
const FROM_TASKS = 'from_tasks';
const LOOPBACK = Buffer.from([127, 0, 0, 0]);
const LOOPBACK6 = addressBytes('::1');
const LOOPBACK_MASK = 0xff000000;
const LINK_LOCAL: Prefix = { address: 'fe80::', length: 10 };

/** Where connections to one published port go. */
export type PortTarget =
  | {
      readonly kind: 'service';
      readonly serviceId: string;
      readonly targetPort: number;
      readonly clientAffinity: boolean;
    }
  | TaskTarget;

/** A port of a task on this host. */
export interface TaskTarget {
  readonly kind: 'task';
  readonly address: string;
  readonly targetPort: number;
}

interface BalancedService {
  readonly map: BackendMap;
  backends: ReadonlySet<string>;
}

/** As in the key of an assigned port: see `publishedKey`. */
function parsePortKey(key: string): PublishedPort {
  const [protocol, port, hostIp = ''] = key.split('/');
  return { protocol: protocol as Protocol, publishedPort: Number(port), hostIp };
}

/** Of a published port, by its key. */
export const portChain = (key: string): string => `port_${key.replaceAll('/', '_')}`;

export class HostRules extends OwnedTable {
  readonly #random: Random;
  readonly #ip: IpFamily;
  readonly #services = new Map<string, BalancedService>();
  readonly #ports = new Map<string, PortTarget>();
  #gateway: Prefix | null = null;
  #masquerades = false;
  #tunnelPort: number | null = null;

  constructor(socket: NetlinkSocket, random: Random, family: IpFamily = NFPROTO_IPV4) {
    super(socket, family);
    this.#ip = family;
    this.#random = random;
  }

  get services(): IterableIterator<string> {
    return this.#services.keys();
  }

  /** Keys of the ports that services publish. */
  get servicePorts(): readonly string[] {
    return [...this.#ports].flatMap(([key, { kind }]) => (kind === 'service' ? [key] : []));
  }

  /** Where that goes which would have the port at some address in common with `wanted`. */
  portTarget(wanted: PublishedPort): PortTarget | null {
    for (const [key, target] of this.#ports) {
      if (sharesPort(parsePortKey(key), wanted)) return target;
    }
    return null;
  }

  /** The subnet of the gateway bridge; takes effect at the next `rebuild`. */
  setGateway(subnet: Prefix): void {
    this.#gateway = parsePrefix(networkOf(subnet));
  }

  /**
   * Whether all that enters the ingress network here gets this host's address: it is none of the chosen gateways, so no
   * task has a way back through it. Takes effect at the next `rebuild`. True when that is new.
   */
  setMasquerades(masquerades: boolean): boolean {
    const isNew = this.#masquerades !== masquerades;
    this.#masquerades = masquerades;
    return isNew;
  }

  /**
   * @param port to which packets of overlay networks go between hosts by this family; null = none do. Takes effect at the next
   * `rebuild`. True when that is new.
   */
  setTunnelPort(port: number | null): boolean {
    const isNew = this.#tunnelPort !== port;
    this.#tunnelPort = port;
    return isNew;
  }

  /**
   * Applies services before ports that name them and ports' removal before services'.
   * @param services service -> serving addresses; null = it has no published ports any more
   * @param ports key -> target; null = not published any more. Those of an address of the other family are
   * known and not written.
   */
  async set(
    services: ReadonlyMap<string, ReadonlySet<string> | null>,
    ports: ReadonlyMap<string, PortTarget | null>,
  ): Promise<void> {
    if (services.size + ports.size === 0) return;
    await this.change((tx) => {
      for (const [key] of ports) this.#removePort(tx, key);
      const sticky = stickyServices([...this.#ports.values(), ...ports.values()]);
      for (const [id, wanted] of services) {
        if (wanted) this.#setService(tx, id, wanted, sticky.has(id));
      }
      for (const [key, target] of ports) if (target) this.#addPort(tx, key, target);
      for (const [id, wanted] of services) if (!wanted) this.#removeService(tx, id);
    });
  }

  protected override build(table: TableWriter): void {
    table.addSet(PORT_VERDICTS, {
      keyType: NFT_TYPE.protocolAndPort,
      keyBytes: 8,
      data: 'verdict',
    });
    table.addSet(BOUND_VERDICTS, {
      ...(this.#ip === NFPROTO_IPV6
        ? { keyType: NFT_TYPE.address6AndPort, keyBytes: 24 }
        : { keyType: NFT_TYPE.addressAndPort, keyBytes: 12 }),
      data: 'verdict',
    });
    if (this.#tunnelPort !== null) buildTunnel(table, this.#tunnelPort);
    this.#buildTranslation(table);
    if (this.#ip === NFPROTO_IPV6) buildGuards6(table, this.#gateway);
    else this.#buildGuards(table);
    for (const { map } of this.#services.values()) map.write(table);
    for (const [key, target] of this.#ports) this.#introducePort(table, key, target);
  }

  #buildTranslation(table: TableWriter): void {
    const six = this.#ip === NFPROTO_IPV6;
    const published = [
      [...toLocalAddress(), ...verdictByAddressProtocolAndPort(BOUND_VERDICTS, this.#ip)],
      [...toLocalAddress(), ...verdictByProtocolAndPort(PORT_VERDICTS)],
    ];
    table.addChain('prerouting', { type: 'nat', hook: 'prerouting', priority: PRIORITY.dstnat });
    if (!six) {
      // What another host sends to 127.0.0.1 is for nobody: translated here it would be let in. (The kernel
      // itself drops what comes from outside to ::1, before any rule.)
      const back = verdict({ kind: 'return' });
      table.addRule('prerouting', [...destinationIn(LOOPBACK, LOOPBACK_MASK), ...back]);
    }
    for (const rule of published) {
      table.addRule('prerouting', [...fromInterface(INGRESS_LINK, true), ...rule]);
    }
    table.addChain('output', { type: 'nat', hook: 'output', priority: PRIORITY.dstnat });
    for (const rule of published) table.addRule('output', rule);
    this.#buildSources(table);
  }

  #buildSources(table: TableWriter): void {
    table.addChain('postrouting', { type: 'nat', hook: 'postrouting', priority: PRIORITY.srcnat });
    const post = (...rules: readonly (readonly Expression[])[]): void =>
      table.addRule('postrouting', rules.flat());
    if (this.#masquerades) post(toInterface(INGRESS_LINK), masquerade());
    const loopback =
      this.#ip === NFPROTO_IPV6 ? fromAddress6(LOOPBACK6) : sourceIn(LOOPBACK, LOOPBACK_MASK);
    // Into the ingress network the client keeps its address, but for two kinds that no reply could
    // reach: loopback, and tasks' gateway addresses, which every host gives out alike.
    post(loopback, toInterface(INGRESS_LINK), masquerade());
    post(fromInterface(GATEWAY_BRIDGE), toInterface(INGRESS_LINK), masquerade());
    post(loopback, toInterface(GATEWAY_BRIDGE), masquerade());
    if (!this.#gateway) return;
    // A task that reaches another by the host's address must get its replies back through here. By its source: a packet
    // that is bridged comes by no link.
    post(sourceWithin(this.#gateway), toInterface(GATEWAY_BRIDGE), masquerade());
    post(sourceWithin(this.#gateway), toInterface(GATEWAY_BRIDGE, true), masquerade());
  }

  #buildGuards(table: TableWriter): void {
    const opening = connectionDirection('original');
    const untranslated = destinationTranslated(false);
    const drop = verdict({ kind: 'drop' });
    table.addChain('forward', { type: 'filter', hook: 'forward', priority: PRIORITY.filter });
    // Out of the ingress network come replies only; into both networks what was published only.
    table.addRule('forward', [...fromInterface(INGRESS_LINK), ...opening, ...drop]);
    for (const link of [INGRESS_LINK, GATEWAY_BRIDGE]) {
      table.addRule('forward', [...toInterface(link), ...opening, ...untranslated, ...drop]);
    }
    buildInput(table);
    // Nothing but echo requests, by which other hosts find out whether the tunnel carries.
    const others = l4Protocol(IPPROTO.icmp, true);
    table.addRule(FROM_TASKS, [...fromInterface(INGRESS_LINK), ...others, ...opening, ...drop]);
    // route_localnet lets loopback addresses through the interface: not from outside.
    const loopback = destinationIn(LOOPBACK, LOOPBACK_MASK);
    table.addRule(FROM_TASKS, [...fromInterface(GATEWAY_BRIDGE), ...loopback, ...opening, ...drop]);
    if (!this.#gateway) return;
    // The gateway is a way out, not a way in: of the host a task reaches what other hosts reach of it.
    table.addRule(FROM_TASKS, [
      ...fromInterface(GATEWAY_BRIDGE),
      ...destinationWithin(this.#gateway),
      ...l4Protocol(IPPROTO.icmp, true),
      ...opening,
      ...drop,
    ]);
  }

  #setService(
    tx: NftTransaction,
    id: string,
    wanted: ReadonlySet<string>,
    clientAffinity: boolean,
  ): void {
    let service = this.#services.get(id);
    if (!service) {
      service = {
        map: new BackendMap(`backends_${id}`, this.#random, this.#ip),
        backends: new Set(),
      };
      this.#services.set(id, service);
      service.map.write(tx);
    }
    service.backends = wanted;
    if (!service.map.update(tx, wanted, clientAffinity)) return;
    for (const [key, target] of this.#ports) {
      if (target.kind !== 'service' || target.serviceId !== id) continue;
      if (!this.#isWritten(key)) continue;
      tx.flushChain(portChain(key));
      this.#fillPortChain(tx, key, target);
    }
  }

  #removeService(tx: NftTransaction, id: string): void {
    const service = this.#services.get(id);
    if (!service) return;
    this.#services.delete(id);
    tx.deleteSet(service.map.name);
  }

  #addPort(tx: NftTransaction, key: string, target: PortTarget): void {
    this.#ports.set(key, target);
    this.#introducePort(tx, key, target);
  }

  /** Not a port of one address of the other family. */
  #isWritten(key: string): boolean {
    const { hostIp } = parsePortKey(key);
    return hostIp === '' || isIpv6(hostIp) === (this.#ip === NFPROTO_IPV6);
  }

  #introducePort(table: TableWriter, key: string, target: PortTarget): void {
    if (!this.#isWritten(key)) return;
    table.addChain(portChain(key));
    this.#fillPortChain(table, key, target);
    const data = { kind: 'jump', chain: portChain(key) } as const;
    table.addElements(verdictsOf(key), [{ key: verdictKey(key), data }]);
  }

  #fillPortChain(table: TableWriter, key: string, target: PortTarget): void {
    if (target.kind === 'task') {
      if (this.#ip === NFPROTO_IPV6) {
        // Where bridges' packets meet the rules of IP as well, replies to ::1 do not pass: refused at once, not lost.
        table.addRule(portChain(key), [...toAddress6(LOOPBACK6), ...verdict({ kind: 'return' })]);
      }
      table.addRule(portChain(key), dnatTo(addressBytes(target.address), target.targetPort));
      return;
    }
    const map = this.#services.get(target.serviceId)?.map;
    if (!map || map.size === 0) return;
    const spread = spreadFor(target.clientAffinity);
    table.addRule(
      portChain(key),
      dnatByMap(map.name, map.size, target.targetPort, spread, this.#ip),
    );
  }

  #removePort(tx: NftTransaction, key: string): void {
    if (!this.#ports.delete(key) || !this.#isWritten(key)) return;
    tx.deleteElements(verdictsOf(key), [verdictKey(key)]);
    tx.flushChain(portChain(key));
    tx.deleteChain(portChain(key));
  }
}

function stickyServices(targets: readonly (PortTarget | null)[]): Set<string> {
  return new Set(
    targets.flatMap((it) => (it?.kind === 'service' && it.clientAffinity ? it.serviceId : [])),
  );
}

const verdictsOf = (key: string): string =>
  parsePortKey(key).hostIp === '' ? PORT_VERDICTS : BOUND_VERDICTS;

function verdictKey(key: string): Buffer {
  const { protocol, publishedPort, hostIp } = parsePortKey(key);
  const number = IPPROTO[protocol];
  return hostIp === ''
    ? protocolPortKey(number, publishedPort)
    : addressPortKey(hostIp, number, publishedPort);
}

const sourceWithin = ({ address, length }: Prefix): Expression[] =>
  isIpv6(address)
    ? sourceIn6(addressBytes(address), length)
    : sourceIn(addressBytes(address), maskNumber(length));

const destinationWithin = ({ address, length }: Prefix): Expression[] =>
  isIpv6(address)
    ? destinationIn6(addressBytes(address), length)
    : destinationIn(addressBytes(address), maskNumber(length));

/**
 * Packets between hosts are of no connection: what is inside has its own, and these would each fill the table with one more for every
 * source port, looked up twice for each packet. Nobody translates them.
 */
function buildTunnel(table: TableWriter, port: number): void {
  for (const hook of ['prerouting', 'output'] as const) {
    const chain = `tunnel_${hook}`;
    table.addChain(chain, { type: 'filter', hook, priority: PRIORITY.raw });
    table.addRule(chain, [...toUdpPort(port), ...untracked()]);
  }
}

/** Each packet between hosts comes by here: it meets one rule. */
function buildInput(table: TableWriter): void {
  table.addChain(FROM_TASKS);
  table.addChain('input', { type: 'filter', hook: 'input', priority: PRIORITY.filter });
  const jump = verdict({ kind: 'jump', chain: FROM_TASKS });
  table.addRule('input', [...fromInterfacesCalled(HOST_LINK_PREFIX), ...jump]);
}

/** As those of IPv4. @param gateway subnet of the gateway bridge; null = no way out by IPv6 */
function buildGuards6(table: TableWriter, gateway: Prefix | null): void {
  const opening = connectionDirection('original');
  const untranslated = destinationTranslated(false);
  const drop = verdict({ kind: 'drop' });
  table.addChain('forward', { type: 'filter', hook: 'forward', priority: PRIORITY.filter });
  table.addRule('forward', [...fromInterface(INGRESS_LINK), ...opening, ...drop]);
  for (const link of gateway ? [INGRESS_LINK, GATEWAY_BRIDGE] : [INGRESS_LINK]) {
    table.addRule('forward', [...toInterface(link), ...opening, ...untranslated, ...drop]);
  }
  buildInput(table);
  table.addRule(FROM_TASKS, [...fromInterface(INGRESS_LINK), ...opening, ...drop]);
  if (!gateway) return;
  // The gateway is a way out, not a way in: neither by its address nor by the one of the link.
  for (const own of [gateway, LINK_LOCAL]) {
    table.addRule(FROM_TASKS, [
      ...fromInterface(GATEWAY_BRIDGE),
      ...destinationWithin(own),
      ...l4Protocol(IPPROTO.icmpv6, true),
      ...opening,
      ...drop,
    ]);
  }
}
