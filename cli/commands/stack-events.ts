/** `skep stack events`: what happens to the objects of a stack on all nodes, line by line as it comes. */
import type { ChangeJson } from '../../common/model/engine-json/event.ts';
import type { ServiceJson } from '../../common/model/engine-json/service.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { DEPLOYMENT_LABEL } from '../../common/model/stack.ts';
import { type CommandContext, type Configure, printLine, UsageError } from './context.ts';
import { ofStack } from './stack.ts';

interface EventFlags {
  readonly format?: string;
}

const KINDS = ['service', 'task', 'secret', 'config', 'network'];

export const events: Configure = (command, context) => {
  command
    .argument('<stack>', 'name of the stack')
    .option('--format <format>', 'json: the changes as the daemon tells them')
    .action(async (stack: string, { format }: EventFlags) => {
      if (format !== undefined && format !== 'json') {
        throw new UsageError(`invalid format '${format}': it is json`);
      }
      const filters = { ...ofStack(stack), kind: KINDS };
      const names = await StackNames.read(context, stack);
      const options = { signal: context.signal, previous: true };
      for await (const change of context.client.watch(filters, options)) {
        names.learn(change);
        if (format === 'json') printLine(context, JSON.stringify(change));
        else tell(context, changeText(change, names));
      }
    });
};

/** With the time at which it is heard: an object does not say when it was removed. */
function tell(context: CommandContext, line: string | null): void {
  if (line !== null)
    printLine(context, `${new Date(context.clock.wallMs()).toISOString()} ${line}`);
}

/** Names behind the ids that tasks have. */
class StackNames {
  readonly #services: Map<string, string>;
  readonly #nodes: ReadonlyMap<string, string>;

  private constructor(services: Map<string, string>, nodes: ReadonlyMap<string, string>) {
    this.#services = services;
    this.#nodes = nodes;
  }

  static async read({ client }: CommandContext, stack: string): Promise<StackNames> {
    const [services, nodes] = await Promise.all([client.services(ofStack(stack)), client.nodes()]);
    return new StackNames(
      new Map(services.map(({ ID, Spec }) => [ID, Spec.Name])),
      new Map(
        nodes.map(({ ID, Spec, Description }) => [ID, Spec.Name || Description?.Hostname || ID]),
      ),
    );
  }

  learn({ Kind, Object: object }: ChangeJson): void {
    if (Kind === 'service') this.#services.set(object.ID, object.Spec.Name);
  }

  task({ ServiceID, Slot, NodeID, ID }: TaskJson): string {
    const service = this.#services.get(ServiceID) ?? ServiceID;
    return `${service}.${Slot ?? NodeID ?? ''}.${ID.slice(0, 12)}`;
  }

  node({ NodeID }: TaskJson): string {
    return NodeID ? ` on ${this.#nodes.get(NodeID) ?? NodeID}` : '';
  }
}

/** null for changes that say nothing to people: addresses, steps within a state. */
function changeText(change: ChangeJson, names: StackNames): string | null {
  switch (change.Kind) {
    case 'task':
      return taskText(change.Action, change.Object, change.Previous, names);
    case 'service':
      return serviceText(change.Action, change.Object, change.Previous);
    case 'secret':
    case 'config': {
      const { Spec } = change.Object;
      const number = Spec.Labels?.[DEPLOYMENT_LABEL];
      if (number === undefined) return `${change.Kind} ${Spec.Name} ${change.Action}`;
      return change.Action === 'create' ? `stack deployment ${number}` : null;
    }
    case 'network': {
      const { Name } = change.Object;
      return change.Action === 'update' ? null : `network ${Name} ${change.Action}`;
    }
  }
}

function taskText(
  action: ChangeJson['Action'],
  task: TaskJson,
  previous: TaskJson | undefined,
  names: StackNames,
): string | null {
  const name = names.task(task);
  if (action === 'remove') return null;
  if (action === 'update' && previous?.Status.State === task.Status.State) return null;
  const { State, Err = '' } = task.Status;
  const error = Err === '' ? '' : `: ${Err}`;
  return `task ${name} ${State}${names.node(task)}${error}`;
}

function serviceText(
  action: ChangeJson['Action'],
  service: ServiceJson,
  previous: ServiceJson | undefined,
): string | null {
  const { Spec, UpdateStatus } = service;
  const line = (what: string): string => `service ${Spec.Name} ${what}`;
  if (action !== 'update') return line(action);
  const { State, Message = '' } = UpdateStatus ?? {};
  if (State !== undefined && State !== previous?.UpdateStatus?.State) {
    return line(Message === '' ? State : `${State}: ${Message}`);
  }
  return JSON.stringify(Spec) === JSON.stringify(previous?.Spec) ? null : line('update');
}
