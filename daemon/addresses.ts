/** Which address other nodes are told to use. Reads the machine's interfaces; decides nothing else. */
import { lookup } from 'node:dns/promises';
import { isIP, isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../common/base/clock.ts';
import { SkepError } from '../common/base/errors.ts';
import { CLUSTER_PORT } from '../common/model/cluster.ts';

/** The system's resolver may wait much longer for a name server that is not there. */
const LOOKUP_LIMIT_MS = 3_000;

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `IP`, `IP:port` or `interface[:port]`; without a port, `defaultPort`. Throws `invalid-argument`. */
export function parseHostPort(text: string, defaultPort = CLUSTER_PORT): HostPort {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (!host || port < 1 || port > 65_535) {
    throw new SkepError('invalid-argument', `invalid address '${text}': expected IP[:PORT]`);
  }
  return { host, port };
}

/**
 * Throws `unavailable` when this machine can make no address of any of the names, with the reason: a
 * connection would only say that nothing answers.
 */
export async function requireKnownHosts(
  addresses: readonly string[],
  clock: Clock,
  resolve: (host: string) => Promise<unknown> = lookup,
): Promise<void> {
  const hosts = addresses.map((address) => parseHostPort(address).host);
  const reasons = await Promise.all(hosts.map((host) => unknownBecause(host, clock, resolve)));
  const unknown = reasons.findIndex((reason) => reason !== null);
  if (unknown < 0 || reasons.includes(null)) return;
  throw new SkepError(
    'unavailable',
    `join cluster via ${addresses[unknown]}: the name ${hosts[unknown]} cannot be resolved: ${reasons[unknown]}`,
  );
}

/** null = it is known */
async function unknownBecause(
  host: string,
  clock: Clock,
  resolve: (host: string) => Promise<unknown>,
): Promise<string | null> {
  if (isIP(host) !== 0) return null;
  const over = new AbortController();
  const known = resolve(host).then(
    () => null,
    (err: NodeJS.ErrnoException) => err.code ?? err.message,
  );
  const late = clock.sleep(LOOKUP_LIMIT_MS, over.signal).then(
    () => `no answer from the resolver within ${LOOKUP_LIMIT_MS} ms`,
    () => null,
  );
  const reason = await Promise.race([known, late]);
  over.abort();
  return reason;
}

/** IPv4 addresses of this machine that others may reach, by interface. */
function globalAddresses(): { readonly name: string; readonly address: string }[] {
  const out: { name: string; address: string }[] = [];
  for (const [name, entries] of Object.entries(networkInterfaces())) {
    for (const { family, internal, address } of entries ?? []) {
      if (family === 'IPv4' && !internal && !address.startsWith('169.254.'))
        out.push({ name, address });
    }
  }
  return out;
}

/**
 * The IP to advertise: what was asked for (an IP, or an interface with one address), else the IP that
 * is listened on, else the machine's only one. Throws `invalid-argument` with Docker's words, on
 * which its clients print a hint.
 */
export function chooseAdvertiseAddress(asked: string, listenHost: string): string {
  if (asked !== '') return namedAddress(asked, 'advertise address');
  if (isIPv4(listenHost) && listenHost !== '0.0.0.0') return listenHost;
  // Our own bridges are no way to this machine.
  const found = globalAddresses().filter(({ name }) => !name.startsWith('skep'));
  const [first, second] = found;
  if (!first) {
    throw new SkepError(
      'invalid-argument',
      "could not find the system's IP address - specify one with --advertise-addr",
    );
  }
  if (second) {
    throw new SkepError(
      'invalid-argument',
      `could not choose an IP address to advertise since this system has multiple addresses on different interfaces (${first.address} on ${first.name} and ${second.address} on ${second.name}) - specify one with --advertise-addr`,
    );
  }
  return first.address;
}

/** The IPv4 address that is named, or that of the interface. @param what it is for, in words */
export function namedAddress(asked: string, what: string): string {
  const { host } = parseHostPort(asked);
  return isIPv4(host) ? host : addressOfInterface(host, what);
}

function addressOfInterface(name: string, what: string): string {
  const found = globalAddresses().filter((it) => it.name === name);
  if (found.length === 1 && found[0]) return found[0].address;
  throw new SkepError(
    'invalid-argument',
    found.length === 0
      ? `${what} '${name}': no such interface, or it has no IPv4 address`
      : `${what} '${name}': the interface has ${found.length} addresses: name one`,
  );
}
