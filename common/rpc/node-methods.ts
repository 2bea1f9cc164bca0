/** What every node serves to managers; and what managers serve to nodes for their users. */
import { skep } from '../../proto/gen/skep.js';
import type { NetworkProof } from '../model/network-proof.ts';
import type { NetworkHop, NetworkTraceRequest } from '../model/network-trace.ts';
import type { TaskLogRecord, TaskLogRequest } from '../model/task-log.ts';
import { networkProofFromProto, networkProofToProto } from '../wire/network-proof.ts';
import { networkHopsFromProto, networkHopsToProto } from '../wire/network-trace.ts';
import {
  decodeTaskLogRecord,
  decodeTaskLogRequest,
  encodeTaskLogRecord,
  encodeTaskLogRequest,
} from '../wire/task-log.ts';
import { decodeTunnelBytes, encodeTunnelBytes } from '../wire/tunnel.ts';
import { codec } from './codec.ts';
import { duplex, serverStream, unary } from './method.ts';

/** The output of one task that the node runs or ran. `not-found` when it holds nothing of it. */
export const readTaskLogs = serverStream<TaskLogRequest, TaskLogRecord>({
  path: '/skep.Node/ReadTaskLogs',
  request: { encode: encodeTaskLogRequest, decode: decodeTaskLogRequest },
  response: { encode: encodeTaskLogRecord, decode: decodeTaskLogRecord },
  roles: ['manager'],
  needsCurrentManager: true,
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
  needsCurrentManager: true,
});

/**
 * A connection to a manager's Engine API, with the routes that read the cluster and no others (docs/decisions/0124). Only
 * served where operators allow it.
 */
export const clusterReads = duplex<Uint8Array, Uint8Array>({
  path: '/skep.Manager/ClusterReads',
  request: bytes,
  response: bytes,
  roles: ['worker', 'manager'],
});

/**
 * Compares the node's network with its tables; `repair` puts it right. `failed-precondition` while it has
 * none. Repeating it does no harm.
 */
export const verifyNetwork = unary<{ readonly repair: boolean }, NetworkProof>({
  path: '/skep.Node/VerifyNetwork',
  request: codec<{ readonly repair: boolean }, skep.VerifyNetworkRequest.$Properties>(
    skep.VerifyNetworkRequest,
    ({ repair }) => ({ repair }),
    ({ repair }) => ({ repair: repair ?? false }),
  ),
  response: codec<NetworkProof, skep.NetworkProof.$Properties>(
    skep.NetworkProof,
    networkProofToProto,
    networkProofFromProto,
  ),
  roles: ['manager'],
  needsCurrentManager: true,
});

/**
 * The way of a connection to a service, from a task of the node or from the node itself. `not-found` for a task that is
 * not attached there. Changes nothing.
 */
export const traceNetwork = unary<NetworkTraceRequest, readonly NetworkHop[]>({
  path: '/skep.Node/TraceNetwork',
  request: codec<NetworkTraceRequest, skep.TraceNetworkRequest.$Properties>(
    skep.TraceNetworkRequest,
    ({ service, taskId }) => ({ service, taskId }),
    ({ service, taskId }) => ({ service: service ?? '', taskId: taskId ?? '' }),
  ),
  response: codec<readonly NetworkHop[], skep.NetworkTrace.$Properties>(
    skep.NetworkTrace,
    networkHopsToProto,
    networkHopsFromProto,
  ),
  roles: ['manager'],
  needsCurrentManager: true,
});
