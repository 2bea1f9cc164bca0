/** Ports as lists show them: those that a service publishes, those of one task, those of a container. */
import { compareText } from '../../common/base/order.ts';
import type { ContainerSummaryJson } from '../../common/model/engine-json/container.ts';
import type { PortJson } from '../../common/model/engine-json/port.ts';

/** `*:8080->80/tcp`, consecutive ones merged to `*:8080-8082->80-82/tcp`; ingress only. */
export function ingressPorts(ports: readonly PortJson[] | undefined): string {
  const sorted = (ports ?? [])
    .filter((port) => (port.PublishMode ?? 'ingress') === 'ingress')
    .map((port) => ({
      protocol: port.Protocol ?? 'tcp',
      published: port.PublishedPort ?? 0,
      target: port.TargetPort,
      address: addressText(port),
    }))
    .sort(
      (a, b) =>
        compareText(a.protocol, b.protocol) ||
        compareText(a.address, b.address) ||
        a.published - b.published ||
        a.target - b.target,
    );
  const ranges: ((typeof sorted)[number] & { length: number })[] = [];
  for (const port of sorted) {
    const last = ranges.at(-1);
    const follows =
      last?.protocol === port.protocol &&
      last.address === port.address &&
      last.published + last.length === port.published &&
      last.target + last.length === port.target;
    if (last && follows) last.length++;
    else ranges.push({ ...port, length: 1 });
  }
  return ranges
    .map(({ address, published, target, protocol, length }) => {
      const to = `${rangeText(target, length)}/${protocol}`;
      return `${address}:${rangeText(published, length)}->${to}`;
    })
    .join(', ');
}

/** `80`, or `80-82` of three. */
function rangeText(first: number, length: number): string {
  return length === 1 ? String(first) : `${first}-${first + length - 1}`;
}

/** `*` for every address of a node. */
function addressText({ HostIp: address = '' }: PortJson): string {
  return address === '' ? '*' : hostText(address);
}

/** As it stands before a port. */
const hostText = (address: string): string => (address.includes(':') ? `[${address}]` : address);

/** Host-mode ports of one task: `*:8080->80/tcp`. */
export function hostPorts(ports: readonly PortJson[] | undefined): string {
  return (ports ?? [])
    .filter((port) => port.PublishMode === 'host')
    .map((port) => {
      const { PublishedPort: published = 0, TargetPort: target, Protocol: protocol = 'tcp' } = port;
      return `${addressText(port)}:${published}->${target}/${protocol}`;
    })
    .join(',');
}

type ContainerPort = NonNullable<ContainerSummaryJson['Ports']>[number];

/**
 * `80/tcp, 0.0.0.0:8080->80/tcp`, in docker's order: first ports that have the number that they are published as, consecutive
 * ones merged, then the others.
 */
export function containerPorts(ports: readonly ContainerPort[]): string {
  const groups = new Map<string, { readonly first: number; last: number }>();
  const done: string[] = [];
  const others: string[] = [];
  for (const { IP, PrivatePort, PublicPort, Type } of [...ports].sort(compareContainerPorts)) {
    if (IP && PublicPort !== PrivatePort) {
      others.push(`${withHost(IP, String(PublicPort))}->${PrivatePort}/${Type}`);
      continue;
    }
    const key = `${IP ?? ''}/${Type}`;
    const group = groups.get(key);
    if (group?.last === PrivatePort - 1) {
      group.last = PrivatePort;
      continue;
    }
    if (group) done.push(groupText(key, group));
    groups.set(key, { first: PrivatePort, last: PrivatePort });
  }
  for (const [key, group] of groups) done.push(groupText(key, group));
  return [...done, ...others].join(', ');
}

function compareContainerPorts(a: ContainerPort, b: ContainerPort): number {
  const [ip, other] = [a.IP ?? '', b.IP ?? ''];
  if (a.PrivatePort !== b.PrivatePort) return a.PrivatePort - b.PrivatePort;
  if (ip !== other) return ip < other ? -1 : 1;
  return (a.PublicPort ?? 0) - (b.PublicPort ?? 0) || (a.Type < b.Type ? -1 : 1);
}

function groupText(
  key: string,
  { first, last }: { readonly first: number; readonly last: number },
): string {
  const at = key.lastIndexOf('/');
  const [ip, type] = [key.slice(0, at), key.slice(at + 1)];
  const range = rangeText(first, last - first + 1);
  return ip === '' ? `${range}/${type}` : `${withHost(ip, range)}->${range}/${type}`;
}

const withHost = (ip: string, port: string): string => `${hostText(ip)}:${port}`;
