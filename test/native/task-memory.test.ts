import { appendFileSync, readdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { SecretId } from '../../common/model/ids.ts';
import { mountsBelow, mountTmpfs, unmountTree } from '../../native/ffi/mount.ts';
import { TaskFiles } from '../../worker/executor/task-files.ts';
import { aContainerSpec, aTask, aTaskSpec, idOf } from '../support/builders.ts';
import { runtimeTestsCanRun } from '../support/runtime-box.ts';
import { temporaryFolders } from '../support/temporary-folder.ts';

const TMPFS_MAGIC = 0x01021994;
const folder = temporaryFolders();

describe.skipIf(!runtimeTestsCanRun)('secrets of a task', () => {
  test('lie in a tmpfs of its own that takes nothing more, and goes with it', async () => {
    const dir = await folder();
    const files = new TaskFiles({
      dir: join(dir, 'files'),
      memoryDir: join(dir, 'memory'),
      mountMemory: mountTmpfs,
      unmountMemory: unmountTree,
    });
    const secret = {
      secretId: idOf<SecretId>('one'),
      secretName: 'pass',
      file: { name: 'pass', uid: '0', gid: '0', mode: 0o400 },
    };
    const container = aContainerSpec({ secrets: [secret] });
    const tasks = [1, 2].map(() => aTask({ spec: aTaskSpec({ container }) }));
    const data = Buffer.alloc(500_000, 'x'); // the largest that there is
    const found = { id: secret.secretId, name: 'pass', data, templateDriver: '' };
    const dependencies = { secret: () => found, config: () => undefined };
    const sources: string[] = [];
    for (const task of [...tasks, tasks[0]!]) {
      const [mount] = await files.writePayloads(task, dependencies);
      sources.push(mount!.source);
    }
    const [one = '', other = ''] = sources;
    expect(readFileSync(one)).toEqual(data);
    expect(mountsBelow(dir)).toEqual([dirname(one), dirname(other)]); // though one was written twice
    expect(statfsSync(one).type).toBe(TMPFS_MAGIC);
    expect(() => appendFileSync(one, Buffer.alloc(100_000))).toThrow('ENOSPC');
    expect(() => writeFileSync(join(dirname(one), 'more'), '')).toThrow('ENOSPC');
    await files.remove(tasks[0]!.id);
    expect(mountsBelow(dir)).toEqual([dirname(other)]);
    await files.remove(tasks[1]!.id);
    expect(mountsBelow(dir)).toEqual([]);
    expect(readdirSync(join(dir, 'memory'))).toEqual([]);
  });
});
