import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import { BoundedQueue } from '../../../common/base/queue.ts';
import type { NodeId, ServiceId, TaskId } from '../../../common/model/ids.ts';
import type { Task } from '../../../common/model/task.ts';
import type {
  TaskLogQuery,
  TaskLogRecord,
  TaskLogRequest,
} from '../../../common/model/task-log.ts';
import type { TaskState } from '../../../common/model/task-state.ts';
import {
  LogBroker,
  type LogBrokerOptions,
  type LogEvent,
  type LogSelector,
} from '../../../manager/logbroker/log-broker.ts';
import { aNode, aNodeDescription, aTask, aTaskStatus, idOf } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

const serviceId = idOf<ServiceId>('svc');
const nodeId = idOf<NodeId>('nod');
const ADDRESS = '192.0.2.1:2377';
const ALL: TaskLogQuery = {
  follow: false,
  tail: 'all',
  sinceNanos: null,
  untilNanos: null,
  stdout: true,
  stderr: true,
};
const OF_SERVICE: LogSelector = { kind: 'service', serviceId };

/** A task's log on its node: what was written so far, and whether more may come. */
class FakeLog {
  readonly #queue = new BoundedQueue<TaskLogRecord | { readonly failure: unknown }>(5_000);

  write(timeNanos: bigint, text: string): this {
    this.#queue.push({ timeNanos, stream: 'stdout', data: Buffer.from(text) });
    return this;
  }

  fail(failure: unknown): this {
    this.#queue.push({ failure });
    return this;
  }

  end(): this {
    this.#queue.close();
    return this;
  }

  async *read(signal?: AbortSignal): AsyncGenerator<TaskLogRecord> {
    for (;;) {
      const items = await this.#queue.takeAll(signal);
      if (items === null) return;
      for (const item of items) {
        if ('failure' in item) throw item.failure;
        yield item;
      }
    }
  }
}

let store: TestStore;
let logs: Map<string, FakeLog>;
let requests: { address: string; expected: unknown; request: TaskLogRequest }[];
let broker: LogBroker;
let reading: AbortController;

const pool = {
  client: (address: string, expected: unknown) => ({
    serverStream: async (_: unknown, message: unknown, options?: { signal?: AbortSignal }) => {
      const request = message as TaskLogRequest;
      requests.push({ address, expected, request });
      const log = logs.get(request.taskId);
      if (!log) throw new SkepError('not-found', `read task log: ${request.taskId} is not here`);
      const records = log.read(options?.signal);
      const next = async () => (await records.next()).value ?? null;
      return { next, cancel: () => {}, [Symbol.asyncIterator]: () => records };
    },
  }),
} as unknown as LogBrokerOptions['pool'];

beforeEach(async () => {
  store = makeStore();
  logs = new Map();
  requests = [];
  reading = new AbortController();
  broker = new LogBroker({ ...store, pool, log: silentLogger });
  await store.create(
    'node',
    aNode({ id: nodeId, description: aNodeDescription({ address: ADDRESS }) }),
  );
});

afterEach(() => {
  reading.abort();
  expect(store.clock.pending).toBeLessThan(2);
});

const taskOf = (label: string, overrides: Partial<Task> = {}): Task =>
  aTask({
    id: idOf(label),
    serviceId,
    nodeId,
    status: aTaskStatus({ state: 'running' }),
    ...overrides,
  });

const logOf = (label: string): FakeLog => {
  const log = new FakeLog();
  logs.set(idOf(label), log);
  return log;
};

const said = (event: LogEvent): string =>
  event.kind === 'record'
    ? `${event.task.id.replace(/0+$/, '')}: ${Buffer.from(event.record.data)}`
    : `${event.task.id.replace(/0+$/, '')} incomplete: ${event.why}`;

/** Reads in the background; `ended` tells how it ended. */
function read(query: Partial<TaskLogQuery> = {}, selector = OF_SERVICE) {
  const events: string[] = [];
  const ended = (async () => {
    for await (const event of broker.read(selector, { ...ALL, ...query }, reading.signal)) {
      events.push(said(event));
    }
  })().then(
    () => 'ended',
    (err: unknown) => err,
  );
  return { events, ended };
}

describe('logs of a service', () => {
  test('are those of all its tasks, and end when these have ended', async () => {
    await store.create('task', taskOf('a'), taskOf('b'));
    await store.create('task', taskOf('z', { serviceId: idOf('other') }));
    logOf('a').write(1n, 'one').write(2n, 'two').end();
    logOf('b').write(1n, 'three').end();
    const { events, ended } = read();
    await store.clock.advance(50);
    expect(await ended).toBe('ended');
    expect([...events].sort()).toEqual(['a: one', 'a: two', 'b: three']);
  });

  test('leave nothing with the signal of who reads when they have ended', async () => {
    await store.create('task', taskOf('a'), taskOf('b'));
    logOf('a').write(1n, 'one').end();
    logOf('b').end();
    const { ended } = read();
    expect(getEventListeners(reading.signal, 'abort').length).toBeGreaterThan(0);
    await store.clock.advance(50);
    expect(await ended).toBe('ended');
    expect(getEventListeners(reading.signal, 'abort')).toHaveLength(0);
  });

  test('are asked of the node that runs the task, as that node', async () => {
    await store.create('task', taskOf('a'));
    logOf('a').end();
    const { ended } = read({ tail: 5, sinceNanos: 9n });
    await store.clock.advance(50);
    await ended;
    expect(requests).toMatchObject([
      { address: ADDRESS, expected: { nodeId }, request: { tail: 5, sinceNanos: 9n } },
    ]);
  });

  test.each<[TaskState, number]>([
    ['pending', 0],
    ['preparing', 0],
    ['starting', 0],
    ['running', 1],
    ['complete', 1],
    ['failed', 1],
  ])('of a task that is %s are asked for %i times', async (state, times) => {
    const container = { containerId: 'c', pid: 0, exitCode: 0, oomKilled: false };
    await store.create('task', taskOf('a', { status: aTaskStatus({ state, container }) }));
    logOf('a').end();
    const { ended } = read();
    await store.clock.advance(50);
    expect(await ended).toBe('ended');
    expect(requests).toHaveLength(times);
  });

  test('of one task are only its own', async () => {
    await store.create('task', taskOf('a'), taskOf('b'));
    logOf('a').write(1n, 'one').end();
    logOf('b').write(1n, 'two').end();
    const { events, ended } = read({}, { kind: 'task', taskId: idOf<TaskId>('a') });
    await store.clock.advance(50);
    await ended;
    expect(events).toEqual(['a: one']);
  });
});

describe('following', () => {
  test('picks up tasks that start later, and ends when the reader leaves', async () => {
    await store.create('task', taskOf('a'));
    logOf('a').write(1n, 'one');
    const { events, ended } = read({ follow: true });
    await settle();
    const [later] = await store.create(
      'task',
      taskOf('b', { status: aTaskStatus({ state: 'starting' }) }),
    );
    logOf('b').write(2n, 'two');
    await settle();
    expect(events).toEqual(['a: one']);
    const status = aTaskStatus({ state: 'running' });
    await store.store.update((tx) => tx.update('task', { ...later!, status }));
    await settle();
    expect(events).toEqual(['a: one', 'b: two']);
    expect(requests).toHaveLength(2);
    reading.abort(new SkepError('cancelled', 'client went away'));
    expect(await ended).toMatchObject({ code: 'cancelled' });
  });

  test('goes on after the last record when the connection to a node broke', async () => {
    await store.create('task', taskOf('a'));
    logOf('a').write(7n, 'one').fail(new SkepError('unavailable', 'connection lost'));
    const { events } = read({ follow: true, tail: 1 });
    await settle();
    logOf('a').write(8n, 'two');
    await store.clock.advance(500);
    expect(events).toEqual(['a: one', 'a: two']);
    expect(requests[1]?.request).toMatchObject({ tail: 'all', sinceNanos: 8n });
  });

  test('goes on when the change feed was cut', async () => {
    await store.create('task', taskOf('a'));
    logOf('a').write(1n, 'one');
    const { events, ended } = read({ follow: true });
    await settle();
    const chunks = [...store.store.snapshot()];
    const replay = async function* (): AsyncGenerator<Uint8Array> {
      yield* chunks;
    };
    await store.store.restore(replay(), store.store.revision);
    await settle();
    logOf('b').write(2n, 'two');
    await store.create('task', taskOf('b'));
    await settle();
    expect(events).toContain('b: two');
    reading.abort(new SkepError('cancelled', 'client went away'));
    expect(await ended).toMatchObject({ code: 'cancelled' });
  });
});

describe('a log that cannot be read', () => {
  test('because the node is gone is reported as incomplete', async () => {
    await store.create('task', taskOf('a'));
    await store.store.update((tx) => tx.remove('node', nodeId));
    const { events, ended } = read();
    await store.clock.advance(50);
    expect(await ended).toBe('ended');
    expect(events).toEqual(['a incomplete: its node is gone']);
  });

  test('is reported with its cause, after what could be read', async () => {
    await store.create('task', taskOf('a'), taskOf('b'));
    logOf('a').write(1n, 'one').fail(new SkepError('unavailable', 'connection lost'));
    logOf('b').write(1n, 'two').end();
    const { events, ended } = read();
    await store.clock.advance(50);
    expect(await ended).toBe('ended');
    expect([...events].sort()).toEqual(['a incomplete: connection lost', 'a: one', 'b: two']);
  });

  test('because the node does not have it is not asked for again', async () => {
    await store.create('task', taskOf('a'));
    const { events } = read({ follow: true });
    await store.clock.advance(5_000);
    expect(events).toEqual([`a incomplete: read task log: ${idOf('a')} is not here`]);
    expect(requests).toHaveLength(1);
  });

  test('of a removed task is given up', async () => {
    await store.create('task', taskOf('a'));
    logOf('a').fail(new SkepError('unavailable', 'node is down'));
    const { events } = read({ follow: true });
    await settle();
    await store.store.update((tx) => tx.remove('task', idOf('a')));
    logOf('a').fail(new SkepError('unavailable', 'node is down'));
    await store.clock.advance(5_000);
    expect(events).toEqual(['a incomplete: it was removed']);
    expect(requests).toHaveLength(1);
  });
});

test('a slow reader gets everything: the nodes are read no faster than it', async () => {
  await store.create('task', taskOf('a'));
  const log = logOf('a');
  const count = 2_500;
  for (let i = 0; i < count; i++) log.write(BigInt(i), `${i}`);
  log.end();
  const events = broker.read(OF_SERVICE, ALL, reading.signal);
  const first = await events.next();
  await store.clock.advance(100);
  let seen = first.done ? 0 : 1;
  const rest = (async () => {
    for await (const event of events) {
      expect(said(event)).toBe(`a: ${seen}`);
      seen++;
    }
  })();
  await store.clock.advance(500);
  await rest;
  expect(seen).toBe(count);
});
