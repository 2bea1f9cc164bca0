import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import type { AssignedNetwork } from '../../../common/model/assignment.ts';
import { containerIdOf } from '../../../common/model/container-id.ts';
import type { NetworkId, SecretId } from '../../../common/model/ids.ts';
import { NO_RESOURCES, type ResourceRequirements } from '../../../common/model/service.ts';
import { TaskExitError, TemporaryError } from '../../../worker/executor/executor.ts';
import { SIGTERM, signalNumber } from '../../../worker/executor/signals.ts';
import { DEFAULT_BRIDGE } from '../../../worker/network/local-network.ts';
import { OldNetworkError } from '../../../worker/network/node-made-networks.ts';
import type { ExitRecord } from '../../../worker/runtime/native-runtime.ts';
import { aNetworkTarget, aPort, idOf } from '../../support/builders.ts';
import {
  CHECK,
  ControllerScene,
  OVERLAY,
  type SceneOptions,
} from '../../support/controller-scene.ts';
import { settle } from '../../support/fake-clock.ts';
import { anImage } from '../../support/fake-container-host.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();

async function scene(options: SceneOptions = {}): Promise<ControllerScene> {
  return new ControllerScene(await folder(), options);
}

describe('prepare', () => {
  test('creates the container before its network, and starts nothing', async () => {
    const it = await scene();
    await it.controller().prepare(it.signal);
    expect(it.calls).toEqual(['create', 'attach']);
    expect(it.runtime.get(it.id)?.status).toBe('created');
    expect(it.images.pinned).toContain(it.id);
  });

  test('does not pull an image that is here', async () => {
    const it = await scene();
    await it.controller().prepare(it.signal);
    expect(it.images.pulls).toEqual([]);
  });

  test('makes nothing that its node forbids', async () => {
    const it = await scene({ container: { capabilityAdd: ['CAP_SYS_ADMIN'] } });
    it.forbidden = new Set(['capabilities']);
    await expect(it.controller().prepare(it.signal)).rejects.toThrow(
      'this node does not allow capabilities (skepd --forbid)',
    );
    expect(it.calls).toEqual([]);
  });

  test('pulls one that is not, with the credentials of the task', async () => {
    const auth = Buffer.from('{"username":"u","password":"p"}').toString('base64');
    const it = await scene({ container: { image: 'reg/app:1', registryAuth: auth } });
    it.images.byReference.clear();
    it.images.remote.set('reg/app:1', anImage());
    await it.controller().prepare(it.signal);
    expect(it.images.pulls).toEqual([
      { reference: 'reg/app:1', auth: { username: 'u', password: 'p' } },
    ]);
  });

  test("fails with the registry's own answer", async () => {
    const it = await scene();
    it.images.byReference.clear();
    await expect(it.controller().prepare(it.signal)).rejects.toThrow(/manifest unknown/);
  });

  test('takes up after a restart what was created, without creating it again', async () => {
    const it = await scene();
    await it.controller().prepare(it.signal);
    it.calls.length = 0;
    await it.controller().prepare(it.signal);
    expect(it.calls).toEqual(['attach']);
  });

  test('leaves no container behind when its network cannot be attached', async () => {
    const it = await scene();
    it.networks.attachFailure = new SkepError('unavailable', 'no such network');
    await expect(it.controller().prepare(it.signal)).rejects.toThrow('no such network');
    it.networks.attachFailure = null;
    it.calls.length = 0;
    await it.controller().prepare(it.signal);
    expect(it.calls).toContain('create');
  });

  test('waits, made, for the place of a network that was removed, and then is attached', async () => {
    const it = await scene({ task: { networks: [OVERLAY] } });
    const old = DEFAULT_BRIDGE;
    const network = { name: 'near' } as AssignedNetwork;
    it.networks.attachFailure = new OldNetworkError(network, old, null);
    const controller = it.controller();
    await expect(controller.prepare(it.signal)).rejects.toBeInstanceOf(TemporaryError);
    it.networks.attachFailure = null;
    await controller.prepare(it.signal);
    expect(it.calls.filter((call) => /create|attach|remove/.test(call))).toEqual([
      ...['create', 'attach', 'attach'],
    ]);
  });

  test.each(['running', 'exited'])('has nothing to do for one that is %s', async (status) => {
    const it = await scene();
    it.runtime.addRunning(it.id);
    if (status === 'exited') it.runtime.end(it.id);
    await it.controller().prepare(it.signal);
    expect(it.calls).toEqual([]);
  });

  test('names the task to its network, with host ports only', async () => {
    const ports = [aPort({ publishedPort: 80 }), aPort({ publishedPort: 81, publishMode: 'host' })];
    const it = await scene({
      task: {
        networks: [OVERLAY],
        endpoint: { spec: { mode: 'vip', ports }, ports, virtualIps: [] },
      },
    });
    await it.controller().prepare(it.signal);
    expect(it.networks.requests[0]).toMatchObject({
      taskId: it.id,
      containerName: `web.1.${it.id}`,
      hostname: containerIdOf(it.task.id).slice(0, 12),
      attachments: [OVERLAY],
      hostPorts: [{ publishedPort: 81 }],
      netnsPath: it.runtime.get(it.id)?.netnsPath,
    });
  });

  test('a task that waits gets its host ports when it starts: another may have them until then', async () => {
    const ports = [aPort({ publishedPort: 81, publishMode: 'host' })];
    const it = await scene({
      task: {
        networks: [OVERLAY],
        endpoint: { spec: { mode: 'vip', ports }, ports, virtualIps: [] },
        desiredState: 'ready',
      },
    });
    const controller = it.controller();
    await controller.prepare(it.signal);
    expect(it.networks.requests[0]!.hostPorts).toEqual([]);
    await controller.start(it.signal);
    expect(it.calls).toEqual(['create', 'attach', 'publish', 'start']);
    expect(controller.observed().hostPorts).toEqual(ports);
  });

  test('one that was prepared by an earlier daemon gets them at its start, too', async () => {
    const ports = [aPort({ publishedPort: 81, publishMode: 'host' })];
    const it = await scene({
      task: {
        networks: [OVERLAY],
        endpoint: { spec: { mode: 'vip', ports }, ports, virtualIps: [] },
        desiredState: 'ready',
      },
    });
    await it.controller().prepare(it.signal);
    it.calls.length = 0;
    it.networks.attached.clear();
    const controller = it.controller({ ...it.task, desiredState: 'running' });
    await controller.start(it.signal);
    expect(it.calls).toEqual(['adopt', 'publish', 'start']);
    expect(it.networks.requests.at(-1)!.hostPorts).toEqual([]);
    expect(controller.observed().hostPorts).toEqual(ports);
  });

  test("leaves the host's network alone", async () => {
    const it = await scene({ spec: { networks: [aNetworkTarget({ target: 'host' })] } });
    await it.controller().prepare(it.signal);
    expect(it.calls).toEqual(['create']);
    const { spec } = it.runtime.bundle(it.id);
    expect(spec.linux.namespaces.map(({ type }) => type)).not.toContain('network');
    expect(spec.hostname).toBe('here');
    const names = spec.mounts.find(({ destination }) => destination === '/etc/resolv.conf');
    expect(await readFile(names!.source, 'utf8')).toBe('nameserver 10.0.0.53\n');
  });

  test("reports the ports that it binds in the host's network itself", async () => {
    const ports = [aPort({ publishedPort: 80, publishMode: 'host' })];
    const endpoint = { spec: { mode: 'vip', ports }, ports, virtualIps: [] } as const;
    const networks = [aNetworkTarget({ target: 'host' })];
    const it = await scene({ spec: { networks }, task: { endpoint } });
    const controller = it.controller();
    await controller.prepare(it.signal);
    expect(controller.observed().hostPorts).toEqual(ports);
  });

  test('has a network namespace of its own with nothing in it for none', async () => {
    const it = await scene({ spec: { networks: [aNetworkTarget({ target: 'none' })] } });
    await it.controller().prepare(it.signal);
    expect(it.calls).toEqual(['create']);
    const { spec } = it.runtime.bundle(it.id);
    expect(spec.linux.namespaces.map(({ type }) => type)).toContain('network');
    expect(spec.hostname).toBe(containerIdOf(it.task.id).slice(0, 12));
  });

  test('writes the names of the task and mounts them', async () => {
    const it = await scene({ container: { hostname: 'db', hosts: ['10.1.1.1 gate'] } });
    await it.controller().prepare(it.signal);
    const { spec } = it.runtime.bundle(it.id);
    expect(spec.hostname).toBe('db');
    const hosts = spec.mounts.find(({ destination }) => destination === '/etc/hosts');
    expect(await readFile(hosts!.source, 'utf8')).toContain('10.1.1.1\tgate');
    const hostname = spec.mounts.find(({ destination }) => destination === '/etc/hostname');
    expect(await readFile(hostname!.source, 'utf8')).toBe('db\n');
  });

  test('its own name has the addresses that this node gave it, too, in the order of its networks', async () => {
    const made = { networkId: idOf<NetworkId>('made'), addresses: [], aliases: [] };
    const it = await scene({
      container: { hostname: 'db' },
      task: { networks: [made, OVERLAY] },
    });
    it.networks.given = [{ networkId: made.networkId, address: '10.214.7.3/24' }];
    const controller = it.controller();
    await controller.prepare(it.signal);
    const { mounts } = it.runtime.bundle(it.id).spec;
    const { source } = mounts.find(({ destination }) => destination === '/etc/hosts')!;
    const hosts = await readFile(source, 'utf8');
    const own = OVERLAY.addresses[0]!.split('/')[0];
    expect(hosts).toContain(`10.214.7.3\tdb\n${own}\tdb\n`);
    expect(controller.companion.names().hosts).toBe(hosts);
  });

  test("runs as the spec's user, else the image's, with the spec's further groups", async () => {
    const it = await scene({ container: { groups: ['7', '8', '7'] }, image: { user: '5:6' } });
    await it.controller().prepare(it.signal);
    expect(it.runtime.bundle(it.id).spec.process.user).toEqual({
      uid: 5,
      gid: 6,
      additionalGids: [7, 8],
    });
    const other = await scene({ container: { user: '9' }, image: { user: '5:6' } });
    await other.controller().prepare(other.signal);
    expect(other.runtime.bundle(other.id).spec.process.user.uid).toBe(9);
  });

  test('refuses a stop signal that cannot be sent', async () => {
    const it = await scene({ image: { stopSignal: 'SIGNOPE' } });
    await expect(it.controller().prepare(it.signal)).rejects.toThrow('invalid signal: SIGNOPE');
    expect(it.calls).not.toContain('create');
  });

  test('names a secret that this node does not have', async () => {
    const file = { name: 's', uid: '0', gid: '0', mode: 0o444 };
    const it = await scene({
      container: { secrets: [{ secretId: idOf<SecretId>('sec'), secretName: 'pass', file }] },
    });
    await expect(it.controller().prepare(it.signal)).rejects.toThrow('secret not found: pass');
  });

  test('stops before the container is made when it is cancelled', async () => {
    const it = await scene();
    const abort = new AbortController();
    abort.abort(new Error('cancelled'));
    await expect(it.controller().prepare(abort.signal)).rejects.toThrow('cancelled');
    expect(it.calls).not.toContain('create');
  });
});

describe('start without a health check', () => {
  test('runs the process', async () => {
    const it = await scene();
    const controller = await it.running();
    expect(it.runtime.get(it.id)?.status).toBe('running');
    expect(controller.health).toBeNull();
    expect(controller.observed().container).toMatchObject({
      containerId: containerIdOf(it.task.id),
      pid: it.runtime.get(it.id)?.pid,
      exitCode: 0,
    });
  });

  test('reports host ports while it runs', async () => {
    const it = await scene();
    it.networks.hostPorts = [aPort({ publishedPort: 8080, publishMode: 'host' })];
    const controller = await it.running();
    expect(controller.observed().hostPorts).toEqual(it.networks.hostPorts);
    it.runtime.end(it.id);
    expect(controller.observed().hostPorts).toEqual([]);
  });

  test('tells why a command cannot be run', async () => {
    const it = await scene();
    const controller = it.controller();
    await controller.prepare(it.signal);
    it.runtime.startFailure = new SkepError('invalid-argument', 'exec: "nope": not found');
    await expect(controller.start(it.signal)).rejects.toThrow('"nope": not found');
  });

  test('after a restart takes up the network before a prepared container runs', async () => {
    const it = await scene();
    await it.controller().prepare(it.signal);
    it.calls.length = 0;
    await it.controller().start(it.signal);
    expect(it.calls).toEqual(['adopt', 'start']);
  });

  test('after a restart adopts one that runs, without starting it again', async () => {
    const it = await scene();
    it.runtime.addRunning(it.id);
    await it.controller().start(it.signal);
    expect(it.calls).toEqual(['adopt']);
  });

  test('fails when the container is gone', async () => {
    const it = await scene();
    await expect(it.controller().start(it.signal)).rejects.toThrow(
      new TaskExitError('task: container is gone from this node'),
    );
  });
});

describe('start with a health check', () => {
  const checked = { container: { healthcheck: CHECK } };

  async function starting(options: SceneOptions = checked) {
    const it = await scene(options);
    const controller = it.controller();
    await controller.prepare(it.signal);
    it.calls.length = 0;
    return { it, controller };
  }

  test('waits for the first healthy probe', async () => {
    const { it, controller } = await starting();
    it.runtime.probes = [1, 0];
    let started = false;
    const start = controller.start(it.signal).then(() => {
      started = true;
    });
    await it.clock.advance(10_000);
    await settle();
    expect(controller.health).toMatchObject({ status: 'starting', failingStreak: 1 });
    expect(started).toBe(false);
    await it.clock.advance(10_000);
    await start;
    expect(controller.health?.status).toBe('healthy');
    expect(it.runtime.execs[0]?.args).toEqual(['probe']);
    controller.close();
  });

  test("falls back on the image's check", async () => {
    const { it, controller } = await starting({
      image: {
        healthcheck: {
          test: ['CMD-SHELL', 'true'],
          intervalMs: 1_000,
          timeoutMs: null,
          startPeriodMs: null,
          startIntervalMs: null,
          retries: null,
        },
      },
    });
    const start = controller.start(it.signal);
    await it.clock.advance(1_000);
    await start;
    expect(it.runtime.execs[0]?.args).toEqual(['/bin/sh', '-c', 'true']);
    controller.close();
  });

  test('fails when the process ends badly before it was healthy', async () => {
    const { it, controller } = await starting();
    const failed = expect(controller.start(it.signal)).rejects.toThrow(
      new TaskExitError('task: non-zero exit (3)'),
    );
    await settle();
    it.runtime.end(it.id, { exitCode: 3 });
    await failed;
    expect(it.clock.pending).toBe(0);
    expect(it.calls).toEqual(['start', 'detach']);
  });

  test('a process that ends well before it was healthy is complete, not failed', async () => {
    const { it, controller } = await starting();
    const start = controller.start(it.signal);
    await settle();
    it.runtime.end(it.id);
    await start;
    await controller.wait(it.signal);
    expect(it.clock.pending).toBe(0);
  });

  test('stops and fails one that is unhealthy first', async () => {
    const { it, controller } = await starting();
    it.runtime.probes = [1];
    const failed = expect(controller.start(it.signal)).rejects.toThrow(
      new TaskExitError('task: non-zero exit (143): unhealthy container'),
    );
    await it.clock.advance(20_000);
    await failed;
    expect(it.calls).toEqual(['start', `signal ${SIGTERM}`, 'detach']);
    expect(controller.health?.status).toBe('unhealthy');
  });

  test('another image under the same name changes neither check nor stop signal', async () => {
    const image = {
      stopSignal: 'SIGQUIT',
      healthcheck: {
        test: ['CMD', 'old'],
        intervalMs: 10_000,
        timeoutMs: null,
        startPeriodMs: null,
        startIntervalMs: null,
        retries: 1,
      },
    };
    const it = await scene({ image });
    const controller = it.controller();
    await controller.prepare(it.signal);
    it.calls.length = 0;
    it.images.byReference.set(it.task.spec.container.image, {
      ...anImage({ stopSignal: 'SIGUSR1' }),
      id: `sha256:${'2'.repeat(64)}`,
    });
    it.runtime.probes = [1];
    const failed = expect(controller.start(it.signal)).rejects.toThrow('unhealthy container');
    await it.clock.advance(20_000);
    await failed;
    expect(it.calls).toContain(`signal ${signalNumber('SIGQUIT')}`);
  });

  test('ends its probes when it is cancelled and let go of', async () => {
    const { it, controller } = await starting();
    const abort = new AbortController();
    const cancelled = expect(controller.start(abort.signal)).rejects.toThrow('cancelled');
    await settle();
    abort.abort(new Error('cancelled'));
    await cancelled;
    controller.close();
    expect(it.clock.pending).toBe(0);
    expect(it.closed).toBe(1);
  });
});

describe('wait', () => {
  test('resolves when the process ends with 0, and gives its network back', async () => {
    const it = await scene();
    const controller = await it.running();
    const wait = controller.wait(it.signal);
    await settle();
    it.runtime.end(it.id);
    await wait;
    expect(it.calls).toEqual(['detach']);
  });

  const limited = { ...NO_RESOURCES, limits: { nanoCpus: 0, memoryBytes: 6_291_456, pids: 0 } };
  test.each<[Partial<ExitRecord>, ResourceRequirements, string]>([
    [{ exitCode: 1 }, NO_RESOURCES, 'task: non-zero exit (1)'],
    [{ exitCode: 137, signal: 9 }, NO_RESOURCES, 'task: non-zero exit (137)'],
    [
      { exitCode: 137, oomKilled: true },
      NO_RESOURCES,
      'task: non-zero exit (137): out of memory (OOM)',
    ],
    [
      { exitCode: 137, oomKilled: true },
      limited,
      'task: non-zero exit (137): out of memory (OOM): the limit is 6291456 bytes',
    ],
    [
      { exitCode: 137, error: 'supervision was lost' },
      NO_RESOURCES,
      'task: non-zero exit (137): supervision was lost',
    ],
  ])('rejects with the words for %j', async (exit, resources, words) => {
    const it = await scene({ spec: { resources } });
    const controller = await it.running();
    const failed = expect(controller.wait(it.signal)).rejects.toThrow(new TaskExitError(words));
    await settle();
    it.runtime.end(it.id, exit);
    await failed;
    expect(controller.observed()).toEqual({
      container: {
        containerId: containerIdOf(it.task.id),
        pid: 0,
        exitCode: exit.exitCode,
        oomKilled: exit.oomKilled ?? false,
      },
      hostPorts: [],
      localAddresses: [],
    });
  });

  test('stops a container that becomes unhealthy', async () => {
    const it = await scene({ container: { healthcheck: CHECK } });
    const controller = it.controller();
    await controller.prepare(it.signal);
    const start = controller.start(it.signal);
    await it.clock.advance(10_000);
    await start;
    it.runtime.probes = [7];
    it.runtime.ignoredSignals.add(SIGTERM);
    const failed = expect(controller.wait(it.signal)).rejects.toThrow(
      new TaskExitError('task: non-zero exit (137): unhealthy container'),
    );
    await it.clock.advance(20_000);
    await it.clock.advance(10_000);
    await failed;
    expect(it.clock.pending).toBe(0);
  });

  test('after a restart adopts the container and goes on probing', async () => {
    const it = await scene({ container: { healthcheck: CHECK } });
    it.runtime.addRunning(it.id);
    const controller = it.controller();
    const wait = controller.wait(it.signal);
    await settle();
    expect(it.calls).toEqual(['adopt']);
    await it.clock.advance(10_000);
    expect(controller.health?.status).toBe('healthy');
    it.runtime.end(it.id);
    await wait;
    expect(it.clock.pending).toBe(0);
  });

  test('after a restart tells of an end that nobody saw', async () => {
    const it = await scene();
    it.runtime.addRunning(it.id);
    it.runtime.end(it.id, { exitCode: 4 });
    await expect(it.controller().wait(it.signal)).rejects.toThrow('task: non-zero exit (4)');
    expect(it.calls).toEqual(['detach']);
  });

  test('a cancelled one leaves the container as it is', async () => {
    const it = await scene({ container: { healthcheck: { ...CHECK, test: ['NONE'] } } });
    const controller = await it.running();
    const abort = new AbortController();
    const cancelled = expect(controller.wait(abort.signal)).rejects.toThrow('cancelled');
    await settle();
    abort.abort(new Error('cancelled'));
    await cancelled;
    expect(it.calls).toEqual([]);
    expect(it.runtime.get(it.id)?.status).toBe('running');
  });

  test('nothing of it runs on once it is let go of', async () => {
    const it = await scene({ container: { healthcheck: CHECK } });
    it.runtime.addRunning(it.id);
    const controller = it.controller();
    const abort = new AbortController();
    const cancelled = expect(controller.wait(abort.signal)).rejects.toThrow('cancelled');
    await settle();
    abort.abort(new Error('cancelled'));
    await cancelled;
    controller.close();
    expect(it.clock.pending).toBe(0);
    await it.clock.advance(60_000);
    expect(it.runtime.execs).toEqual([]);
  });
});
