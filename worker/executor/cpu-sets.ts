/** Whether a node has the CPUs and the memory nodes that a container is to be held to. */
import { readFile } from 'node:fs/promises';
import { SkepError } from '../../common/base/errors.ts';
import type { KernelResources } from '../../common/model/service.ts';

export interface CpuPlaces {
  /** lists of the kernel, as `0-3,8` */
  readonly cpus: string;
  readonly mems: string;
}

const HERE: CpuPlaces = {
  cpus: '/sys/devices/system/cpu/online',
  mems: '/sys/devices/system/node/online',
};

/** Throws `invalid-argument` with Docker's words for what is not here. @param places files that tell what is */
export async function checkCpuSets(
  kernel: Pick<KernelResources, 'cpusetCpus' | 'cpusetMems'> | null,
  places: CpuPlaces = HERE,
): Promise<void> {
  if (kernel === null) return;
  await checkSet('CPUs', kernel.cpusetCpus, places.cpus);
  await checkSet('memory nodes', kernel.cpusetMems, places.mems);
}

async function checkSet(what: string, wanted: string, place: string): Promise<void> {
  if (wanted === '') return;
  // A kernel without NUMA has no list of its memory nodes; what it takes shows when the group is made.
  const available = (await readFile(place, 'utf8').catch(() => '')).trim();
  if (available === '' || isWithin(wanted, available)) return;
  const words = `requested ${wanted}, available: ${available}`;
  throw new SkepError('invalid-argument', `Requested ${what} are not available - ${words}`);
}

/** Both are lists of numbers and ranges. */
export function isWithin(wanted: string, available: string): boolean {
  const held = rangesOf(available);
  // The kernel joins neighbours, so that a range lies in one of its ranges or not at all.
  return rangesOf(wanted).every(
    ([least, most]) => least <= most && held.some(([from, to]) => from <= least && most <= to),
  );
}

function rangesOf(list: string): [number, number][] {
  return list.split(',').map((part) => {
    const [least = '', most = least] = part.split('-');
    return [Number(least), Number(most)];
  });
}
