/** `skep stack deploy`: a stack file's objects made or brought up to date, as the manager plans it. */
import type { Command } from 'commander';
import type { StackRequestJson } from '../../common/model/engine-json/stack.ts';
import { loadStack } from '../compose/load-stack.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  ExitError,
  errorLine,
  printLine,
  UsageError,
  warnLine,
} from './context.ts';
import { type Applied, HalfApplied, planAndApply } from './stack-apply.ts';
import { type FileFlags, fileFlags, stackRequest } from './stack-files.ts';
import { outputFlag, type PlanOutput, resolveFlag } from './stack-flags.ts';
import { printPlan } from './stack-plan.ts';
import { keepRecord, noteResult } from './stack-records.ts';
import { type ResolveWhen, requestOf, requireManager } from './stack-request.ts';
import { END_STATUS, timeoutFlag, waitForStack } from './stack-wait.ts';

export interface WaitFlags {
  readonly detach?: boolean;
  readonly quiet?: boolean;
  readonly timeout: number;
}

/** How long, and how loudly, a deployment is waited for. */
export function waitFlags(command: Command): Command {
  return command
    .option('-d, --detach', 'do not wait until the services run')
    .option('-q, --quiet', 'no progress')
    .addOption(timeoutFlag());
}

interface DeployFlags extends FileFlags, WaitFlags {
  readonly prune?: boolean;
  readonly ignoreRefused?: boolean;
  readonly plan?: boolean;
  readonly planHash?: string;
  readonly output: PlanOutput;
  readonly resolveImage: ResolveWhen;
  readonly withRegistryAuth?: boolean;
}

export const deploy: Configure = (command, context) => {
  fileFlags(
    waitFlags(command)
      .argument('<stack>', 'name of the stack')
      .option('-c, --compose-file <file>', 'stack file, or - for standard input', collect),
  )
    .option('--prune', 'remove services that the file no longer has')
    .option('--ignore-refused', 'deploy without the keys that are refused')
    .option('--plan', 'say what would change, and change nothing')
    .option('--plan-hash <hash>', 'only if the plan is still this one')
    .addOption(outputFlag(command))
    .addOption(resolveFlag(command))
    .option('--with-registry-auth', 'send the credentials of the images’ registries to the nodes')
    .action(async (name: string, flags: DeployFlags) => {
      if (flags.output !== 'text' && !flags.plan) {
        throw new UsageError('--output is for --plan');
      }
      const request = await stackRequest(context, name, flags.composeFile ?? [], flags);
      const ignoreRefused = flags.ignoreRefused ?? false;
      const loaded = loadStack({ ...request, ignoreRefused });
      const manager = await requireManager(context);
      for (const warning of loaded.warnings) warnLine(context, warning);
      const asked = await requestOf(context, loaded, {
        prune: flags.prune ?? false,
        resolve: flags.resolveImage,
        withRegistryAuth: flags.withRegistryAuth ?? false,
      });
      if (flags.plan) {
        printPlan(context, await context.client.stackPlan(name, asked), flags.output);
        return;
      }
      const { planHash = null, withRegistryAuth = false } = flags;
      await carryOut(context, name, asked, {
        ...flags,
        ...{ planHash, withRegistryAuth, what: 'deploy', manager },
      });
    });
};

interface CarryOut extends WaitFlags {
  /** the only plan that is wanted, null = any */
  readonly planHash: string | null;
  /** the nodes get the credentials of the images' registries */
  readonly withRegistryAuth: boolean;
  /** for the history */
  readonly what: string;
  readonly manager: string;
}

/** Applies, keeps a record, waits. Throws `ExitError` as the waiting ends. */
export async function carryOut(
  context: CommandContext,
  stack: string,
  request: StackRequestJson,
  options: CarryOut,
): Promise<void> {
  const { plan, changed, isChange } = await applyOrRecord(context, stack, request, options);
  if (!isChange) printLine(context, `Nothing to do: stack ${stack} is as it is to be`);
  const record = isChange ? await keepRecord(context, stack, { request, plan, ...options }) : null;
  if (options.detach) return;
  const names = new Set(request.Services.map((spec) => spec.Name));
  const end = await waitForStack(context, stack, { names, changed, ...options });
  if (end === null) return;
  if (record) await noteResult(context, record, end);
  if (END_STATUS[end] !== 0) throw new ExitError(END_STATUS[end]);
}

/** What goes wrong half-way is a deployment, too: the history has it, and `stack rollback` goes back from it. */
async function applyOrRecord(
  context: CommandContext,
  stack: string,
  request: StackRequestJson,
  options: CarryOut,
): Promise<Applied> {
  try {
    return await planAndApply(context, stack, request, options);
  } catch (err) {
    if (!(err instanceof HalfApplied)) throw err;
    try {
      const { plan } = err.applied;
      const record = await keepRecord(context, stack, { request, plan, ...options });
      if (record) await noteResult(context, record, 'incomplete');
    } catch (failure) {
      warnLine(context, `this deployment is not in the history: ${errorLine(failure)}`);
    }
    throw err.cause;
  }
}
