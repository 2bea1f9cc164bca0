/**
 * Small files as a parameter: read, replaced and removed as a whole, so that the simulator can lose
 * them. Knows nothing of what is in them.
 */
import { mkdir, readdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface SmallFiles {
  /** Names in the folder, in no order; makes it, with parents, when there is none. */
  list(dir: string): Promise<string[]>;
  /** Null when there is no such file. */
  read(path: string): Promise<string | null>;
  /**
   * All of the old contents or all of the new when the process dies; after a crash of the machine maybe
   * neither. What was being written then may stay behind as `<path>.new`.
   */
  replace(path: string, text: string): Promise<void>;
  /** Fine when there is no such file. */
  remove(path: string): Promise<void>;
}

/** For root only: folders 0700, files 0600. */
export class NodeSmallFiles implements SmallFiles {
  async list(dir: string): Promise<string[]> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    return readdir(dir);
  }

  async read(path: string): Promise<string | null> {
    try {
      return await readFile(path, 'utf8');
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw err;
    }
  }

  async replace(path: string, text: string): Promise<void> {
    const unfinished = `${path}.new`;
    try {
      await writeFile(unfinished, text, { mode: 0o600 });
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await writeFile(unfinished, text, { mode: 0o600 });
    }
    await rename(unfinished, path);
  }

  async remove(path: string): Promise<void> {
    try {
      await unlink(path); // `rm` looks at it first, on this thread
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
    }
  }
}
