/**
 * Who the members are: the application's side of membership (names and addresses), beside the
 * core's lists of ids. Travels in conf changes and in snapshots. Pure.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { ConfState } from '../raft/types.ts';
import { ByteReader, ByteWriter } from './bytes.ts';

/** What the cluster knows of one member beside its vote. */
export interface MemberRecord {
  readonly raftId: number;
  readonly nodeId: string;
  /** `host:port` where its raft service answers. */
  readonly address: string;
}

/** A member as seen by one node at one moment. */
export interface RaftMember extends MemberRecord {
  /** Gets the log, has no vote yet; the leader promotes it when it has caught up. */
  readonly learner: boolean;
  /** Heard from within an election timeout. Only the leader hears from everybody. */
  readonly reachable: boolean;
  readonly leader: boolean;
}

const FORMAT = 1;

/** Immutable; each applied conf change makes a new one. */
export class Membership {
  static readonly EMPTY = new Membership(new Map(), new Set());

  readonly members: ReadonlyMap<number, MemberRecord>;
  /** Ids that were members once. Never reused, so the set only grows: 8 bytes per removal. */
  readonly removed: ReadonlySet<number>;

  constructor(members: ReadonlyMap<number, MemberRecord>, removed: ReadonlySet<number>) {
    this.members = members;
    this.removed = removed;
  }

  withMember(record: MemberRecord): Membership {
    return new Membership(new Map(this.members).set(record.raftId, record), this.removed);
  }

  withoutMember(raftId: number): Membership {
    const members = new Map(this.members);
    members.delete(raftId);
    return new Membership(members, new Set(this.removed).add(raftId));
  }

  encode(): Uint8Array {
    const writer = new ByteWriter().u8(FORMAT).u32(this.members.size);
    for (const record of this.members.values()) writeRecord(writer, record);
    writer.u32(this.removed.size);
    for (const raftId of this.removed) writer.u64(raftId);
    return writer.finish();
  }

  /** Throws SkepError `data-loss` on bytes that are no membership. */
  static decode(bytes: Uint8Array): Membership {
    return parsing('membership', () => {
      const reader = new ByteReader(bytes);
      if (reader.u8() !== FORMAT) throw new RangeError('unknown format');
      const members = new Map<number, MemberRecord>();
      for (let left = reader.u32(); left > 0; left--) {
        const record = readRecord(reader);
        members.set(record.raftId, record);
      }
      const removed = new Set<number>();
      for (let left = reader.u32(); left > 0; left--) removed.add(reader.u64());
      return new Membership(members, removed);
    });
  }
}

/** The context of a conf change that adds or updates a member. */
export function encodeMember(record: MemberRecord): Uint8Array {
  const writer = new ByteWriter().u8(FORMAT);
  writeRecord(writer, record);
  return writer.finish();
}

/** Throws SkepError `data-loss` on bytes that are no member. */
export function decodeMember(bytes: Uint8Array): MemberRecord {
  return parsing('member', () => {
    const reader = new ByteReader(bytes);
    if (reader.u8() !== FORMAT) throw new RangeError('unknown format');
    return readRecord(reader);
  });
}

/**
 * Why `voters` could not commit anything with only the `reachable` of them, or null. The answer
 * protects against a change after which the cluster would stand still.
 */
export function quorumLoss(
  voters: readonly number[],
  isReachable: (raftId: number) => boolean,
): string | null {
  const alive = voters.filter(isReachable).length;
  const needed = Math.floor(voters.length / 2) + 1;
  if (alive >= needed) return null;
  return `${alive} of ${voters.length} voting managers would be reachable, ${needed} are needed`;
}

/** All ids that have any part in `conf`. */
export function idsOf(conf: ConfState): number[] {
  return [
    ...new Set([...conf.voters, ...conf.learners, ...conf.votersOutgoing, ...conf.learnersNext]),
  ];
}

function writeRecord(writer: ByteWriter, record: MemberRecord): void {
  writer.u64(record.raftId).text(record.nodeId).text(record.address);
}

function readRecord(reader: ByteReader): MemberRecord {
  return { raftId: reader.u64(), nodeId: reader.text(), address: reader.text() };
}

function parsing<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new SkepError('data-loss', `decode raft ${what}`, { cause });
  }
}
