/** What every node serves to managers. */
import type { TaskLogRecord, TaskLogRequest } from '../model/task-log.ts';
import {
  decodeTaskLogRecord,
  decodeTaskLogRequest,
  encodeTaskLogRecord,
  encodeTaskLogRequest,
} from '../wire/task-log.ts';
import { decodeTunnelBytes, encodeTunnelBytes } from '../wire/tunnel.ts';
import { duplex, serverStream } from './method.ts';

/** The output of one task that the node runs or ran. `not-found` when it holds nothing of it. */
export const readTaskLogs = serverStream<TaskLogRequest, TaskLogRecord>({
  path: '/skep.Node/ReadTaskLogs',
  request: { encode: encodeTaskLogRequest, decode: decodeTaskLogRequest },
  response: { encode: encodeTaskLogRecord, decode: decodeTaskLogRecord },
  roles: ['manager'],
});

const bytes = { encode: encodeTunnelBytes, decode: decodeTunnelBytes };

/**
 * A connection to the node's Engine API, as a stream of bytes, for what concerns one container or exec there
 * (docs/decisions/0095). The caller's end of requests is half a close. Refused with `resource-exhausted` when the node
 * serves too many.
 */
export const containerApi = duplex<Uint8Array, Uint8Array>({
  path: '/skep.Node/ContainerApi',
  request: bytes,
  response: bytes,
  roles: ['manager'],
});
