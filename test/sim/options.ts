/** The command line of the simulator. */
import { parseArgs } from 'node:util';

/** What is simulated: whole raft nodes, or whole clusters of managers and agents. */
export const WORLDS = ['raft', 'cluster'] as const;
export type WorldName = (typeof WORLDS)[number];

export interface SimOptions {
  readonly world: WorldName;
  /** How many seeds, from `seed` on. */
  readonly seeds: number;
  readonly seed: number;
  /** Runs for so long instead of for a number of seeds; 0 = not. */
  readonly minutes: number;
  readonly workers: number;
  /** Bug to plant, by name. */
  readonly plant: string | null;
  /** Plants each bug in turn and looks how many seeds find it. */
  readonly mutants: boolean;
  readonly coverage: boolean;
  readonly traceLines: number;
}

export const USAGE = `usage: npm run sim -- [--world raft|cluster] [--seeds N] [--seed S] [--minutes M]
                     [--workers W] [--plant BUG] [--mutants] [--coverage] [--trace LINES]

  --world W     raft (default): raft nodes; cluster: managers and agents, with a fake runtime
  --seeds N     runs N seeds (default 100; 1 with --seed alone; with --mutants at most, default 1000)
  --seed S      the first seed (default 1)
  --minutes M   runs for M minutes instead
  --workers W   processes (default 2)
  --plant BUG   with one planted bug (see test/sim/mutants)
  --mutants     plants each bug in turn, or those that --plant begins, and prints what finds them
  --coverage    prints which branches of manager/raft the run reached
  --trace LINES lines of the trace to print of a failed run (default 60)
`;

/** Throws Error with words for the user. */
export function parseOptions(args: readonly string[]): SimOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      world: { type: 'string' },
      seeds: { type: 'string' },
      seed: { type: 'string' },
      minutes: { type: 'string' },
      workers: { type: 'string' },
      plant: { type: 'string' },
      trace: { type: 'string' },
      mutants: { type: 'boolean' },
      coverage: { type: 'boolean' },
    },
  });
  const mutants = values.mutants ?? false;
  const world = WORLDS.find((name) => name === (values.world ?? 'raft'));
  if (world === undefined) throw new Error(`--world ${values.world}: no such world`);
  if (values.coverage && world !== 'raft') throw new Error('--coverage: of the raft world only');
  const many = mutants ? 1_000 : 100;
  return {
    world,
    seed: wholeNumber('seed', values.seed, 1),
    seeds: wholeNumber('seeds', values.seeds, values.seed === undefined ? many : 1),
    minutes: wholeNumber('minutes', values.minutes, 0),
    workers: Math.max(1, wholeNumber('workers', values.workers, 2)),
    plant: values.plant ?? null,
    mutants,
    coverage: values.coverage ?? false,
    traceLines: wholeNumber('trace', values.trace, 60),
  };
}

function wholeNumber(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0)
    throw new Error(`--${name}: ${text} is no whole number`);
  return value;
}
