/**
 * The networks that every node has and nobody makes. A service names one by its word, which is no id of
 * the store: its tasks have no seat in any network of the cluster.
 */
import { isCompanionWord } from './companions.ts';
import type { NetworkAttachmentConfig, PortConfig } from './service.ts';

export const PREDEFINED_NETWORKS: readonly string[] = ['bridge', 'host', 'none'];

/** Also of the word that stands for the network of another service's task. */
export function isPredefinedNetwork(target: string): boolean {
  return PREDEFINED_NETWORKS.includes(target) || isCompanionWord(target);
}

/**
 * `host`: the node's own namespace; `none`: loopback alone; `service`: that of another service's task; `cluster`: seats in
 * networks of the cluster.
 */
export type NetworkMode = 'host' | 'none' | 'service' | 'cluster';

export function networkModeOf(
  networks: readonly Pick<NetworkAttachmentConfig, 'target'>[],
): NetworkMode {
  const word = networks.find(({ target }) => isPredefinedNetwork(target))?.target;
  if (word !== undefined && isCompanionWord(word)) return 'service';
  return word === 'host' || word === 'none' ? word : 'cluster';
}

type Attachment = Pick<NetworkAttachmentConfig, 'target' | 'aliases'>;
type Port = Pick<PortConfig, 'publishMode' | 'targetPort' | 'publishedPort' | 'hostIp'>;

/** Why a service cannot be in such a network in this way, in words; null = it can, or is in none. */
export function predefinedNetworkProblem(
  networks: readonly Attachment[],
  ports: readonly Port[],
): string | null {
  const named = networks.find(({ target }) => isPredefinedNetwork(target));
  if (!named) return null;
  const { target } = named;
  if (networks.length > 1) return `network ${target} cannot be combined with other networks`;
  if (named.aliases.length > 0) {
    return `network ${target}: aliases are names in networks of the cluster`;
  }
  return ports.map((port) => portProblem(target, port)).find((words) => words !== null) ?? null;
}

function portProblem(
  network: string,
  { publishMode, targetPort, publishedPort, hostIp }: Port,
): string | null {
  if (network === 'none') return 'a service in network none cannot publish ports';
  if (isCompanionWord(network)) {
    return `port ${publishedPort || targetPort}: a service in the network of another publishes no ports: publish it there`;
  }
  if (publishMode === 'ingress') {
    return `port ${publishedPort || targetPort}: a service in the host's network listens on its nodes itself, the routing mesh does not reach it: leave the port out, or publish it in mode host to keep it free`;
  }
  if (hostIp !== '') {
    return `port ${publishedPort}: in the host's network a service listens itself, where it was told to, not at ${hostIp}`;
  }
  if (publishedPort === targetPort) return null;
  return `port ${publishedPort}: in the host's network a port is published as it is: the published port must be ${targetPort}`;
}
