import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import type { SecretId } from '../../../common/model/ids.ts';
import { SIGKILL, SIGTERM } from '../../../worker/executor/signals.ts';
import { idOf } from '../../support/builders.ts';
import {
  CHECK,
  ControllerScene,
  OVERLAY,
  type SceneOptions,
} from '../../support/controller-scene.ts';
import { settle } from '../../support/fake-clock.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();

async function scene(options: SceneOptions = {}): Promise<ControllerScene> {
  return new ControllerScene(await folder(), options);
}

describe('shutdown', () => {
  test('lets the endpoint drain first, then signals, then gives the network back', async () => {
    const it = await scene({ task: { networks: [OVERLAY] } });
    const controller = await it.running();
    const shutdown = controller.shutdown(it.signal);
    await it.clock.advance(399);
    expect(it.calls).toEqual([]);
    await it.clock.advance(1);
    await shutdown;
    expect(it.calls).toEqual([`signal ${SIGTERM}`, 'detach']);
  });

  test('signals as soon as no node sends anything new to it', async () => {
    const it = await scene({ task: { networks: [OVERLAY] } });
    const controller = await it.running();
    it.drains.sessionBegan();
    const shutdown = controller.shutdown(it.signal);
    await it.clock.advance(30);
    expect(it.calls).toEqual([]);
    it.drains.drained([it.task.id]);
    await shutdown;
    expect(it.calls).toEqual([`signal ${SIGTERM}`, 'detach']);
    expect(it.clock.pending).toBe(0);
  });

  test('does not wait when the task is in no network', async () => {
    const it = await scene();
    const controller = await it.running();
    await controller.shutdown(it.signal);
    expect(it.calls).toEqual([`signal ${SIGTERM}`, 'detach']);
    expect(it.clock.pending).toBe(0);
  });

  test.each([
    ['', null, 15],
    ['', 'SIGQUIT', 3],
    ['SIGINT', 'SIGQUIT', 2],
    ['10', null, 10],
  ])('with signal %j of the spec and %j of the image sends %i', async (own, image, signo) => {
    const it = await scene({ container: { stopSignal: own }, image: { stopSignal: image } });
    const controller = await it.running();
    await controller.shutdown(it.signal);
    expect(it.calls[0]).toBe(`signal ${signo}`);
  });

  test.each([
    [null, 10_000],
    [3e9, 3_000],
    [0, 0],
  ])('with a grace period of %j ns kills after %i ms', async (stopGracePeriodNanos, graceMs) => {
    const it = await scene({ container: { stopGracePeriodNanos } });
    const controller = await it.running();
    it.runtime.ignoredSignals.add(SIGTERM);
    const shutdown = controller.shutdown(it.signal);
    if (graceMs > 0) await it.clock.advance(graceMs - 1);
    expect(it.calls).toEqual([`signal ${SIGTERM}`]);
    await it.clock.advance(1);
    await shutdown;
    expect(it.calls).toEqual([`signal ${SIGTERM}`, 'kill', 'detach']);
    expect(controller.observed().container?.exitCode).toBe(128 + SIGKILL);
    expect(it.clock.pending).toBe(0);
  });

  test('says so when the container outlives SIGKILL, and may be asked again', async () => {
    const it = await scene();
    const controller = await it.running();
    it.runtime.ignoredSignals.add(SIGTERM);
    it.runtime.unkillable = true;
    const failed = expect(controller.shutdown(it.signal)).rejects.toThrow(/after SIGKILL/);
    await it.clock.advance(20_000);
    await failed;
    expect(it.clock.pending).toBe(0);
    it.runtime.unkillable = false;
    const again = controller.shutdown(it.signal);
    await it.clock.advance(10_000);
    await again;
    expect(it.runtime.get(it.id)?.status).toBe('exited');
  });

  test('passes on a signal that the runtime could not send', async () => {
    const it = await scene();
    const controller = await it.running();
    it.runtime.signal = async () => {
      throw new SkepError('internal', 'shim says EPERM');
    };
    await expect(controller.shutdown(it.signal)).rejects.toThrow('EPERM');
    expect(it.clock.pending).toBe(0);
  });

  test('removes one that was never started', async () => {
    const it = await scene();
    const controller = it.controller();
    await controller.prepare(it.signal);
    it.calls.length = 0;
    await controller.shutdown(it.signal);
    expect(it.calls).toEqual(['remove container', 'detach']);
    expect(controller.observed().container).toBeNull();
  });

  test('has only the network to give back of one that has ended', async () => {
    const it = await scene();
    const controller = await it.running();
    it.runtime.end(it.id);
    await controller.shutdown(it.signal);
    expect(it.calls).toEqual(['detach']);
  });

  test('ends the probes of a checked container', async () => {
    const it = await scene({ container: { healthcheck: CHECK } });
    it.runtime.addRunning(it.id);
    const controller = it.controller();
    const abort = new AbortController();
    const cancelled = expect(controller.wait(abort.signal)).rejects.toThrow();
    await settle();
    abort.abort();
    await cancelled;
    await controller.shutdown(it.signal);
    expect(it.clock.pending).toBe(0);
  });
});

describe('remove', () => {
  const RELEASED = ['remove container', 'detach', 'release rootfs', 'release volumes'];

  test('releases everything, files and secrets too', async () => {
    const secretId = idOf<SecretId>('sec');
    const file = { name: 's', uid: '0', gid: '0', mode: 0o444 };
    const secret = { id: secretId, name: 'pass', data: new Uint8Array([1]), templateDriver: '' };
    const it = await scene({
      container: { secrets: [{ secretId, secretName: 'pass', file }] },
      dependencies: { secret: () => secret, config: () => undefined },
    });
    const controller = await it.running();
    expect(await readdir(join(it.dir, 'memory'))).toEqual([it.id]);
    it.runtime.end(it.id);
    await controller.remove(it.signal);
    expect(it.calls).toEqual([...RELEASED, 'unmount memory']);
    expect(it.runtime.list()).toEqual([]);
    expect(it.images.pinned.size).toBe(0);
    expect(it.networks.attached.size).toBe(0);
    expect(await readdir(join(it.dir, 'files'))).toEqual([]);
    expect(await readdir(join(it.dir, 'memory'))).toEqual([]);
  });

  test('kills what still runs: a failed task may have outlived its stop', async () => {
    const it = await scene();
    const controller = await it.running();
    await controller.remove(it.signal);
    expect(it.calls).toEqual(['kill', ...RELEASED]);
  });

  test('is harmless for a task of which nothing is here, and a second time', async () => {
    const it = await scene();
    const controller = it.controller();
    await controller.remove(it.signal);
    await controller.remove(it.signal);
    expect(it.calls).toEqual([...RELEASED, ...RELEASED]);
  });
});

describe('a whole life', () => {
  test('leaves neither timers nor containers', async () => {
    const it = await scene({ container: { healthcheck: CHECK }, task: { networks: [OVERLAY] } });
    const controller = it.controller();
    await controller.prepare(it.signal);
    const start = controller.start(it.signal);
    await it.clock.advance(10_000);
    await start;
    const abort = new AbortController();
    const wait = expect(controller.wait(abort.signal)).rejects.toThrow();
    await settle();
    abort.abort();
    await wait;
    const shutdown = controller.shutdown(it.signal);
    await it.clock.advance(400);
    await shutdown;
    await controller.remove(it.signal);
    controller.close();
    expect(it.clock.pending).toBe(0);
    expect(it.runtime.list()).toEqual([]);
  });
});
