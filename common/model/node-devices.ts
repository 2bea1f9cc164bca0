/** Device files that tasks ask for by their path: which of them nodes tell of, and what a node lacks. */
import type { NodeDescription } from './node.ts';

const FOLDER = '/dev/';
/** Folders of other things than devices of a machine, of second names of them by their numbers, and of one for each CPU. */
const UNTOLD_FOLDERS = /^(?:pts|shm|mqueue|hugepages|fd|char|block|cpu)(?:\/|$)/;
/** What every kernel has, and what there are dozens of: a node that said all of it would say much that is of no use. */
const UNTOLD =
  /^(?:null|zero|full|random|urandom|console|ptmx|kmsg|mem|port|core|std\w+|tty\d*|ttyS\d+|vcs\w*|loop\d+|ram\d+)$/;

/** @param name below /dev */
export function isToldDevice(name: string): boolean {
  return name !== '' && !UNTOLD_FOLDERS.test(name) && !UNTOLD.test(name);
}

/** Of these paths on a node those that it does not have. One that has said nothing is trusted to have them. */
export function missingDevices(
  description: Pick<NodeDescription, 'devices'> | null,
  paths: readonly string[],
): string[] {
  const there = description?.devices ?? [];
  if (there.length === 0) return [];
  return paths.filter((path) => {
    if (!path.startsWith(FOLDER)) return false;
    const name = path.slice(FOLDER.length).replace(/\/+$/, '');
    if (!isToldDevice(name)) return false;
    // A folder stands for the devices in it.
    return !there.some((one) => one === name || one.startsWith(`${name}/`));
  });
}
