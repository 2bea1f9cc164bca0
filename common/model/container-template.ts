/**
 * Templates in a container spec: what they may name, and where they are expanded (host name, values of
 * the environment, mounts). The control API tries them, the executor expands them, and then those in
 * secrets and configs, with these same words.
 */
import { describeError, SkepError } from '../base/errors.ts';
import { parseTemplate, type TemplateLimits } from '../base/template.ts';
import { printed, type TemplateFunctions } from '../base/template-functions.ts';
import type { NodeDescription } from './node.ts';
import type { StringMap } from './objects.ts';
import type { ContainerSpec, Mount } from './service.ts';
import { type Task, taskName } from './task.ts';

/** What templates may name. Strings only, but for the labels. */
export interface TemplateContext {
  readonly Service: { readonly ID: string; readonly Name: string; readonly Labels: StringMap };
  readonly Node: {
    readonly ID: string;
    readonly Hostname: string;
    readonly Platform: { readonly Architecture: string; readonly OS: string };
  };
  readonly Task: { readonly ID: string; readonly Name: string; readonly Slot: string };
}

export type TemplateNode = Pick<NodeDescription, 'hostname' | 'platform'>;
export type TemplateTask = Pick<
  Task,
  'id' | 'slot' | 'nodeId' | 'serviceId' | 'serviceAnnotations'
>;

/** The name of the template driver of secrets and configs; there is no other. */
export const TEMPLATE_DRIVER = 'golang';

const FUNCTIONS: TemplateFunctions = {
  /** the separator comes first, unlike that of `--format` */
  join: (separator, ...items) => items.map(printed).join(printed(separator)),
};

/** @param node where the task runs */
export function templateContext(task: TemplateTask, node: TemplateNode): TemplateContext {
  const nodeId = task.nodeId ?? '';
  return {
    Service: {
      ID: task.serviceId,
      Name: task.serviceAnnotations.name,
      Labels: task.serviceAnnotations.labels,
    },
    Node: {
      ID: nodeId,
      Hostname: node.hostname,
      Platform: { Architecture: node.platform.architecture, OS: node.platform.os },
    },
    Task: {
      ID: task.id,
      Name: taskName(task),
      Slot: task.slot === null ? nodeId : String(task.slot),
    },
  };
}

/** Of a host name, as the kernel has it. */
export const HOSTNAME_BYTES_MAX = 64;
/** The dispatcher expands those of all tasks that it tells of: each within a millisecond. */
const HOSTNAME_LIMITS: TemplateLimits = {
  ...{ steps: 1_000, output: HOSTNAME_BYTES_MAX, made: 10_000 },
};

/** Throws `invalid-argument` for what is no template, and for a field or label that is not there. */
export function expandTemplate(
  text: string,
  context: TemplateContext,
  functions: TemplateFunctions = {},
  limits?: TemplateLimits,
): string {
  if (!text.includes('{{')) return text;
  const language = {
    functions: { ...FUNCTIONS, ...functions },
    missing: 'all' as const,
    ...(limits && { limits }),
  };
  return parseTemplate(text, language).render(context);
}

function expandHostname(text: string, context: TemplateContext): string {
  return expandTemplate(text, context, {}, HOSTNAME_LIMITS);
}

/** The spec without templates. Throws as `expandTemplate`. */
export function expandContainer(spec: ContainerSpec, context: TemplateContext): ContainerSpec {
  const expand = (what: string, text: string, by = expandTemplate): string => {
    try {
      return by(text, context);
    } catch (err) {
      throw new SkepError('invalid-argument', `expanding ${what} failed: ${describeError(err)}`);
    }
  };
  const env = spec.env.map((entry) => {
    const at = entry.indexOf('=');
    if (at < 0) return entry;
    return `${entry.slice(0, at)}=${expand(`env "${entry}"`, entry.slice(at + 1))}`;
  });
  const mounts = spec.mounts.map((mount) => expandMount(mount, expand));
  const hostname = expand('hostname', spec.hostname, expandHostname);
  return { ...spec, env, mounts, hostname };
}

type Expand = (what: string, text: string) => string;

function expandMount(mount: Mount, expand: Expand): Mount {
  const { volume } = mount;
  return {
    ...mount,
    source: expand(`mount source "${mount.source}"`, mount.source),
    target: expand(`mount target "${mount.target}"`, mount.target),
    volume: volume && {
      ...volume,
      labels: expandValues('volume labels', volume.labels, expand),
      driverOptions: expandValues('volume driver options', volume.driverOptions, expand),
    },
  };
}

function expandValues(what: string, map: StringMap, expand: Expand): StringMap {
  const entries = Object.entries(map).map(([key, value]) => [key, expand(what, value)] as const);
  return Object.fromEntries(entries);
}

/**
 * The host name that a task has on its node; empty for none of its own. One that does not expand, whatever the reason, is
 * none: its task is rejected there, with the reason, and what one service says must not keep all others from their tables.
 */
export function expandedHostname(task: Task, node: TemplateNode | null): string {
  const { hostname } = task.spec.container;
  if (!hostname.includes('{{')) return hostname;
  try {
    return node ? expandHostname(hostname, templateContext(task, node)) : '';
  } catch {
    return '';
  }
}
