/**
 * Membership changes as values: making them, and their encoding inside a log entry. The encoding is
 * private to us; it need not resemble anybody else's. Knows nothing of who is a member now.
 */
import { SkepError } from '../../common/base/errors.ts';
import {
  type AnyConfChange,
  type ConfChange,
  type ConfChangeSingle,
  type ConfChangeTransition,
  type ConfChangeType,
  type ConfChangeV2,
  type EntryType,
  NO_BYTES,
  NODE_ID_LIMIT,
  type NodeId,
} from './types.ts';

/** Order is format: the position is the byte that is written. Append only. */
const TYPES: readonly ConfChangeType[] = ['add-voter', 'remove', 'update', 'add-learner'];
const TRANSITIONS: readonly ConfChangeTransition[] = ['auto', 'joint-implicit', 'joint-explicit'];

const ID_BYTES = 6;
const SINGLE_BYTES = 1 + ID_BYTES;

export function confChange(
  type: ConfChangeType,
  nodeId: NodeId,
  context: Uint8Array = NO_BYTES,
): ConfChange {
  return { kind: 'v1', type, nodeId, context };
}

export function confChangeV2(
  changes: readonly ConfChangeSingle[],
  transition: ConfChangeTransition = 'auto',
  context: Uint8Array = NO_BYTES,
): ConfChangeV2 {
  return { kind: 'v2', transition, changes, context };
}

/** Leaves a joint configuration. Its encoding is empty, so no size limit ever refuses it. */
export const LEAVE_JOINT: ConfChangeV2 = confChangeV2([]);

export function asV2(change: AnyConfChange): ConfChangeV2 {
  if (change.kind === 'v2') return change;
  return confChangeV2([{ type: change.type, nodeId: change.nodeId }], 'auto', change.context);
}

export function leavesJoint(change: ConfChangeV2): boolean {
  return change.transition === 'auto' && change.changes.length === 0;
}

/** Which protocol carries out the change: `simple`, or joint consensus left by itself or by hand. */
export function protocolOf(
  change: ConfChangeV2,
): 'simple' | 'joint-left-automatically' | 'joint-left-explicitly' {
  if (change.transition === 'joint-explicit') return 'joint-left-explicitly';
  if (change.transition === 'joint-implicit') return 'joint-left-automatically';
  return change.changes.length > 1 ? 'joint-left-automatically' : 'simple';
}

export function entryTypeOf(change: AnyConfChange): EntryType {
  return change.kind === 'v1' ? 'conf-change' : 'conf-change-v2';
}

/**
 * v1: type, node id (6 bytes, big endian), context to the end.
 * v2: transition, number of changes (u16), that many (type, node id), context to the end; a change
 * equal to `LEAVE_JOINT` is no bytes at all.
 */
export function encodeConfChange(change: AnyConfChange): Uint8Array {
  if (change.kind === 'v1') {
    const bytes = new Uint8Array(SINGLE_BYTES + change.context.length);
    writeSingle(bytes, 0, change);
    bytes.set(change.context, SINGLE_BYTES);
    return bytes;
  }
  if (leavesJoint(change) && change.context.length === 0) return NO_BYTES;
  const count = change.changes.length;
  if (count > 0xffff) throw new RangeError(`encode conf change: ${count} changes exceed 65535`);
  const bytes = new Uint8Array(3 + count * SINGLE_BYTES + change.context.length);
  bytes[0] = TRANSITIONS.indexOf(change.transition);
  bytes[1] = count >>> 8;
  bytes[2] = count & 0xff;
  change.changes.forEach((single, i) => {
    writeSingle(bytes, 3 + i * SINGLE_BYTES, single);
  });
  bytes.set(change.context, 3 + count * SINGLE_BYTES);
  return bytes;
}

/** The change inside an entry of either conf-change type. Throws `data-loss` when it is damaged. */
export function decodeConfChange(entry: {
  readonly type: EntryType;
  readonly data: Uint8Array;
}): AnyConfChange {
  const { type, data } = entry;
  if (type === 'normal') throw damaged('a normal entry holds none');
  if (type === 'conf-change') {
    const single = readSingle(data, 0);
    return { kind: 'v1', ...single, context: data.subarray(SINGLE_BYTES) };
  }
  if (data.length === 0) return LEAVE_JOINT;
  const transition = TRANSITIONS[data[0]!];
  if (transition === undefined || data.length < 3) throw damaged('bad head');
  const count = (data[1]! << 8) | data[2]!;
  const changes = Array.from({ length: count }, (_, i) => readSingle(data, 3 + i * SINGLE_BYTES));
  const context = data.subarray(3 + count * SINGLE_BYTES);
  return { kind: 'v2', transition, changes, context };
}

function writeSingle(bytes: Uint8Array, at: number, single: ConfChangeSingle): void {
  const { type, nodeId } = single;
  if (!Number.isInteger(nodeId) || nodeId < 0 || nodeId >= NODE_ID_LIMIT) {
    throw new RangeError(`encode conf change: node id ${nodeId} is not an integer in 0..2^48-1`);
  }
  bytes[at] = TYPES.indexOf(type);
  new DataView(bytes.buffer, bytes.byteOffset + at + 1).setUint16(0, nodeId / 2 ** 32);
  new DataView(bytes.buffer, bytes.byteOffset + at + 3).setUint32(0, nodeId >>> 0);
}

function readSingle(bytes: Uint8Array, at: number): ConfChangeSingle {
  if (bytes.length < at + SINGLE_BYTES) throw damaged('too short');
  const type = TYPES[bytes[at]!];
  if (type === undefined) throw damaged(`unknown type ${bytes[at]}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset + at + 1, ID_BYTES);
  return { type, nodeId: view.getUint16(0) * 2 ** 32 + view.getUint32(2) };
}

function damaged(why: string): SkepError {
  return new SkepError('data-loss', `decode conf change: ${why}`);
}
