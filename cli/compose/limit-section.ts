/**
 * Limits of a service: `deploy.resources`, and the keys of older files that say the same (`cpus`,
 * `mem_limit`, ...). Both may be given when they agree.
 */
import type { ResourcesJson } from '../../common/model/engine-json/task.ts';
import { kernelSection } from './isolation-section.ts';
import type { Fields, Item } from './item.ts';
import { parseNanoCpus, parseSizeBytes } from './values.ts';

/** The kernel's own, of `cpu_quota` without `cpu_period`. */
const CPU_PERIOD_US = 100_000;
const NANOS = 1e9;

export function limitSection(resources: ResourcesJson, fields: Fields): ResourcesJson {
  const { Limits = {}, Reservations = {} } = resources;
  const cpus = one(Limits.NanoCPUs, fields.get('cpus'), (item) => item.parsed(parseNanoCpus));
  const nanoCpus = one(cpus, fields.get('cpu_quota'), (item) => quotaCpus(item, fields));
  const memory = one(Limits.MemoryBytes, fields.get('mem_limit'), sizeOf);
  const pids = one(Limits.Pids, fields.get('pids_limit'), (item) => item.integer(-1));
  const reserved = one(Reservations.MemoryBytes, fields.get('mem_reservation'), sizeOf);
  const swap = swapOf(fields.get('memswap_limit'), memory);
  const swappiness = fields.get('mem_swappiness')?.integer(0);
  return {
    Limits: {
      ...(nanoCpus && { NanoCPUs: nanoCpus }),
      ...(memory && { MemoryBytes: memory }),
      ...(pids && pids > 0 && { Pids: pids }),
    },
    Reservations: { ...Reservations, ...(reserved && { MemoryBytes: reserved }) },
    ...(swap !== undefined && { SwapBytes: swap }),
    ...(swappiness !== undefined && { MemorySwappiness: swappiness }),
    ...kernelSection(fields),
  };
}

const sizeOf = (item: Item): number | undefined => item.parsed(parseSizeBytes);

/** What `deploy` says, or else the older key. */
function one(
  given: number | undefined,
  older: Item | undefined,
  read: (item: Item) => number | undefined,
): number | undefined {
  if (!older) return given;
  const value = read(older);
  if (given !== undefined && value !== undefined && given !== value) {
    older.problem(`${older.path} and deploy.resources say two different things`);
  }
  return given ?? value;
}

/** `cpu_quota` of -1 and 0 is no limit. */
function quotaCpus(quota: Item, fields: Fields): number | undefined {
  const quotaUs = quota.integer(-1);
  const periodUs = fields.get('cpu_period')?.integer(1) ?? CPU_PERIOD_US;
  if (quotaUs === undefined || quotaUs <= 0) return undefined;
  return Math.round((quotaUs / periodUs) * NANOS);
}

/** The key counts memory and swap together, the spec swap alone; -1 is no limit of swap. */
function swapOf(item: Item | undefined, memory: number | undefined): number | undefined {
  if (!item) return undefined;
  if (item.text() === '-1') return -1;
  const both = sizeOf(item);
  if (both === undefined || both === 0) return undefined;
  if (memory === undefined) item.problem(`${item.path} needs mem_limit`);
  else if (both < memory) item.problem(`${item.path} must not be below the limit of memory`);
  return both - (memory ?? 0);
}
