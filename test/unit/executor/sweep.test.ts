import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import type { TaskId } from '../../../common/model/ids.ts';
import { EndpointDrains } from '../../../worker/agent/endpoint-drains.ts';
import { ContainerExecutor } from '../../../worker/executor/container-executor.ts';
import { DEFAULT_NODE_SETTINGS } from '../../../worker/executor/node-settings.ts';
import { TaskFiles } from '../../../worker/executor/task-files.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import {
  FakeImages,
  FakeNetworks,
  FakeRuntime,
  FakeVolumes,
  NO_HOST_FACTS,
} from '../../support/fake-container-host.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();
const KNOWN = 'known' as TaskId;

describe('sweep', () => {
  test('removes pins, volumes and files of tasks that nobody knows, and nothing else', async () => {
    const dir = await folder();
    const images = new FakeImages();
    const volumes = new FakeVolumes();
    for (const id of [KNOWN, 'pinned', 'using']) images.pinned.add(id);
    for (const id of [KNOWN, 'using']) volumes.users.add(id);
    for (const id of [KNOWN, 'filed']) await mkdir(join(dir, 'files', id), { recursive: true });
    const executor = new ContainerExecutor({
      runtime: new FakeRuntime(),
      images,
      volumes,
      networks: new FakeNetworks(),
      drains: new EndpointDrains(new FakeClock()),
      nameservers: () => [],
      files: new TaskFiles({
        dir: join(dir, 'files'),
        memoryDir: join(dir, 'memory'),
        mountMemory: async () => {},
        unmountMemory: async () => {},
      }),
      hostFacts: async () => NO_HOST_FACTS,
      settings: DEFAULT_NODE_SETTINGS,
      resolveUser: async () => ({ uid: 0, gid: 0, additionalGids: [], home: '/' }),
      node: () => {
        throw new Error('nobody asks');
      },
      describe: () => {
        throw new Error('not asked for');
      },
      clock: new FakeClock(),
      log: silentLogger,
      tell: () => {},
    });
    await executor.sweep((id) => id === KNOWN);
    expect([...images.pinned]).toEqual([KNOWN]);
    expect([...volumes.users]).toEqual([KNOWN]);
    expect(await readdir(join(dir, 'files'))).toEqual([KNOWN]);
  });
});
