/** `skep node ...`: showing and changing nodes. Lists are in node-list.ts. */
import { Option } from 'commander';
import type { NodeJson, NodeSpecJson } from '../../common/model/engine-json/node.ts';
import { goTime, humanBinarySize } from '../output/units.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  eachOf,
  pairs,
  printLine,
  UsageError,
} from './context.ts';
import { type InspectFlags, inspectEach } from './inspect-each.ts';

/** The node meant by `ref`, where `self` is the one that answers. */
export async function resolveNode(context: CommandContext, ref: string): Promise<NodeJson> {
  if (ref !== 'self') return context.client.node(ref);
  const { Swarm } = await context.client.info();
  if (!Swarm.NodeID) throw new UsageError('self: this node is not part of a swarm');
  return context.client.node(Swarm.NodeID);
}

export const inspect: Configure = (command, context) => {
  command
    .argument('<node...>', 'ids, names or self')
    .option('-f, --format <template>', 'json or a template')
    .option('--pretty', 'print for people')
    .action((refs: readonly string[], flags: InspectFlags) =>
      inspectEach(context, refs, flags, {
        noun: 'node',
        find: (ref) => resolveNode(context, ref),
        pretty: (nodes) => nodes.map(prettyNode),
      }),
    );
};

const capital = (word: string | undefined): string =>
  word ? word.charAt(0).toUpperCase() + word.slice(1) : '';

function prettyNode(node: NodeJson): string {
  const { Description: about, ManagerStatus: manager, Spec: spec } = node;
  const labels = Object.entries(spec.Labels ?? {}).map(([key, value]) => ` - ${key}=${value}`);
  const resources = about?.Resources;
  const tls = about?.TLSInfo;
  const engineLabels = Object.entries(about?.Engine?.Labels ?? {}).map(
    ([key, value]) => ` - ${key}=${value}`,
  );
  return [
    `ID:\t\t\t${node.ID}`,
    ...(labels.length > 0 ? ['Labels:', ...labels] : []),
    `Hostname:              \t${about?.Hostname ?? ''}`,
    `Joined at:             \t${goTime(node.CreatedAt)}`,
    'Status:',
    ` State:\t\t\t${capital(node.Status?.State)}`,
    ...(node.Status?.Message ? [` Message:              \t${node.Status.Message}`] : []),
    ` Availability:         \t${capital(spec.Availability)}`,
    ` Address:\t\t${node.Status?.Addr ?? ''}`,
    ...(manager
      ? [
          'Manager Status:',
          ` Address:\t\t${manager.Addr ?? ''}`,
          ` Raft Status:\t\t${capital(manager.Reachability)}`,
          ` Leader:\t\t${manager.Leader ? 'Yes' : 'No'}`,
        ]
      : []),
    'Platform:',
    ` Operating System:\t${about?.Platform?.OS ?? ''}`,
    ` Architecture:\t\t${about?.Platform?.Architecture ?? ''}`,
    'Resources:',
    ` CPUs:\t\t\t${(resources?.NanoCPUs ?? 0) / 1e9}`,
    ` Memory:\t\t${humanBinarySize(resources?.MemoryBytes ?? 0)}`,
    `Engine Version:\t\t${about?.Engine?.EngineVersion ?? ''}`,
    ...pluginLines(about?.Engine?.Plugins ?? []),
    ...(engineLabels.length > 0 ? ['Engine Labels:', ...engineLabels] : []),
    ...(tls?.TrustRoot
      ? [
          'TLS Info:',
          ` TrustRoot:\n${tls.TrustRoot}`,
          ` Issuer Subject:\t${tls.CertIssuerSubject ?? ''}`,
          ` Issuer Public Key:\t${tls.CertIssuerPublicKey ?? ''}`,
        ]
      : []),
    '',
  ].join('\n');
}

/** By kind, one line each. */
function pluginLines(
  plugins: readonly { readonly Type: string; readonly Name: string }[],
): string[] {
  const kinds = [...new Set(plugins.map(({ Type }) => Type))].sort();
  const names = (kind: string): string =>
    plugins
      .filter(({ Type }) => Type === kind)
      .map(({ Name }) => Name)
      .join(', ');
  const lines = kinds.map((kind) => ` ${kind}:\t\t${names(kind)}`);
  return lines.length === 0 ? [] : ['Plugins:', ...lines];
}

async function updateNode(
  context: CommandContext,
  ref: string,
  change: (spec: NodeSpecJson) => NodeSpecJson,
): Promise<void> {
  const node = await resolveNode(context, ref);
  const spec = change(node.Spec);
  await context.client.nodeUpdate(node.ID, node.Version.Index, spec);
}

interface UpdateFlags {
  readonly availability?: string;
  readonly role?: string;
  readonly labelAdd?: readonly string[];
  readonly labelRm?: readonly string[];
}

export const update: Configure = (command, context) => {
  command
    .argument('<node>', 'id, name or self')
    .addOption(new Option('--availability <state>').choices(['active', 'pause', 'drain']))
    .addOption(new Option('--role <role>').choices(['worker', 'manager']))
    .option('--label-add <key=value>', 'add or change a label', collect)
    .option('--label-rm <key>', 'remove a label', collect)
    .action(async (ref: string, flags: UpdateFlags) => {
      await updateNode(context, ref, (spec) => {
        const labels = { ...spec.Labels, ...pairs(flags.labelAdd) };
        for (const key of flags.labelRm ?? []) {
          if (!Object.hasOwn(labels, key)) {
            throw new UsageError(`key ${key} doesn't exist in node's labels`);
          }
          delete labels[key];
        }
        return {
          ...spec,
          Labels: labels,
          Role: flags.role ?? spec.Role,
          Availability: flags.availability ?? spec.Availability,
        };
      });
      printLine(context, ref);
    });
};

function changeRole(role: 'manager' | 'worker', done: string): Configure {
  return (command, context) => {
    command.argument('<node...>', 'ids or names').action((refs: readonly string[]) =>
      eachOf(context, refs, async (ref) => {
        const node = await resolveNode(context, ref);
        if (node.Spec.Role === role) {
          printLine(context, `Node ${ref} is already a ${role}.`);
          return;
        }
        const spec = { ...node.Spec, Role: role };
        await context.client.nodeUpdate(node.ID, node.Version.Index, spec);
        printLine(context, `${done.replace('%', ref)}`);
      }),
    );
  };
}

export const promote = changeRole('manager', 'Node % promoted to a manager in the swarm.');
export const demote = changeRole('worker', 'Manager % demoted in the swarm.');

export const rm: Configure = (command, context) => {
  command
    .argument('<node...>', 'ids or names')
    .option('-f, --force', 'also when the node is not down')
    .action((refs: readonly string[], { force }: { readonly force?: boolean }) =>
      eachOf(context, refs, async (ref) => {
        await context.client.nodeRemove(ref, force ?? false);
        printLine(context, ref);
      }),
    );
};
