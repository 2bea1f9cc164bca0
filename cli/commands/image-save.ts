/** `skep image save`: images as one archive. */
import { createWriteStream } from 'node:fs';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Configure, refuseFlags, UsageError } from './context.ts';

export const save: Configure = (command, context) => {
  refuseFlags(command, { '--platform': 'an image is saved with all platforms that are here' });
  command
    .argument('<image...>', 'names or ids')
    .option('-o, --output <file>', 'instead of standard output')
    .action(async (names: readonly string[], { output }: { readonly output?: string }) => {
      if (output === undefined && context.stdout.isTTY) {
        throw new UsageError(
          'cowardly refusing to save to a terminal. Use the -o flag or redirect',
        );
      }
      const tar = await context.client.imagesSave(names);
      if (output !== undefined) {
        await pipeline(tar, createWriteStream(resolve(context.cwd, output), { mode: 0o600 }));
        return;
      }
      for await (const chunk of tar) {
        if (!context.stdout.write(chunk)) {
          await new Promise<void>((done) => context.stdout.once('drain', () => done()));
        }
      }
    });
};
