/** What every node serves to managers. */
import type { TaskLogRecord, TaskLogRequest } from '../model/task-log.ts';
import {
  decodeTaskLogRecord,
  decodeTaskLogRequest,
  encodeTaskLogRecord,
  encodeTaskLogRequest,
} from '../wire/task-log.ts';
import { serverStream } from './method.ts';

/** The output of one task that the node runs or ran. `not-found` when it holds nothing of it. */
export const readTaskLogs = serverStream<TaskLogRequest, TaskLogRecord>({
  path: '/skep.Node/ReadTaskLogs',
  request: { encode: encodeTaskLogRequest, decode: decodeTaskLogRequest },
  response: { encode: encodeTaskLogRecord, decode: decodeTaskLogRecord },
  roles: ['manager'],
});
