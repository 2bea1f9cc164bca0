/** Groups of this machine. */
import { readFile } from 'node:fs/promises';

/** By number, or by name in /etc/group; null = there is no such group. */
export async function findGroupId(group: string): Promise<number | null> {
  if (/^\d+$/.test(group)) return Number(group);
  for (const line of (await readFile('/etc/group', 'utf8')).split('\n')) {
    const [name, , id] = line.split(':');
    if (name === group) return Number(id);
  }
  return null;
}
