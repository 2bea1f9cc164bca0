import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import type { HealthConfig } from '../../../common/model/service.ts';
import { EndpointDrains } from '../../../worker/agent/endpoint-drains.ts';
import { ContainerExecutor } from '../../../worker/executor/container-executor.ts';
import { DEFAULT_NODE_SETTINGS } from '../../../worker/executor/node-settings.ts';
import { TaskFiles } from '../../../worker/executor/task-files.ts';
import { aContainerSpec, aNodeDescription, aTask, aTaskSpec } from '../../support/builders.ts';
import { CHECK } from '../../support/controller-scene.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import {
  anImage,
  FakeImages,
  FakeNetworks,
  FakeRuntime,
  FakeVolumes,
  NO_HOST_FACTS,
} from '../../support/fake-container-host.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();
const NONE = { secret: () => undefined, config: () => undefined };

async function scene() {
  const dir = await folder();
  const calls: string[] = [];
  const clock = new FakeClock();
  const runtime = new FakeRuntime(calls);
  const images = new FakeImages(calls);
  const networks = new FakeNetworks(calls);
  const description = aNodeDescription();
  const executor = new ContainerExecutor({
    runtime,
    images,
    networks,
    drains: new EndpointDrains(clock),
    nameservers: () => [],
    volumes: new FakeVolumes(calls),
    files: new TaskFiles({
      dir: join(dir, 'files'),
      memoryDir: join(dir, 'memory'),
      mountMemory: async () => {},
      unmountMemory: async () => {},
    }),
    hostFacts: async () => NO_HOST_FACTS,
    settings: DEFAULT_NODE_SETTINGS,
    resolveUser: async () => ({ uid: 0, gid: 0, additionalGids: [], home: '/' }),
    describe: () => {
      calls.push('describe');
      return description;
    },
    node: () => description,
    clock,
    log: silentLogger,
    tell: () => {},
  });
  const aCheckedTask = (healthcheck: HealthConfig | null = CHECK) => {
    const container = aContainerSpec({ healthcheck });
    images.byReference.set(container.image, anImage());
    return aTask({ spec: aTaskSpec({ container }) });
  };
  return { executor, runtime, images, networks, calls, clock, description, aCheckedTask };
}

describe('container executor', () => {
  test('describes the node and passes network state on', async () => {
    const it = await scene();
    expect(it.executor.describe()).toBe(it.description);
    await it.executor.applyNetworkState([], true);
    expect(it.calls).toEqual(['describe', 'apply network']);
  });

  test('expands a task without a look at the whole machine', async () => {
    const it = await scene();
    const container = aContainerSpec({ hostname: 'on-{{.Node.Hostname}}' });
    const { spec } = it.executor.expanded(aTask({ spec: aTaskSpec({ container }) }));
    expect(spec.container.hostname).toBe(`on-${it.description.hostname}`);
    expect(it.calls).toEqual([]);
  });

  test('the sweep removes what belongs to no task, also when it runs', async () => {
    const it = await scene();
    const [known, running, ended] = [aTask(), aTask(), aTask()];
    for (const { id } of [known, running, ended]) it.runtime.addRunning(id);
    it.runtime.end(ended.id);
    await it.executor.sweep((id) => id === known.id);
    expect(it.runtime.list().map(({ id }) => id)).toEqual([known.id]);
    const released = ['remove container', 'detach', 'release rootfs', 'release volumes'];
    expect(it.calls).toEqual(['kill', ...released, ...released]);
  });

  test('knows the health of a task until it is let go of', async () => {
    const it = await scene();
    const task = it.aCheckedTask();
    it.runtime.addRunning(task.id);
    const controller = it.executor.controller(task, NONE);
    expect(it.executor.health(task.id)).toBeNull();
    const abort = new AbortController();
    const wait = expect(controller.wait(abort.signal)).rejects.toThrow();
    await settle();
    expect(it.executor.health(task.id)?.status).toBe('starting');
    abort.abort();
    await wait;
    controller.close();
    expect(it.executor.health(task.id)).toBeNull();
  });

  test('an older controller of a task that is let go of does not hide the newer one', async () => {
    const it = await scene();
    const task = it.aCheckedTask();
    it.runtime.addRunning(task.id);
    const older = it.executor.controller(task, NONE);
    const newer = it.executor.controller(task, NONE);
    const wait = newer.wait(new AbortController().signal);
    await settle();
    older.close();
    expect(it.executor.health(task.id)?.status).toBe('starting');
    it.runtime.end(task.id);
    await wait;
    newer.close();
  });
});
