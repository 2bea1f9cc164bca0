/** A file that says which process is the daemon, as dockerd's `--pidfile`. */
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SkepError } from '../common/base/errors.ts';

/** Resolves with what removes the file. Throws `conflict` when it names a process that runs. */
export async function writePidFile(path: string, pid: number): Promise<() => Promise<void>> {
  const other = Number(await readFile(path, 'utf8').catch(() => ''));
  if (other > 0 && other !== pid && (await runs(other))) {
    throw new SkepError('conflict', `write ${path}: it names process ${other}, which runs`);
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await writeFile(path, String(pid));
  return () => rm(path, { force: true });
}

function runs(pid: number): Promise<boolean> {
  return stat(`/proc/${pid}`).then(
    () => true,
    () => false,
  );
}
