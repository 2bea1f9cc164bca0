/** When an item of one file's list is the same thing as an item of another's: the later one counts. */
import { parseHostIp } from '../../../common/model/host-ip.ts';
import { parseShortPorts, type ShortPorts } from '../ports.ts';
import { scalarValue, textOf, type Value } from '../tree.ts';
import type { Identities } from './key.ts';

function field(item: Value, name: string): string | undefined {
  return item.kind === 'map' ? textOf(item.entries.get(name)?.value) : undefined;
}

/** Mounts are known by where they stand in the container. */
function mountIdentity(item: Value): string | null {
  if (item.kind === 'map') return field(item, 'target') ?? null;
  const parts = (textOf(item) ?? '').split(':');
  return (parts.length === 1 ? parts[0] : parts[1]) ?? null;
}

/** Secrets and configs are known by where they stand in the container. */
function useIdentity(item: Value): string | null {
  if (item.kind !== 'map') return textOf(item) ?? null;
  return field(item, 'target') ?? field(item, 'source') ?? null;
}

/**
 * Ports are known by what they publish, and on which address: a cluster's port can lead to one target only. (The
 * specification counts the target as well, whose result no cluster could have.) Ports that publish
 * nothing are known by their target.
 */
function portIdentity(item: Value): string | null {
  if (item.kind === 'map') {
    const protocol = field(item, 'protocol') ?? 'tcp';
    const published = field(item, 'published') ?? '';
    const at = addressIdentity(field(item, 'host_ip') ?? '');
    if (published !== '' && published !== '0') return `${at}${published}/${protocol}`;
    const target = field(item, 'target');
    return target === undefined ? null : `:${target}/${protocol}`;
  }
  const short = shortPorts(item);
  const [port] = short?.ports ?? [];
  if (!short || !port) return null;
  const at = addressIdentity(short.address ?? '');
  const { PublishedPort: published, TargetPort: target, Protocol: protocol } = port;
  return published === undefined ? `:${target}/${protocol}` : `${at}${published}/${protocol}`;
}

function addressIdentity(text: string): string {
  try {
    const address = parseHostIp(text);
    return address === '' ? '' : `${address} `;
  } catch {
    return `${text} `; // its mistake is told when it is converted
  }
}

function shortPorts(item: Value): ShortPorts | null {
  try {
    return parseShortPorts(textOf(item) ?? '');
  } catch {
    return null; // its mistake is told when it is converted
  }
}

/** A range as its ports, so that a later file can change one of them. */
function expandPorts(item: Value): readonly Value[] {
  const range = item.kind === 'scalar' ? shortPorts(item) : null;
  if (!range || range.ports.length <= 1) return [item];
  const address = range.address === null ? '' : `${range.address}:`;
  return range.ports.map(({ PublishedPort: published, TargetPort: target, Protocol: protocol }) => {
    const from = published === undefined ? address && `${address}:` : `${address}${published}:`;
    return scalarValue(item.place, `${from}${target}/${protocol}`);
  });
}

export const PORT_IDENTITIES: Identities = { identity: portIdentity, expand: expandPorts };
export const MOUNT_IDENTITIES: Identities = { identity: mountIdentity };
export const USE_IDENTITIES: Identities = { identity: useIdentity };
