/** Published ports: the short form of stack files and of `--publish`. */
import { SkepError } from '../../common/base/errors.ts';
import type { PortJson } from '../../common/model/engine-json/port.ts';
import { parseHostIp } from '../../common/model/host-ip.ts';

const PORT_MAX = 65_535;
const SHORT = /^(?:(?:(\[[0-9a-fA-F:.]+\]|[^:/[\]]*):)?([\d-]*):)?([\d-]+)(?:\/([A-Za-z]+))?$/;
const RANGE = /^(\d{1,5})(?:-(\d{1,5}))?$/;
export const PROTOCOLS: readonly string[] = ['tcp', 'udp', 'sctp'];

export interface ShortPorts {
  readonly ports: readonly PortJson[];
  /** as it was written; null = none was */
  readonly address: string | null;
}

function invalid(text: string, rule: string): never {
  throw new SkepError('invalid-argument', `invalid port "${text}": ${rule}`);
}

/** `[ip:][published[-published]:]target[-target][/protocol]`. Throws `invalid-argument`. */
export function parseShortPorts(text: string): ShortPorts {
  const match = SHORT.exec(text);
  if (!match) invalid(text, 'expected [PUBLISHED:]TARGET[/PROTOCOL], such as 8080:80');
  const [, address = '', published = '', target = '', protocol = 'tcp'] = match;
  if (!PROTOCOLS.includes(protocol.toLowerCase())) {
    invalid(text, `protocol ${protocol} is none of ${PROTOCOLS.join(', ')}`);
  }
  const targets = range(text, target);
  const pairs = pair(text, published === '' ? [] : range(text, published), targets);
  return {
    address: address === '' ? null : address,
    ports: pairs.map(([from, to]) => ({
      Protocol: protocol.toLowerCase(),
      TargetPort: to,
      ...(from !== null && { PublishedPort: from }),
      PublishMode: 'ingress',
    })),
  };
}

/** Ports of a service, which answer on the address that was given only. Throws `invalid-argument` for what is none. */
export function portsAt({ ports, address }: ShortPorts): readonly PortJson[] {
  const hostIp = address === null ? '' : parseHostIp(address);
  return hostIp === '' ? ports : ports.map((port) => ({ ...port, HostIp: hostIp }));
}

/** Pairwise, or a range of published ports to one target. */
function pair(
  text: string,
  published: readonly number[],
  targets: readonly number[],
): (readonly [number | null, number])[] {
  if (published.length === 0) return targets.map((target) => [null, target]);
  if (targets.length === 1) return published.map((from) => [from, targets[0]!]);
  if (published.length !== targets.length) {
    invalid(text, `${published.length} published ports for ${targets.length} target ports`);
  }
  return published.map((from, index) => [from, targets[index]!]);
}

function range(text: string, part: string): number[] {
  const match = RANGE.exec(part);
  if (!match) invalid(text, `"${part}" is no port or range of ports`);
  const first = Number(match[1]);
  const last = match[2] === undefined ? first : Number(match[2]);
  if (first < 1 || last > PORT_MAX || first > PORT_MAX) invalid(text, `ports are 1 to ${PORT_MAX}`);
  if (last < first) invalid(text, `the range ${part} runs backwards`);
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** A whole number that can be a port. Throws `invalid-argument`. */
export function checkPort(port: number, what: string): number {
  if (Number.isInteger(port) && port >= 1 && port <= PORT_MAX) return port;
  throw new SkepError(
    'invalid-argument',
    `${what}: ${port} is no port, which are 1 to ${PORT_MAX}`,
  );
}
