import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ServiceId } from '../../../common/model/ids.ts';
import {
  ANYWHERE,
  DEFAULT_UPDATE_CONFIG,
  NO_RESOURCES,
  type ServiceSpec,
  type UpdateConfig,
} from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { isWanted } from '../../../manager/orchestrator/seat.ts';
import {
  aContainerSpec,
  aNetwork,
  aNetworkSpec,
  aNetworkTarget,
  aPort,
  aSecret,
  aSecretSpec,
  aTaskSpec,
} from '../../support/builders.ts';
import { ControlRooms } from '../../support/control-rooms.ts';
import { settle } from '../../support/fake-clock.ts';

const replicas = (count: number) => ({ mode: { kind: 'replicated' as const, replicas: count } });
const update = (config: Partial<UpdateConfig>) => ({
  update: { ...DEFAULT_UPDATE_CONFIG, ...config },
});
const image = (name: string) => (spec: ServiceSpec) => ({
  ...spec,
  task: { ...spec.task, container: { ...spec.task.container, image: name } },
});
const isNew = ({ spec }: Task): boolean => spec.container.image === 'new';

describe('rolling update', () => {
  let rooms: ControlRooms;
  beforeEach(async () => {
    rooms = await ControlRooms.start(3);
  });
  afterEach(() => rooms.stop());

  const fresh = (id: ServiceId): Task[] => rooms.tasks(id).filter(isNew);
  const freshRunning = (id: ServiceId): number => rooms.running(id).filter(isNew).length;
  const deploy = (spec: Partial<ServiceSpec> = {}) => rooms.deploy({ ...replicas(4), ...spec });

  test('a first deployment is no update', async () => {
    const { id } = await deploy();
    await rooms.pass(10_000, 1000);
    expect(rooms.service(id).updateStatus).toBeNull();
  });

  test('replaces one slot after the other and says so', async () => {
    const { id } = await deploy(update({ delayNanos: 2e9 }));
    await rooms.change(id, image('new'));
    await rooms.rest();
    expect(rooms.service(id).updateStatus).toMatchObject({
      state: 'updating',
      message: 'update in progress',
      completedAtMs: null,
    });
    expect(freshRunning(id)).toBe(1);
    await rooms.pass(1900);
    expect(freshRunning(id)).toBe(1);
    await rooms.pass(200);
    expect(freshRunning(id)).toBe(2);
    await rooms.pass(4000);
    expect(freshRunning(id)).toBe(4);
    expect(rooms.service(id).updateStatus!.state).toBe('updating');
    await rooms.pass(5100);
    expect(rooms.service(id).updateStatus).toMatchObject({
      state: 'completed',
      message: 'update completed',
    });
    expect(rooms.service(id).updateStatus!.completedAtMs).not.toBeNull();
  });

  test.each([
    [2, 2],
    [3, 3],
    [0, 4],
  ])('parallelism %i starts %i slots at once', async (parallelism, started) => {
    const { id } = await deploy(update({ parallelism }));
    rooms.outcome = () => 'starting';
    await rooms.change(id, image('new'));
    await rooms.rest();
    expect(fresh(id)).toHaveLength(started);
  });

  test('stop-first: the new task runs only after the old one has stopped', async () => {
    const { id } = await rooms.deploy();
    const [old] = rooms.running(id);
    rooms.deaf.add(old!.id);
    await rooms.change(id, image('new'));
    await rooms.rest();
    expect(fresh(id)[0]).toMatchObject({ desiredState: 'ready', status: { state: 'ready' } });
    await rooms.report(old!.id, 'shutdown');
    await rooms.rest();
    expect(freshRunning(id)).toBe(1);
  });

  test('stop-first: the old task serves until the new one is prepared', async () => {
    const { id } = await deploy(update({ parallelism: 2 }));
    rooms.preparation = () => 'preparing';
    await rooms.change(id, image('new'));
    await rooms.pass(120_000, 5_000);
    expect(fresh(id).map(({ desiredState, status }) => [desiredState, status.state])).toEqual([
      ['ready', 'preparing'],
      ['ready', 'preparing'],
    ]);
    expect(rooms.running(id).map(isNew)).toEqual([false, false, false, false]);
    rooms.preparation = () => 'ready';
    await rooms.pass(10_000, 1_000);
    expect(rooms.running(id).map(isNew)).toEqual([true, true, true, true]);
  });

  test('stop-first: the old task is waited for from when it was told to stop', async () => {
    const { id } = await rooms.deploy();
    const [old] = rooms.running(id);
    rooms.preparation = () => 'preparing';
    rooms.deaf.add(old!.id);
    await rooms.change(id, image('new'));
    await rooms.pass(120_000, 5_000);
    rooms.preparation = () => 'ready';
    await rooms.pass(55_000, 5_000);
    expect(rooms.test.get('task', old!.id).desiredState).toBe('shutdown');
    expect(freshRunning(id)).toBe(0);
    await rooms.pass(10_000, 5_000);
    expect(freshRunning(id)).toBe(1);
  });

  test('stop-first: the old task has all of its grace period to stop', async () => {
    const container = aContainerSpec({ stopGracePeriodNanos: 300e9 });
    const { id } = await rooms.deploy({ task: aTaskSpec({ container }) });
    rooms.deaf.add(rooms.running(id)[0]!.id);
    await rooms.change(id, image('new'));
    await rooms.pass(300_000, 5_000);
    expect(freshRunning(id)).toBe(0);
    await rooms.pass(20_000, 5_000);
    expect(freshRunning(id)).toBe(1);
  });

  test('stop-first: what does not run has nothing to wait for', async () => {
    rooms.outcome = () => 'starting';
    const { id } = await rooms.deploy();
    const [old] = rooms.tasks(id);
    rooms.preparation = () => 'preparing';
    await rooms.change(id, image('new'));
    await rooms.rest();
    expect(rooms.test.get('task', old!.id).status.state).toBe('shutdown');
  });

  test.each(['pause', 'continue', 'rollback'] as const)(
    'stop-first: a task that cannot be prepared stops nothing, whatever is done about it (%s)',
    async (failureAction) => {
      const { id } = await deploy(update({ failureAction, parallelism: 2 }));
      const before = rooms.running(id).map((task) => task.id);
      rooms.preparation = (task) => (isNew(task) ? 'rejected' : 'ready');
      rooms.outcome = (task) => (isNew(task) ? 'rejected' : 'running');
      await rooms.change(id, image('new'));
      await rooms.pass(60_000, 1_000);
      const ends = { pause: 'paused', continue: 'completed', rollback: 'rollback_completed' };
      expect(rooms.service(id).updateStatus!.state).toBe(ends[failureAction]);
      expect(rooms.running(id).map((task) => task.id)).toEqual(before);
    },
  );

  test('stop-first: a task that could not be prepared goes on once it can be', async () => {
    const { id } = await rooms.deploy(update({ failureAction: 'continue' }));
    rooms.preparation = () => 'rejected';
    await rooms.change(id, image('new'));
    await rooms.pass(30_000, 1_000);
    expect(rooms.service(id).updateStatus!.state).toBe('completed');
    expect(rooms.running(id).map(isNew)).toEqual([false]);
    rooms.preparation = () => 'ready';
    await rooms.pass(10_000, 1_000);
    expect(rooms.running(id).map(isNew)).toEqual([true]);
  });

  test('stop-first: another update before the new task is prepared leaves the old one as it is', async () => {
    const { id } = await rooms.deploy();
    const [old] = rooms.running(id);
    rooms.preparation = () => 'preparing';
    await rooms.change(id, image('new'));
    await rooms.rest();
    await rooms.change(id, image('newer'));
    await rooms.rest();
    expect(fresh(id).map(({ status }) => status.state)).toEqual(['shutdown']);
    expect(rooms.running(id).map((task) => task.id)).toEqual([old!.id]);
    rooms.preparation = () => 'ready';
    await rooms.rest();
    expect(rooms.running(id).map(({ spec }) => spec.container.image)).toEqual(['newer']);
  });

  test('stop-first: the new task is prepared in the place of the old one where there is no other', async () => {
    const moreThanHalf = { ...NO_RESOURCES.reservations, nanoCpus: 2.5e9 };
    const ports = [aPort({ publishedPort: 80, publishMode: 'host' })];
    const { id } = await rooms.deploy({
      ...replicas(3),
      endpoint: { mode: 'vip', ports },
      task: aTaskSpec({
        container: aContainerSpec({ image: 'old' }),
        resources: { ...NO_RESOURCES, reservations: moreThanHalf },
      }),
    });
    rooms.preparation = () => 'preparing';
    await rooms.change(id, image('new'));
    await rooms.rest();
    const [first] = fresh(id);
    const old = rooms.running(id).find(({ slot }) => slot === first!.slot);
    expect(first).toMatchObject({ nodeId: old!.nodeId, status: { state: 'preparing' } });
    expect(rooms.running(id)).toHaveLength(3);
    rooms.preparation = () => 'ready';
    await rooms.pass(20_000, 1_000);
    expect(rooms.service(id).updateStatus!.state).toBe('completed');
    expect(rooms.running(id).map(isNew)).toEqual([true, true, true]);
  });

  const deployAt = async (address: string) => {
    const configs = [{ subnet: '10.9.0.0/24', gateway: '', range: '', reserved: {} }];
    const ipam = { driver: 'default', options: {}, configs };
    const [network] = await rooms.test.create(
      'network',
      aNetwork({ spec: aNetworkSpec({ ipam }) }),
    );
    await rooms.rest();
    const target = aNetworkTarget({ target: network!.id, addresses: [address] });
    const container = aContainerSpec({ image: 'old' });
    const { id } = await rooms.deploy({ task: aTaskSpec({ container, networks: [target] }) });
    expect(rooms.running(id).map(isNew)).toEqual([false]);
    return id;
  };

  test('stop-first: an old task gives the address up that the new one is to have', async () => {
    const id = await deployAt('10.9.0.99');
    await rooms.change(id, image('new'));
    await rooms.pass(10_000, 1_000);
    expect(rooms.running(id).map(isNew)).toEqual([true]);
  });

  test.each([
    ['constraints', ['node.labels.disk==ssd'], 0],
    ['reservations', [], 2 ** 50],
  ])(
    'stop-first: not for a new one that no node may have by its %s',
    async (_, constraints, memoryBytes) => {
      const id = await deployAt('10.9.0.99');
      await rooms.change(id, (spec) => {
        const { task } = image('new')(spec);
        const placement = { ...task.placement, constraints };
        const reservations = { ...task.resources.reservations, memoryBytes };
        const resources = { ...task.resources, reservations };
        return { ...spec, task: { ...task, placement, resources } };
      });
      await rooms.pass(20_000, 1_000);
      expect(rooms.running(id).map(isNew)).toEqual([false]);
      expect(fresh(id)[0]!.status.state).toBe('new');
      if (constraints.length === 0) return;
      // A node on which the service has nothing becomes fit.
      await rooms.test.store.update((tx) => {
        const node = tx.list('node').find((one) => one.id !== rooms.running(id)[0]!.nodeId)!;
        tx.update('node', { ...node, spec: { ...node.spec, labels: { disk: 'ssd' } } });
      });
      await rooms.pass(20_000, 1_000);
      expect(rooms.running(id).map(isNew)).toEqual([true]);
    },
  );

  test('start-first: the old task goes only after the new one runs', async () => {
    const { id } = await rooms.deploy(update({ order: 'start-first' }));
    const [old] = rooms.running(id);
    rooms.outcome = () => 'starting';
    await rooms.change(id, image('new'));
    await rooms.rest();
    expect(fresh(id)[0]!.status.state).toBe('starting');
    expect(rooms.test.get('task', old!.id).desiredState).toBe('running');
    await rooms.report(fresh(id)[0]!.id, 'running');
    await rooms.rest();
    expect(rooms.test.get('task', old!.id).status.state).toBe('shutdown');
  });

  test('a failure within the monitor period pauses, and nothing more is touched', async () => {
    const { id } = await deploy(update({ delayNanos: 1e9 }));
    await rooms.change(id, image('new'));
    await rooms.rest();
    const [first] = fresh(id);
    await rooms.report(first!.id, 'failed');
    await rooms.pass(20_000, 1000);
    expect(rooms.service(id).updateStatus).toMatchObject({
      state: 'paused',
      message: `update paused due to failure or early termination of task ${first!.id}`,
    });
    expect(new Set(fresh(id).map(({ slot }) => slot)).size).toBe(1);
    expect(freshRunning(id)).toBe(1); // the restart policy goes on with the failed slot
  });

  test('a failure after the monitor period is none of the update', async () => {
    const { id } = await deploy(update({ delayNanos: 7e9, monitorNanos: 5e9 }));
    await rooms.change(id, image('new'));
    await rooms.rest();
    await rooms.pass(6000, 1000);
    await rooms.report(fresh(id)[0]!.id, 'failed');
    await rooms.pass(60_000, 1000);
    expect(rooms.service(id).updateStatus!.state).toBe('completed');
    expect(freshRunning(id)).toBe(4);
  });

  test('failure action continue replaces every slot', async () => {
    const { id } = await deploy(update({ failureAction: 'continue' }));
    rooms.outcome = (task) => (isNew(task) ? 'failed' : 'running');
    await rooms.change(id, image('new'));
    await rooms.pass(30_000, 1000);
    expect(rooms.service(id).updateStatus!.state).toBe('completed');
    expect(new Set(fresh(id).map(({ slot }) => slot)).size).toBe(4);
  });

  test('the failure ratio tolerates failures up to and including itself', async () => {
    const { id } = await deploy(update({ maxFailureRatio: 0.25 }));
    const failing = new Set<string>();
    rooms.outcome = (task) => {
      if (isNew(task) && failing.size < 1) failing.add(task.id);
      return failing.has(task.id) ? 'failed' : 'running';
    };
    await rooms.change(id, image('new'));
    await rooms.pass(30_000, 1000);
    expect(rooms.service(id).updateStatus!.state).toBe('completed');
  });

  test('failure action rollback brings the previous spec back', async () => {
    const { id } = await deploy(update({ failureAction: 'rollback' }));
    rooms.outcome = (task) => (isNew(task) ? 'failed' : 'running');
    await rooms.change(id, image('new'));
    await rooms.rest();
    const started = rooms.service(id);
    expect(started.updateStatus!.state).toBe('rollback_started');
    expect(started.updateStatus!.message).toMatch(
      /^update rolled back due to failure or early termination of task \w{25}$/,
    );
    expect(started.spec.task.container.image).not.toBe('new');
    expect(started.previousSpec).toBeNull();
    await rooms.pass(30_000, 1000);
    expect(rooms.service(id).updateStatus).toMatchObject({
      state: 'rollback_completed',
      message: 'rollback completed',
    });
    expect(rooms.running(id)).toHaveLength(4);
    expect(freshRunning(id)).toBe(0);
  });

  test('a rollback that fails only pauses', async () => {
    const { id } = await deploy(update({ failureAction: 'rollback' }));
    rooms.outcome = () => 'failed';
    await rooms.change(id, image('new'));
    await rooms.pass(10_000, 1000);
    expect(rooms.service(id).updateStatus!.state).toBe('rollback_paused');
    expect(rooms.service(id).updateStatus!.message).toMatch(/^rollback paused due to failure/);
  });

  const FILE = { name: 'f', uid: '0', gid: '0', mode: 0o444 };
  const ports = [aPort({ publishedPort: 8080 })];
  /** What the first spec has and the second has not; how it is lost meanwhile; the words. */
  const LOST: [string, () => Promise<[Partial<ServiceSpec>, () => Promise<unknown>]>, RegExp][] = [
    [
      'a secret that is gone',
      async () => {
        const [secret] = await rooms.test.create(
          'secret',
          aSecret({ spec: aSecretSpec({ name: 'key' }) }),
        );
        const secrets = [{ secretId: secret!.id, secretName: 'key', file: FILE }];
        const task = aTaskSpec({ container: aContainerSpec({ secrets }) });
        return [{ task }, () => rooms.test.store.update((tx) => tx.remove('secret', secret!.id))];
      },
      /secret not found: key$/,
    ],
    [
      'a network that is gone',
      async () => {
        const [network] = await rooms.test.create('network', aNetwork());
        await rooms.rest();
        const task = aTaskSpec({ networks: [aNetworkTarget({ target: network!.id })] });
        return [{ task }, () => rooms.test.store.update((tx) => tx.remove('network', network!.id))];
      },
      /network \w{25} not found$/,
    ],
    [
      'a port that is taken',
      async () => [
        { endpoint: { mode: 'vip', ports } },
        () => rooms.deploy({ name: 'taker', endpoint: { mode: 'vip', ports } }),
      ],
      /port '8080' is already in use by service 'taker' \(\w{25}\) as an ingress port$/,
    ],
  ];
  test.each(LOST)(
    'back to %s it does not go: the update pauses and says why',
    async (_, lose, words) => {
      const [spec, lost] = await lose();
      const { id } = await deploy({ ...spec, ...update({ failureAction: 'rollback' }) });
      rooms.outcome = (task) => (isNew(task) ? 'starting' : 'running');
      await rooms.change(id, (old) => {
        const container = aContainerSpec({ image: 'new' });
        return { ...old, task: aTaskSpec({ container }), endpoint: { mode: 'vip', ports: [] } };
      });
      await rooms.rest();
      await lost();
      const [first] = fresh(id);
      await rooms.report(first!.id, 'failed');
      await rooms.pass(20_000, 1000);
      const { updateStatus, spec: now, previousSpec } = rooms.service(id);
      expect(updateStatus!.state).toBe('paused');
      expect(updateStatus!.message).toMatch(
        new RegExp(
          `^update paused due to failure or early termination of task ${first!.id}, and cannot be`,
        ),
      );
      expect(updateStatus!.message).toMatch(words);
      expect(now.task.container.image).toBe('new');
      expect(previousSpec).not.toBeNull();
    },
  );

  test('a secret that is removed in the round trip of the rollback to it keeps the rollback out', async () => {
    const [secret] = await rooms.test.create(
      'secret',
      aSecret({ spec: aSecretSpec({ name: 'key' }) }),
    );
    const secrets = [{ secretId: secret!.id, secretName: 'key', file: FILE }];
    const task = aTaskSpec({ container: aContainerSpec({ secrets }) });
    const { id } = await deploy({ task, ...update({ failureAction: 'rollback' }) });
    rooms.outcome = (one) => (isNew(one) ? 'starting' : 'running');
    await rooms.change(id, (old) => ({
      ...old,
      task: aTaskSpec({ container: aContainerSpec({ image: 'new' }) }),
    }));
    await rooms.rest();
    const { proposer, store } = rooms.test;
    proposer.hold = true;
    const failure = rooms.report(fresh(id)[0]!.id, 'failed');
    const removal = store.update((tx) => tx.remove('secret', secret!.id));
    while (proposer.held < 2) await settle();
    proposer.release(1);
    await failure;
    while (proposer.held < 2) await settle(); // the removal, then the rollback: decided on one state
    proposer.hold = false;
    proposer.release();
    await removal;
    await rooms.rest();
    expect(rooms.service(id).updateStatus).toMatchObject({
      state: 'paused',
      message: expect.stringMatching(/cannot be rolled back: secret not found: key$/),
    });
  });

  test('a new update replaces the paused one', async () => {
    const { id } = await deploy();
    rooms.outcome = (task) => (isNew(task) ? 'failed' : 'running');
    await rooms.change(id, image('new'));
    await rooms.rest();
    expect(rooms.service(id).updateStatus!.state).toBe('paused');
    await rooms.change(id, image('newer'));
    await rooms.pass(40_000, 1000);
    expect(rooms.service(id).updateStatus!.state).toBe('completed');
    const images = rooms.running(id).map(({ spec }) => spec.container.image);
    expect(images).toEqual(['newer', 'newer', 'newer', 'newer']);
  });

  test('a new leader finishes the update and keeps the count', async () => {
    const { id } = await deploy(update({ delayNanos: 1e9 }));
    await rooms.change(id, image('new'));
    await rooms.pass(1500);
    expect(freshRunning(id)).toBe(2);
    const { startedAtMs } = rooms.service(id).updateStatus!;
    await rooms.stop();
    await rooms.lead();
    await rooms.pass(30_000, 1000);
    expect(rooms.service(id).updateStatus).toMatchObject({ state: 'completed', startedAtMs });
    expect(freshRunning(id)).toBe(4);
    expect(fresh(id)).toHaveLength(4);
  });

  test.each(['failed', 'rejected', 'complete'] as const)(
    'failures on both sides of a leader change count together: %s before it',
    async (end) => {
      // One of four may fail; the second is one too many, whoever leads.
      const { id } = await deploy(update({ delayNanos: 10e9, maxFailureRatio: 0.25 }));
      await rooms.change(id, image('new'));
      await rooms.rest();
      await rooms.report(fresh(id)[0]!.id, end);
      await rooms.pass(9000, 1000); // it is replaced, and the next slot waits
      expect(freshRunning(id)).toBe(1);
      await rooms.stop();
      await rooms.lead();
      await rooms.pass(2000, 1000);
      expect(rooms.service(id).updateStatus!.state).toBe('updating');
      const second = fresh(id).find(({ slot }) => slot !== fresh(id)[0]!.slot)!;
      await rooms.report(second.id, 'failed');
      await rooms.rest();
      expect(rooms.service(id).updateStatus).toMatchObject({
        state: 'paused',
        message: `update paused due to failure or early termination of task ${second.id}`,
      });
    },
  );

  test('a failure whose task is long history counts after a leader change, and history goes when the update is over', async () => {
    await rooms.test.store.update((tx) => {
      const [cluster] = tx.list('cluster');
      tx.update('cluster', { ...cluster!, spec: { ...cluster!.spec, taskHistoryLimit: 1 } });
    });
    const { id } = await deploy(update({ delayNanos: 60e9, maxFailureRatio: 0.25 }));
    await rooms.change(id, image('new'));
    await rooms.rest();
    const [first] = fresh(id);
    await rooms.report(first!.id, 'failed');
    await rooms.pass(6000, 1000);
    // Its successors fail as well, which is not the update's affair: each pushes another one out.
    for (let i = 0; i < 3; i++) {
      await rooms.report(rooms.running(id).find(isNew)!.id, 'failed');
      await rooms.pass(6000, 1000);
    }
    const kept = rooms.tasks(id).filter(({ slot }) => slot === first!.slot);
    expect(kept.map((task) => isNew(task))).toEqual([false, true, true]);
    await rooms.stop();
    await rooms.lead();
    await rooms.pass(38_000, 1000);
    const second = fresh(id).find(({ slot }) => slot !== first!.slot)!;
    await rooms.report(second.id, 'failed');
    await rooms.pass(1000);
    expect(rooms.service(id).updateStatus!.state).toBe('paused');
    expect(rooms.tasks(id).map((task) => task.id)).not.toContain(first!.id);
  });

  test('what was stopped on request before a leader change is no failure after it', async () => {
    const { id } = await deploy(update({ delayNanos: 10e9, maxFailureRatio: 0.25 }));
    await rooms.change(id, image('new'));
    await rooms.rest();
    await rooms.report(fresh(id)[0]!.id, 'shutdown');
    await rooms.pass(9000, 1000);
    expect(freshRunning(id)).toBe(1);
    await rooms.stop();
    await rooms.lead();
    await rooms.pass(2000, 1000);
    const second = fresh(id).find(({ slot }) => slot !== fresh(id)[0]!.slot)!;
    await rooms.report(second.id, 'failed');
    await rooms.rest();
    expect(rooms.service(id).updateStatus!.state).toBe('updating');
  });

  test('a slot whose old task ended just then is part of the update', async () => {
    const { id } = await rooms.deploy();
    const [old] = rooms.running(id);
    rooms.test.proposer.hold = true;
    const changed = rooms.change(id, image('new'));
    const failed = rooms.report(old!.id, 'failed');
    rooms.test.proposer.hold = false;
    rooms.test.proposer.release();
    await Promise.all([changed, failed]);
    await rooms.rest();
    expect(fresh(id)).toHaveLength(1);
    expect(rooms.service(id).updateStatus!.state).toBe('updating');
    await rooms.report(fresh(id)[0]!.id, 'failed');
    await rooms.rest();
    expect(rooms.service(id).updateStatus!.state).toBe('paused');
  });

  test('a new leader waits out the delay between two slots', async () => {
    const { id } = await deploy(update({ delayNanos: 10e9 }));
    await rooms.change(id, image('new'));
    await rooms.rest();
    await rooms.pass(3000);
    await rooms.stop();
    await rooms.lead();
    await rooms.pass(6900);
    expect(freshRunning(id)).toBe(1);
    await rooms.pass(200);
    expect(freshRunning(id)).toBe(2);
  });

  test('a start-first update that is rolled back leaves the old tasks as they were', async () => {
    const { id } = await deploy(update({ order: 'start-first', failureAction: 'rollback' }));
    const before = rooms.running(id).map((task) => task.id);
    rooms.outcome = (task) => (isNew(task) ? 'failed' : 'running');
    await rooms.change(id, image('new'));
    await rooms.pass(20_000, 1000);
    expect(rooms.service(id).updateStatus!.state).toBe('rollback_completed');
    expect(rooms.running(id).map((task) => task.id)).toEqual(before);
    expect(rooms.tasks(id)).toHaveLength(5); // and the one that failed
  });

  test('an update that was rolled back is tried again in every slot', async () => {
    const { id } = await deploy(
      update({ order: 'start-first', failureAction: 'rollback', parallelism: 2 }),
    );
    await rooms.pass(1000, 1000); // the new tasks are the younger ones
    rooms.outcome = (task) => (isNew(task) ? 'starting' : 'running');
    await rooms.change(id, image('new'));
    await rooms.rest();
    const [failing, waiting] = fresh(id);
    await rooms.report(failing!.id, 'failed');
    await rooms.pass(20_000, 1000);
    expect(rooms.service(id).updateStatus!.state).toBe('rollback_completed');
    expect(rooms.test.get('task', waiting!.id).status.state).toBe('shutdown');
    rooms.outcome = () => 'running';
    await rooms.change(id, image('new'));
    await rooms.pass(60_000, 1000);
    expect(rooms.service(id).updateStatus!.state).toBe('completed');
    expect(freshRunning(id)).toBe(4);
    expect(rooms.running(id)).toHaveLength(4);
  });

  test('a failed start-first attempt is tried again beside the old task', async () => {
    const { id } = await rooms.deploy(update({ order: 'start-first' }));
    const [old] = rooms.running(id);
    let failures = 0;
    rooms.outcome = (task) => (isNew(task) && failures++ < 1 ? 'failed' : 'running');
    await rooms.change(id, image('new'));
    await rooms.rest();
    expect(rooms.service(id).updateStatus!.state).toBe('paused');
    expect(rooms.test.get('task', old!.id).desiredState).toBe('running');
    await rooms.pass(5100);
    expect(freshRunning(id)).toBe(1);
    expect(rooms.test.get('task', old!.id).desiredState).toBe('shutdown');
  });

  test.each<[string, (spec: ServiceSpec) => ServiceSpec]>([
    ['service labels', (spec) => ({ ...spec, labels: { a: 'b' } })],
    ['update settings', (spec) => ({ ...spec, ...update({ parallelism: 3 }) })],
    ['replicas', (spec) => ({ ...spec, ...replicas(5) })],
    [
      'registry credentials',
      (spec) => ({
        ...spec,
        task: { ...spec.task, container: { ...spec.task.container, registryAuth: 'x' } },
      }),
    ],
    [
      'constraints that still hold',
      (spec) => ({
        ...spec,
        task: {
          ...spec.task,
          placement: { ...spec.task.placement, constraints: ['node.role == worker'] },
        },
      }),
    ],
  ])('a change of %s restarts nothing', async (_, patch) => {
    const { id } = await deploy();
    const before = rooms.running(id).map((task) => task.id);
    await rooms.change(id, patch);
    await rooms.rest();
    expect(rooms.running(id).map((task) => task.id)).toEqual(expect.arrayContaining(before));
    expect(rooms.service(id).updateStatus).toBeNull();
  });

  test('constraints that no longer hold move the tasks', async () => {
    const { id } = await deploy();
    const [node] = rooms.nodes();
    await rooms.setNode(node!.id, (it) => ({ ...it, spec: { ...it.spec, labels: { a: '1' } } }));
    await rooms.change(id, (spec) => ({
      ...spec,
      ...update({ parallelism: 0 }),
      task: {
        ...spec.task,
        placement: { ...spec.task.placement, constraints: ['node.labels.a == 1'] },
      },
    }));
    await rooms.pass(10_000, 1000);
    expect(rooms.running(id).map(({ nodeId }) => nodeId)).toEqual(Array(4).fill(node!.id));
  });

  test('a completed task that need not run again is replaced by an update', async () => {
    const task = aTaskSpec({
      container: aContainerSpec({ image: 'old' }),
      restart: { condition: 'on-failure', delayNanos: 0, maxAttempts: 0, windowNanos: 0 },
    });
    const { id } = await rooms.deploy({ task });
    await rooms.report(rooms.tasks(id)[0]!.id, 'complete');
    await rooms.rest();
    expect(rooms.tasks(id)).toHaveLength(1);
    await rooms.change(id, image('new'));
    await rooms.rest();
    expect(freshRunning(id)).toBe(1);
  });

  test('a global service is updated node by node', async () => {
    const { id } = await rooms.deploy({ mode: { kind: 'global' }, ...update({ delayNanos: 1e9 }) });
    await rooms.change(id, image('new'));
    await rooms.rest();
    expect(freshRunning(id)).toBe(1);
    await rooms.pass(8000, 1000);
    expect(freshRunning(id)).toBe(3);
    expect(rooms.service(id).updateStatus!.state).toBe('completed');
  });

  test('a node that is paused in the middle of its update keeps its old task until it is active', async () => {
    const { id } = await rooms.deploy({ mode: { kind: 'global' } });
    rooms.preparation = () => 'preparing';
    await rooms.change(id, image('new'));
    await rooms.rest();
    const [first] = fresh(id);
    const here = () => rooms.running(id).filter(({ nodeId }) => nodeId === first!.nodeId);
    const setAvailability = (availability: 'active' | 'pause') =>
      rooms.setNode(first!.nodeId!, (node) => ({ ...node, spec: { ...node.spec, availability } }));
    await setAvailability('pause');
    rooms.preparation = () => 'ready';
    await rooms.pass(120_000, 5_000);
    expect(here().map(isNew)).toEqual([false]);
    await setAvailability('active');
    await rooms.pass(60_000, 1_000);
    expect(rooms.running(id).map(isNew)).toEqual([true, true, true]);
  });

  test('a node that was paused during the update serves until it has caught up', async () => {
    const { id } = await rooms.deploy({ mode: { kind: 'global' } });
    const [away] = rooms.nodes();
    const setAvailability = (availability: 'active' | 'pause') =>
      rooms.setNode(away!.id, (node) => ({ ...node, spec: { ...node.spec, availability } }));
    await setAvailability('pause');
    await rooms.change(id, image('new'));
    await rooms.pass(60_000, 1_000);
    expect(rooms.service(id).updateStatus!.state).toBe('completed');
    rooms.preparation = () => 'preparing';
    await setAvailability('active');
    await rooms.pass(60_000, 5_000);
    const there = rooms.running(id).filter(({ nodeId }) => nodeId === away!.id);
    expect(there.map(isNew)).toEqual([false]);
    rooms.preparation = () => 'ready';
    await rooms.rest();
    expect(rooms.running(id).map(isNew)).toEqual([true, true, true]);
  });

  test('while the update of a global service is paused, a node that comes back keeps its old task', async () => {
    const { id } = await rooms.deploy({ mode: { kind: 'global' } });
    const [away] = rooms.nodes();
    const setAvailability = (availability: 'active' | 'pause') =>
      rooms.setNode(away!.id, (node) => ({ ...node, spec: { ...node.spec, availability } }));
    await setAvailability('pause');
    await rooms.change(id, image('new'));
    await rooms.rest();
    await rooms.report(fresh(id)[0]!.id, 'failed');
    await rooms.rest();
    expect(rooms.service(id).updateStatus!.state).toBe('paused');
    await setAvailability('active');
    await rooms.pass(20_000, 1000);
    const there = rooms.running(id).filter(({ nodeId }) => nodeId === away!.id);
    expect(there.map(isNew)).toEqual([false]);
    await rooms.change(id, image('newer'));
    await rooms.pass(60_000, 1000);
    expect(rooms.running(id).map(({ spec }) => spec.container.image)).toEqual(
      Array(3).fill('newer'),
    );
  });

  test('a task that waited for room on a node that is drained then holds up no update', async () => {
    const { id } = await rooms.deploy({ mode: { kind: 'global' } });
    const [full] = rooms.nodes();
    await rooms.setNode(full!.id, (node) => ({
      ...node,
      description: { ...node.description!, nanoCpus: 0 },
    }));
    const reservations = { ...NO_RESOURCES.reservations, nanoCpus: 1e9 };
    await rooms.change(id, (spec) => {
      const changed = image('new')(spec);
      return {
        ...changed,
        task: { ...changed.task, resources: { ...NO_RESOURCES, reservations } },
      };
    });
    await rooms.pass(20_000, 1000);
    expect(rooms.service(id).updateStatus!.state).toBe('updating');
    await rooms.setNode(full!.id, (node) => ({
      ...node,
      spec: { ...node.spec, availability: 'drain' },
    }));
    await rooms.pass(20_000, 1000);
    expect(freshRunning(id)).toBe(2);
    expect(rooms.service(id).updateStatus!.state).toBe('completed');
  });

  /** Four tasks of which no node may have two: the fourth waits. */
  const deployTooMany = (config: Partial<UpdateConfig>) =>
    deploy({
      ...update(config),
      task: aTaskSpec({
        container: aContainerSpec({ image: 'old' }),
        placement: { ...ANYWHERE, maxReplicas: 1 },
      }),
    });

  test.each([
    ['stop-first', 'the same leader'],
    ['start-first', 'the same leader'],
    ['stop-first', 'another leader'],
  ] as const)(
    '%s: tasks that no node has room for hold up no update of others, with %s',
    async (order, who) => {
      const { id } = await deployTooMany({ order });
      expect(rooms.running(id)).toHaveLength(3);
      await rooms.change(id, image('new'));
      if (who === 'another leader') {
        await rooms.rest();
        await rooms.lead();
      }
      await rooms.pass(60_000, 1000);
      const wanted = rooms.tasks(id).filter(isWanted);
      // Start first needs room of which there is none: the one that waits for it loses nothing.
      const reached = order === 'stop-first' ? 4 : 2;
      expect(wanted.filter(isNew)).toHaveLength(reached);
      expect(rooms.running(id)).toHaveLength(3);
    },
  );

  test('where the new words fit no node, nothing is lost', async () => {
    const { id } = await deployTooMany({});
    await rooms.change(id, (spec) => {
      const { task } = image('new')(spec);
      const reservations = { ...NO_RESOURCES.reservations, nanoCpus: 1e15 };
      return { ...spec, task: { ...task, resources: { ...NO_RESOURCES, reservations } } };
    });
    await rooms.pass(60_000, 1000);
    expect(rooms.running(id).map(isNew)).toEqual([false, false, false]);
    await rooms.lead();
    await rooms.pass(60_000, 1000);
    expect(rooms.running(id).map(isNew)).toEqual([false, false, false]);
  });
});
