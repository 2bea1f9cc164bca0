import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { SystemRandom } from '../../../common/base/random.ts';
import { VolumeStore } from '../../../worker/volumes/volume-store.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();
const PLAIN = { driver: '', labels: {}, options: {} };

test.each(['', '{"name":"bad"', 'null', '{"name":"other"}'])(
  'a volume with the record %j keeps no other from the node, and its data stay',
  async (record) => {
    const dir = await folder();
    const common = { dir, clock: new FakeClock(), random: new SystemRandom() };
    const open = async (): Promise<VolumeStore> => {
      const store = new VolumeStore({ ...common, log: silentLogger, tell: () => {} });
      await store.start();
      return store;
    };
    const before = await open();
    await before.create({ ...PLAIN, name: 'good' });
    await before.stop();
    await mkdir(join(dir, 'bad', 'users'), { recursive: true });
    await mkdir(join(dir, 'bad', '_data'));
    await writeFile(join(dir, 'bad', '_data', 'kept'), 'dear');
    await writeFile(join(dir, 'bad', 'volume.json'), record);

    const store = await open();
    expect(store.list().map(({ name }) => name)).toEqual(['good']);
    const damaged = { code: 'data-loss', message: expect.stringContaining('volume bad') };
    await expect(store.create({ ...PLAIN, name: 'bad' })).rejects.toMatchObject(damaged);
    await expect(store.remove('bad', { force: true })).rejects.toMatchObject(damaged);
    expect(await readFile(join(dir, 'bad', '_data', 'kept'), 'utf8')).toBe('dear');
    expect(await readFile(join(dir, 'bad', 'volume.json'), 'utf8')).toBe(record);
  },
);
