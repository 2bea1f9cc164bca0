/** How many bytes the files below a directory have; a file with several names counts once. */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** What goes away while it is counted is left out. */
export async function treeSizeBytes(directory: string): Promise<number> {
  const counted = new Set<string>();
  let bytes = 0;
  const pending = [directory];
  for (let folder = pending.pop(); folder !== undefined; folder = pending.pop()) {
    for (const entry of await ifThere(readdir(folder, { withFileTypes: true }), [])) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        pending.push(path);
        continue;
      }
      const stats = await ifThere(lstat(path), null);
      if (stats === null || !stats.isFile()) continue;
      const key = `${stats.dev}:${stats.ino}`;
      if (stats.nlink > 1 && counted.has(key)) continue;
      if (stats.nlink > 1) counted.add(key);
      bytes += stats.size;
    }
  }
  return bytes;
}

async function ifThere<T, U>(reading: Promise<T>, otherwise: U): Promise<T | U> {
  try {
    return await reading;
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return otherwise;
    throw err;
  }
}
