/** `skep image save`: images as one archive. */
import { saveTar } from './binary-output.ts';
import { type Configure, refuseFlags } from './context.ts';

export const save: Configure = (command, context) => {
  refuseFlags(command, { '--platform': 'an image is saved with all platforms that are here' });
  command
    .argument('<image...>', 'names or ids')
    .option('-o, --output <file>', 'instead of standard output')
    .action((names: readonly string[], { output }: { readonly output?: string }) =>
      saveTar(context, output, () => context.client.imagesSave(names)),
    );
};
