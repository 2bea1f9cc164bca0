/** Consensus traffic between managers. Snapshots have a stream of their own. */
import { skep } from '../../proto/gen/skep.js';
import {
  type RaftBatch,
  type RaftBatchAck,
  raftBatchFromProto,
  raftBatchToProto,
  type SnapshotAck,
  type SnapshotChunk,
  snapshotAckFromProto,
  snapshotAckToProto,
  snapshotChunkFromProto,
  snapshotChunkToProto,
} from '../wire/raft.ts';
import { codec } from './codec.ts';
import { clientStream, link } from './method.ts';

/** Batches from the caller; the answers carry none: the other direction has a link of its own. */
export const raftExchange = link<RaftBatch, RaftBatchAck>({
  path: '/skep.Raft/Exchange',
  roles: ['manager'],
  certificateIsEnough: true,
  request: codec<RaftBatch, skep.RaftBatch.$Properties>(
    skep.RaftBatch,
    raftBatchToProto,
    raftBatchFromProto,
  ),
  response: codec<RaftBatchAck, skep.RaftBatchAck.$Properties>(
    skep.RaftBatchAck,
    ({ removed }) => ({ removed }),
    (m) => ({ removed: m.removed ?? false }),
  ),
});

/** An offer, then data from where the receiver is. An offer alone asks where that is. */
export const raftSendSnapshot = clientStream<SnapshotChunk, SnapshotAck>({
  path: '/skep.Raft/SendSnapshot',
  roles: ['manager'],
  certificateIsEnough: true,
  request: codec<SnapshotChunk, skep.SnapshotChunk.$Properties>(
    skep.SnapshotChunk,
    snapshotChunkToProto,
    snapshotChunkFromProto,
  ),
  response: codec<SnapshotAck, skep.SnapshotAck.$Properties>(
    skep.SnapshotAck,
    snapshotAckToProto,
    snapshotAckFromProto,
  ),
});
