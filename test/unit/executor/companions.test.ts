import { describe, expect, test } from 'vitest';
import type { TaskId } from '../../../common/model/ids.ts';
import type { TaskSpec } from '../../../common/model/service.ts';
import { DEFAULT_ISOLATION } from '../../../common/model/service.ts';
import {
  awaitCompanions,
  type Companion,
  knownCompanions,
} from '../../../worker/executor/companions.ts';
import type { ContainerBundle } from '../../../worker/runtime/native-runtime.ts';
import { aContainerSpec, idOf } from '../../support/builders.ts';
import { ControllerScene, OVERLAY } from '../../support/controller-scene.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();
const NAMES = { resolvConf: 'nameserver 127.0.0.11\n', hosts: 'its own\n', hostname: 'db' };
const mate = (name: string, more: Partial<Companion> = {}): Companion => ({
  ...{ taskId: idOf<TaskId>(name), slot: 1, createdAtMs: 1, pid: 7, names: () => NAMES },
  ...more,
});
const signal = new AbortController().signal;
/** of an earlier daemon; nothing looks at it */
const BUNDLE = { spec: { linux: { namespaces: [] } } } as unknown as ContainerBundle;
const NETWORK = new Map([['network', 'shop_db']] as const);

describe('a companion', () => {
  const choose = async (...mates: Companion[]): Promise<string | undefined> => {
    const parts = { clock: new FakeClock(), tasksOf: () => mates };
    return (await awaitCompanions(NETWORK, 2, parts, signal)).get('network')?.taskId;
  };

  test('is the task of the same slot, else the newest that runs', async () => {
    const old = mate('old');
    const fresh = mate('fresh', { createdAtMs: 5 });
    expect(await choose(old, fresh, mate('same', { slot: 2 }))).toBe(idOf<TaskId>('same'));
    expect(await choose(old, fresh, mate('same', { slot: 2, pid: 0 }))).toBe(fresh.taskId);
  });

  test('is waited for, and in the end not', async () => {
    const clock = new FakeClock();
    const mates: Companion[] = [];
    const asked: string[] = [];
    const parts = {
      clock,
      tasksOf: (service: string) => {
        asked.push(service);
        return mates;
      },
    };
    const found = awaitCompanions(NETWORK, 1, parts, signal);
    await clock.advance(1_000);
    mates.push(mate('db'));
    await clock.advance(200);
    expect((await found).get('network')).toBe(mates[0]);
    expect(new Set(asked)).toEqual(new Set(['shop_db']));
    mates.length = 0;
    const never = awaitCompanions(NETWORK, 1, parts, signal).catch((err: Error) => err.message);
    await clock.advance(40_000);
    expect(await never).toBe(
      'task: no task of shop_db runs here, whose network namespace it shares',
    );
  });

  test('is found again by the namespace that a process has', async () => {
    const of = new Map([
      [7, 'net:[1]'],
      [8, 'net:[2]'],
      [50, 'net:[2]'],
    ]); // prettier-ignore
    const parts = {
      clock: new FakeClock(),
      tasksOf: () => [mate('a'), mate('b', { pid: 8 })],
      namespaceOf: (pid: number) => of.get(pid) ?? null,
    };
    const found = await knownCompanions(NETWORK, 50, parts, signal);
    expect(found.get('network')?.taskId).toBe(idOf<TaskId>('b'));
  });
});

describe('a task in the network of another', () => {
  const spec: Partial<TaskSpec> = {
    networks: [{ target: 'service:shop_db', aliases: [], driverOptions: {}, addresses: [] }],
  };

  async function begun() {
    const it = new ControllerScene(await folder(), { spec });
    it.runtime.addRunning('db');
    const pid = it.runtime.get('db')!.pid;
    it.mates.set('shop_db', [mate('x', { taskId: 'db' as TaskId, pid })]);
    const controller = it.controller();
    await controller.prepare(it.signal);
    return { it, controller, pid };
  }

  test('is made at its start, with that namespace and those names, and with no seat of its own', async () => {
    const { it, controller, pid } = await begun();
    expect(it.calls).not.toContain('create');
    await controller.start(it.signal);
    expect(it.calls.filter((call) => /create|start|attach/.test(call))).toEqual([
      'create',
      'start',
    ]);
    const { namespaces } = it.runtime.bundle(it.id).spec.linux;
    expect(namespaces).toContainEqual({ type: 'network', path: `/proc/${pid}/ns/net` });
    expect(controller.companion.names()).toMatchObject({
      resolvConf: NAMES.resolvConf,
      hosts: NAMES.hosts,
    });
  });

  test('is not left where another process has the number of the one that has ended', async () => {
    const ended = await begun();
    ended.it.runtime.end('db', { exitCode: 0 }); // the number was looked at before
    const taken = await begun();
    taken.it.namespaces.set(taken.pid, 'of a stranger');
    for (const { it, controller } of [ended, taken]) {
      await expect(controller.start(it.signal)).rejects.toThrow(
        "task: another task's network namespace ended while this one was made",
      );
      expect(it.calls).not.toContain('start');
      expect(it.runtime.get(it.id)).toBeUndefined();
    }
  });

  test('that an earlier daemon made starts while that task runs, and not after it', async () => {
    for (const runs of [true, false]) {
      const { it, controller } = await begun();
      await it.runtime.create(it.id, BUNDLE);
      if (!runs) it.mates.clear();
      const started = controller.start(it.signal).then(
        () => 'started',
        (err: Error) => err.message,
      );
      await settle();
      await it.clock.advance(40_000);
      expect(await started).toBe(
        runs ? 'started' : 'task: no task of shop_db runs here, whose network namespace it shares',
      );
      expect(it.runtime.get(it.id)?.status).toBe(runs ? 'running' : undefined);
    }
  });

  test('ends with that task, as failed, and says why', async () => {
    const { it, controller } = await begun();
    await controller.start(it.signal);
    const end = controller.wait(it.signal).catch((err: Error) => err.message);
    await settle();
    it.runtime.end('db', { exitCode: 0 });
    expect(await end).toMatch(
      /^task: non-zero exit \(\d+\): the task of shop_db whose network namespace it shares has ended$/,
    );
    expect(it.runtime.get(it.id)?.status).toBe('exited');
  });

  test('lives as long as its own process, when that ends first', async () => {
    const { it, controller } = await begun();
    await controller.start(it.signal);
    const end = controller.wait(it.signal);
    await settle();
    it.runtime.end(it.id, { exitCode: 0 });
    await end;
    expect(it.runtime.get('db')?.status).toBe('running');
  });

  test('keeps its own seats when it shares process ids alone', async () => {
    const container = aContainerSpec({
      isolation: { ...DEFAULT_ISOLATION, pid: 'service:shop_db' },
    });
    const it = new ControllerScene(await folder(), { container, task: { networks: [OVERLAY] } });
    it.runtime.addRunning('db');
    const pid = it.runtime.get('db')!.pid;
    it.mates.set('shop_db', [mate('x', { taskId: 'db' as TaskId, pid })]);
    const controller = it.controller();
    await controller.prepare(it.signal);
    await controller.start(it.signal);
    expect(it.calls).toContain('attach');
    const { namespaces } = it.runtime.bundle(it.id).spec.linux;
    expect(namespaces).toContainEqual({ type: 'pid', path: `/proc/${pid}/ns/pid` });
  });
});
