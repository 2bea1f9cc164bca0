/** Bytes that are no text: into a file, or to standard output where that is no terminal. */
import { createWriteStream } from 'node:fs';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type CommandContext, UsageError } from './context.ts';
import { PacedOutput } from './paced-output.ts';

/** Throws `UsageError` where the bytes would go to a terminal: to be asked before there are any. */
export function requireNoTerminal({ stdout }: CommandContext, refusal: string): void {
  if (stdout.isTTY) throw new UsageError(refusal);
}

/** Resolves when all is written. */
export async function writeOut(context: CommandContext, source: Readable): Promise<void> {
  const output = new PacedOutput(context);
  for await (const chunk of source) await output.write('stdout', chunk as Buffer);
}

/** The tar that `get` opens, to the file of `-o` or to standard output. */
export async function saveTar(
  context: CommandContext,
  output: string | undefined,
  get: () => Promise<Readable>,
): Promise<void> {
  if (output === undefined) {
    requireNoTerminal(
      context,
      'cowardly refusing to save to a terminal. Use the -o flag or redirect',
    );
    await writeOut(context, await get());
    return;
  }
  await pipeline(await get(), createWriteStream(resolve(context.cwd, output), { mode: 0o600 }));
}
