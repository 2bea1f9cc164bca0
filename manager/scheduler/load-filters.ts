/** The filters that look at the tasks that are on the node already. */
import { type Filter, onNodes } from './filter.ts';
import { genericDemand } from './generic-pool.ts';
import { hostPortKeys } from './place.ts';
import { bytesInWords, cpusInWords } from './words.ts';

/** One resource of which there is not enough. */
interface Shortage {
  /** key in `shortBy` */
  readonly key: string;
  readonly label: string;
  readonly needs: number;
  readonly free: number;
  readonly inWords: (amount: number) => string;
}

export const resource: Filter = {
  name: 'resource',
  looksAt: 'load',
  prepare: (task, table) => {
    const { nanoCpus, memoryBytes, generic } = task.spec.resources.reservations;
    const demand = genericDemand(generic);
    if (nanoCpus === 0 && memoryBytes === 0 && demand.size === 0) return null;
    const hasGeneric = (index: number): boolean => {
      const pool = table.generic(index);
      for (const [kind, count] of demand) if (count > pool.free(kind)) return false;
      return true;
    };
    const shortages = (index: number): Shortage[] => {
      const all: Shortage[] = [
        {
          key: 'NanoCPUs',
          label: 'CPUs',
          needs: nanoCpus,
          free: table.freeNanoCpus[index]!,
          inWords: cpusInWords,
        },
        {
          key: 'MemoryBytes',
          label: 'memory',
          needs: memoryBytes,
          free: table.freeMemoryBytes[index]!,
          inWords: bytesInWords,
        },
      ];
      for (const [kind, needs] of demand) {
        const free = table.generic(index).free(kind);
        all.push({ key: kind, label: kind, needs, free, inWords: String });
      }
      // What is not asked for is not missing, even where others hold more than there is.
      return all.filter(({ needs, free }) => needs > free && needs > 0);
    };
    return {
      key: JSON.stringify([nanoCpus, memoryBytes, [...demand]]),
      passes: (index) =>
        (nanoCpus === 0 || nanoCpus <= table.freeNanoCpus[index]!) &&
        (memoryBytes === 0 || memoryBytes <= table.freeMemoryBytes[index]!) &&
        (demand.size === 0 || hasGeneric(index)),
      refusal: (index) => {
        const short = shortages(index);
        const list = (say: (one: Shortage) => string): string => short.map(say).join(' and ');
        return {
          detail: short
            .map(
              ({ label, needs, free, inWords }) =>
                `${label} short by ${inWords(needs - free)} (needs ${inWords(needs)}, ${inWords(free)} free)`,
            )
            .join('; '),
          remedy: `reserve at most ${list(({ label, free, inWords }) => `${inWords(Math.max(0, free))} of ${label}`)}, or free ${list(({ label, needs, free, inWords }) => `${inWords(needs - free)} of ${label}`)} there`,
          shortBy: Object.fromEntries(short.map(({ key, needs, free }) => [key, needs - free])),
          // The less is missing of what is asked for, the nearer.
          effort: short.reduce((sum, { needs, free }) => sum + 2 + (needs - free) / needs, 0),
        };
      },
    };
  },
  explain: (nodes) => `insufficient resources ${onNodes(nodes)}`,
};

export const hostPort: Filter = {
  name: 'host-port',
  looksAt: 'load',
  prepare: (task, table) => {
    const keys = hostPortKeys(task.endpoint);
    if (keys.length === 0) return null;
    const inUse = (index: number): string =>
      keys.filter((key) => table.usesHostPort(index, key)).join(', ');
    return {
      key: keys.join(),
      passes: (index) => !keys.some((key) => table.usesHostPort(index, key)),
      refusal: (index) => ({
        detail: `${inUse(index)} in use`,
        remedy: `publish another port than ${inUse(index)}, or publish it in mode ingress`,
        shortBy: {},
        effort: 4,
      }),
    };
  },
  explain: (nodes) => `host-mode port already in use ${onNodes(nodes)}`,
};

export const maxReplicas: Filter = {
  name: 'max-replicas',
  looksAt: 'load',
  prepare: ({ serviceId, spec }, table) => {
    const limit = spec.placement.maxReplicas;
    if (limit <= 0) return null;
    const activeAt = (index: number): number => table.activeOf(serviceId).get(index) ?? 0;
    return {
      key: `${serviceId}/${limit}`,
      passes: (index) => activeAt(index) < limit,
      refusal: (index) => ({
        detail: `has ${activeAt(index)} of ${limit} tasks allowed for each node`,
        remedy: `allow ${activeAt(index) + 1} tasks for each node (--replicas-max-per-node)`,
        shortBy: {},
        effort: 1,
      }),
    };
  },
  explain: () => 'max replicas per node limit exceed',
};
