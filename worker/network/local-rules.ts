/**
 * The nft table of the local bridge: published ports to its containers, their way out, and what must
 * not come in. Written anew as a whole: it changes when a container starts or ends.
 */
import { ipv4Bytes, maskNumber, networkNumber, type Prefix } from '../../native/ffi/net/address.ts';
import { NFT_TYPE, NftTransaction, protocolPortKey } from '../../native/ffi/net/nft.ts';
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
import { PRIORITY } from './kernel-names.ts';
import type { BoundPort } from './local-ports.ts';

/** The bridge of containers outside of services. */
export const LOCAL_BRIDGE = 'skep0';
const LOCAL_TABLE = 'skep_local';
const LOOPBACK = Buffer.from([127, 0, 0, 0]);
const LOOPBACK_MASK = 0xff000000;
const ANY_ADDRESS = '0.0.0.0';

/** A container on the bridge. */
export interface LocalSeat {
  /** without prefix length */
  readonly address: string;
  readonly ports: readonly BoundPort[];
}

/** Replaces what the kernel has, in one transaction. */
export function localTable(subnet: Prefix, seats: readonly LocalSeat[]): NftTransaction {
  const tx = emptyTable();
  writeTranslation(tx, subnet, seats);
  writeGuards(tx);
  return tx;
}

/** Success also when there is none. */
export function noLocalTable(): NftTransaction {
  const tx = new NftTransaction(LOCAL_TABLE);
  tx.addTable();
  tx.deleteTable();
  return tx;
}

function emptyTable(): NftTransaction {
  const tx = noLocalTable();
  tx.addTable();
  return tx;
}

function writeTranslation(tx: NftTransaction, subnet: Prefix, seats: readonly LocalSeat[]): void {
  const hooked = ['prerouting', 'output'] as const;
  for (const hook of hooked) tx.addChain(hook, { type: 'nat', hook, priority: PRIORITY.dstnat });
  const published = seats.flatMap(({ address, ports }) => ports.map((port) => ({ address, port })));
  // A port of one address comes before the same port of every address.
  const hostIps = [...new Set(published.map(({ port }) => port.hostIp))].sort(
    (a, b) => Number(a === ANY_ADDRESS) - Number(b === ANY_ADDRESS),
  );
  for (const hostIp of hostIps) {
    const set = `ports_${hostIp}`;
    tx.addSet(set, { keyType: NFT_TYPE.protocolAndPort, keyBytes: 8, data: 'verdict' });
    for (const { address, port } of published) {
      if (port.hostIp !== hostIp) continue;
      const chain = `port_${hostIp}_${port.protocol}_${port.hostPort}`;
      tx.addChain(chain);
      tx.addRule(chain, dnatTo(ipv4Bytes(address), port.targetPort));
      const key = protocolPortKey(IPPROTO[port.protocol], port.hostPort);
      tx.addElements(set, [{ key, data: { kind: 'jump', chain } }]);
    }
    const here =
      hostIp === ANY_ADDRESS ? toLocalAddress() : destinationIn(ipv4Bytes(hostIp), 0xffffffff);
    for (const hook of hooked) tx.addRule(hook, [...here, ...verdictByProtocolAndPort(set)]);
  }
  tx.addChain('postrouting', { type: 'nat', hook: 'postrouting', priority: PRIORITY.srcnat });
  const network = Buffer.alloc(4);
  network.writeUInt32BE(networkNumber(subnet));
  tx.addRule('postrouting', [
    ...sourceIn(network, maskNumber(subnet.length)),
    ...toInterface(LOCAL_BRIDGE, true),
    ...masquerade(),
  ]);
  // Whoever reaches a container by a published port from the host itself, or from the bridge.
  tx.addRule('postrouting', [
    ...sourceIn(LOOPBACK, LOOPBACK_MASK),
    ...toInterface(LOCAL_BRIDGE),
    ...masquerade(),
  ]);
  tx.addRule('postrouting', [
    ...sourceIn(network, maskNumber(subnet.length)),
    ...toInterface(LOCAL_BRIDGE),
    ...destinationTranslated(true),
    ...masquerade(),
  ]);
}

function writeGuards(tx: NftTransaction): void {
  const opening = connectionDirection('original');
  const drop = verdict({ kind: 'drop' });
  tx.addChain('forward', { type: 'filter', hook: 'forward', priority: PRIORITY.filter });
  // From outside comes what was published; among one another the containers are free, as in Docker.
  tx.addRule('forward', [
    ...fromInterface(LOCAL_BRIDGE, true),
    ...toInterface(LOCAL_BRIDGE),
    ...opening,
    ...destinationTranslated(false),
    ...drop,
  ]);
  tx.addChain('input', { type: 'filter', hook: 'input', priority: PRIORITY.filter });
  // route_localnet lets loopback addresses through the interface: not from outside.
  tx.addRule('input', [
    ...fromInterface(LOCAL_BRIDGE),
    ...destinationIn(LOOPBACK, LOOPBACK_MASK),
    ...opening,
    ...drop,
  ]);
}
