/** Contents of a task's resolv.conf and hosts files. Pure text; who mounts them is the executor's. */

export interface DnsOptions {
  /** asked for names that the cluster does not know; empty = those of the host */
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** Where the resolver of a task's own namespace listens. */
export const RESOLVER_ADDRESS = '127.0.0.11';

/**
 * The resolver of the task's namespace is the only nameserver. `ndots:0` (unless given) has names
 * without dots asked as they are first: service names are such.
 */
export function resolvConf(dns: DnsOptions): string {
  const options = dns.options.some((option) => option.startsWith('ndots:'))
    ? dns.options
    : [...dns.options, 'ndots:0'];
  return [
    `nameserver ${RESOLVER_ADDRESS}`,
    ...(dns.search.length > 0 ? [`search ${dns.search.join(' ')}`] : []),
    `options ${options.join(' ')}`,
    '',
  ].join('\n');
}

/** Docker's choice where the host has only a resolver of its own, which no other namespace reaches. */
const PUBLIC_NAMESERVERS = ['8.8.8.8', '8.8.4.4'];

/**
 * Without a resolver in the container's own namespace: its nameservers, else the host's.
 * @param ofHost the host's nameservers
 * @param isOnHost it uses the network of the host, so that one at a loopback address is good, too
 */
export function plainResolvConf(
  dns: DnsOptions,
  ofHost: readonly string[],
  isOnHost: boolean,
): string {
  const usable = ofHost.filter((server) => isOnHost || !/^(127\.|::1$)/.test(server));
  const [nameservers] = [dns.nameservers, usable, PUBLIC_NAMESERVERS].filter(
    ({ length }) => length > 0,
  );
  return [
    ...(nameservers ?? []).map((server) => `nameserver ${server}`),
    ...(dns.search.length > 0 ? [`search ${dns.search.join(' ')}`] : []),
    ...(dns.options.length > 0 ? [`options ${dns.options.join(' ')}`] : []),
    '',
  ].join('\n');
}

export interface HostsOptions {
  readonly hostname: string;
  /** '' = none */
  readonly domainname: string;
  /** the task's own addresses, with or without prefix length */
  readonly addresses: readonly string[];
  /** `IP name [name...]`, as the spec has them */
  readonly extra: readonly string[];
}

export function hostsFile(options: HostsOptions): string {
  const { hostname, domainname } = options;
  const names = domainname === '' ? hostname : `${hostname}.${domainname} ${hostname}`;
  const own = options.addresses.map((cidr) => `${cidr.split('/')[0]}\t${names}`);
  return [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::\tip6-localnet',
    'ff00::\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    ...own,
    ...options.extra.map((line) => line.trim().replace(/\s+/, '\t')),
    '',
  ].join('\n');
}
