import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { containerIdOf, defaultHostname } from '../../../common/model/container-id.ts';
import { asId, type NetworkId, type TaskId } from '../../../common/model/ids.ts';
import { DEFAULT_LOG_DRIVER } from '../../../common/model/log-driver.ts';
import { DEFAULT_ISOLATION, type TaskSpec } from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { ContainerView } from '../../../worker/container-view.ts';
import type { PlainContainer } from '../../../worker/containers/plain-container.ts';
import type { OciMount } from '../../../worker/runtime/oci.ts';
import {
  aContainerSpec,
  aNetworkTarget,
  aTask,
  aTaskSpec,
  aTaskStatus,
} from '../../support/builders.ts';
import { aContainerInfo } from '../../support/container-info.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { anImage, FakeRuntime } from '../../support/fake-container-host.ts';

const COMMAND = {
  args: ['sh'],
  env: [],
  cwd: '',
  user: null,
  tty: false,
  stdin: false,
  privileged: false,
  consoleSize: null,
};

/** Tasks with a container unless named in `without`. */
function scene(
  tasks: readonly Task[],
  without: readonly Task[] = [],
  taskDir = async (): Promise<string> => {
    throw new SkepError('not-found', 'no such container');
  },
  mounts: readonly OciMount[] = [],
  plain: readonly PlainContainer[] = [],
) {
  const runtime = new FakeRuntime();
  const images = new Map([[tasks[0]?.id ?? '', anImage()]]);
  for (const task of tasks) if (!without.includes(task)) runtime.addRunning(task.id);
  /** it is removed before it is let go; its root is that of a process that has ended */
  const gone = { isAtThaw: false, isItsProcess: false };
  const view = new ContainerView({
    tasks: () => tasks.map((task) => ({ task, status: aTaskStatus({ state: 'running' }) })),
    plain: () => plain,
    runtime: {
      get: (id) => runtime.get(id),
      exec: (id, spec) => runtime.exec(id, spec),
      logs: () => runtime.logs(),
      logAttributes: () => ({}),
      attach: () => Promise.reject(new Error('not here')),
      resize: async () => {},
      pids: () => [],
      cgroupVersion: () => 'hybrid',
      layers: async () => ({ taskDir: await taskDir(), lowerDirs: [], mounts, devices: [] }),
      owners: async () => null,
      rootPath: () => (gone.isItsProcess ? '/proc/0/root' : '/'),
      freeze: async () => {},
      thaw: async () => {
        if (gone.isAtThaw) throw new SkepError('not-found', 'no such container');
      },
      stats: () => {
        throw new Error('not here');
      },
    },
    image: (taskId) => images.get(taskId),
    volumes: () => [
      { name: 'data', mountpoint: '/volumes/data/_data' },
      { name: 'f'.repeat(64), mountpoint: '/volumes/fff/_data' },
    ],
    hostname: () => 'machine',
    forbidden: new Set(['privileged']),
    health: () => null,
    expanded: (task) => task,
    networkOf: (id) => (id === 'net-known' ? { name: 'shop_front', driver: 'overlay' } : null),
    logDriver: DEFAULT_LOG_DRIVER,
    clock: new FakeClock(),
  });
  return { runtime, images, view, gone };
}

async function codeOf(action: () => unknown): Promise<string> {
  try {
    await action();
  } catch (err) {
    if (err instanceof SkepError) return `${err.code}: ${err.message}`;
  }
  return 'nothing was thrown';
}

describe('containers of a node', () => {
  test('are its tasks that have a container, newest first', () => {
    const [older, none, newer] = [aTask(), aTask(), aTask()];
    const { view } = scene([older, none, newer], [none]);
    expect(view.list().map(({ runtimeId }) => runtimeId)).toEqual([newer.id, older.id]);
  });

  test('join the task with what runs', () => {
    const task = aTask();
    const { view, runtime, images } = scene([task]);
    const state = runtime.get(task.id);
    expect(view.list()[0]).toMatchObject({
      id: containerIdOf(task.id),
      name: `web.1.${task.id}`,
      runtimeId: task.id,
      task,
      plain: null,
      condition: 'running',
      pid: state?.pid,
      createdAtMs: state?.createdAtMs,
      startedAtMs: state?.startedAtMs,
      exit: null,
      image: images.get(task.id),
      health: null,
    });
    expect(view.list()[0]?.labels).toMatchObject({ 'com.docker.swarm.task.id': task.id });
    const hostname = defaultHostname(task.id);
    expect(view.peerOf(containerIdOf(task.id))).toMatchObject({ pid: state?.pid, hostname });
    images.clear();
    expect(view.list()[0]?.image).toBeNull();
  });

  test('are in networks by name, and by id where the node no longer knows of one', () => {
    const place = { addresses: [], aliases: [] };
    const networks = ['net-known', 'net-gone'].map((id) => ({
      ...place,
      networkId: asId<NetworkId>(id),
    }));
    const { view } = scene([aTask({ networks })]);
    expect(view.list()[0]!.networks).toMatchObject([
      { name: 'shop_front', networkId: 'net-known' },
      { name: 'net-gone', networkId: 'net-gone' },
    ]);
  });

  test('have the hardware address there that overlays give with an address, and that of IPv6', () => {
    const networks = ['net-known', 'net-gone'].map((id, i) => ({
      addresses: [`10.0.1.${i + 5}/24`, ...(i === 1 ? ['fd00::a00:106/64'] : [])],
      ...{ aliases: [], networkId: asId<NetworkId>(id) },
    }));
    const { view } = scene([aTask({ networks })]);
    expect(view.list()[0]!.networks).toMatchObject([
      { address: '10.0.1.5', mac: '02:42:0a:00:01:05' },
      { address: '10.0.1.6', mac: '', ipv6: 'fd00::a00:106/64' },
    ]);
    expect(view.list()[0]!.networks[0]).not.toHaveProperty('ipv6');
  });

  test('have the labels of their image, under those of their own', () => {
    const spec = aTaskSpec({ container: aContainerSpec({ labels: { both: 'own' } }) });
    const task = aTask({ spec });
    const { view, images } = scene([task]);
    const image = anImage();
    const labels = { both: 'image', vendor: 'x', 'com.docker.swarm.task.id': 'forged' };
    images.set(task.id, { ...image, config: { ...image.config, labels } });
    const [info] = view.list();
    for (const told of [info!.labels, info!.attributes]) {
      expect(told).toMatchObject({ both: 'own', vendor: 'x', 'com.docker.swarm.task.id': task.id });
    }
  });

  test('a file that is not there is missed by their name', async () => {
    const task = aTask();
    const { view } = scene([task]);
    const looked = view.withRoot(view.require(task.id), async (root) => root.stat('/none/such'));
    await expect(looked).rejects.toMatchObject({
      code: 'not-found',
      message: `Could not find the file /none/such in container web.1.${task.id}`,
    });
  });

  test('that ended while their files were asked for are told to have ended', async () => {
    const task = aTask();
    const { view, gone } = scene([task]);
    gone.isItsProcess = true;
    const looked = view.withRoot(view.require(task.id), async () => 'seen');
    await expect(looked).rejects.toMatchObject({
      code: 'conflict',
      message: `container web.1.${task.id} is not running`,
    });
  });

  test('log as they say, and as their node does where they say nothing', () => {
    const own = { name: 'none', options: {} };
    const tasks = [null, { name: '', options: {} }, own].map((logDriver) => aTask({ logDriver }));
    const { view } = scene(tasks);
    const shown = tasks.map(({ id }) => view.require(id).logDriver);
    expect(shown).toEqual([DEFAULT_LOG_DRIVER, DEFAULT_LOG_DRIVER, own]);
  });

  test('have the volumes that are mounted into them, the anonymous ones by their names', async () => {
    const bind = (source: string, destination: string, options: string[] = []): OciMount => ({
      ...{ destination, type: 'bind', source, options },
    });
    const mounts = [
      bind('/srv', '/srv'),
      bind('/volumes/data/_data', '/data', ['rbind', 'ro']),
      bind('/volumes/fff/_data/part', '/anonymous'),
    ];
    const task = aTask();
    const { view } = scene([task], [], async () => '/none', mounts);
    expect(await view.volumesOf(view.require(task.id))).toEqual([
      { name: 'data', path: '/volumes/data/_data', target: '/data', readOnly: true },
      {
        ...{ name: 'f'.repeat(64), path: '/volumes/fff/_data/part' },
        ...{ target: '/anonymous', readOnly: false },
      },
    ]);
  });

  test.each<[string, Partial<TaskSpec>, (task: Task) => string]>([
    ['their id', {}, ({ id }) => containerIdOf(id).slice(0, 12)],
    ['their spec', { container: aContainerSpec({ hostname: 'named' }) }, () => 'named'],
    [
      'the machine, in its network',
      { networks: [aNetworkTarget({ target: 'host' })] },
      () => 'machine',
    ],
    [
      'the machine, where they share its name',
      { container: aContainerSpec({ isolation: { ...DEFAULT_ISOLATION, uts: 'host' } }) },
      () => 'machine',
    ],
  ])('are called by %s', (_how, spec, hostname) => {
    const task = aTask({ spec: aTaskSpec(spec) });
    const { view } = scene([task]);
    expect(view.require(task.id).hostname).toBe(hostname(task));
  });

  test.each<[string, (task: Task) => string]>([
    ['id', (task) => containerIdOf(task.id)],
    ['the short id', (task) => containerIdOf(task.id).slice(0, 12)],
    ['a name', (task) => `web.1.${task.id}`],
    ['a name with a slash', (task) => `/web.1.${task.id}`],
    ["the task's id", (task) => task.id],
  ])('are found by %s', (_what, reference) => {
    const [task, other] = [aTask(), aTask()];
    const { view } = scene([task, other]);
    expect(view.require(reference(task)).task).toBe(task);
  });

  test('an ambiguous start of an id is refused, as is an unknown one', async () => {
    const tasks = Array.from({ length: 17 }, () => aTask()); // two of them start alike
    const { view } = scene(tasks);
    const starts = tasks.map(({ id }) => containerIdOf(id)[0]!);
    const twice = starts.find((start, i) => starts.indexOf(start) !== i)!;
    expect(await codeOf(() => view.require(twice))).toMatch(/^invalid-argument: .*ambiguous/);
    expect(await codeOf(() => view.require('nope'))).toBe('not-found: No such container: nope');
    expect(await codeOf(() => view.require(''))).toMatch(/^not-found/);
  });

  test("are found by a start of the task's id, as `service ps` prints it, if it is no word", async () => {
    const start = 'xk2v9q7m1d0z';
    const tasks = [
      `${start}aaaaaaaaaaaaa`,
      `${start}bbbbbbbbbbbbb`,
      'yk2v9q7m1d0zccccccccccccc',
    ].map((id) => aTask({ id: id as TaskId }));
    const { view } = scene(tasks);
    for (const reference of ['yk2v9q7m1d0z', 'yk2v9q', `${start}a`]) {
      expect(view.require(reference).task?.id.startsWith(reference)).toBe(true);
    }
    expect(await codeOf(() => view.require(start))).toMatch(/^invalid-argument: .*ambiguous/);
    expect(await codeOf(() => view.require('yk2v9'))).toMatch(/^not-found/);
  });

  test('are known by the files that are kept for them, where those are there', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'skep-test-'));
    try {
      for (const name of ['hosts', 'resolv.conf', 'theirs']) {
        await writeFile(join(dir, name), '');
      }
      const bind = (name: string, source: string): OciMount => {
        return {
          destination: `/etc/${name}`,
          type: 'bind',
          source: join(dir, source),
          options: [],
        };
      };
      const names = ['resolv.conf', 'hosts', 'hostname'].map((name) => bind(name, name));
      const task = aTask();
      const mounts = [...names, bind('hosts', 'theirs')];
      const { view } = scene([task], [], async () => dir, mounts);
      const info = view.require(task.id);
      const [hosts, resolvConf] = ['hosts', 'resolv.conf'].map((it) => join(dir, it));
      expect(await view.filePaths(info)).toEqual({ hosts, resolvConf, hostname: '' });
    } finally {
      await rm(dir, { recursive: true });
    }
    const gone = aTask();
    const none = { hosts: '', resolvConf: '', hostname: '' };
    const { view } = scene([gone]);
    expect(await view.filePaths(view.require(gone.id))).toEqual(none);
  });

  test('are limited by cgroup v1 where there are both', () => {
    expect(scene([]).view.cgroupVersion()).toBe('1');
  });

  test('are there until they are removed', () => {
    const task = aTask();
    const { view, runtime } = scene([task]);
    const info = view.require(task.id);
    runtime.end(task.id);
    expect(view.isThere(info)).toBe(true);
    expect(view.isThere({ ...info, runtimeId: 'gone' })).toBe(false);
    expect(view.isThere({ ...info, task: null })).toBe(false); // outside of services there is none
  });

  test('run a further command only while they run', async () => {
    const task = aTask();
    const { view, runtime } = scene([task]);
    await view.exec(view.require(task.id), COMMAND);
    expect(runtime.execs).toEqual([COMMAND]);
    const more = { ...COMMAND, privileged: true };
    expect(await codeOf(() => view.exec(view.require(task.id), more))).toMatch(
      /^permission-denied/,
    );
    expect(runtime.execs).toEqual([COMMAND]);
    runtime.end(task.id);
    const ended = view.require(task.id);
    expect(await codeOf(() => view.exec(ended, COMMAND))).toBe(
      `conflict: container ${ended.id} is not running`,
    );
  });

  test('that go while their layer is read are no failure of the reading', async () => {
    const task = aTask();
    const { view, gone } = scene([task], [], async () => '/none');
    gone.isAtThaw = true;
    expect(await view.withLayer(view.require(task.id), true, async () => 'read')).toBe('read');
  });

  test('have the size of what they changed, and of their image below it', async () => {
    const task = aTask();
    const directory = await mkdtemp(join(tmpdir(), 'skep-view-'));
    try {
      await mkdir(join(directory, 'upper', 'folder'), { recursive: true });
      await writeFile(join(directory, 'upper', 'folder', 'file'), 'text');
      const { view } = scene([task], [], async () => directory);
      const { sizeBytes } = anImage();
      const sizes = { changedBytes: 4, rootBytes: 4 + sizeBytes };
      expect(await view.sizes(view.require(task.id))).toEqual(sizes);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test('that never ran changed nothing', async () => {
    const task = aTask();
    const { view } = scene([task]);
    const sizes = { changedBytes: 0, rootBytes: anImage().sizeBytes };
    expect(await view.sizes(view.require(task.id))).toEqual(sizes);
  });

  test('that are removed while their sizes are read have none to be listed by', async () => {
    const task = aTask();
    let remove = (): void => {};
    const damaged = new SkepError('data-loss', 'read bundle: it is missing');
    const taskDirs = {
      gone: () => remove(),
      'half gone': () => {
        remove();
        throw damaged;
      },
      'not gone yet': () => {
        throw new SkepError('not-found', 'no such container');
      },
      damaged: () => {
        throw damaged;
      },
      there: () => {},
    };
    const sizesWhen = async (when: keyof typeof taskDirs): Promise<unknown> => {
      const { view, runtime } = scene([task], [], async () => {
        taskDirs[when]();
        return '/none';
      });
      remove = () => void runtime.containers.delete(task.id);
      return view.sizesIfStaying(view.require(task.id));
    };
    expect(await sizesWhen('gone')).toBe(null);
    expect(await sizesWhen('half gone')).toBe(null);
    expect(await sizesWhen('not gone yet')).toBe(null);
    await expect(sizesWhen('damaged')).rejects.toBe(damaged);
    expect(await sizesWhen('there')).toMatchObject({ changedBytes: 0 });
  });

  test('outside of services are listed by their sizes also before they ran, not while they are removed', async () => {
    const sizesIn = (condition: string): Promise<unknown> => {
      const plain = { id: 'c', condition } as unknown as PlainContainer;
      const { view } = scene([], [], undefined, [], [plain]);
      return view.sizesIfStaying(aContainerInfo({ id: 'c', plain }));
    };
    expect(await sizesIn('created')).toMatchObject({ changedBytes: 0 });
    expect(await sizesIn('removing')).toBe(null);
  });
});
