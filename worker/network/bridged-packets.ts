/**
 * How ports of a bridge in the host's namespace are kept apart, which depends on a setting of the machine (br_netfilter). Knows
 * no bridge.
 */
import { readFileSync } from 'node:fs';
import type { BridgePortOptions } from '../../native/ffi/net/rtnl-link.ts';

const SETTINGS = ['bridge-nf-call-iptables', 'bridge-nf-call-ip6tables'].map(
  (name) => `/proc/sys/net/bridge/${name}`,
);

export type PortsApart = Required<Pick<BridgePortOptions, 'isolated' | 'hairpin'>>;

/**
 * Where packets between ports meet the rules of IP, one that is translated to somebody on the bridge that it came by goes straight
 * to that port, which may be its own: isolated ports would drop it, and the rules let nothing else pass. Elsewhere nothing
 * but isolation keeps ports apart, and what is translated is routed.
 */
export function portsApart(areApart: boolean, meetRules: boolean = rulesAreMet()): PortsApart {
  return { isolated: areApart && !meetRules, hairpin: meetRules };
}

/** Of both families, as this process's namespace is set. */
function rulesAreMet(): boolean {
  return SETTINGS.every((path) => {
    try {
      return readFileSync(path, 'utf8').trim() === '1';
    } catch {
      return false; // the kernel has no such filter, or it is not loaded
    }
  });
}
