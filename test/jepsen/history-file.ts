/** A run on disk, one JSON object a line: the head, then operations, changes of reach, faults, stalls. */
import { createWriteStream, readFileSync } from 'node:fs';
import type { ReachChange, Span } from '../support/availability.ts';
import type { Operation } from '../support/linearizability/history.ts';
import type { FaultRecord } from './nemesis.ts';

export interface Run {
  readonly seed: number;
  readonly managers: number;
  /** When the clients and the faults ended; what came later is the final look. */
  readonly endMs: number;
  /** In the order in which they ended. */
  readonly operations: readonly Operation[];
  readonly changes: readonly ReachChange[];
  readonly faults: readonly FaultRecord[];
  /** Spans in which the machine stood still; they may overlap. */
  readonly stalls: readonly Span[];
  /** What was found wrong after the end: managers that do not agree. */
  readonly complaints: readonly string[];
}

export async function writeRun(path: string, run: Run): Promise<void> {
  const { operations, changes, faults, stalls, ...head } = run;
  const stream = createWriteStream(path);
  const lines: [string, unknown][] = [
    ['run', head],
    ...operations.map((item): [string, unknown] => ['operation', item]),
    ...changes.map((item): [string, unknown] => ['reach', item]),
    ...faults.map((item): [string, unknown] => ['fault', item]),
    ...stalls.map((item): [string, unknown] => ['stall', item]),
  ];
  for (const [kind, item] of lines) stream.write(`${JSON.stringify({ [kind]: item })}\n`);
  await new Promise<void>((resolve, reject) => {
    stream.once('error', reject);
    stream.end(resolve);
  });
}

type Head = Pick<Run, 'seed' | 'managers' | 'endMs' | 'complaints'>;

interface Line {
  readonly run?: Head;
  readonly operation?: Operation;
  readonly reach?: ReachChange;
  readonly fault?: FaultRecord;
  readonly stall?: Span;
}

/** Throws for a file that no run wrote. */
export function readRun(path: string): Run {
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
  const head = lines.find(({ run }) => run)?.run;
  if (!head) throw new Error(`${path}: not the history of a run`);
  const all = <K extends keyof Line>(kind: K) =>
    lines.flatMap((line) => (line[kind] === undefined ? [] : [line[kind]]));
  return {
    ...head,
    operations: all('operation'),
    changes: all('reach'),
    faults: all('fault'),
    stalls: all('stall'),
  };
}
