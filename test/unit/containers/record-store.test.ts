import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import type { SmallFiles } from '../../../common/base/small-files.ts';
import { type ContainerRecord, RecordStore } from '../../../worker/containers/record-store.ts';

const record = (name: string, id = 'a'): ContainerRecord =>
  ({ version: 1, id, name, definition: {} }) as ContainerRecord;

/** A disk on which a file takes until `release` to be written, and which tells of two writers at once. */
function scene() {
  const contents = new Map<string, string>();
  const open: { path: string; done: () => void; fail: (err: Error) => void }[] = [];
  const write = (path: string, apply: () => void): Promise<void> =>
    new Promise((resolve, reject) => {
      if (open.some((one) => one.path === path)) reject(new Error('ENOENT: rename'));
      const close = (): unknown =>
        open.splice(
          open.findIndex((one) => one.path === path),
          1,
        );
      const done = (): void => {
        close();
        apply();
        resolve();
      };
      const fail = (err: Error): void => {
        close();
        reject(err);
      };
      open.push({ path, done, fail });
    });
  const files: SmallFiles = {
    list: async () => [...contents.keys()],
    read: async (path) => contents.get(path) ?? null,
    replace: (path, text) => write(path, () => contents.set(path, text)),
    remove: (path) => write(path, () => contents.delete(path)),
  };
  const nextOpen = async (): Promise<(typeof open)[number]> => {
    for (let i = 0; i < 20 && open.length === 0; i++) await Promise.resolve();
    if (!open[0]) throw new Error('nothing is being written');
    return open[0];
  };
  return { store: new RecordStore('/c', silentLogger, files), contents, open, nextOpen };
}

describe('records of containers', () => {
  test('are written one after another, the last one stays', async () => {
    const { store, contents, open, nextOpen } = scene();
    const names = ['one', 'two', 'three'];
    const puts = names.map((name) => store.put(record(name)));
    for (const _name of names) {
      const writing = await nextOpen();
      expect(open).toHaveLength(1);
      writing.done();
    }
    await Promise.all(puts);
    expect(JSON.parse(contents.get('/c/a.json')!).name).toBe('three');
  });

  test('do not come back when they are removed behind a write', async () => {
    const { store, contents, nextOpen } = scene();
    const both = [store.put(record('one')), store.remove('a')];
    (await nextOpen()).done();
    (await nextOpen()).done();
    await Promise.all(both);
    expect(contents.size).toBe(0);
  });

  test('of different containers do not wait for one another', async () => {
    const { store, open, nextOpen } = scene();
    const both = [store.put(record('one')), store.put(record('two', 'b'))];
    await nextOpen();
    expect(open.map(({ path }) => path)).toEqual(['/c/a.json', '/c/b.json']);
    for (const one of [...open]) one.done();
    await Promise.all(both);
  });

  test('are written after one that could not be', async () => {
    const { store, contents, nextOpen } = scene();
    const first = store.put(record('one'));
    const second = store.put(record('two'));
    (await nextOpen()).fail(new Error('no space left on device'));
    await expect(first).rejects.toThrow('no space');
    (await nextOpen()).done();
    await second;
    expect(contents.size).toBe(1);
  });
});
