/**
 * `skep service update`: the spec as it is, changed by flags. What is removed goes before what is
 * added. Everything else of the spec stays.
 */
import type { Command } from 'commander';
import type { ContainerSpecJson } from '../../common/model/engine-json/container-spec.ts';
import type { PortJson } from '../../common/model/engine-json/port.ts';
import type { ServiceModeJson, ServiceSpecJson } from '../../common/model/engine-json/service.ts';
import type { ResourcesJson, TaskSpecJson } from '../../common/model/engine-json/task.ts';
import { normaliseCapabilities, parseExtraHost, parseUlimit } from '../compose/files.ts';
import { parseMountFlag } from '../compose/mounts.ts';
import { splitShellWords } from '../compose/shell-words.ts';
import {
  type CommandContext,
  type Configure,
  collect,
  flag,
  pairs,
  printLine,
  refuseFlags,
  UsageError,
  warnLine,
} from './context.ts';
import { waitForService } from './converge.ts';
import {
  type IsolationFlags,
  isolationFlags,
  isolationOf,
  kernelLimitsOf,
} from './isolation-flags.ts';
import { rollBack } from './service.ts';
import { environmentOf } from './service-create.ts';
import {
  healthcheckOf,
  parseFileReference,
  parseGenericResource,
  parseNetworkFlag,
  parsePreference,
  parsePublish,
  REFUSED,
  restartOf,
  type SharedFlags,
  sharedFlags,
  updateConfigOf,
} from './service-flags.ts';
import {
  authOption,
  resolveConfigs,
  resolveImage,
  resolveNetworks,
  resolveSecrets,
  sentRegistryAuth,
} from './service-spec.ts';

type Many = readonly string[];

/** Lists that have an -add and an -rm flag; what each value must parse as. */
const LISTS: Readonly<Record<string, (value: string) => unknown>> = {
  'cap-add': String,
  'cap-drop': String,
  config: parseFileReference,
  constraint: String,
  'container-label': String,
  dns: String,
  'dns-option': String,
  'dns-search': String,
  env: String,
  'generic-resource': parseGenericResource,
  group: String,
  host: parseExtraHost,
  label: String,
  mount: parseMountFlag,
  network: parseNetworkFlag,
  'placement-pref': parsePreference,
  publish: parsePublish,
  secret: parseFileReference,
  sysctl: String,
  ulimit: parseUlimit,
};

interface UpdateFlags extends SharedFlags, IsolationFlags {
  readonly args?: string;
  readonly image?: string;
  readonly force?: boolean;
  readonly rollback?: boolean;
  readonly capAdd?: Many;
  readonly capDrop?: Many;
  readonly publishAdd?: Many;
  readonly publishRm?: Many;
  readonly [list: `${string}Add` | `${string}Rm`]: Many | undefined;
}

export const update: Configure = (command, context) => {
  sharedFlags(command);
  isolationFlags(command);
  refuseFlags(command, REFUSED);
  listFlags(command);
  command
    .argument('<service>', 'id or name')
    .option('--args <words>', "the command's arguments")
    .option('--image <image>', 'name of the image')
    .option('--force', 'replace the tasks although nothing changed')
    .option('--rollback', 'go back to the previous spec')
    .action(async (ref: string, flags: UpdateFlags) => {
      if (flags.rollback) {
        const others = Object.keys(flags).filter(
          (name) => !['rollback', 'detach', 'quiet'].includes(name) && !isDefault(command, name),
        );
        if (others.length > 0) {
          throw new UsageError('other flags may not be combined with --rollback');
        }
        await rollBack(context, ref);
      } else await updateService(context, ref, flags);
      printLine(context, ref);
      if (!flags.detach) await waitForService(context, ref, flags);
    });
};

const isDefault = (command: Command, name: string): boolean =>
  command.getOptionValueSource(name) === 'default';

function listFlags(command: Command): void {
  for (const [name, parse] of Object.entries(LISTS)) {
    const add = (value: string, before: Many = []): Many => {
      flag(parse)(value);
      return collect(value, before);
    };
    if (name.startsWith('cap-')) {
      command.option(`--${name} <capability>`, 'of the containers', collect);
      continue;
    }
    command.option(`--${name}-add <${name}>`, 'add or change', add);
    command.option(`--${name}-rm <${name}>`, 'remove', collect);
  }
}

async function updateService(
  context: CommandContext,
  ref: string,
  flags: UpdateFlags,
): Promise<void> {
  const { client } = context;
  const service = await client.service(ref);
  const image = flags.image ?? service.Spec.TaskTemplate.ContainerSpec.Image;
  const auth = await sentRegistryAuth(context, image, flags.withRegistryAuth);
  const spec = await changedSpec(context, service.Spec, flags, auth);
  const { ID, Version } = service;
  const answer = await client.serviceUpdate(ID, Version.Index, spec, authOption(auth));
  for (const warning of answer?.Warnings ?? []) warnLine(context, warning);
}

async function changedSpec(
  context: CommandContext,
  spec: ServiceSpecJson,
  flags: UpdateFlags,
  registryAuth: string | undefined,
): Promise<ServiceSpecJson> {
  const update = updateConfigOf('update', flags, spec.UpdateConfig);
  const rollback = updateConfigOf('rollback', flags, spec.RollbackConfig);
  const ports = changedPorts(spec.EndpointSpec?.Ports ?? [], flags);
  return {
    ...spec,
    Labels: changedMap(spec.Labels, flags.labelAdd, flags.labelRm),
    TaskTemplate: await changedTask(context, spec.TaskTemplate, flags, registryAuth),
    Mode: changedMode(spec.Mode, flags),
    ...(update && { UpdateConfig: update }),
    ...(rollback && { RollbackConfig: rollback }),
    EndpointSpec: {
      ...spec.EndpointSpec,
      ...(flags.endpointMode && { Mode: flags.endpointMode }),
      Ports: ports,
    },
  };
}

function changedMode(mode: ServiceModeJson | undefined, flags: UpdateFlags): ServiceModeJson {
  const { replicas, maxConcurrent } = flags;
  const job = mode?.ReplicatedJob;
  if (maxConcurrent !== undefined && !job) {
    throw new UsageError('max-concurrent can only be used with replicated-job mode');
  }
  if (job) {
    return {
      ReplicatedJob: {
        ...job,
        ...(maxConcurrent !== undefined && { MaxConcurrent: maxConcurrent }),
        ...(replicas !== undefined && { TotalCompletions: replicas }),
      },
    };
  }
  if (replicas === undefined) return mode ?? { Replicated: {} };
  if (mode && !mode.Replicated) {
    throw new UsageError('replicas can only be used with replicated or replicated-job mode');
  }
  return { Replicated: { Replicas: replicas } };
}

async function changedTask(
  context: CommandContext,
  task: TaskSpecJson,
  flags: UpdateFlags,
  registryAuth: string | undefined,
): Promise<TaskSpecJson> {
  const image = flags.image
    ? await resolveImage(context, flags.image, flags.resolveImage ?? true, registryAuth)
    : null;
  const restart = restartOf(flags, task.RestartPolicy);
  const placement = task.Placement ?? {};
  const added = (flags.placementPrefAdd ?? []).map(parsePreference);
  const removed = (flags.placementPrefRm ?? []).map(
    (t) => parsePreference(t).Spread.SpreadDescriptor,
  );
  const log = flags.logDriver
    ? { Name: flags.logDriver, Options: pairs(flags.logOpt) }
    : task.LogDriver;
  return {
    ...task,
    ContainerSpec: await changedContainer(context, task.ContainerSpec, image?.image, flags),
    Resources: changedResources(task.Resources, flags),
    ...(restart && { RestartPolicy: restart }),
    Placement: {
      ...placement,
      Constraints: changedList(placement.Constraints, flags.constraintAdd, flags.constraintRm),
      Preferences: [
        ...(placement.Preferences ?? []).filter(
          ({ Spread }) => !removed.includes(Spread.SpreadDescriptor),
        ),
        ...added,
      ],
      ...(flags.replicasMaxPerNode !== undefined && { MaxReplicas: flags.replicasMaxPerNode }),
      ...(image && image.platforms.length > 0 && { Platforms: image.platforms }),
    },
    Networks: await changedNetworks(context, task, flags),
    ...(log && { LogDriver: log }),
    ForceUpdate: (task.ForceUpdate ?? 0) + (flags.force ? 1 : 0),
  };
}

async function changedNetworks(
  context: CommandContext,
  task: TaskSpecJson,
  flags: UpdateFlags,
): Promise<NonNullable<TaskSpecJson['Networks']>> {
  const removed = await resolveNetworks(
    context,
    (flags.networkRm ?? []).map((Target) => ({ Target })),
  );
  const gone = new Set(removed.map(({ Target }) => Target));
  const kept = (task.Networks ?? []).filter(({ Target }) => !gone.has(Target));
  const added = await resolveNetworks(context, (flags.networkAdd ?? []).map(parseNetworkFlag));
  const known = new Set(kept.map(({ Target }) => Target));
  for (const { Target } of added) {
    if (known.has(Target)) throw new UsageError(`service is already attached to network ${Target}`);
  }
  return [...kept, ...added].sort((a, b) => (a.Target < b.Target ? -1 : 1));
}

function changedResources(
  { Limits = {}, Reservations = {}, ...rest }: ResourcesJson = {},
  flags: UpdateFlags,
): ResourcesJson {
  const gone = new Set(flags.genericResourceRm ?? []);
  const added = (flags.genericResourceAdd ?? []).map(parseGenericResource);
  const kind = (item: { DiscreteResourceSpec?: { Kind: string } }): string =>
    item.DiscreteResourceSpec?.Kind ?? '';
  const replaced = new Set(added.map(kind));
  const generic = (Reservations.GenericResources ?? []).filter(
    (item) => !gone.has(kind(item)) && !replaced.has(kind(item)),
  );
  return {
    ...rest,
    ...kernelLimitsOf(flags),
    Limits: {
      ...Limits,
      ...(flags.limitCpu !== undefined && { NanoCPUs: flags.limitCpu }),
      ...(flags.limitMemory !== undefined && { MemoryBytes: flags.limitMemory }),
      ...(flags.limitPids !== undefined && { Pids: flags.limitPids }),
    },
    Reservations: {
      ...Reservations,
      ...(flags.reserveCpu !== undefined && { NanoCPUs: flags.reserveCpu }),
      ...(flags.reserveMemory !== undefined && { MemoryBytes: flags.reserveMemory }),
      GenericResources: [...generic, ...added],
    },
  };
}

async function changedContainer(
  context: CommandContext,
  spec: ContainerSpecJson,
  image: string | undefined,
  flags: UpdateFlags,
): Promise<ContainerSpecJson> {
  const health = healthcheckOf(flags, spec.Healthcheck);
  const env = await environmentOf(context, { env: flags.envAdd ?? [] });
  const secrets = await resolveSecrets(context, (flags.secretAdd ?? []).map(parseFileReference));
  const configs = await resolveConfigs(context, (flags.configAdd ?? []).map(parseFileReference));
  const keyOf = (text: string): string => text.split('=')[0] ?? text;
  return {
    ...spec,
    ...scalars(flags),
    ...isolationOf(context, flags),
    ...(image !== undefined && { Image: image }),
    Labels: changedMap(spec.Labels, flags.containerLabelAdd, flags.containerLabelRm),
    Env: keyed(spec.Env, flags.envRm, env, keyOf),
    Groups: changedList(spec.Groups, flags.groupAdd, flags.groupRm),
    ...(health && { Healthcheck: health }),
    Mounts: keyed(
      spec.Mounts,
      flags.mountRm,
      (flags.mountAdd ?? []).map(parseMountFlag),
      (mount) => mount.Target,
    ),
    Hosts: changedList(
      spec.Hosts,
      (flags.hostAdd ?? []).map(parseExtraHost),
      (flags.hostRm ?? []).map(parseExtraHost),
    ),
    DNSConfig: {
      Nameservers: changedList(spec.DNSConfig?.Nameservers, flags.dnsAdd, flags.dnsRm),
      Search: changedList(spec.DNSConfig?.Search, flags.dnsSearchAdd, flags.dnsSearchRm),
      Options: changedList(spec.DNSConfig?.Options, flags.dnsOptionAdd, flags.dnsOptionRm),
    },
    Secrets: keyed(spec.Secrets, flags.secretRm, secrets, (secret) => secret.SecretName),
    Configs: keyed(spec.Configs, flags.configRm, configs, (config) => config.ConfigName),
    Sysctls: changedMap(spec.Sysctls, flags.sysctlAdd, flags.sysctlRm),
    Ulimits: keyed(
      spec.Ulimits,
      flags.ulimitRm,
      (flags.ulimitAdd ?? []).map(parseUlimit),
      (limit) => limit.Name,
    ),
    ...changedCapabilities(spec, flags),
  };
}

/** Adding a dropped capability takes it from the other list, and the other way round. */
function changedCapabilities(
  spec: ContainerSpecJson,
  flags: UpdateFlags,
): Pick<ContainerSpecJson, 'CapabilityAdd' | 'CapabilityDrop'> {
  const add = normaliseCapabilities(flags.capAdd ?? []);
  const drop = normaliseCapabilities(flags.capDrop ?? []).filter((name) => !add.includes(name));
  const without = (names: readonly string[] = [], gone: readonly string[]): string[] =>
    names.filter((name) => !gone.includes(name));
  return {
    CapabilityAdd: normaliseCapabilities([...without(spec.CapabilityAdd, drop), ...add]),
    CapabilityDrop: normaliseCapabilities([...without(spec.CapabilityDrop, add), ...drop]),
  };
}

function scalars(flags: UpdateFlags): Partial<ContainerSpecJson> {
  return {
    ...(flags.args !== undefined && { Args: splitShellWords(flags.args) }),
    ...(flags.entrypoint !== undefined && { Command: splitShellWords(flags.entrypoint) }),
    ...(flags.hostname !== undefined && { Hostname: flags.hostname }),
    ...(flags.workdir !== undefined && { Dir: flags.workdir }),
    ...(flags.user !== undefined && { User: flags.user }),
    ...(flags.tty !== undefined && { TTY: flags.tty }),
    ...(flags.readOnly !== undefined && { ReadOnly: flags.readOnly }),
    ...(flags.init !== undefined && { Init: flags.init }),
    ...(flags.stopSignal !== undefined && { StopSignal: flags.stopSignal }),
    ...(flags.stopGracePeriod !== undefined && { StopGracePeriod: flags.stopGracePeriod }),
    ...(flags.oomScoreAdj !== undefined && { OomScoreAdj: flags.oomScoreAdj }),
  };
}

/** Removes by target port and protocol; a published port that is added takes the old one's place. */
export function changedPorts(
  ports: readonly PortJson[],
  flags: Pick<UpdateFlags, 'publishAdd' | 'publishRm'>,
): PortJson[] {
  const keyOf = (port: PortJson): string => `${port.TargetPort}/${port.Protocol ?? 'tcp'}`;
  const gone = new Set((flags.publishRm ?? []).flatMap((text) => parsePublish(text).map(keyOf)));
  const added = (flags.publishAdd ?? []).flatMap(parsePublish);
  const same = (a: PortJson, b: PortJson): boolean =>
    keyOf(a) === keyOf(b) && (a.PublishedPort ?? 0) === (b.PublishedPort ?? 0);
  const kept = ports.filter(
    (port) => !gone.has(keyOf(port)) && !added.some((other) => same(port, other)),
  );
  return [...kept, ...added];
}

function changedMap(
  before: Readonly<Record<string, string>> | undefined,
  add: Many | undefined,
  remove: Many | undefined,
): Record<string, string> {
  const out = { ...before };
  for (const key of remove ?? []) delete out[key];
  return { ...out, ...pairs(add) };
}

function changedList(
  before: readonly string[] | undefined,
  add: Many | undefined,
  remove: Many | undefined,
): string[] {
  const kept = (before ?? []).filter((item) => !remove?.includes(item));
  return [...new Set([...kept, ...(add ?? [])])];
}

/** Objects told apart by a key: an added one takes the place of the one with its key. */
function keyed<T>(
  before: readonly T[] | undefined,
  remove: Many | undefined,
  add: readonly T[],
  keyOf: (item: T) => string,
): T[] {
  const replaced = new Set(add.map(keyOf));
  const kept = (before ?? []).filter(
    (item) => !remove?.includes(keyOf(item)) && !replaced.has(keyOf(item)),
  );
  return [...kept, ...add];
}
