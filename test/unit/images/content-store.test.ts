import { readdirSync, readlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { expect, test, vi } from 'vitest';
import { SystemRandom } from '../../../common/base/random.ts';
import { ContentStore } from '../../../worker/images/content-store.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();

/** Files below `dir` that this process has open. */
function openedBelow(dir: string): string[] {
  const paths = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // the listing's own
    }
  });
  return paths.filter((path) => path.startsWith(dir));
}

test('a blob that cannot be made durable leaves no open file', async () => {
  const dir = await folder();
  const content = new ContentStore(dir, new SystemRandom());
  await content.start();
  const probe = await open(dir, 'r');
  const sync = vi.spyOn(Object.getPrototypeOf(probe) as typeof probe, 'sync');
  await probe.close();
  sync.mockRejectedValueOnce(Object.assign(new Error('no space'), { code: 'ENOSPC' }));
  try {
    await expect(content.put(Buffer.from('x'), () => {})).rejects.toThrow('no space');
  } finally {
    sync.mockRestore();
  }
  expect(openedBelow(dir)).toEqual([]);
});
