/** Where a text lies on the disks of a development cluster's hosts, though it should not. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Paths of files on their disks, those of images aside, that hold this text as it is or anywhere in base64. */
export function filesWith(clusterName: string, text: string): string[] {
  const words = [text, ...base64Forms(text)].map((word) => Buffer.from(word));
  const root = `/var/lib/skep-dev/${clusterName}`;
  const disk = lstatSync(root).dev;
  const found: string[] = [];
  const visit = (dir: string): void => {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      const path = join(dir, entry.name);
      // What is mounted is in memory, or a container's.
      const isOnDisk = (): boolean => lstatSync(path).dev === disk;
      const isSearched = entry.isDirectory() && entry.name !== 'images';
      if (isSearched) unlessGone(() => isOnDisk() && visit(path));
      if (!entry.isFile()) continue;
      unlessGone(() => isOnDisk() && holds(readFileSync(path), words) && found.push(path));
    }
  };
  visit(root);
  return found;
}

function holds(bytes: Buffer, words: readonly Buffer[]): boolean {
  return words.some((word) => bytes.includes(word));
}

/** The hosts go on meanwhile. */
function unlessGone(look: () => unknown): void {
  try {
    look();
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
  }
}

/** What its bytes become in base64 and base64url behind any others: without the characters that hold bits of neighbours. */
export function base64Forms(text: string): string[] {
  return ['base64', 'base64url'].flatMap((encoding) =>
    [0, 1, 2].map((before) => {
      const bytes = Buffer.from(`${'x'.repeat(before)}${text}`);
      const whole = bytes.subarray(0, bytes.length - (bytes.length % 3));
      const own = before === 0 ? whole : whole.subarray(3);
      return own.toString(encoding as BufferEncoding);
    }),
  );
}
