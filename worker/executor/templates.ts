/** Templates of a task, expanded on the node that runs it: in its container, its secrets and configs. */
import { describeError, SkepError } from '../../common/base/errors.ts';
import {
  printed,
  type TemplateFunctions,
  templateFailure,
} from '../../common/base/template-functions.ts';
import type { AssignedConfig, AssignedSecret } from '../../common/model/assignment.ts';
import {
  expandContainer,
  expandTemplate,
  TEMPLATE_DRIVER,
  type TemplateContext,
  type TemplateNode,
  templateContext,
} from '../../common/model/container-template.ts';
import type { Task } from '../../common/model/task.ts';
import type { Dependencies } from './executor.ts';

/** The task without templates in its container spec. Throws `invalid-argument`. */
export function expandTask(task: Task, node: TemplateNode): Task {
  const container = expandContainer(task.spec.container, templateContext(task, node));
  return { ...task, spec: { ...task.spec, container } };
}

/**
 * The task's secrets and configs with their templates expanded. Beside the fields they may name, by
 * `env`, `secret` and `config`, what the task itself has: a variable of its spec, and its files by
 * their target, as these are stored.
 * @param task with its own templates expanded
 */
export function expandDependencies(
  task: Task,
  node: TemplateNode,
  dependencies: Dependencies,
): Dependencies {
  const context = templateContext(task, node);
  const functions = payloadFunctions(task, dependencies);
  return {
    secret: (id) => expandPayload('secret', dependencies.secret(id), context, functions),
    config: (id) => expandPayload('config', dependencies.config(id), context, functions),
  };
}

function expandPayload<T extends AssignedSecret | AssignedConfig>(
  kind: 'secret' | 'config',
  payload: T | undefined,
  context: TemplateContext,
  functions: TemplateFunctions,
): T | undefined {
  if (!payload || payload.templateDriver !== TEMPLATE_DRIVER) return payload;
  try {
    const text = Buffer.from(payload.data).toString('utf8');
    return { ...payload, data: Buffer.from(expandTemplate(text, context, functions)) };
  } catch (err) {
    throw new SkepError(
      'invalid-argument',
      `failed to expand templated ${kind} ${payload.name}: ${describeError(err)}`,
    );
  }
}

function payloadFunctions(task: Task, dependencies: Dependencies): TemplateFunctions {
  const { env, secrets, configs } = task.spec.container;
  const dataOf = (what: string, payload: AssignedSecret | AssignedConfig | undefined): string => {
    if (!payload) throw templateFailure(`${what} not found`);
    return Buffer.from(payload.data).toString('utf8');
  };
  return {
    env: (name) => {
      const prefix = `${printed(name)}=`;
      return env.find((entry) => entry.startsWith(prefix))?.slice(prefix.length) ?? '';
    },
    secret: (target) => {
      const found = secrets.find(({ file }) => file.name === target);
      return dataOf(
        `secret target ${printed(target)}`,
        found && dependencies.secret(found.secretId),
      );
    },
    config: (target) => {
      const found = configs.find(({ file }) => file?.name === target);
      return dataOf(
        `config target ${printed(target)}`,
        found && dependencies.config(found.configId),
      );
    },
  };
}
