/** What an inspection of a raft directory found, as text for people. Pure. */
import type { HardState } from '../manager/raft/types.ts';
import { RaftDamageError } from '../manager/raftnode/damage.ts';
import type { RaftInspection, SegmentReport, SnapshotReport } from '../manager/raftnode/inspect.ts';

/** What is known of the directory beside its log. */
export interface DirectoryFacts {
  readonly dir: string;
  readonly raftId: number;
  readonly nodeId: string;
  /** The keys were sealed under the unlock key of the cluster. */
  readonly isLocked: boolean;
  readonly keyCount: number;
  /** A process has the directory open. */
  readonly isInUse: boolean;
}

export function renderInspection(facts: DirectoryFacts, found: RaftInspection): string {
  const { segments, terms, hardState, snapshots, torn, trouble } = found;
  return [
    ...headLines(facts),
    '',
    ...columns([SEGMENT_HEAD, ...segments.map(segmentCells)]),
    '',
    ...columns([['TERM', 'FIRST INDEX', 'LAST INDEX'], ...terms.map(termCells)]),
    '',
    `hard state: ${hardStateText(hardState)}`,
    '',
    ...(snapshots.length === 0 ? ['no snapshot'] : snapshots.flatMap(snapshotLines)),
    '',
    ...(torn === null ? [] : tornLines(torn, facts.isInUse)),
    trouble === null ? 'damage: none' : `damage: ${troubleText(trouble)}`,
    '',
  ].join('\n');
}

function headLines({ dir, raftId, nodeId, isLocked, keyCount, isInUse }: DirectoryFacts): string[] {
  const older = keyCount > 1 ? `, ${keyCount - 1} older: a change of key is under way` : '';
  return [
    `raft directory ${dir}`,
    `member ${hex(raftId)} of node ${nodeId}`,
    `key: ${isLocked ? 'sealed under the unlock key' : 'not locked'}${older}`,
    isInUse
      ? 'in use by a running process, which goes on: files may change while they are read'
      : 'not in use',
  ];
}

const SEGMENT_HEAD = ['SEGMENT', 'SEQ', 'FIRST INDEX', 'BYTES', 'USED', 'FLUSHES', 'KEY'];

function segmentCells(segment: SegmentReport): string[] {
  const { path, seq, firstIndex, fileBytes, usedBytes, flushes, keyCheck, key } = segment;
  const numbers = [seq, firstIndex, fileBytes, usedBytes, flushes].map(String);
  return [fileName(path), ...numbers, `${key} ${keyCheck}`];
}

function termCells({ term, firstIndex, lastIndex }: RaftInspection['terms'][number]): string[] {
  return [term, firstIndex, lastIndex].map(String);
}

function hardStateText({ term, vote, commit }: HardState): string {
  return `term ${term}, vote ${vote === 0 ? 'none' : hex(vote)}, commit ${commit}`;
}

function snapshotLines({ path, index, term, contents }: SnapshotReport): string[] {
  const head = `snapshot ${fileName(path)}: index ${index}, term ${term}`;
  if (contents === null) return [`${head}, not readable`];
  const { dataBytes, voters, learners, members, key } = contents;
  return [
    `${head}, ${dataBytes} bytes, key ${key}, ${members.length} members`,
    ...members.map(({ raftId, nodeId, address }) => {
      const vote = voters.includes(raftId) ? 'voter' : learners.includes(raftId) ? 'learner' : 'no';
      return `  ${hex(raftId)}  ${vote}  node ${nodeId}  ${address}`;
    }),
  ];
}

function tornLines(torn: NonNullable<RaftInspection['torn']>, isInUse: boolean): string[] {
  const { path, fromOffset, toOffset, reason } = torn;
  const what = isInUse ? 'a write under way or an unfinished one' : 'an unfinished write';
  return [
    `torn tail: ${fileName(path)}, offset ${fromOffset} to ${toOffset}: ${reason}`,
    `  ${what}, never acknowledged; the next start discards it`,
  ];
}

function troubleText(trouble: Error): string {
  if (!(trouble instanceof RaftDamageError)) return trouble.message;
  const { path, offset, reason } = trouble;
  return offset === null ? `${path}: ${reason}` : `${path} at offset ${offset}: ${reason}`;
}

/** Two blanks between, the last column ragged. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
  return rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at]!))
      .join('  ')
      .trimEnd(),
  );
}

function fileName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function hex(raftId: number): string {
  return raftId.toString(16);
}
