/** `skep stack deploy`: a stack file's objects made or brought up to date, as the manager plans it. */
import { loadStack } from '../compose/load-stack.ts';
import {
  type Configure,
  collect,
  printLine,
  refuseFlags,
  UsageError,
  warnLine,
} from './context.ts';
import { planAndApply } from './stack-apply.ts';
import { type FileFlags, fileFlags, stackRequest } from './stack-files.ts';
import { outputFlag, type PlanOutput, resolveFlag } from './stack-flags.ts';
import { printPlan } from './stack-plan.ts';
import { type ResolveWhen, requestOf, requireManager } from './stack-request.ts';
import { timeoutFlag, waitForStack } from './stack-wait.ts';

interface DeployFlags extends FileFlags {
  readonly detach?: boolean;
  readonly prune?: boolean;
  readonly quiet?: boolean;
  readonly ignoreRefused?: boolean;
  readonly plan?: boolean;
  readonly planHash?: string;
  readonly output: PlanOutput;
  readonly resolveImage: ResolveWhen;
  readonly timeout: number;
}

export const deploy: Configure = (command, context) => {
  refuseFlags(command, {
    '--with-registry-auth': 'credentials of registries are not supported yet',
  });
  fileFlags(
    command
      .argument('<stack>', 'name of the stack')
      .option('-c, --compose-file <file>', 'stack file, or - for standard input', collect),
  )
    .option('-d, --detach', 'do not wait until the services run')
    .option('--prune', 'remove services that the file no longer has')
    .option('--ignore-refused', 'deploy without the keys that are refused')
    .option('--plan', 'say what would change, and change nothing')
    .option('--plan-hash <hash>', 'only if the plan is still this one')
    .option('-q, --quiet', 'no progress')
    .addOption(timeoutFlag(command))
    .addOption(outputFlag(command))
    .addOption(resolveFlag(command))
    .action(async (name: string, flags: DeployFlags) => {
      if (flags.output !== 'text' && !flags.plan) {
        throw new UsageError('--output is for --plan');
      }
      const request = await stackRequest(context, name, flags.composeFile ?? [], flags);
      const ignoreRefused = flags.ignoreRefused ?? false;
      const { stack, warnings } = loadStack({ ...request, ignoreRefused });
      await requireManager(context);
      for (const warning of warnings) warnLine(context, warning);
      const asked = await requestOf(context, stack, {
        prune: flags.prune ?? false,
        resolve: flags.resolveImage,
      });
      if (flags.plan) {
        printPlan(context, await context.client.stackPlan(name, asked), flags.output);
        return;
      }
      const { plan, changed } = await planAndApply(context, name, asked, flags.planHash ?? null);
      if (plan.Changes.every(({ Action }) => Action === 'none') && changed.size === 0) {
        printLine(context, `Nothing to do: stack ${name} is as its file says`);
      }
      if (flags.detach) return;
      const names = new Set(asked.Services.map((spec) => spec.Name));
      await waitForStack(context, name, { names, changed, ...flags });
    });
};
