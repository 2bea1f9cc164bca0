/**
 * Options of one place in a network of the cluster, as Docker's clients write them (`--network name=NET,driver-opt=K=V`):
 * what the link in the task is called, and settings of the kernel for it.
 */
import { SkepError } from '../base/errors.ts';
import type { StringMap } from './objects.ts';

export const LINK_OPTION = 'com.docker.network.endpoint.ifname';
export const SYSCTLS_OPTION = 'com.docker.network.endpoint.sysctls';

export interface EndpointOptions {
  /** '' = as it comes: eth0, eth1, ... */
  readonly link: string;
  /** `ipv4/conf/IFNAME/log_martians` below /proc/sys/net -> value, in order; `IFNAME` stands for the link */
  readonly sysctls: StringMap;
}

const LINK_BYTES_MAX = 15;
/** Those of other links, the way out, and what the kernel calls the settings of all links and of those to come. */
const TAKEN_LINK = /^(eth\d+|lo|all|default)$/;
const SYSCTL = /^net\.(ipv4|ipv6)\.(conf|neigh)\.IFNAME\.([a-z0-9_]{1,64})=(-?[0-9a-z]{1,20})$/;
const SYSCTLS_MAX = 64;

/** Throws `invalid-argument` for a value that means nothing, `unimplemented` for an option that is not known. */
export function endpointOptionsOf(options: StringMap): EndpointOptions {
  for (const name of Object.keys(options)) {
    if (name === LINK_OPTION || name === SYSCTLS_OPTION) continue;
    const known = `there are ${LINK_OPTION} and ${SYSCTLS_OPTION}`;
    throw new SkepError('unimplemented', `DriverOpts "${name}" is not supported: ${known}`);
  }
  const link = options[LINK_OPTION];
  if (link !== undefined) checkLink(link);
  return { link: link ?? '', sysctls: sysctlsOf(options[SYSCTLS_OPTION] ?? '') };
}

function checkLink(link: string): void {
  const isName = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(link) && link.length <= LINK_BYTES_MAX;
  if (isName && !TAKEN_LINK.test(link)) return;
  throw new SkepError(
    'invalid-argument',
    `DriverOpts "${LINK_OPTION}": '${link}' is no name for a link: up to ${LINK_BYTES_MAX} letters and digits, and not lo, all, default, eth0, eth1, ...`,
  );
}

/** Of a list as Docker has it: separated by commas. */
function sysctlsOf(list: string): StringMap {
  if (list === '') return {};
  const entries = list.split(',');
  if (entries.length > SYSCTLS_MAX) {
    const words = `${entries.length} settings exceed the limit of ${SYSCTLS_MAX}`;
    throw new SkepError('invalid-argument', `DriverOpts "${SYSCTLS_OPTION}": ${words}`);
  }
  return Object.fromEntries(
    entries.map((entry) => {
      const [, family, table, name, value] = SYSCTL.exec(entry) ?? [];
      if (value === undefined) {
        throw new SkepError(
          'invalid-argument',
          `DriverOpts "${SYSCTLS_OPTION}": '${entry}' is not of the form net.ipv4.conf.IFNAME.NAME=VALUE (or net.ipv6, neigh)`,
        );
      }
      return [`${family}/${table}/IFNAME/${name}`, value];
    }),
  );
}

/** The same for a link whose name is known. */
export function sysctlsFor({ sysctls }: EndpointOptions, link: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(sysctls).map(([path, value]) => [path.replace('IFNAME', link), value]),
  );
}
