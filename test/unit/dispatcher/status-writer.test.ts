import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import type { NodeId, TaskId } from '../../../common/model/ids.ts';
import type { Network } from '../../../common/model/network.ts';
import type { LocalAddress, Task, TaskStatus } from '../../../common/model/task.ts';
import type { TaskState } from '../../../common/model/task-state.ts';
import { isTransient, StatusWriter } from '../../../manager/dispatcher/status-writer.ts';
import { aNetwork, aNetworkSpec, aTask, aTaskStatus, idOf } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const nodeId = idOf<NodeId>('nod');
const otherNode = idOf<NodeId>('other');
const taskId = idOf<TaskId>('tsk');

let store: TestStore;
let writer: StatusWriter;
let failures: unknown[];

beforeEach(async () => {
  store = makeStore();
  failures = [];
  writer = new StatusWriter(store.store, store.clock, (err) => failures.push(err));
  await store.create(
    'task',
    aTask({ id: taskId, nodeId, status: aTaskStatus({ state: 'assigned' }) }),
  );
});

afterEach(() => writer.stop());

const status = (state: TaskState, overrides: Partial<TaskStatus> = {}): TaskStatus =>
  aTaskStatus({ state, ...overrides });
const report = (state: TaskState, of = nodeId, id = taskId): Promise<void> =>
  writer.write(of, [{ taskId: id, status: status(state) }]);
const stateOf = (id = taskId): TaskState => store.get('task', id).status.state;

describe('the status writer', () => {
  test('stores a status, with the time at which it was stored', async () => {
    const written = writer.write(nodeId, [
      { taskId, status: status('running', { message: 'started', timestampMs: 7 }) },
    ]);
    await store.clock.advance(10);
    await written;
    expect(store.get('task', taskId).status).toMatchObject({
      state: 'running',
      message: 'started',
      timestampMs: 7,
      appliedAtMs: store.clock.wallMs(),
    });
  });

  test('cuts words that nobody reads to their end', async () => {
    const written = writer.write(nodeId, [
      { taskId, status: status('failed', { err: 'x'.repeat(2_000_000), message: 'why' }) },
    ]);
    await store.clock.advance(10);
    await written;
    const { err, message } = store.get('task', taskId).status;
    expect([err.length, err.endsWith('x…'), message]).toEqual([16 * 1024, true, 'why']);
  });

  test('refuses a status that is too large in what cannot be cut, and goes on with others', async () => {
    const containerId = 'x'.repeat(2_000_000);
    const container = { containerId, pid: 1, exitCode: 0, oomKilled: false };
    await expect(
      writer.write(nodeId, [{ taskId, status: status('running', { container }) }]),
    ).rejects.toMatchObject({ code: 'invalid-argument' });
    const written = report('running');
    await store.clock.advance(10);
    await written;
    expect([stateOf(), failures]).toEqual(['running', []]);
  });

  test('reports of one moment share one transaction', async () => {
    const others = await store.create(
      'task',
      ...Array.from({ length: 5 }, () => aTask({ nodeId, status: status('assigned') })),
    );
    const before = store.proposer.entries.length;
    const written = others.map(({ id }) => report('running', nodeId, id));
    expect(store.proposer.entries.length).toBe(before);
    await store.clock.advance(10);
    await Promise.all(written);
    expect(store.proposer.entries.length).toBe(before + 1);
  });

  describe('in a burst', () => {
    let tasks: readonly Task[];
    const write = (from: number, to: number): Promise<unknown> =>
      Promise.all(tasks.slice(from, to).map(({ id }) => report('running', nodeId, id)));

    beforeEach(async () => {
      const assigned = (): Task => aTask({ nodeId, status: status('assigned') });
      const created = () => store.create('task', ...Array.from({ length: 200 }, assigned));
      tasks = [...(await created()), ...(await created())];
    });

    test.each([
      [20, 10],
      [60, 30],
      [150, 50],
    ])('after %i statuses the next ones wait %i ms', async (count, delayMs) => {
      const first = write(0, count);
      await store.clock.advance(10);
      await first;
      const before = store.proposer.entries.length;
      const second = write(count, count + 1);
      await store.clock.advance(delayMs - 1);
      expect(store.proposer.entries.length).toBe(before);
      await store.clock.advance(1);
      await second;
      expect(store.proposer.entries.length).toBe(before + 1);
    });

    test('those that fill a transaction wait no longer', async () => {
      const first = write(0, 150);
      await store.clock.advance(10);
      await first;
      const before = store.proposer.entries.length;
      const second = write(150, 350);
      await store.clock.advance(0);
      await second;
      expect(store.proposer.entries.length).toBe(before + 1);
    });
  });

  test.each([
    ['running', 'starting', 'running'],
    ['failed', 'running', 'failed'],
    ['starting', 'running', 'running'],
    ['complete', 'failed', 'complete'],
  ] as const)('a state only grows: %s, then %s leaves %s', async (first, second, left) => {
    for (const state of [first, second]) {
      const written = report(state);
      await store.clock.advance(10);
      await written;
    }
    expect(stateOf()).toBe(left);
  });

  test('also within one batch', async () => {
    const written = [report('failed'), report('running')];
    await store.clock.advance(10);
    await Promise.all(written);
    expect(stateOf()).toBe('failed');
  });

  test.each(['before', 'after'] as const)(
    "another node's words about a task change nothing, said %s the owner's",
    async (when) => {
      const written =
        when === 'before'
          ? [report('failed', otherNode), report('running')]
          : [report('running'), report('failed', otherNode)];
      await store.clock.advance(10);
      await Promise.all(written);
      expect(stateOf()).toBe('running');
    },
  );

  describe('of addresses that a node says it gave', () => {
    const bridge = aNetwork({
      spec: aNetworkSpec({
        driver: 'bridge',
        ipam: {
          ...{ driver: 'default', options: {} },
          configs: [{ subnet: '192.168.7.0/24', gateway: '', range: '', reserved: {} }],
        },
      }),
    });
    const macvlan = aNetwork({ spec: aNetworkSpec({ driver: 'macvlan', configFrom: 'conf' }) });
    const overlay = aNetwork();
    const other = aNetwork({ spec: aNetworkSpec({ driver: 'bridge' }) });
    const good = { networkId: macvlan.id, address: '172.31.0.9/16' };

    async function storedOf(
      reported: readonly (readonly [Network, string])[],
    ): Promise<readonly LocalAddress[]> {
      await store.create('network', bridge, macvlan, overlay, other);
      const networks = [bridge, macvlan, overlay].map(({ id }) => {
        return { networkId: id, addresses: id === overlay.id ? ['10.0.1.5/24'] : [], aliases: [] };
      });
      const assigned = status('assigned');
      const [task] = await store.create('task', aTask({ nodeId, networks, status: assigned }));
      const localAddresses = [
        ...reported.map(([{ id }, address]) => ({ networkId: id, address })),
        good,
      ];
      const updates = [{ taskId: task!.id, status: status('running', { localAddresses }) }];
      const written = writer.write(nodeId, updates);
      await store.clock.advance(10);
      await written;
      expect(stateOf(task!.id)).toBe('running');
      return store.get('task', task!.id).status.localAddresses;
    }

    test('those of its own networks are stored, each once', async () => {
      expect(
        await storedOf([
          [bridge, '192.168.7.9/24'],
          [bridge, '192.168.7.10/24'],
        ]),
      ).toEqual([{ networkId: bridge.id, address: '192.168.7.9/24' }, good]);
    });

    test.each([
      ['no address', bridge, 'x'],
      ['nothing', macvlan, ''],
      ['without a prefix', macvlan, '172.31.0.8'],
      ['with too long a prefix', macvlan, '172.31.0.8/33'],
      ['with more behind it', macvlan, '172.31.0.8/16/1'],
      ['of IPv6', macvlan, 'fd00::8/64'],
      ['outside of the subnet', bridge, '192.168.8.9/24'],
      ['that of the gateway', bridge, '192.168.7.1/24'],
      ['in an overlay', overlay, '10.0.1.6/24'],
      ['in a network that the task is not in', other, '192.168.9.9/24'],
    ] as const)(
      'what is %s is left out, and the rest of the report stands',
      async (_, of, address) => {
        expect(await storedOf([[of, address]])).toEqual([good]);
      },
    );
  });

  test('a status that is stored already is acknowledged without a write', async () => {
    const first = report('running');
    await store.clock.advance(10);
    await first;
    const before = store.store.revision;
    const again = report('running');
    await store.clock.advance(10);
    await again;
    expect(store.store.revision).toBe(before);
  });

  test('a report of a deleted task is acknowledged', async () => {
    const written = report('running', nodeId, idOf('gone'));
    await store.clock.advance(10);
    await expect(written).resolves.toBeUndefined();
  });

  test('an empty report is acknowledged, also while another is being written', async () => {
    store.proposer.hold = true;
    const first = report('running');
    await store.clock.advance(10);
    const empty = writer.write(nodeId, []);
    store.proposer.release();
    await first;
    await store.clock.advance(10);
    await expect(empty).resolves.toBeUndefined();
  });

  test('is acknowledged only after the commit; what comes meanwhile is the next batch', async () => {
    store.proposer.hold = true;
    let acknowledged = 0;
    const count = (): void => void acknowledged++;
    const written = [report('starting').then(count)];
    await store.clock.advance(10);
    expect(store.proposer.held).toBe(1);
    written.push(report('running').then(count));
    await store.clock.advance(100);
    expect([acknowledged, store.proposer.held]).toEqual([0, 1]);
    store.proposer.release();
    await settle();
    expect(acknowledged).toBe(1);
    await store.clock.advance(10);
    store.proposer.release();
    await Promise.all(written);
    expect(stateOf()).toBe('running');
  });

  test('more than 20,000 waiting statuses are refused', async () => {
    const updates = Array.from({ length: 20_000 }, (_, i) => ({
      taskId: idOf<TaskId>(`t${i}x`),
      status: status('running'),
    }));
    const written = writer.write(nodeId, updates);
    await expect(report('running')).rejects.toMatchObject({ code: 'resource-exhausted' });
    await store.clock.advance(10);
    await written;
    const next = report('running');
    await store.clock.advance(50);
    await expect(next).resolves.toBeUndefined();
  });

  test('more than 20,000 reports that wait are refused, also those that say the same', async () => {
    store.proposer.hold = true;
    const first = report('running');
    await store.clock.advance(10);
    const waiting = Array.from({ length: 20_000 }, () => report('running'));
    expect(writer.queues()).toEqual([
      { name: 'statuses to be stored', length: 1, limit: 20_000 },
      { name: 'reports to be answered', length: 20_000, limit: 20_000 },
    ]);
    await expect(report('running')).rejects.toMatchObject({ code: 'resource-exhausted' });
    store.proposer.fail(new SkepError('unavailable', 'no'));
    await expect(first).rejects.toMatchObject({ code: 'unavailable' });
    await writer.stop();
    expect(new Set((await Promise.allSettled(waiting)).map(({ status }) => status))).toEqual(
      new Set(['rejected']),
    );
  });

  test.each(['not-leader', 'no-leader', 'unavailable', 'version-conflict'] as const)(
    'a commit that fails with %s is told to the reporter alone',
    async (code) => {
      store.proposer.hold = true;
      const written = report('running');
      await store.clock.advance(10);
      store.proposer.fail(new SkepError(code, 'no'));
      await expect(written).rejects.toMatchObject({ code });
      expect(failures).toEqual([]);
      expect(stateOf()).toBe('assigned');
    },
  );

  test('any other failure is told to the owner as well', async () => {
    store.proposer.hold = true;
    const written = report('running');
    await store.clock.advance(10);
    const err = new SkepError('internal', 'broken');
    expect(isTransient(err)).toBe(false);
    store.proposer.fail(err);
    await expect(written).rejects.toBe(err);
    await settle();
    expect(failures).toEqual([err]);
  });

  test('reports that wait at the stop, and those after it, are refused', async () => {
    const waiting = report('running');
    const stopped = writer.stop();
    await expect(waiting).rejects.toMatchObject({ code: 'unavailable' });
    await stopped;
    await expect(report('running')).rejects.toMatchObject({ code: 'unavailable' });
    expect(store.clock.pending).toBe(0);
  });
});
