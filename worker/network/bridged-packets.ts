/**
 * Whether packets between ports of a bridge meet the rules of IP (br_netfilter): in the host's namespace the machine's setting says it,
 * on which it depends how ports are kept apart; in namespaces of ours it is ours to say. Knows no bridge.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BridgePortOptions } from '../../native/ffi/net/rtnl-link.ts';

const SETTINGS_DIR = '/proc/sys/net';
const RULES_OF_IP = ['bridge/bridge-nf-call-iptables', 'bridge/bridge-nf-call-ip6tables'];
const RULES_OF_ARP = 'bridge/bridge-nf-call-arptables';

/**
 * For a namespace without any such rules, where asking for them costs each packet a look at its header: what to write, path below
 * /proc/sys/net -> value. Empty on a kernel without the filter.
 */
export function bridgedPacketsMeetNoRules(): Readonly<Record<string, string>> {
  const settings = [...RULES_OF_IP, RULES_OF_ARP];
  const known = settings.filter((path) => existsSync(join(SETTINGS_DIR, path)));
  return Object.fromEntries(known.map((path) => [path, '0']));
}

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
  return RULES_OF_IP.every((path) => {
    try {
      return readFileSync(join(SETTINGS_DIR, path), 'utf8').trim() === '1';
    } catch {
      return false; // the kernel has no such filter, or it is not loaded
    }
  });
}
