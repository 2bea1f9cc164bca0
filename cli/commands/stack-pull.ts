/** `skep stack pull`: the images of a stack, from their registries and on every node before tasks need them. */
import { loadStack } from '../compose/load-stack.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  eachOf,
  printLine,
  UsageError,
} from './context.ts';
import { pullImage, showProgress } from './image.ts';
import { ofStack } from './stack.ts';
import { type FileFlags, fileFlags, stackRequest } from './stack-files.ts';

interface PullFlags extends FileFlags {
  readonly quiet?: boolean;
}

export const stackPull: Configure = (command, context) => {
  fileFlags(
    command
      .argument('<stack>', 'name of the stack')
      .option('-c, --compose-file <file>', 'the images of this file, not those deployed', collect),
  )
    .option('-q, --quiet', 'no progress')
    .action(async (stack: string, flags: PullFlags) => {
      const images = flags.composeFile
        ? await imagesOfFiles(context, stack, flags.composeFile, flags)
        : await imagesDeployed(context, stack);
      await eachOf(context, [...new Set(images)].sort(), async (image) => {
        await pullImage(context, image, { quiet: true });
        await showProgress(context, context.client.imageDistribute(image), flags.quiet ?? false);
        printLine(context, image);
      });
    });
};

async function imagesOfFiles(
  context: CommandContext,
  stack: string,
  files: readonly string[],
  flags: FileFlags,
): Promise<readonly string[]> {
  const request = await stackRequest(context, stack, files, flags);
  const loaded = loadStack({ ...request, ignoreRefused: true });
  return loaded.stack.services.map(({ spec }) => spec.TaskTemplate.ContainerSpec?.Image ?? '');
}

async function imagesDeployed(context: CommandContext, stack: string): Promise<readonly string[]> {
  const services = await context.client.services(ofStack(stack));
  if (services.length === 0) throw new UsageError(`nothing found in stack: ${stack}`);
  return services.map(({ Spec }) => Spec.TaskTemplate.ContainerSpec?.Image ?? '');
}
