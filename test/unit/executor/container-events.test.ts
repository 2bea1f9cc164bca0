import { describe, expect, test } from 'vitest';
import { containerIdOf } from '../../../common/model/container-id.ts';
import { taskName } from '../../../common/model/task.ts';
import { SIGTERM } from '../../../worker/executor/signals.ts';
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

const actions = (it: ControllerScene): string[] =>
  it.events.map(({ type, action }) => (type === 'container' ? action : `${type} ${action}`));

describe('events of a container', () => {
  test('follow its life, from its making to its removal', async () => {
    const it = await scene({ task: { networks: [OVERLAY] } });
    it.networks.known.set(OVERLAY.networkId, { name: 'shop_front', driver: 'macvlan' });
    const controller = await it.running();
    it.networks.known.clear(); // the network may go before its last task
    expect(actions(it)).toEqual(['create', 'network connect', 'start']);
    const wait = controller.wait(it.signal).catch(() => {});
    await settle();
    it.runtime.end(it.id, { exitCode: 3, startedAtMs: 1000, finishedAtMs: 4999 });
    await wait;
    await controller.remove(it.signal);
    expect(actions(it).slice(3)).toEqual(['die', 'network disconnect', 'destroy']);
    expect(it.events[3]!.attributes).toMatchObject({ exitCode: '3', execDuration: '3' });
    for (const at of [1, 4]) {
      expect(it.events[at]).toMatchObject({
        id: OVERLAY.networkId,
        attributes: {
          container: containerIdOf(it.task.id),
          name: 'shop_front',
          type: 'macvlan',
        },
      });
    }
  });

  test('name neither name nor type of a network that is not known', async () => {
    const it = await scene({ task: { networks: [OVERLAY] } });
    await it.running();
    expect(it.events[1]!.attributes).toEqual({ container: containerIdOf(it.task.id) });
  });

  test('carry its labels, image and name', async () => {
    const it = await scene({ container: { labels: { tier: 'front' }, image: 'web:2' } });
    await it.running();
    expect(it.events[0]).toMatchObject({
      type: 'container',
      id: containerIdOf(it.task.id),
      attributes: {
        tier: 'front',
        image: 'web:2',
        name: taskName(it.task),
        'com.docker.swarm.service.name': it.task.serviceAnnotations.name,
        'com.docker.swarm.task.id': it.task.id,
      },
    });
  });

  test('carry the labels of its image, under its own, also when it was adopted and its image let go', async () => {
    const ofImage = { vendor: 'somebody', tier: 'any' };
    const it = await scene({
      image: { labels: ofImage },
      container: { labels: { tier: 'front' } },
    });
    await it.running();
    const adopted = it.controller();
    await adopted.remove(it.signal);
    expect(actions(it)).toEqual(['create', 'start', 'destroy']);
    for (const { attributes } of it.events) {
      expect(attributes).toMatchObject({ vendor: 'somebody', tier: 'front' });
    }
  });

  test('of one that is stopped tell each signal, and its end once', async () => {
    const it = await scene();
    const controller = await it.running();
    it.runtime.ignoredSignals.add(SIGTERM);
    it.events.length = 0;
    const wait = controller.wait(it.signal).catch(() => {}); // both learn of its end
    const shutdown = controller.shutdown(it.signal);
    await it.clock.advance(10_000);
    await shutdown;
    await wait;
    expect(actions(it)).toEqual(['kill', 'kill', 'die', 'stop']);
    expect(it.events.map(({ attributes }) => attributes['signal'])).toEqual([
      '15',
      '9',
      undefined,
      undefined,
    ]);
  });

  test('of one that is removed before its start tell its removal, once', async () => {
    const it = await scene({ task: { networks: [OVERLAY] } });
    const controller = it.controller();
    await controller.prepare(it.signal);
    await controller.shutdown(it.signal);
    await controller.remove(it.signal);
    expect(actions(it)).toEqual(['create', 'network connect', 'network disconnect', 'destroy']);
  });

  test('of one that had ended when its stop was asked for tell its end', async () => {
    const it = await scene();
    const controller = await it.running();
    it.events.length = 0;
    it.runtime.end(it.id, { exitCode: 4 });
    await controller.shutdown(it.signal);
    await controller.remove(it.signal);
    expect(actions(it)).toEqual(['die', 'destroy']);
  });

  test('of one that ends while its stop waits for its endpoint tell its end', async () => {
    const it = await scene({ task: { networks: [OVERLAY] } });
    const controller = await it.running();
    it.events.length = 0;
    const shutdown = controller.shutdown(it.signal);
    await settle();
    it.runtime.end(it.id, { exitCode: 4 });
    await it.clock.advance(1_000);
    await shutdown;
    expect(actions(it)).toContain('die');
  });

  test('of one that was killed for its memory begin with that', async () => {
    const it = await scene();
    const controller = await it.running();
    it.events.length = 0;
    const wait = controller.wait(it.signal).catch(() => {});
    await settle();
    it.runtime.end(it.id, { exitCode: 137, oomKilled: true });
    await wait;
    expect(actions(it)).toEqual(['oom', 'die']);
  });

  test('tell when its health changes, and no probe beside', async () => {
    const it = await scene({ container: { healthcheck: CHECK } });
    const controller = it.controller();
    await controller.prepare(it.signal);
    const started = controller.start(it.signal);
    await it.clock.advance(30_000);
    await started;
    await it.clock.advance(30_000);
    expect(actions(it)).toEqual(['create', 'start', 'health_status: healthy']);
    controller.close();
  });

  test('of one that an earlier daemon made are not told again', async () => {
    const it = await scene();
    await it.running();
    it.events.length = 0;
    const next = it.controller();
    await next.prepare(it.signal);
    await next.start(it.signal);
    expect(actions(it)).toEqual([]);
  });
});
