/** When an item of one file's list is the same thing as an item of another's: the later one counts. */
import { textOf, type Value } from '../tree.ts';

function field(item: Value, name: string): string | undefined {
  return item.kind === 'map' ? textOf(item.entries.get(name)?.value) : undefined;
}

/** Mounts are known by where they stand in the container. */
export function mountIdentity(item: Value): string | null {
  if (item.kind === 'map') return field(item, 'target') ?? null;
  const parts = (textOf(item) ?? '').split(':');
  return (parts.length === 1 ? parts[0] : parts[1]) ?? null;
}

/** Secrets and configs are known by where they stand in the container. */
export function useIdentity(item: Value): string | null {
  if (item.kind !== 'map') return textOf(item) ?? null;
  return field(item, 'target') ?? field(item, 'source') ?? null;
}

const SHORT = /^(?:(?:(\[.*\]|[^:]*):)?([^:]*):)?([^:/]+)(?:\/(.+))?$/;

/** Ports are known by address, published and target port, and protocol. */
export function portIdentity(item: Value): string | null {
  if (item.kind === 'map') {
    const parts = [field(item, 'host_ip') ?? '', field(item, 'published') ?? ''];
    const target = field(item, 'target');
    return target === undefined
      ? null
      : [...parts, target, field(item, 'protocol') ?? 'tcp'].join('|');
  }
  const match = SHORT.exec(textOf(item) ?? '');
  if (!match) return null;
  return [match[1] ?? '', match[2] ?? '', match[3], match[4] ?? 'tcp'].join('|');
}
