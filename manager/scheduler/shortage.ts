/** How much of which resource a node is short of, and what would help. */
import type { Resources } from '../../common/model/service.ts';
import type { NodeRefusal } from './filter.ts';
import { genericDemand } from './generic-pool.ts';
import type { NodeTable } from './node-table.ts';
import { bytesInWords, cpusInWords } from './words.ts';

interface Shortage {
  /** key in `shortBy` */
  readonly key: string;
  readonly label: string;
  readonly needs: number;
  readonly free: number;
  /** of the whole node */
  readonly total: number;
  readonly inWords: (amount: number) => string;
}

/** Only for a node that has not all that is reserved. */
export function shortageRefusal(
  table: NodeTable,
  index: number,
  reservations: Resources,
): NodeRefusal {
  const short = shortages(table, index, reservations);
  const list = (say: (one: Shortage) => string): string => short.map(say).join(' and ');
  const less = list(({ label, free, inWords }) => `${inWords(Math.max(0, free))} of ${label}`);
  const more = list(({ label, needs, free, inWords }) => `${inWords(needs - free)} of ${label}`);
  const canBeFreed = short.every(({ needs, total }) => needs <= total);
  return {
    detail: short
      .map(
        ({ label, needs, free, inWords }) =>
          `${label} short by ${inWords(needs - free)} (needs ${inWords(needs)}, ${inWords(free)} free)`,
      )
      .join('; '),
    remedy: `reserve at most ${less}${canBeFreed ? `, or free ${more} there` : ''}`,
    shortBy: Object.fromEntries(short.map(({ key, needs, free }) => [key, needs - free])),
    // The less is missing of what is asked for, the nearer.
    effort: short.reduce((sum, { needs, free }) => sum + 2 + (needs - free) / needs, 0),
  };
}

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
    },
    {
      key: 'MemoryBytes',
      label: 'memory',
      needs: reservations.memoryBytes,
      free: table.freeMemoryBytes[index]!,
      total: description?.memoryBytes ?? 0,
      inWords: bytesInWords,
    },
  ];
  for (const [kind, needs] of genericDemand(reservations.generic)) {
    const [free, total] = [pool.free(kind), pool.total(kind)];
    all.push({ key: kind, label: kind, needs, free, total, inWords: String });
  }
  // What is not asked for is not missing, even where others hold more than there is.
  return all.filter(({ needs, free }) => needs > free && needs > 0);
}
