/** Damages what a disk holds, only where a reader has to notice it. */
import type { SeededRandom } from '../../common/base/random.ts';
import { HEADER_BLOCK_BYTES, MARKER_BYTES } from '../../manager/raftnode/wal-format.ts';
import type { SimDisk } from '../support/sim-disk.ts';

interface Span {
  readonly path: string;
  readonly from: number;
  readonly bytes: number;
}

/** Bytes of the marker that no checksum covers: reserved. */
const UNCOVERED_FROM = 28;
const UNCOVERED_TO = 32;

/** The end of a closed segment is where readers differ: it looks like the torn end of the last one. */
const CLOSING_WEIGHT = 6;

/** Flips a bit in a flush that is not the last one. False when there is none. */
export function rotLog(disk: SimDisk, random: SeededRandom): boolean {
  const spans = disk
    .paths()
    .filter((path) => path.startsWith('/raft/wal/') && path.endsWith('.wal'))
    .flatMap((path, i, { length }) => {
      const frames = framesOf(path, disk.contents(path));
      if (i === length - 1) return frames.slice(0, -1);
      return [...frames, ...Array.from({ length: CLOSING_WEIGHT }, () => frames.slice(-1)).flat()];
    });
  const span = spans[random.below(Math.max(1, spans.length))];
  if (span === undefined) return false;
  let at = random.below(span.bytes);
  if (at >= UNCOVERED_FROM && at < UNCOVERED_TO) at = 0;
  disk.flipBit(span.path, span.from + at, random.below(8));
  return true;
}

/** Flips a bit anywhere in the newest snapshot. False when there is none. */
export function rotSnapshot(disk: SimDisk, random: SeededRandom): boolean {
  const path = disk
    .paths()
    .filter((name) => name.startsWith('/raft/snap/') && name.endsWith('.snap'))
    .at(-1);
  if (path === undefined) return false;
  disk.flipBit(path, random.below(disk.contents(path).length), random.below(8));
  return true;
}

function framesOf(path: string, segment: Buffer): Span[] {
  const spans: Span[] = [];
  for (let at = HEADER_BLOCK_BYTES; at + MARKER_BYTES <= segment.length; ) {
    if (segment.readUInt32LE(at) === 0) break;
    const bytes = MARKER_BYTES + segment.readUInt32LE(at + 4);
    spans.push({ path, from: at, bytes });
    at += Math.ceil(bytes / 8) * 8;
  }
  return spans;
}
