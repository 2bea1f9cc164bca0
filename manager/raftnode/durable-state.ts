/**
 * The directory of one raft node as a whole: its lock, its log, its snapshots, and how they fit
 * together after a crash. Knows no roles, peers or time.
 *
 *   DIR/lock.<n>  DIR/wal/  DIR/snap/
 */
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { describeError, SkepError } from '../../common/base/errors.ts';
import type { Logger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import { type ConfState, EMPTY_CONF_STATE, type Entry, type HardState } from '../raft/types.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { Keyring } from './crypt.ts';
import { RaftDamageError } from './damage.ts';
import { copyTree, type Disk, type DiskLock } from './disk.ts';
import { Membership } from './membership.ts';
import { SnapshotDir, type SnapshotId, type SnapshotReader } from './snapshot-files.ts';
import { Wal, type WalOptions } from './wal.ts';
import { CLUSTER_DIGEST_BYTES, parseTipName, type SnapshotMark } from './wal-format.ts';
import { readWal, type WalContents, type WalIdentity } from './wal-recovery.ts';

export interface DurableOptions {
  readonly disk: Disk;
  readonly dir: string;
  readonly raftId: number;
  /** Keeps the directory of another cluster out. Default: not checked. */
  readonly clusterId?: string;
  readonly dek: Uint8Array;
  /** Keys that files may still be under. */
  readonly olderDeks?: readonly Uint8Array[];
  readonly random: Random;
  readonly log: Logger;
  readonly segmentBytes?: number;
  readonly smallSegmentBytes?: number;
}

/** Membership at a snapshot, in both views: the core's and ours. */
export interface SnapshotHead extends SnapshotId {
  readonly confState: ConfState;
  readonly membership: Membership;
}

/** What the disk says at start. */
export interface RecoveredState {
  readonly hardState: HardState;
  /** Null on a node that never had one: it joins and waits for its first. */
  readonly snapshot: SnapshotHead | null;
  /** Consecutive; from somewhere before `snapshot.index + 1` on. */
  readonly entries: readonly Entry[];
  /** That of the snapshot; before the first one, what the node was told when it joined. */
  readonly membership: Membership;
}

/** Open directory. `close` releases everything; idempotent. */
export class DurableState {
  readonly wal: Wal;
  readonly snapshots: SnapshotDir;
  readonly recovered: RecoveredState;
  readonly #lock: DiskLock;
  #closed = false;

  /** Use `open`. */
  constructor(wal: Wal, snapshots: SnapshotDir, recovered: RecoveredState, lock: DiskLock) {
    this.wal = wal;
    this.snapshots = snapshots;
    this.recovered = recovered;
    this.#lock = lock;
  }

  /**
   * @param expectation `new`: throws `already-exists` when a raft node lives there already;
   *   `existing`: throws `not-found` when none does
   */
  static async open(
    options: DurableOptions,
    expectation: 'new' | 'existing',
  ): Promise<DurableState> {
    const { disk, dir } = options;
    if (expectation === 'new') await makeDirectories(disk, dir);
    else if (!(await holdsRaftNode(disk, dir))) {
      throw new SkepError('not-found', `open raft directory ${dir}: it holds no raft node`);
    }
    const lock = await disk.lock(dir);
    try {
      if (expectation === 'new' && (await holdsRaftNode(disk, dir))) {
        throw new SkepError(
          'already-exists',
          `create raft node in ${dir}: one lives there already`,
        );
      }
      return await openLocked(options, lock);
    } catch (err) {
      await lock.release();
      throw err;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.wal.close();
    } finally {
      await this.#lock.release();
    }
  }
}

/** Copies the whole directory beside itself; returns where. Nobody may be writing. */
export async function backUp(disk: Disk, dir: string, suffix: string): Promise<string> {
  const target = `${dir}.${suffix}`;
  await copyTree(disk, dir, target);
  await disk.fsyncDir(dirname(dir));
  return target;
}

async function makeDirectories(disk: Disk, dir: string): Promise<void> {
  await disk.mkdir(`${dir}/wal`);
  await disk.mkdir(`${dir}/snap`);
  await disk.fsyncDir(dir);
  await disk.fsyncDir(dirname(dir));
}

/** Whether a raft node lives or lived in `dir`. A snapshot alone is left from a bootstrap that died half-way. */
export async function holdsRaftNode(disk: Disk, dir: string): Promise<boolean> {
  if ((await disk.stat(`${dir}/wal`)) === null) return false;
  const names = await disk.readdir(`${dir}/wal`);
  return names.some((name) => name.endsWith('.wal') || parseTipName(name) !== null);
}

/** Judges what is there before it changes anything. */
async function openLocked(options: DurableOptions, lock: DiskLock): Promise<DurableState> {
  const { disk, dir, random, log } = options;
  const identity = identityOf(options);
  const keyring = new Keyring(options.dek, options.olderDeks);
  const walOptions: WalOptions = {
    ...{ disk, keyring, random, identity, log },
    dir: `${dir}/wal`,
    ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes }),
    ...(options.smallSegmentBytes === undefined
      ? {}
      : { smallSegmentBytes: options.smallSegmentBytes }),
  };
  const snapshots = new SnapshotDir({ disk, keyring, random, identity, dir: `${dir}/snap` });
  const contents = await readWal(disk, walOptions.dir, keyring, identity);
  const recovered = await recover(snapshots, contents, log);
  const { wal } = await Wal.open(walOptions, contents);
  await snapshots.open();
  return new DurableState(wal, snapshots, recovered, lock);
}

function identityOf(options: Pick<DurableOptions, 'raftId' | 'clusterId'>): WalIdentity {
  const digest = createHash('sha256')
    .update(`skep cluster ${options.clusterId ?? ''}`)
    .digest();
  return { raftId: options.raftId, clusterDigest: digest.subarray(0, CLUSTER_DIGEST_BYTES) };
}

/**
 * Finds the newest intact snapshot that belongs to the log and the entries that follow it. A
 * snapshot belongs when the log says so (mark), or when the log holds its last entry (the crash came
 * between file and mark). Throws `data-loss` when log and snapshots do not meet.
 */
export async function recover(
  dir: SnapshotDir,
  contents: WalContents,
  log: Logger,
): Promise<RecoveredState> {
  const { found, passedOver } = await newestSnapshot(dir, contents, log);
  const { hardState, entries } = contents;
  if (found === null) return recoverEmpty(dir.path, contents, passedOver);
  const first = entries[0];
  if (first !== undefined && first.index > found.index + 1) {
    const gap = `the log begins at index ${first.index}, the newest usable snapshot ends at ${found.index}`;
    throw new RaftDamageError(dir.path, null, `${gap}${afterColon(passedOver)}`);
  }
  const usable = reaches(entries, found) ? entries : [];
  const lastIndex = Math.max(found.index, usable.at(-1)?.index ?? 0);
  // Snapshots hold what is committed. This node promised to have what an installed one brought, and must
  // not come back without it when that one is passed over.
  const commit = Math.max(hardState.commit, found.index, contents.marks[0]?.index ?? 0);
  if (commit > lastIndex) {
    const words = `the log ends at index ${lastIndex}, but ${commit} was committed`;
    throw new RaftDamageError(dir.path, null, `${words}${afterColon(passedOver)}`);
  }
  const { membership } = found;
  return { hardState: { ...hardState, commit }, snapshot: found, entries: usable, membership };
}

/** Entries that end before the snapshot, or disagree with it, are of no use any more. */
function reaches(entries: readonly Entry[], snapshot: SnapshotId): boolean {
  const first = entries[0];
  if (first === undefined) return false;
  if (first.index === snapshot.index + 1) return true;
  return entries[snapshot.index - first.index]?.term === snapshot.term;
}

function recoverEmpty(
  path: string,
  contents: WalContents,
  passedOver: string | null,
): RecoveredState {
  const { marks, entries, hardState } = contents;
  const mark = marks[0];
  if (mark !== undefined || entries.length > 0) {
    const which = mark
      ? `the snapshot of index ${mark.index}, term ${mark.term},`
      : 'every snapshot';
    const words = `${which} is missing or damaged and the log does not go back further`;
    throw new RaftDamageError(path, null, `${words}${afterColon(passedOver)}`);
  }
  const { members } = contents;
  const membership = members === null ? Membership.EMPTY : Membership.decode(members);
  return { hardState, snapshot: null, entries: [], membership };
}

async function newestSnapshot(
  dir: SnapshotDir,
  contents: WalContents,
  log: Logger,
): Promise<{ found: SnapshotHead | null; passedOver: string | null }> {
  let passedOver: string | null = null;
  for (const { index, term, path } of await dir.list()) {
    if (!belongs({ index, term }, contents)) continue;
    try {
      const reader = await dir.read({ index, term });
      await reader.close();
      const found = { index, term, ...decodeSnapshotState(reader.membership) };
      return { found, passedOver };
    } catch (err) {
      if (!(err instanceof SkepError) || err.code !== 'data-loss') throw err;
      const reason = err instanceof RaftDamageError ? err.summary : describeError(err);
      passedOver ??= reason;
      log.error({ path, reason }, 'passed over a damaged snapshot');
    }
  }
  return { found: null, passedOver };
}

function afterColon(text: string | null): string {
  return text === null ? '' : `: ${text}`;
}

function belongs(id: SnapshotId, contents: WalContents): boolean {
  const same = (mark: SnapshotMark): boolean => mark.index === id.index && mark.term === id.term;
  if (contents.marks.some(same)) return true;
  const first = contents.entries[0];
  return first !== undefined && contents.entries[id.index - first.index]?.term === id.term;
}

const STATE_FORMAT = 1;

/** What a snapshot file holds beside the application's data. */
export function encodeSnapshotState(confState: ConfState, membership: Membership): Uint8Array {
  const writer = new ByteWriter().u8(STATE_FORMAT).u8(confState.autoLeave ? 1 : 0);
  for (const key of CONF_LISTS) {
    writer.u32(confState[key].length);
    for (const raftId of confState[key]) writer.u64(raftId);
  }
  return writer.bytes(membership.encode()).finish();
}

const CONF_LISTS = ['voters', 'learners', 'votersOutgoing', 'learnersNext'] as const;

/** Throws SkepError `data-loss` on bytes that are no such state. */
export function decodeSnapshotState(bytes: Uint8Array): {
  confState: ConfState;
  membership: Membership;
} {
  try {
    const reader = new ByteReader(bytes);
    if (reader.u8() !== STATE_FORMAT) throw new RangeError('unknown format');
    const autoLeave = reader.u8() === 1;
    const lists: Record<(typeof CONF_LISTS)[number], number[]> = {
      voters: [],
      learners: [],
      votersOutgoing: [],
      learnersNext: [],
    };
    for (const key of CONF_LISTS) {
      for (let left = reader.u32(); left > 0; left--) lists[key].push(reader.u64());
    }
    const confState: ConfState = { ...EMPTY_CONF_STATE, ...lists, autoLeave };
    return { confState, membership: Membership.decode(reader.bytes()) };
  } catch (cause) {
    throw new SkepError('data-loss', 'decode membership of a snapshot', { cause });
  }
}

/** The application's data alone, closing the file at the end. */
export async function* dataOf(reader: SnapshotReader): AsyncGenerator<Uint8Array> {
  try {
    for await (const { data } of reader.chunks()) yield data;
  } finally {
    await reader.close();
  }
}
