/**
 * The nft table of this node's own networks: published ports to their containers, their way out, and
 * what must not come in. Written anew as a whole: it changes when a container comes or goes.
 */
import { ipv4Bytes, maskNumber, networkNumber, type Prefix } from '../../native/ffi/net/address.ts';
import {
  NFPROTO_IPV4,
  NFT_TYPE,
  protocolPortKey,
  type TableWriter,
} from '../../native/ffi/net/nft.ts';
import {
  connectionDirection,
  destinationIn,
  destinationTranslated,
  dnatTo,
  fromInterface,
  IPPROTO,
  masquerade,
  sourceIn,
  toInterface,
  toLocalAddress,
  verdict,
  verdictByProtocolAndPort,
} from '../../native/ffi/net/nft-expressions.ts';
import type { NetlinkSocket } from '../../native/ffi/net/sockets.ts';
import { LOCAL_NAMES, PRIORITY } from './kernel-names.ts';
import type { BoundPort } from './local-ports.ts';
import { OwnedTable } from './nft-table.ts';

const LOOPBACK = Buffer.from([127, 0, 0, 0]);
const LOOPBACK_MASK = 0xff000000;
const ANY_ADDRESS = '0.0.0.0';

/** A bridge of this node with a container on it. */
export interface RuledBridge {
  readonly link: string;
  readonly subnet: Prefix;
  /** nothing goes out, nothing comes in */
  readonly internal: boolean;
  /** containers do not reach one another directly */
  readonly isolated: boolean;
  readonly masquerade: boolean;
}

export interface PublishedPort {
  /** of the container, without prefix length */
  readonly address: string;
  readonly port: BoundPort;
}

export interface LocalPlan {
  readonly bridges: readonly RuledBridge[];
  readonly published: readonly PublishedPort[];
}

export class LocalRules extends OwnedTable {
  #plan: LocalPlan = { bridges: [], published: [] };

  constructor(socket: NetlinkSocket, table: string = LOCAL_NAMES.table) {
    super(socket, NFPROTO_IPV4, table);
  }

  /** Replaces what the kernel has, in one transaction. */
  async set(plan: LocalPlan): Promise<void> {
    this.#plan = plan;
    await this.rebuild();
  }

  protected override build(table: TableWriter): void {
    writePublished(table, this.#plan.published);
    writeWayOut(table, this.#plan.bridges);
    writeGuards(table, this.#plan.bridges);
  }
}

function writePublished(table: TableWriter, published: readonly PublishedPort[]): void {
  const hooked = ['prerouting', 'output'] as const;
  // Before the routing mesh, so that who came first has a port, whichever table was written first.
  const priority = PRIORITY.dstnat - 1;
  for (const hook of hooked) table.addChain(hook, { type: 'nat', hook, priority });
  // A port of one address comes before the same port of every address.
  const hostIps = [...new Set(published.map(({ port }) => port.hostIp))].sort(
    (a, b) => Number(a === ANY_ADDRESS) - Number(b === ANY_ADDRESS),
  );
  for (const hostIp of hostIps) {
    const set = `ports_${hostIp}`;
    table.addSet(set, { keyType: NFT_TYPE.protocolAndPort, keyBytes: 8, data: 'verdict' });
    for (const { address, port } of published) {
      if (port.hostIp !== hostIp) continue;
      const chain = `port_${hostIp}_${port.protocol}_${port.hostPort}`;
      table.addChain(chain);
      table.addRule(chain, dnatTo(ipv4Bytes(address), port.targetPort));
      const key = protocolPortKey(IPPROTO[port.protocol], port.hostPort);
      table.addElements(set, [{ key, data: { kind: 'jump', chain } }]);
    }
    const here =
      hostIp === ANY_ADDRESS ? toLocalAddress() : destinationIn(ipv4Bytes(hostIp), 0xffffffff);
    // Before routing a packet from another host to 127.0.0.1 would become one to the container.
    const from = isLoopback(hostIp) ? (['output'] as const) : hooked;
    for (const hook of from) table.addRule(hook, [...here, ...verdictByProtocolAndPort(set)]);
  }
}

const isLoopback = (address: string): boolean => address.startsWith('127.');

function writeWayOut(table: TableWriter, bridges: readonly RuledBridge[]): void {
  const chain = 'postrouting';
  table.addChain(chain, { type: 'nat', hook: 'postrouting', priority: PRIORITY.srcnat });
  for (const bridge of bridges.filter(({ internal }) => !internal)) {
    const { link } = bridge;
    if (bridge.masquerade) {
      table.addRule(chain, [...fromSubnet(bridge), ...toInterface(link, true), ...masquerade()]);
    }
    // Whoever reaches a container by a published port from the host itself, or from the bridge.
    table.addRule(chain, [
      ...sourceIn(LOOPBACK, LOOPBACK_MASK),
      ...toInterface(link),
      ...masquerade(),
    ]);
    table.addRule(chain, [
      ...fromSubnet(bridge),
      ...toInterface(link),
      ...destinationTranslated(true),
      ...masquerade(),
    ]);
  }
}

function fromSubnet({ subnet }: RuledBridge) {
  const network = Buffer.alloc(4);
  network.writeUInt32BE(networkNumber(subnet));
  return sourceIn(network, maskNumber(subnet.length));
}

function writeGuards(table: TableWriter, bridges: readonly RuledBridge[]): void {
  const opening = connectionDirection('original');
  const drop = verdict({ kind: 'drop' });
  table.addChain('forward', { type: 'filter', hook: 'forward', priority: PRIORITY.filter });
  table.addChain('input', { type: 'filter', hook: 'input', priority: PRIORITY.filter });
  for (const { link, internal, isolated } of bridges) {
    // Its ports are kept apart by the bridge; what is sent to the bridge itself would be routed back.
    if (isolated) {
      table.addRule('forward', [
        ...fromInterface(link),
        ...toInterface(link),
        ...opening,
        ...destinationTranslated(false),
        ...drop,
      ]);
    }
    if (internal) {
      table.addRule('forward', [...fromInterface(link), ...toInterface(link, true), ...drop]);
      table.addRule('forward', [...fromInterface(link, true), ...toInterface(link), ...drop]);
    } else {
      // From outside and from other bridges comes what was published; among one another the
      // containers of a bridge are free, as in Docker.
      table.addRule('forward', [
        ...fromInterface(link, true),
        ...toInterface(link),
        ...opening,
        ...destinationTranslated(false),
        ...drop,
      ]);
    }
    // route_localnet lets loopback addresses through the interface: not from outside.
    table.addRule('input', [
      ...fromInterface(link),
      ...destinationIn(LOOPBACK, LOOPBACK_MASK),
      ...opening,
      ...drop,
    ]);
  }
}
