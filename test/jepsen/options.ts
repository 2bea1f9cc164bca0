/** The command line of a run. Pure. */
import { FAULT_WORDS, FAULTS, type FaultKind } from './nemesis.ts';

export interface JepsenOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly managers: number;
  readonly faults: ReadonlySet<FaultKind>;
  readonly clientsPerManager: number;
  readonly limitMs: number;
  /** Where the history goes; null = a name with the seed, in the folder for temporary files. */
  readonly historyPath: string | null;
  /** A history to check again, instead of a run. */
  readonly check: string | null;
}

export class UsageError extends Error {}

export const USAGE = `usage: npm run jepsen -- [flags]
  --minutes M           how long clients and faults go on (1)
  --seed S              decides what is called and broken (from the clock)
  --managers N          3, 5 or 7 (5)
  --faults LIST         comma-separated, of those below (all)
  --clients N           clients at each manager (2)
  --limit-ms N          longest unavailability with a majority connected (3000)
  --history FILE        where the history is written (in the folder for temporary files)
  --check FILE          check a history again, start nothing
faults:
${FAULTS.map((kind) => `  ${kind.padEnd(10)} ${FAULT_WORDS[kind]}`).join('\n')}
`;

/** Throws `UsageError`. */
export function parseOptions(argv: readonly string[], defaultSeed: number): JepsenOptions {
  const flags = new Map<string, string>();
  for (let at = 0; at < argv.length; at += 2) {
    const [flag = '', value] = argv.slice(at, at + 2);
    if (!flag.startsWith('--') || value === undefined) throw new UsageError(`${flag}: no value`);
    flags.set(flag.slice(2), value);
  }
  const take = (name: string, ifAbsent: string): string => {
    const value = flags.get(name) ?? ifAbsent;
    flags.delete(name);
    return value;
  };
  const number = (name: string, ifAbsent: number, min: number, max: number): number => {
    const value = Number(take(name, `${ifAbsent}`));
    if (value >= min && value <= max) return value;
    throw new UsageError(`--${name}: a number from ${min} to ${max}`);
  };
  const options: JepsenOptions = {
    minutes: number('minutes', 1, 0.05, 24 * 60),
    seed: number('seed', defaultSeed, 0, Number.MAX_SAFE_INTEGER),
    managers: number('managers', 5, 3, 7),
    faults: faultsOf(take('faults', FAULTS.join(','))),
    clientsPerManager: number('clients', 2, 1, 20),
    limitMs: number('limit-ms', 3000, 1, 3_600_000),
    historyPath: take('history', '') || null,
    check: take('check', '') || null,
  };
  const [unknown] = flags.keys();
  if (unknown !== undefined) throw new UsageError(`--${unknown}: no such flag`);
  return options;
}

function faultsOf(list: string): ReadonlySet<FaultKind> {
  const names = list.split(',').filter((name) => name !== '' && name !== 'none');
  return new Set(
    names.map((name) => {
      const kind = FAULTS.find((fault) => fault === name);
      if (kind === undefined) throw new UsageError(`--faults: ${name} is none of ${FAULTS}`);
      return kind;
    }),
  );
}
