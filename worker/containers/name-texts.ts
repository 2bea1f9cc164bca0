/** resolv.conf, hosts and hostname of containers outside of services. Pure. */
import { SHORT_ID_CHARS } from '../../common/model/container-id.ts';
import type { ContainerSpec } from '../../common/model/service.ts';
import type { NameFiles } from '../executor/task-files.ts';
import { hostsFile, plainResolvConf, resolvConf } from '../network/name-files.ts';
import type { ContainerDefinition } from './definition.ts';

export interface NameParts {
  readonly container: Pick<ContainerSpec, 'dns' | 'domainname' | 'hosts'>;
  readonly hostname: string;
  /** without prefix length */
  readonly addresses: readonly string[];
  /** names are asked of the resolver in its own namespace */
  readonly hasResolver: boolean;
  /** it uses the network of the host: then its resolver at a loopback address is good, too */
  readonly isOnHost: boolean;
  /** of the host */
  readonly nameservers: readonly string[];
  /** of the host, for `host-gateway`; null = there is none */
  readonly gateway: string | null;
}

export function nameFiles(parts: NameParts): NameFiles {
  const { container, hostname, addresses } = parts;
  return {
    resolvConf: parts.hasResolver
      ? resolvConf(container.dns)
      : plainResolvConf(container.dns, parts.nameservers, parts.isOnHost),
    hosts: hostsFile({
      hostname,
      domainname: container.domainname,
      addresses,
      extra: container.hosts.flatMap((line) => withGateway(line, parts.gateway)),
    }),
    hostname,
  };
}

/** @param machineName this machine's own */
export function hostnameOf(
  { container, network }: ContainerDefinition,
  id: string,
  machineName: string,
): string {
  if (container.isolation?.uts === 'host') return machineName;
  const isOnHost = network.kind === 'host' && container.hostname === '';
  return isOnHost ? machineName : hostnameForOthers({ container }, id);
}

/** In networks: one that is called as this machine is, by itself, is not this machine to the others. */
export function hostnameForOthers(
  { container }: Pick<ContainerDefinition, 'container'>,
  id: string,
): string {
  return container.hostname !== '' ? container.hostname : id.slice(0, SHORT_ID_CHARS);
}

/** `host-gateway` stands for the host's address on the container's network. */
function withGateway(line: string, gateway: string | null): string[] {
  if (!line.startsWith('host-gateway ')) return [line];
  return gateway === null ? [] : [line.replace('host-gateway', gateway)];
}
