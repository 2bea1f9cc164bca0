import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AgentMessage, DispatcherMessage } from '../../../common/model/session.ts';
import type { TaskLogRecord, TaskLogRequest } from '../../../common/model/task-log.ts';
import { TASK_STATES } from '../../../common/model/task-state.ts';
import {
  decodeAgentMessage,
  decodeDispatcherMessage,
  encodeAgentMessage,
  encodeDispatcherMessage,
} from '../../../common/wire/session.ts';
import {
  decodeTaskLogRecord,
  decodeTaskLogRequest,
  encodeTaskLogRecord,
  encodeTaskLogRequest,
} from '../../../common/wire/task-log.ts';
import { assignmentChange, objectArbitraries } from '../../support/arbitraries.ts';
import { assignments, step } from '../../support/assignments.ts';
import { aNodeDescription, aTask, aTaskStatus, idOf } from '../../support/builders.ts';

const description = aNodeDescription();
const NANOS = 1_767_225_600_123_456_789n;

describe('messages of an agent session', () => {
  test.each<AgentMessage>([
    { kind: 'hello', description, reports: 0 },
    { kind: 'hello', description, reports: 3 },
    { kind: 'description', description },
    { kind: 'heartbeat' },
    { kind: 'pause' },
    { kind: 'resync' },
    { kind: 'applied', revision: Number.MAX_SAFE_INTEGER },
    { kind: 'statuses', sequence: 0, updates: [], appliedRevision: 0 },
    ...TASK_STATES.map((state): AgentMessage => {
      const updates = [{ taskId: idOf('t'), status: aTaskStatus({ state }) }] as const;
      return { kind: 'statuses', sequence: 7, updates: updates as never, appliedRevision: 0 };
    }),
  ])('from the agent survive encoding: $kind', (message) => {
    expect(decodeAgentMessage(encodeAgentMessage(message))).toStrictEqual(message);
  });

  test.each<DispatcherMessage>([
    {
      kind: 'session',
      heartbeatPeriodMs: 5_000,
      managers: [{ nodeId: 'a', address: '192.0.2.1:2377' }],
      rootCaPem: 'pem',
      nodeSpec: { desiredRole: 'manager', availability: 'drain', labels: { a: 'b' } },
      renewCertificate: true,
    },
    { kind: 'heartbeat-heard', storedSequence: 3 },
    { kind: 'heartbeat-heard', storedSequence: 0 },
    { kind: 'drained', taskIds: [idOf('t'), idOf('u')] },
    assignments({ last: false, resultsIn: 9 }),
    assignments({ checksum: '0123456789abcdef' }),
  ])('from the dispatcher survive encoding: $kind', (message) => {
    expect(decodeDispatcherMessage(encodeDispatcherMessage(message))).toStrictEqual(message);
  });

  test('steps and statuses survive encoding whatever is in them', () => {
    const changes = fc.array(fc.oneof(assignmentChange('task'), assignmentChange('endpoint')), {
      maxLength: 2,
    });
    fc.assert(
      fc.property(changes, objectArbitraries.task, (some, { id, status }) => {
        const sent = step({ appliesTo: 1, resultsIn: 2, changes: some });
        expect(decodeDispatcherMessage(encodeDispatcherMessage(sent))).toStrictEqual(sent);
        const said: AgentMessage = {
          kind: 'statuses',
          sequence: 1,
          updates: [{ taskId: id, status }],
          appliedRevision: 12,
        };
        expect(decodeAgentMessage(encodeAgentMessage(said))).toStrictEqual(said);
      }),
      { numRuns: 60 },
    );
  });

  test('a message of an unknown kind is refused', () => {
    const nothing = new Uint8Array(0);
    const refused = expect.objectContaining({ code: 'invalid-argument' });
    expect(() => decodeAgentMessage(nothing)).toThrow(refused);
    expect(() => decodeDispatcherMessage(nothing)).toThrow(refused);
  });
});

describe('task logs on the wire', () => {
  const request: TaskLogRequest = {
    taskId: aTask().id,
    follow: true,
    tail: 'all',
    sinceNanos: null,
    untilNanos: null,
    stdout: true,
    stderr: false,
  };

  test.each<Partial<TaskLogRequest>>([
    {},
    { tail: 0 },
    { tail: 100, follow: false },
    { sinceNanos: 0n, untilNanos: 5_000_000_000n },
  ])('a request survives encoding: %o', (part) => {
    const asked = { ...request, ...part };
    expect(decodeTaskLogRequest(encodeTaskLogRequest(asked))).toStrictEqual(asked);
  });

  test('a bound is kept to a quarter of a microsecond', () => {
    const { sinceNanos } = decodeTaskLogRequest(
      encodeTaskLogRequest({ ...request, sinceNanos: NANOS }),
    );
    const off = sinceNanos! - NANOS;
    expect(off < 0n ? -off : off).toBeLessThanOrEqual(256n);
  });

  test.each<TaskLogRecord>([
    { timeNanos: NANOS, stream: 'stdout', data: Buffer.from('line\n') },
    { timeNanos: 0n, stream: 'stderr', data: Buffer.alloc(0) },
    { timeNanos: 999_999_999n, stream: 'stderr', data: Buffer.from([0, 255]) },
  ])('a record keeps its nanoseconds and bytes: $timeNanos', (record) => {
    const { data, ...rest } = decodeTaskLogRecord(encodeTaskLogRecord(record));
    expect(rest).toStrictEqual({ timeNanos: record.timeNanos, stream: record.stream });
    expect([...data]).toEqual([...record.data]);
  });
});
