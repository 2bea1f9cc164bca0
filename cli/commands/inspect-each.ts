/** The frame of every `inspect`: what there is, then what there is not, with exit status 1. */
import { hasStatus } from '../client/transport.ts';
import { renderInspect } from '../output/listing.ts';
import { type CommandContext, ExitError, errorLine, warnLine } from './context.ts';

export interface InspectFlags {
  /** `pretty` says the same as `--pretty` */
  readonly format?: string;
  readonly pretty?: boolean;
}

export interface Inspected<T> {
  /** what one of them is called */
  readonly noun: string;
  readonly find: (ref: string) => Promise<T>;
  /** for `--pretty`, where there is such a flag: of all at once, one text each */
  readonly pretty?: (objects: readonly T[]) => readonly string[] | Promise<readonly string[]>;
}

/** Throws `ExitError` when one was not found. */
export async function inspectEach<T>(
  context: CommandContext,
  refs: readonly string[],
  { format, pretty: isPretty }: InspectFlags,
  { noun, find, pretty }: Inspected<T>,
): Promise<void> {
  const found: T[] = [];
  const missing: string[] = [];
  for (const ref of refs) {
    try {
      found.push(await find(ref));
    } catch (err) {
      missing.push(hasStatus(err, 404) ? `no such ${noun}: ${ref}` : errorLine(err));
    }
  }
  const text =
    pretty && (isPretty || format === 'pretty')
      ? (await pretty(found)).join('\n')
      : renderInspect(found, format);
  context.stdout.write(text);
  for (const line of missing) warnLine(context, line);
  if (missing.length > 0) throw new ExitError(1);
}
