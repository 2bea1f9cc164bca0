/** `skep service create`. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Option } from 'commander';
import type { ContainerSpecJson } from '../../common/model/engine-json/container-spec.ts';
import type { ServiceModeJson, ServiceSpecJson } from '../../common/model/engine-json/service.ts';
import type { TaskSpecJson } from '../../common/model/engine-json/task.ts';
import {
  normaliseCapabilities,
  parseEnvFile,
  parseExtraHost,
  parseUlimit,
} from '../compose/files.ts';
import { parseMountFlag, parseTmpfs, sharedMemory } from '../compose/mounts.ts';
import { splitShellWords } from '../compose/shell-words.ts';
import { parseSizeBytes } from '../compose/values.ts';
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

export interface CreateFlags extends SharedFlags, IsolationFlags {
  readonly name?: string;
  readonly mode: string;
  readonly env?: Many;
  readonly envFile?: Many;
  readonly label?: Many;
  readonly containerLabel?: Many;
  readonly constraint?: Many;
  readonly placementPref?: Many;
  readonly genericResource?: Many;
  readonly group?: Many;
  readonly network?: Many;
  readonly publish?: Many;
  readonly mount?: Many;
  readonly tmpfs?: Many;
  readonly shmSize?: number;
  readonly secret?: Many;
  readonly config?: Many;
  readonly dns?: Many;
  readonly dnsOption?: Many;
  readonly dnsSearch?: Many;
  readonly host?: Many;
  readonly sysctl?: Many;
  readonly ulimit?: Many;
  readonly capAdd?: Many;
  readonly capDrop?: Many;
}

/** A flag that may be repeated and whose every value must parse. */
const many =
  (parse: (value: string) => unknown) =>
  (value: string, before: Many = []): Many => {
    flag(parse)(value);
    return collect(value, before);
  };

export const create: Configure = (command, context) => {
  sharedFlags(command);
  isolationFlags(command);
  refuseFlags(command, REFUSED);
  command
    .passThroughOptions()
    .argument('<image>', 'name of the image')
    .argument('[command...]', 'and its arguments, instead of the image’s command')
    .option('--name <name>', 'of the service')
    .addOption(
      new Option('--mode <mode>')
        .choices(['replicated', 'global', 'replicated-job', 'global-job'])
        .default('replicated'),
    )
    .option('-e, --env <key=value>', 'environment variable', collect)
    .option('--env-file <file>', 'file of environment variables', collect)
    .option('-l, --label <key=value>', 'of the service', collect)
    .option('--container-label <key=value>', 'of the containers', collect)
    .option('--constraint <expression>', 'e.g. node.role==worker', collect)
    .option('--placement-pref <preference>', 'e.g. spread=node.labels.zone', many(parsePreference))
    .option('--generic-resource <kind=count>', 'to reserve', many(parseGenericResource))
    .option('--group <group>', 'further group of the user', collect)
    .option('--network <name>', 'to attach to; or host, none, service:NAME', many(parseNetworkFlag))
    .option('-p, --publish <port>', 'e.g. 8080:80', many(parsePublish))
    .option('--mount <mount>', 'e.g. source=data,target=/data', many(parseMountFlag))
    .option('--secret <secret>', 'to show to the containers', many(parseFileReference))
    .option('--config <config>', 'to show to the containers', many(parseFileReference))
    .option('--dns <address>', 'name server', collect)
    .option('--dns-option <option>', 'of the resolver', collect)
    .option('--dns-search <domain>', 'search domain', collect)
    .option('--host <name:address>', 'entry of /etc/hosts', many(parseExtraHost))
    .option('--sysctl <key=value>', 'of the containers', collect)
    .option('--ulimit <name=soft:hard>', 'of the containers', many(parseUlimit))
    .option('--tmpfs <path[:options]>', 'e.g. /run:size=64m,mode=1777', many(parseTmpfs))
    .option('--shm-size <size>', 'of /dev/shm', flag(parseSizeBytes))
    .option('--cap-add <capability>', 'to add', collect)
    .option('--cap-drop <capability>', 'to drop', collect)
    .action(async (image: string, args: Many, flags: CreateFlags) => {
      const auth = await sentRegistryAuth(context, image, flags.withRegistryAuth);
      const spec = await serviceSpec(context, image, args, flags, auth);
      const { ID, Warnings } = await context.client.serviceCreate(spec, authOption(auth));
      for (const warning of Warnings ?? []) warnLine(context, warning);
      printLine(context, ID);
      if (!flags.detach) await waitForService(context, ID, flags);
    });
};

async function serviceSpec(
  context: CommandContext,
  image: string,
  args: Many,
  flags: CreateFlags,
  registryAuth: string | undefined,
): Promise<ServiceSpecJson> {
  // What the flags alone can get wrong comes before the first question to the daemon.
  const mode = modeOf(flags);
  const container = await containerSpec(context, args, flags);
  const networks = await resolveNetworks(context, (flags.network ?? []).map(parseNetworkFlag));
  const secrets = await resolveSecrets(context, (flags.secret ?? []).map(parseFileReference));
  const configs = await resolveConfigs(context, (flags.config ?? []).map(parseFileReference));
  const resolved = await resolveImage(context, image, flags.resolveImage ?? true, registryAuth);
  const update = updateConfigOf('update', flags, undefined);
  const rollback = updateConfigOf('rollback', flags, undefined);
  if (flags.mode.endsWith('-job') && (update || rollback)) {
    throw new UsageError('update and rollback configuration is not supported for jobs');
  }
  const restart = restartOf(flags, undefined);
  const task: TaskSpecJson = {
    ContainerSpec: {
      ...container,
      Image: resolved.image,
      ...(secrets.length > 0 && { Secrets: secrets }),
      ...(configs.length > 0 && { Configs: configs }),
    },
    Resources: resourcesOf(flags),
    ...(restart && { RestartPolicy: restart }),
    Placement: {
      ...(flags.constraint && { Constraints: flags.constraint }),
      ...(flags.placementPref && { Preferences: flags.placementPref.map(parsePreference) }),
      ...(flags.replicasMaxPerNode && { MaxReplicas: flags.replicasMaxPerNode }),
      ...(resolved.platforms.length > 0 && { Platforms: resolved.platforms }),
    },
    ...(networks.length > 0 && { Networks: networks }),
    ...(flags.logDriver && {
      LogDriver: { Name: flags.logDriver, Options: pairs(flags.logOpt) },
    }),
    ForceUpdate: 0,
  };
  const ports = (flags.publish ?? []).flatMap(parsePublish);
  return {
    Name: flags.name ?? '',
    Labels: pairs(flags.label),
    TaskTemplate: task,
    Mode: mode,
    ...(update && { UpdateConfig: update }),
    ...(rollback && { RollbackConfig: rollback }),
    EndpointSpec: {
      Mode: flags.endpointMode ?? 'vip',
      ...(ports.length > 0 && { Ports: ports }),
    },
  };
}

function modeOf(flags: CreateFlags): ServiceModeJson {
  const { mode, replicas, maxConcurrent } = flags;
  if (mode !== 'replicated-job' && maxConcurrent !== undefined) {
    throw new UsageError('max-concurrent can only be used with replicated-job mode');
  }
  if (mode === 'global' || mode === 'global-job') {
    if (replicas !== undefined) {
      throw new UsageError('replicas can only be used with replicated or replicated-job mode');
    }
    if (flags.replicasMaxPerNode) {
      throw new UsageError(
        'replicas-max-per-node can only be used with replicated or replicated-job mode',
      );
    }
    return mode === 'global' ? { Global: {} } : { GlobalJob: {} };
  }
  if (mode === 'replicated-job') {
    const concurrent = maxConcurrent ?? replicas;
    return {
      ReplicatedJob: {
        ...(concurrent !== undefined && { MaxConcurrent: concurrent }),
        ...(replicas !== undefined && { TotalCompletions: replicas }),
      },
    };
  }
  return { Replicated: { ...(replicas !== undefined && { Replicas: replicas }) } };
}

function resourcesOf(flags: CreateFlags): NonNullable<TaskSpecJson['Resources']> {
  const generic = (flags.genericResource ?? []).map(parseGenericResource);
  return {
    Limits: {
      ...(flags.limitCpu && { NanoCPUs: flags.limitCpu }),
      ...(flags.limitMemory && { MemoryBytes: flags.limitMemory }),
      ...(flags.limitPids && { Pids: flags.limitPids }),
    },
    Reservations: {
      ...(flags.reserveCpu && { NanoCPUs: flags.reserveCpu }),
      ...(flags.reserveMemory && { MemoryBytes: flags.reserveMemory }),
      ...(generic.length > 0 && { GenericResources: generic }),
    },
    ...kernelLimitsOf(flags),
  };
}

async function containerSpec(
  context: CommandContext,
  args: Many,
  flags: CreateFlags,
): Promise<Omit<ContainerSpecJson, 'Image'>> {
  const health = healthcheckOf(flags, undefined);
  const env = await environmentOf(context, flags);
  const add = normaliseCapabilities(flags.capAdd ?? []);
  const drop = normaliseCapabilities(flags.capDrop ?? []).filter((name) => !add.includes(name));
  return {
    Labels: pairs(flags.containerLabel),
    ...(args.length > 0 && { Args: args }),
    ...(flags.entrypoint !== undefined && { Command: splitShellWords(flags.entrypoint) }),
    ...(env.length > 0 && { Env: env }),
    ...(flags.hostname && { Hostname: flags.hostname }),
    ...(flags.workdir && { Dir: flags.workdir }),
    ...(flags.user && { User: flags.user }),
    ...(flags.group && { Groups: flags.group }),
    ...(flags.tty && { TTY: true }),
    ...(flags.readOnly && { ReadOnly: true }),
    ...(flags.stopSignal && { StopSignal: flags.stopSignal }),
    ...(flags.stopGracePeriod !== undefined && { StopGracePeriod: flags.stopGracePeriod }),
    ...(health && { Healthcheck: health }),
    ...mountsOf(flags),
    ...(flags.host && { Hosts: flags.host.map(parseExtraHost) }),
    DNSConfig: {
      ...(flags.dns && { Nameservers: flags.dns }),
      ...(flags.dnsSearch && { Search: flags.dnsSearch }),
      ...(flags.dnsOption && { Options: flags.dnsOption }),
    },
    Init: flags.init ?? false,
    ...(flags.sysctl && { Sysctls: pairs(flags.sysctl) }),
    ...(flags.ulimit && { Ulimits: flags.ulimit.map(parseUlimit) }),
    ...(add.length > 0 && { CapabilityAdd: add }),
    ...(drop.length > 0 && { CapabilityDrop: drop }),
    ...(flags.oomScoreAdj && { OomScoreAdj: flags.oomScoreAdj }),
    ...isolationOf(context, flags),
  };
}

function mountsOf(flags: CreateFlags): Pick<ContainerSpecJson, 'Mounts'> {
  const mounts = [
    ...(flags.mount ?? []).map(parseMountFlag),
    ...(flags.tmpfs ?? []).map(parseTmpfs),
    ...(flags.shmSize === undefined ? [] : [sharedMemory(flags.shmSize)]),
  ];
  return mounts.length > 0 ? { Mounts: mounts } : {};
}

/** Files first, then flags; later ones win. A name alone takes the client's value. */
export async function environmentOf(
  context: CommandContext,
  flags: { readonly env?: Many; readonly envFile?: Many },
): Promise<string[]> {
  const values = new Map<string, string | null>();
  for (const file of flags.envFile ?? []) {
    const text = await readFile(resolve(context.cwd, file), 'utf8');
    for (const [key, value] of parseEnvFile(text, file, context.env)) values.set(key, value);
  }
  for (const item of flags.env ?? []) {
    const at = item.indexOf('=');
    const key = at < 0 ? item : item.slice(0, at);
    values.set(key, at < 0 ? (context.env[key] ?? null) : item.slice(at + 1));
  }
  return [...values].map(([key, value]) => (value === null ? key : `${key}=${value}`));
}
