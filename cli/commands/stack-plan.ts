/** `skep stack diff`, and the plan as people read it. */
import type { StackChangeJson, StackPlanJson } from '../../common/model/engine-json/stack.ts';
import { loadStack } from '../compose/load-stack.ts';
import { type Paint, paintFor, type Tone } from '../output/palette.ts';
import { type CommandContext, type Configure, collect, ExitError, warnLine } from './context.ts';
import { type FileFlags, fileFlags, stackRequest } from './stack-files.ts';
import { outputFlag, type PlanOutput, resolveFlag } from './stack-flags.ts';
import { type ResolveWhen, requestOf, requireManager } from './stack-request.ts';

interface DiffFlags extends FileFlags {
  readonly prune?: boolean;
  readonly ignoreRefused?: boolean;
  readonly exitCode?: boolean;
  readonly output: PlanOutput;
  readonly withRegistryAuth?: boolean;
  readonly resolveImage: ResolveWhen;
}

export const diff: Configure = (command, context) => {
  fileFlags(
    command
      .argument('<stack>', 'name of the stack')
      .option('-c, --compose-file <file>', 'stack file, or - for standard input', collect),
  )
    .option('--prune', 'as if services that the file no longer has were removed')
    .option('--ignore-refused', 'without the keys that are refused')
    .option('--exit-code', 'exit status 1 when there is something to do')
    .addOption(outputFlag(command))
    .addOption(resolveFlag(command))
    .option('--with-registry-auth', 'ask registries with your credentials')
    .action(async (name: string, flags: DiffFlags) => {
      const request = await stackRequest(context, name, flags.composeFile ?? [], flags);
      const ignoreRefused = flags.ignoreRefused ?? false;
      const loaded = loadStack({ ...request, ignoreRefused });
      await requireManager(context);
      for (const warning of loaded.warnings) warnLine(context, warning);
      const asked = await requestOf(context, loaded, {
        prune: flags.prune ?? false,
        resolve: flags.resolveImage,
        withRegistryAuth: flags.withRegistryAuth ?? false,
      });
      const plan = await context.client.stackPlan(name, asked);
      printPlan(context, plan, flags.output);
      const isEmpty = plan.Changes.every(({ Action }) => Action === 'none');
      if (flags.exitCode && !isEmpty) throw new ExitError(1);
    });
};

export function printPlan(context: CommandContext, plan: StackPlanJson, output: PlanOutput): void {
  const paint = paintFor(context.stdout, context.env);
  const text = output === 'json' ? JSON.stringify(plan, null, 2) : planText(plan, paint);
  context.stdout.write(`${text}\n`);
}

const SIGNS: Readonly<Record<StackChangeJson['Action'], string>> = {
  create: '+',
  update: '~',
  replace: '!',
  remove: '-',
  none: '=',
};

const TONES: Readonly<Record<StackChangeJson['Action'], Tone>> = {
  create: 'good',
  update: 'caution',
  replace: 'caution',
  remove: 'bad',
  none: 'plain',
};

/** One line for each change; what stays as it is only where there is something to say of it. */
function planText({ Name, Hash, Changes }: StackPlanJson, paint: Paint): string {
  const shown = Changes.filter(({ Action, Note }) => Action !== 'none' || Note !== '');
  const widths = [
    Math.max(0, ...shown.map(({ Kind }) => Kind.length)),
    Math.max(0, ...shown.map(({ Object: name }) => name.length)),
  ];
  const lines = shown.flatMap((change) => [
    paint(
      [
        `  ${SIGNS[change.Action]} ${change.Kind.padEnd(widths[0]!)}`,
        change.Object.padEnd(widths[1]!),
        effectText(change),
      ]
        .join('  ')
        .trimEnd(),
      TONES[change.Action],
    ),
    ...landingLines(change).map((line) => `${' '.repeat(widths[0]! + 6)}${line}`),
  ]);
  return [`Stack ${Name}: ${summary(Changes)}`, ...lines, `Plan ${Hash}`].join('\n');
}

function effectText({ Action, Fields, ForcedBy, ReplacedTasks, Note }: StackChangeJson): string {
  const note = Note === '' ? '' : ` (${Note})`;
  const fields = Fields.join(', ');
  switch (Action) {
    case 'create':
      return `create${note}`;
    case 'update':
      return `update in place: ${fields}${note}`;
    case 'replace': {
      const tasks = ReplacedTasks === 1 ? '1 task' : `${ReplacedTasks} tasks`;
      const rest = Fields.filter((field) => !ForcedBy.includes(field));
      const more = rest.length > 0 ? `; in place: ${rest.join(', ')}` : '';
      const what = ReplacedTasks === 0 ? 'update' : `replace ${tasks}`;
      return `${what}, forced by ${ForcedBy.join(', ')}${more}${note}`;
    }
    case 'remove':
      return `remove${note}`;
    case 'none':
      return fields === '' ? `keep${note}` : `keep, other ${fields}${note}`;
  }
}

function landingLines({ Landing }: StackChangeJson): string[] {
  if (Landing === null) return [];
  const nodes = Landing.Nodes.map(({ Hostname, NodeID, Tasks }) => {
    return `${Hostname || NodeID} (${Tasks})`;
  });
  const { Unplaced } = Landing;
  const tasks = Unplaced?.Tasks === 1 ? '1 task' : `${Unplaced?.Tasks} tasks`;
  return [
    ...(nodes.length > 0 ? [`would land on ${nodes.join(', ')}`] : []),
    ...(Unplaced ? [`no place now for ${tasks}: ${Unplaced.Reason}`] : []),
  ];
}

const WORDS: readonly (readonly [StackChangeJson['Action'], string])[] = [
  ['create', 'to create'],
  ['update', 'to update in place'],
  ['replace', 'to update with other tasks'],
  ['remove', 'to remove'],
  ['none', 'unchanged'],
];

function summary(changes: readonly StackChangeJson[]): string {
  const parts = WORDS.map(([action, words]) => {
    const count = changes.filter(({ Action }) => Action === action).length;
    return count > 0 ? `${count} ${words}` : '';
  });
  return parts.filter((part) => part !== '').join(', ') || 'nothing to do';
}
