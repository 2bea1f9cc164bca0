/** Published ports of a service as `service ls` and `service ps` show them. */
import { compareText } from '../../common/base/order.ts';
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
    .sort((a, b) =>
      a.protocol < b.protocol
        ? -1
        : a.protocol > b.protocol
          ? 1
          : compareText(a.address, b.address) || a.published - b.published || a.target - b.target,
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
  const range = (first: number, length: number): string =>
    length === 1 ? String(first) : `${first}-${first + length - 1}`;
  return ranges
    .map(
      (r) =>
        `${r.address}:${range(r.published, r.length)}->${range(r.target, r.length)}/${r.protocol}`,
    )
    .join(', ');
}

/** `*` for every address of a node. */
function addressText({ HostIp: address = '' }: PortJson): string {
  if (address === '') return '*';
  return address.includes(':') ? `[${address}]` : address;
}

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
