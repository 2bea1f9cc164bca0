/** How much of which resource a node is short of, and what would help. */
import { MEMORY_BYTES_MIN, type Resources } from '../../common/model/service.ts';
import type { NodeRefusal } from './filter.ts';
import { genericDemand } from './generic-pool.ts';
import type { NodeTable } from './node-table.ts';
import { bytesInWords, cpusInWords, type Rounding } from './words.ts';

interface Shortage {
  /** key in `shortBy` */
  readonly key: string;
  readonly label: string;
  readonly needs: number;
  readonly free: number;
  /** of the whole node */
  readonly total: number;
  readonly inWords: (amount: number, rounding?: Rounding) => string;
  /** what is reserved is at least this, or nothing */
  readonly least: number;
}

/** Only for a node that has not all that is reserved. */
export function shortageRefusal(
  table: NodeTable,
  index: number,
  reservations: Resources,
): NodeRefusal {
  const short = shortages(table, index, reservations);
  const more = short
    .map(({ label, needs, free, inWords }) => `${inWords(needs - free, 'up')} of ${label}`)
    .join(' and ');
  const canBeFreed = short.every(({ needs, total }) => needs <= total);
  return {
    detail: short
      .map(
        ({ label, needs, free, inWords }) =>
          `${label} short by ${inWords(needs - free)} (needs ${inWords(needs)}, ${inWords(free)} free)`,
      )
      .join('; '),
    remedy: `reserve ${lessInWords(short)}${canBeFreed ? `, or free ${more} there` : ''}`,
    shortBy: Object.fromEntries(short.map(({ key, needs, free }) => [key, needs - free])),
    // The less is missing of what is asked for, the nearer.
    effort: short.reduce((sum, { needs, free }) => sum + 2 + (needs - free) / needs, 0),
  };
}

/** `at most 1.00 of CPUs and no memory`: what fits, where that may be reserved at all. */
function lessInWords(short: readonly Shortage[]): string {
  const some = short.filter(({ free, least }) => free >= least);
  const none = short.filter((one) => !some.includes(one));
  const most = some.map(({ label, free, inWords }) => `${inWords(free, 'down')} of ${label}`);
  const words = [...most, ...none.map(({ label }) => `no ${label}`)].join(' and ');
  return most.length > 0 ? `at most ${words}` : words;
}

/** Two digits are told: a hundredth of a CPU is the least that can be. */
const LEAST_NANO_CPUS = 1e7;

function shortages(table: NodeTable, index: number, reservations: Resources): Shortage[] {
  const { description } = table.node(index);
  const pool = table.generic(index);
  const all: Shortage[] = [
    {
      key: 'NanoCPUs',
      label: 'CPUs',
      needs: reservations.nanoCpus,
      free: table.freeNanoCpus[index]!,
      total: description?.nanoCpus ?? 0,
      inWords: cpusInWords,
      least: LEAST_NANO_CPUS,
    },
    {
      key: 'MemoryBytes',
      label: 'memory',
      needs: reservations.memoryBytes,
      free: table.freeMemoryBytes[index]!,
      total: description?.memoryBytes ?? 0,
      inWords: bytesInWords,
      least: MEMORY_BYTES_MIN,
    },
  ];
  for (const [kind, needs] of genericDemand(reservations.generic)) {
    const [free, total] = [pool.free(kind), pool.total(kind)];
    all.push({ key: kind, label: kind, needs, free, total, inWords: String, least: 1 });
  }
  // What is not asked for is not missing, even where others hold more than there is.
  return all.filter(({ needs, free }) => needs > free && needs > 0);
}
