/**
 * Looks at a raft directory and says what is there and what ails it. Writes nothing, takes no lock: a
 * running node is not disturbed, but may change files between two looks. Knows no words for people.
 */
import { SkepError } from '../../common/base/errors.ts';
import { silentLogger } from '../../common/base/log.ts';
import type { Random } from '../../common/base/random.ts';
import type { HardState } from '../raft/types.ts';
import { Keyring } from './crypt.ts';
import { RaftDamageError } from './damage.ts';
import type { Disk } from './disk.ts';
import { decodeSnapshotState, recover } from './durable-state.ts';
import type { RaftKeys } from './key-rotation.ts';
import type { MemberRecord } from './membership.ts';
import { SnapshotDir } from './snapshot-files.ts';
import { decodeSegmentHeader, HEADER_BLOCK_BYTES } from './wal-format.ts';
import { firstSegmentPath, scanWal, type TornTail, type WalContents } from './wal-recovery.ts';

export interface SegmentReport {
  readonly path: string;
  readonly seq: number;
  readonly firstIndex: number;
  readonly fileBytes: number;
  /** Up to the end of the last intact flush. */
  readonly usedBytes: number;
  readonly flushes: number;
  /** Tells keys apart, not what they are; hex. Differs from file to file. */
  readonly keyCheck: string;
  /** Under the key that writes, or under an older one that is being replaced. */
  readonly key: 'current' | 'older';
}

export interface SnapshotReport {
  readonly path: string;
  readonly index: number;
  readonly term: number;
  /** Null when it is not intact. */
  readonly contents: {
    readonly dataBytes: number;
    readonly voters: readonly number[];
    readonly learners: readonly number[];
    readonly members: readonly MemberRecord[];
    readonly key: 'current' | 'older';
  } | null;
}

/** Entries of one term, consecutive. */
export interface TermReport {
  readonly term: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
}

export interface RaftInspection {
  readonly segments: readonly SegmentReport[];
  /** Up to the damage, if there is any in the log. */
  readonly terms: readonly TermReport[];
  readonly hardState: HardState;
  readonly snapshots: readonly SnapshotReport[];
  /** What the next start discards. */
  readonly torn: TornTail | null;
  /** The first trouble that keeps a node from starting here; null = it can start. */
  readonly trouble: SkepError | null;
}

export interface InspectOptions {
  readonly disk: Disk;
  readonly dir: string;
  readonly raftId: number;
  readonly keys: RaftKeys;
  readonly random: Random;
}

export async function inspectRaft(options: InspectOptions): Promise<RaftInspection> {
  const { disk, dir, raftId, keys, random } = options;
  const keyring = new Keyring(keys.dek, keys.olderDeks);
  const identity = { raftId, clusterDigest: await clusterDigestOf(disk, `${dir}/wal`) };
  const { contents, trouble } = await scanWal(disk, `${dir}/wal`, keyring, identity);
  const snapshots = new SnapshotDir({ disk, keyring, random, identity, dir: `${dir}/snap` });
  const keyOf = (salt: Buffer, check: Buffer): 'current' | 'older' =>
    keyring.isCurrent(salt, check) ? 'current' : 'older';
  return {
    segments: contents.segments.map(({ path, bytes, header, end }) => ({
      ...{ path, seq: header.seq, firstIndex: header.firstIndex },
      ...{ fileBytes: bytes, usedBytes: end.offset, flushes: end.flush },
      keyCheck: header.keyCheck.toString('hex'),
      key: keyOf(header.salt, header.keyCheck),
    })),
    terms: termsOf(contents),
    hardState: contents.hardState,
    snapshots: await snapshotReports(snapshots, keyOf),
    torn: contents.torn,
    trouble: trouble ?? (await troubleBetween(snapshots, contents)),
  };
}

/** Whose it is says the log itself; that all files agree is checked. */
async function clusterDigestOf(disk: Disk, dir: string): Promise<Buffer> {
  const path = await firstSegmentPath(disk, dir);
  if (path === null) throw new RaftDamageError(dir, null, 'it holds no log');
  const file = await disk.open(path, 'read');
  try {
    const header = decodeSegmentHeader(await file.read(0, HEADER_BLOCK_BYTES));
    if (header === null) throw new RaftDamageError(path, 0, 'segment header is not intact');
    return header.clusterDigest;
  } finally {
    await file.close();
  }
}

function termsOf({ entries }: WalContents): TermReport[] {
  const terms: TermReport[] = [];
  for (const { term, index } of entries) {
    const last = terms.at(-1);
    if (last?.term === term) terms[terms.length - 1] = { ...last, lastIndex: index };
    else terms.push({ term, firstIndex: index, lastIndex: index });
  }
  return terms;
}

async function snapshotReports(
  dir: SnapshotDir,
  keyOf: (salt: Buffer, check: Buffer) => 'current' | 'older',
): Promise<SnapshotReport[]> {
  const reports: SnapshotReport[] = [];
  for (const { index, term, path } of await dir.list()) {
    reports.push({ path, index, term, contents: await contentsOf(dir, { index, term }, keyOf) });
  }
  return reports;
}

async function contentsOf(
  dir: SnapshotDir,
  id: { readonly index: number; readonly term: number },
  keyOf: (salt: Buffer, check: Buffer) => 'current' | 'older',
): Promise<SnapshotReport['contents']> {
  try {
    const reader = await dir.read(id);
    await reader.close();
    const { confState, membership } = decodeSnapshotState(reader.membership);
    const { voters, learners } = confState;
    const { dataBytes, header } = reader;
    const key = keyOf(header.salt, header.keyCheck);
    return { dataBytes, voters, learners, members: [...membership.members.values()], key };
  } catch (err) {
    if (err instanceof SkepError) return null; // what it means is said by `troubleBetween`
    throw err;
  }
}

/** Log and snapshots may be whole and still not belong together. */
async function troubleBetween(dir: SnapshotDir, contents: WalContents): Promise<SkepError | null> {
  try {
    await recover(dir, contents, silentLogger);
    return null;
  } catch (err) {
    if (err instanceof SkepError) return err;
    throw err;
  }
}
