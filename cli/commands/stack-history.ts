/** `skep stack history` and `skep stack rollback`. */
import { renderListing } from '../output/listing.ts';
import { ago } from '../output/units.ts';
import { type Configure, unsigned, warnLine } from './context.ts';
import { carryOut, type WaitFlags, waitFlags } from './stack-deploy.ts';
import { outputFlag, type PlanOutput } from './stack-flags.ts';
import { printPlan } from './stack-plan.ts';
import { type Deployment, deploymentsOf, rollbackTarget } from './stack-records.ts';
import { requireManager } from './stack-request.ts';

interface HistoryFlags {
  readonly format?: string;
  readonly quiet?: boolean;
}

export const history: Configure = (command, context) => {
  command
    .argument('<stack>', 'name of the stack')
    .option('--format <template>', 'table, json or a template')
    .option('-q, --quiet', 'numbers only')
    .action(async (stack: string, flags: HistoryFlags) => {
      const deployments = await deploymentsOf(context, stack);
      if (deployments.length === 0) warnLine(context, `No deployment of stack ${stack} is kept`);
      const nowMs = context.clock.wallMs();
      const listing = {
        columns: [
          ['DEPLOYMENT', 'Deployment'],
          ['WHEN', 'When'],
          ['BY', 'By'],
          ['WHAT', 'What'],
          ['RESULT', 'Result'],
          ['SERVICES', 'Services'],
        ] as const,
        rows: deployments.map((deployment) => rowOf(deployment, nowMs)),
        quietField: 'Deployment',
      };
      context.stdout.write(renderListing(listing, flags));
    });
};

function rowOf(
  { number, createdAt, by, what, result, request }: Deployment,
  nowMs: number,
): Readonly<Record<string, string>> {
  return {
    Deployment: String(number),
    When: ago(createdAt, nowMs),
    CreatedAt: createdAt,
    By: by,
    What: what,
    Result: result,
    Services: String(request.Services.length),
  };
}

interface RollbackFlags extends WaitFlags {
  readonly to?: number;
  readonly plan?: boolean;
  readonly output: PlanOutput;
}

export const rollback: Configure = (command, context) => {
  waitFlags(command)
    .argument('<stack>', 'name of the stack')
    .option(
      '--to <number>',
      'of the deployment in stack history; default: the one before',
      unsigned,
    )
    .option('--plan', 'say what would change, and change nothing')
    .addOption(outputFlag(command))
    .action(async (stack: string, flags: RollbackFlags) => {
      const manager = await requireManager(context);
      const target = rollbackTarget(stack, await deploymentsOf(context, stack), flags.to ?? null);
      // Services that came later go: the stack is to be as it was.
      const request = { ...target.request, Prune: true };
      if (flags.plan) {
        printPlan(context, await context.client.stackPlan(stack, request), flags.output);
        return;
      }
      const what = `rollback to ${target.number}`;
      await carryOut(context, stack, request, {
        ...flags,
        planHash: null,
        withRegistryAuth: false,
        what,
        manager,
      });
    });
};
