/**
 * Flags that `service create` and `service update` share: their declaration, and the parts of a
 * service's spec that they make. Knows no daemon.
 */
import type { Command } from 'commander';
import { Option } from 'commander';
import type { HealthcheckJson } from '../../common/model/engine-json/container-spec.ts';
import type { PortJson } from '../../common/model/engine-json/port.ts';
import type { UpdateConfigJson } from '../../common/model/engine-json/service.ts';
import type {
  GenericResourceJson,
  NetworkAttachmentJson,
  RestartPolicyJson,
} from '../../common/model/engine-json/task.ts';
import { parseHostIp } from '../../common/model/host-ip.ts';
import { parseCsv } from '../compose/csv.ts';
import { checkPort, PROTOCOLS, parseShortPorts, portsAt } from '../compose/ports.ts';
import { parseNanoCpus, parseSizeBytes } from '../compose/values.ts';
import { decimal, flag, pairs, UsageError, unsigned } from './context.ts';
import { duration, healthFlags } from './health-flags.ts';

export interface SharedFlags {
  readonly hostname?: string;
  readonly workdir?: string;
  readonly user?: string;
  readonly entrypoint?: string;
  readonly tty?: boolean;
  readonly readOnly?: boolean;
  readonly init?: boolean;
  readonly stopSignal?: string;
  readonly stopGracePeriod?: number;
  readonly replicas?: number;
  readonly replicasMaxPerNode?: number;
  readonly maxConcurrent?: number;
  readonly limitCpu?: number;
  readonly limitMemory?: number;
  readonly limitPids?: number;
  readonly reserveCpu?: number;
  readonly reserveMemory?: number;
  readonly restartCondition?: string;
  readonly restartDelay?: number;
  readonly restartMaxAttempts?: number;
  readonly restartWindow?: number;
  readonly endpointMode?: string;
  readonly healthCmd?: string;
  readonly healthInterval?: number;
  readonly healthTimeout?: number;
  readonly healthRetries?: number;
  readonly healthStartPeriod?: number;
  readonly healthStartInterval?: number;
  /** false after --no-healthcheck */
  readonly healthcheck?: boolean;
  readonly oomScoreAdj?: number;
  readonly logDriver?: string;
  readonly logOpt?: readonly string[];
  readonly detach?: boolean;
  readonly quiet?: boolean;
  readonly withRegistryAuth?: boolean;
  /** false after --no-resolve-image */
  readonly resolveImage?: boolean;
  readonly [update: `update${string}` | `rollback${string}`]: unknown;
}

const size = flag(parseSizeBytes);
const cpus = flag(parseNanoCpus);

export function sharedFlags(command: Command): void {
  healthFlags(command);
  command
    .option('--hostname <name>', 'of the containers')
    .option('-w, --workdir <dir>', 'working directory')
    .option('-u, --user <user>', 'name or id, with :group')
    .option('--entrypoint <command>', 'instead of the image’s entrypoint')
    .option('-t, --tty', 'allocate a terminal')
    .option('--read-only', 'read-only root file system')
    .option('--init', 'run an init in the container')
    .option('--stop-signal <signal>', 'to stop the containers')
    .option('--stop-grace-period <duration>', 'before SIGKILL (default 10s)', duration)
    .option('--replicas <n>', 'number of tasks', unsigned)
    .option('--replicas-max-per-node <n>', '0 = unlimited', unsigned)
    .option('--max-concurrent <n>', 'tasks of a job at once (default: replicas)', unsigned)
    .option('--limit-cpu <n>', 'e.g. 0.5', cpus)
    .option('--limit-memory <size>', 'e.g. 64m', size)
    .option('--limit-pids <n>', '0 = unlimited', unsigned)
    .option('--reserve-cpu <n>', 'e.g. 0.5', cpus)
    .option('--reserve-memory <size>', 'e.g. 64m', size)
    .addOption(new Option('--restart-condition <when>').choices(['none', 'on-failure', 'any']))
    .option('--restart-delay <duration>', 'between attempts (default 5s)', duration)
    .option('--restart-max-attempts <n>', '0 = unlimited', unsigned)
    .option('--restart-window <duration>', 'in which attempts count', duration)
    .addOption(new Option('--endpoint-mode <mode>').choices(['vip', 'dnsrr']))
    .option('--oom-score-adj <n>', '-1000 to 1000', decimal)
    .option('--log-driver <name>', 'of the containers')
    .option(
      '--log-opt <key=value>',
      'of the log driver',
      (value, before: readonly string[] = []) => [...before, value],
    )
    .option('-d, --detach', 'do not wait until the service runs')
    .option('-q, --quiet', 'no progress')
    .option('--with-registry-auth', 'send the credentials of the image’s registry to the nodes')
    .option('--no-resolve-image', 'do not ask the registry for the digest');
  for (const group of ['update', 'rollback']) {
    const actions = group === 'update' ? ['pause', 'continue', 'rollback'] : ['pause', 'continue'];
    command
      .option(`--${group}-parallelism <n>`, 'tasks at a time (default 1; 0 = all)', unsigned)
      .option(`--${group}-delay <duration>`, 'between batches', duration)
      .option(`--${group}-monitor <duration>`, 'a failure counts (default 5s)', duration)
      .addOption(new Option(`--${group}-failure-action <action>`).choices(actions))
      .option(`--${group}-max-failure-ratio <n>`, 'tolerated, 0 to 1', decimal)
      .addOption(new Option(`--${group}-order <order>`).choices(['start-first', 'stop-first']));
  }
}

/** Flags of Docker's that need something we do not have. */
export const REFUSED: Readonly<Record<string, string>> = {
  '--isolation': 'isolation is a Windows feature',
  '--credential-spec': 'credential specs are a Windows feature',
};

const DEFAULT_MONITOR_NANOS = 5e9;

/** undefined when no flag of the group is given and there is no config yet. */
export function updateConfigOf(
  group: 'update' | 'rollback',
  flags: SharedFlags,
  before: UpdateConfigJson | undefined,
): UpdateConfigJson | undefined {
  const given = <T>(name: string): T | undefined => flags[`${group}${name}`] as T | undefined;
  const changes = {
    Parallelism: given<number>('Parallelism'),
    Delay: given<number>('Delay'),
    Monitor: given<number>('Monitor'),
    FailureAction: given<string>('FailureAction'),
    MaxFailureRatio: given<number>('MaxFailureRatio'),
    Order: given<string>('Order'),
  };
  const set = Object.fromEntries(Object.entries(changes).filter(([, v]) => v !== undefined));
  if (Object.keys(set).length === 0) return before;
  const defaults = {
    Parallelism: 1,
    FailureAction: 'pause',
    Monitor: DEFAULT_MONITOR_NANOS,
    MaxFailureRatio: 0,
    Order: 'stop-first',
  };
  return { ...defaults, ...before, ...set };
}

const DEFAULT_RESTART_DELAY_NANOS = 5e9;

export function restartOf(
  flags: SharedFlags,
  before: RestartPolicyJson | undefined,
): RestartPolicyJson | undefined {
  const set = {
    ...(flags.restartCondition !== undefined && { Condition: flags.restartCondition }),
    ...(flags.restartDelay !== undefined && { Delay: flags.restartDelay }),
    ...(flags.restartMaxAttempts !== undefined && { MaxAttempts: flags.restartMaxAttempts }),
    ...(flags.restartWindow !== undefined && { Window: flags.restartWindow }),
  };
  if (Object.keys(set).length === 0) return before;
  return { Condition: 'any', Delay: DEFAULT_RESTART_DELAY_NANOS, ...before, ...set };
}

/** Throws `UsageError` for --no-healthcheck beside other health flags. */
export function healthcheckOf(
  flags: SharedFlags,
  before: HealthcheckJson | undefined,
): HealthcheckJson | undefined {
  const set = {
    ...(flags.healthCmd && { Test: ['CMD-SHELL', flags.healthCmd] }),
    ...(flags.healthInterval !== undefined && { Interval: flags.healthInterval }),
    ...(flags.healthTimeout !== undefined && { Timeout: flags.healthTimeout }),
    ...(flags.healthRetries !== undefined && { Retries: flags.healthRetries }),
    ...(flags.healthStartPeriod !== undefined && { StartPeriod: flags.healthStartPeriod }),
    ...(flags.healthStartInterval !== undefined && { StartInterval: flags.healthStartInterval }),
  };
  if (flags.healthcheck === false) {
    if (Object.keys(set).length === 0) return { Test: ['NONE'] };
    throw new UsageError('--no-healthcheck conflicts with --health-* options');
  }
  if (Object.keys(set).length === 0) return before;
  const kept = before?.Test?.[0] === 'NONE' ? {} : before;
  return { ...kept, ...set };
}

/** `--publish`: the short form, or `target=80,published=8080,protocol=tcp,mode=ingress,ip=10.0.0.5`. */
export function parsePublish(text: string): readonly PortJson[] {
  if (!text.includes('=')) {
    return portsAt(parseShortPorts(text));
  }
  const port: { -readonly [K in keyof PortJson]: PortJson[K] } = {
    Protocol: 'tcp',
    TargetPort: 0,
    PublishMode: 'ingress',
  };
  for (const { key, value } of parseCsv(text)) {
    const word = (value ?? '').toLowerCase();
    if (key === 'target') port.TargetPort = checkPort(Number(word), '--publish target');
    else if (key === 'published')
      port.PublishedPort = checkPort(Number(word), '--publish published');
    else if (key === 'protocol' && PROTOCOLS.includes(word)) port.Protocol = word;
    else if (key === 'mode' && ['ingress', 'host'].includes(word)) port.PublishMode = word;
    else if (key === 'ip') port.HostIp = parseHostIp(word);
    else throw new UsageError(`--publish ${text}: invalid field ${key}=${value ?? ''}`);
  }
  if (port.TargetPort === 0) throw new UsageError(`--publish ${text}: target is required`);
  return [port];
}

/** `--network`: a name, or `name=net,alias=web,ip=10.0.5.7,driver-opt=k=v`. */
export function parseNetworkFlag(text: string): NetworkAttachmentJson {
  if (!text.includes('=')) return { Target: text };
  let [target, address] = ['', ''];
  const aliases: string[] = [];
  const options: string[] = [];
  for (const { key, value } of parseCsv(text)) {
    if (key === 'name') target = value ?? '';
    else if (key === 'alias') aliases.push(value ?? '');
    else if (key === 'driver-opt') options.push(value ?? '');
    else if (key === 'ip') address = value ?? '';
    else throw new UsageError(`--network ${text}: invalid field ${key}`);
  }
  if (target === '') throw new UsageError(`--network ${text}: name is required`);
  return {
    Target: target,
    ...(aliases.length > 0 && { Aliases: aliases }),
    ...(options.length > 0 && { DriverOpts: pairs(options) }),
    ...(address !== '' && { IPAMConfig: { IPv4Address: address } }),
  };
}

/** `kind=count`. */
export function parseGenericResource(text: string): GenericResourceJson {
  const match = /^([^=]+)=(\d+)$/.exec(text);
  if (!match) throw new UsageError(`invalid generic resource '${text}': expected KIND=COUNT`);
  return { DiscreteResourceSpec: { Kind: match[1]!, Value: Number(match[2]) } };
}

/** `spread=node.labels.zone`. */
export function parsePreference(text: string): { readonly Spread: { SpreadDescriptor: string } } {
  const match = /^spread=(.+)$/.exec(text);
  if (!match) throw new UsageError(`invalid placement preference '${text}': expected spread=LABEL`);
  return { Spread: { SpreadDescriptor: match[1]! } };
}

export interface FileReference {
  readonly source: string;
  readonly target: string;
  readonly uid: string;
  readonly gid: string;
  readonly mode: number;
}

/** `--secret`, `--config`: a name, or `source=key,target=/run/key,uid=0,gid=0,mode=0444`. */
export function parseFileReference(text: string): FileReference {
  const out = { source: '', target: '', uid: '0', gid: '0', mode: 0o444 };
  const fields = text.includes('=') ? parseCsv(text) : [{ key: 'source', value: text }];
  for (const { key, value } of fields) {
    if (key === 'source' || key === 'src') out.source = value ?? '';
    else if (key === 'target') out.target = value ?? '';
    else if (key === 'uid' || key === 'gid') out[key] = value ?? '';
    else if (key === 'mode' && /^[0-7]{1,4}$/.test(value ?? '')) {
      out.mode = Number.parseInt(value ?? '', 8);
    } else throw new UsageError(`invalid reference '${text}': field ${key}=${value ?? ''}`);
  }
  if (out.source === '') throw new UsageError(`invalid reference '${text}': source is required`);
  return { ...out, target: out.target || out.source };
}
