/** Task logs: model <-> protobuf. Times are bigint nanoseconds: a double would round them. */
import { skep } from '../../proto/gen/skep.js';
import { asId } from '../model/ids.ts';
import type { OutputStream, TaskLogRecord, TaskLogRequest } from '../model/task-log.ts';
import { bytesFromProto, enumTable, intFromProto } from './scalars.ts';

const streamTable = enumTable<OutputStream, skep.OutputStream>('output stream', {
  stdout: skep.OutputStream.OUTPUT_STREAM_STDOUT,
  stderr: skep.OutputStream.OUTPUT_STREAM_STDERR,
});

const NANOS_PER_SECOND = 1_000_000_000n;
const SECONDS_SHIFT = 1_000_000_000;

export function encodeTaskLogRequest(request: TaskLogRequest): Uint8Array {
  return skep.ReadTaskLogsRequest.encode({
    taskId: request.taskId,
    follow: request.follow,
    tail: request.tail === 'all' ? null : request.tail,
    sinceNanos: roundedNanos(request.sinceNanos),
    untilNanos: roundedNanos(request.untilNanos),
    stdout: request.stdout,
    stderr: request.stderr,
  }).finish();
}

export function decodeTaskLogRequest(bytes: Uint8Array): TaskLogRequest {
  const m = skep.ReadTaskLogsRequest.decode(bytes);
  return {
    taskId: asId(m.taskId),
    follow: m.follow,
    tail: m.tail ?? 'all',
    sinceNanos: m.sinceNanos == null ? null : BigInt(String(m.sinceNanos)),
    untilNanos: m.untilNanos == null ? null : BigInt(String(m.untilNanos)),
    stdout: m.stdout,
    stderr: m.stderr,
  };
}

export function encodeTaskLogRecord(record: TaskLogRecord): Uint8Array {
  return skep.TaskLogRecord.encode({
    seconds: Number(record.timeNanos / NANOS_PER_SECOND),
    nanos: Number(record.timeNanos % NANOS_PER_SECOND),
    stream: streamTable.toProto(record.stream),
    data: record.data,
  }).finish();
}

export function decodeTaskLogRecord(bytes: Uint8Array): TaskLogRecord {
  const m = skep.TaskLogRecord.decode(bytes);
  return {
    timeNanos: BigInt(intFromProto(m.seconds, 'seconds')) * NANOS_PER_SECOND + BigInt(m.nanos),
    stream: streamTable.fromProto(m.stream),
    data: bytesFromProto(m.data),
  };
}

/** protobufjs takes numbers: bounds are rounded to what a double holds, a quarter of a microsecond. */
function roundedNanos(nanos: bigint | null): number | null {
  if (nanos === null) return null;
  const seconds = Number(nanos / NANOS_PER_SECOND);
  return seconds * SECONDS_SHIFT + Number(nanos % NANOS_PER_SECOND);
}
