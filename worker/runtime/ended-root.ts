/** The root of a container that has ended, put together again for a while. */
import { join } from 'node:path';
import { mountOverlay, unmountTree } from '../../native/ffi/mount.ts';
import type { RootLayers } from './native-runtime.ts';

/** Nobody may start or remove the container meanwhile. Volumes are not mounted. */
export async function withEndedRoot<T>(
  { taskDir, lowerDirs }: RootLayers,
  work: (path: string) => Promise<T>,
): Promise<T> {
  const path = join(taskDir, 'merged');
  mountOverlay(path, lowerDirs, join(taskDir, 'upper'), join(taskDir, 'work'));
  try {
    return await work(path);
  } finally {
    await unmountTree(path);
  }
}
