/**
 * Links of containers in the network `bridge`, which has no names of its own: what moby's `daemon/links`
 * puts into the environment and into /etc/hosts of the one that has the link. Pure.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { Peer, PeerOf } from './peers.ts';

/** The container that it is to find under that name. */
export interface ContainerLink {
  readonly containerId: string;
  readonly alias: string;
}

interface Port {
  readonly number: number;
  readonly protocol: string;
}

/** Of the image's own build, not of the linked container's service. */
const NOT_SHOWN = new Set(['HOME', 'PATH']);

/**
 * NAME=value for each of the links. @param name of the container that has them
 * Throws `conflict` for a container that does not run, `invalid-argument` for one in another network.
 */
export function linkEnvironment(
  name: string,
  links: readonly ContainerLink[],
  peerOf: PeerOf,
): string[] {
  return links.flatMap(({ containerId, alias }) => {
    const peer = peerOf(containerId);
    if (peer === null || peer.pid === 0) {
      const words = `Cannot link to a non running container: /${peer?.name ?? containerId} AS /${name}/${alias}`;
      throw new SkepError('conflict', words);
    }
    if (peer.bridgeAddress === '') {
      const words = `Cannot link to /${peer.name}, as it does not belong to the default network`;
      throw new SkepError('invalid-argument', words);
    }
    return environmentOf(name, alias, peer);
  });
}

/** Lines for /etc/hosts, of those that run. */
export function linkHosts(links: readonly ContainerLink[], peerOf: PeerOf): string[] {
  return links.flatMap(({ containerId, alias }) => {
    const peer = peerOf(containerId);
    if (peer === null || peer.bridgeAddress === '') return [];
    const names = [...new Set([alias, peer.hostname, peer.name])];
    return [`${peer.bridgeAddress} ${names.join(' ')}`];
  });
}

function environmentOf(name: string, alias: string, peer: Peer): string[] {
  const prefix = alias.toUpperCase().replaceAll('-', '_');
  const ports = portsOf(peer);
  const lowest = [...ports].sort((a, b) => a.number - b.number || tcpFirst(a, b))[0];
  const url = ({ number, protocol }: Port): string => {
    return `${protocol}://${peer.bridgeAddress}:${number}`;
  };
  const of = ({ number, protocol }: Port): string => {
    return `${prefix}_PORT_${number}_${protocol.toUpperCase()}`;
  };
  return [
    ...(lowest ? [`${prefix}_PORT=${url(lowest)}`] : []),
    ...rangesOf(ports).flatMap(([first, last]) => [
      `${of(first)}_START=${url(first)}`,
      `${of(first)}_ADDR=${peer.bridgeAddress}`,
      `${of(first)}_PROTO=${first.protocol}`,
      `${of(first)}_PORT_START=${first.number}`,
      `${of(first)}_END=${url(last)}`,
      `${of(first)}_PORT_END=${last.number}`,
    ]),
    ...ports.flatMap((port) => [
      `${of(port)}=${url(port)}`,
      `${of(port)}_ADDR=${peer.bridgeAddress}`,
      `${of(port)}_PORT=${port.number}`,
      `${of(port)}_PROTO=${port.protocol}`,
    ]),
    `${prefix}_NAME=/${name}/${alias}`,
    ...peer.env
      .filter((entry) => entry.includes('=') && !NOT_SHOWN.has(entry.slice(0, entry.indexOf('='))))
      .map((entry) => `${prefix}_ENV_${entry}`),
  ];
}

/** Each number once for each protocol, TCP first. */
function portsOf({ exposedPorts }: Peer): Port[] {
  const ports = [...new Set(exposedPorts)].map((text): Port => {
    const [number = '', protocol = 'tcp'] = text.split('/');
    return { number: Number(number), protocol };
  });
  return ports.sort((a, b) => tcpFirst(a, b) || a.number - b.number);
}

function tcpFirst(a: Port, b: Port): number {
  return Number(b.protocol === 'tcp') - Number(a.protocol === 'tcp');
}

/** First and last of what lies without a gap, three ports or more: the fewer are told one by one alone. */
function rangesOf(ports: readonly Port[]): [Port, Port][] {
  const ranges: [Port, Port][] = [];
  for (let from = 0; from < ports.length; ) {
    let to = from;
    while (isNext(ports[to], ports[to + 1])) to++;
    const [first, last] = [ports[from], ports[to]];
    if (first && last && to > from + 1) ranges.push([first, last]);
    from = to + 1;
  }
  return ranges;
}

function isNext(one: Port | undefined, next: Port | undefined): boolean {
  return one?.protocol === next?.protocol && one !== undefined && next?.number === one.number + 1;
}
