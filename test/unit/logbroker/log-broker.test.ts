import { describe, expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import { silentLogger } from '../../../common/base/log.ts';
import type { TaskStatus } from '../../../common/model/task.ts';
import type {
  TaskLogQuery,
  TaskLogRecord,
  TaskLogRequest,
} from '../../../common/model/task-log.ts';
import type { TaskState } from '../../../common/model/task-state.ts';
import type { RpcClientPool } from '../../../common/rpc/pool.ts';
import { LogBroker } from '../../../manager/logbroker/log-broker.ts';
import { aNode, aService, aTaskOf, aTaskStatus, freshId } from '../../support/builders.ts';
import { InstantClock } from '../../support/instant-clock.ts';
import { makeStore } from '../../support/store.ts';

const ALL: TaskLogQuery = {
  follow: false,
  tail: 'all',
  sinceNanos: null,
  untilNanos: null,
  stdout: true,
  stderr: true,
};

/** Nodes that answer each request with these lines, or with an error. */
function nodesSaying(lines: (request: TaskLogRequest) => readonly string[]): RpcClientPool {
  const serverStream = async (_: unknown, request: TaskLogRequest) => {
    const waiting = lines(request).map(
      (text, i): TaskLogRecord => ({
        timeNanos: BigInt(i),
        stream: 'stdout',
        data: Buffer.from(text),
      }),
    );
    return { next: async () => waiting.shift() ?? null };
  };
  return { client: () => ({ serverStream }) } as unknown as RpcClientPool;
}

async function readAll(
  taskCount: number,
  pool: RpcClientPool,
  status: Partial<TaskStatus> = { state: 'running' },
): Promise<string[]> {
  const { store, create } = makeStore();
  const service = aService();
  const node = aNode();
  await create('service', service);
  await create('node', node);
  const tasks = Array.from({ length: taskCount }, (_, i) =>
    aTaskOf(service, {
      id: freshId(),
      slot: i + 1,
      nodeId: node.id,
      status: aTaskStatus(status),
    }),
  );
  await create('task', ...tasks);
  const clock = new InstantClock();
  const broker = new LogBroker({ store, pool, clock, log: silentLogger });
  const seen: string[] = [];
  const events = broker.read(
    { kind: 'service', serviceId: service.id },
    ALL,
    new AbortController().signal,
  );
  for await (const event of events) {
    const text = event.kind === 'record' ? `${Buffer.from(event.record.data)}` : event.why;
    seen.push(`${event.task.slot}: ${text}`);
  }
  return seen.sort();
}

describe('log broker', () => {
  test.each([1, 2, 3])('reads the output of %d tasks to its end', async (count) => {
    const seen = await readAll(
      count,
      nodesSaying(() => ['a', 'b']),
    );
    const slots = Array.from({ length: count }, (_, i) => i + 1);
    expect(seen).toEqual(slots.flatMap((slot) => [`${slot}: a`, `${slot}: b`]));
  });

  test('ends at once when there is no task', async () => {
    expect(
      await readAll(
        0,
        nodesSaying(() => ['a']),
      ),
    ).toEqual([]);
  });

  test.each<TaskState>(['rejected', 'shutdown'])(
    'asks nobody for that of a %s task which never had a container',
    async (state) => {
      const pool = nodesSaying(() => {
        throw new SkepError('not-found', 'no such container');
      });
      expect(await readAll(1, pool, { state, container: null })).toEqual([]);
    },
  );

  test('reads what one left that has ended', async () => {
    const container = { containerId: 'c', pid: 0, exitCode: 1, oomKilled: false };
    const pool = nodesSaying(() => ['a']);
    expect(await readAll(1, pool, { state: 'failed', container })).toEqual(['1: a']);
  });

  test('says which output could not be read, and reads the rest', async () => {
    let asked = 0;
    const pool = nodesSaying(() => {
      if (asked++ === 0) throw new SkepError('unavailable', 'no such host');
      return ['a'];
    });
    expect(await readAll(2, pool)).toEqual(['1: no such host', '2: a']);
  });
});
