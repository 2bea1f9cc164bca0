/** What the daemon is told at start: flags, and a file that may say the same things. */
import { hostname } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { SkepError } from '../common/base/errors.ts';
import { LOG_LEVELS, type LogLevel } from '../common/base/log.ts';
import { parseGenericResources } from '../common/model/generic-resource.ts';
import { checkLogDriver, DEFAULT_LOG_DRIVER } from '../common/model/log-driver.ts';
import type { GenericResource, LogDriver } from '../common/model/service.ts';
import { FORBIDDABLE, type Forbidden } from '../worker/executor/forbidden.ts';
import type { NodeRuntimes } from '../worker/executor/oci-runtimes.ts';
import {
  DEFAULT_WATERMARKS,
  type RegistrySettings,
  type Watermarks,
} from '../worker/images/image-store.ts';
import { type ApiHost, parseApiHosts, type TlsFlags } from './api-hosts.ts';
import { nodeRuntimes } from './oci-runtimes.ts';
import type { InspectRequest } from './raft-inspect.ts';
import { type RegistryFlags, registryFlags, registrySettings } from './registry-options.ts';
import { CGROUP_NAME, SWITCH_WORDS } from './setting-words.ts';

export interface DaemonOptions {
  readonly dataDir: string;
  /** where the Engine API is served, at least one */
  readonly hosts: readonly ApiHost[];
  /** of unix sockets of the API; '' = the daemon's own */
  readonly group: string;
  /** permission bits of unix sockets of the API */
  readonly socketMode: number;
  /** `IP:port` of the cluster's RPC; empty = what `swarm init` or `join` says */
  readonly listenAddress: string;
  /** empty = chosen */
  readonly advertiseAddress: string;
  readonly hostname: string;
  readonly cgroupParent: string;
  readonly logLevel: LogLevel;
  readonly registries: RegistrySettings;
  /** Users of workers may read the cluster: on a manager for others' workers, on a worker through a manager. */
  readonly apiReadOnWorkers: boolean;
  readonly apiExecOnWorkers: boolean;
  /** null = images are not removed to make room */
  readonly imageWatermarks: Watermarks | null;
  /** `default` or `USER[:GROUP]`: whose subordinate ids containers have; '' = the node's own ids */
  readonly usernsRemap: string;
  readonly runtimes: NodeRuntimes;
  /** what no container here may have */
  readonly forbidden: ReadonlySet<Forbidden>;
  /** of every container that names none */
  readonly logDriver: LogDriver;
  readonly labels: Readonly<Record<string, string>>;
  /** what tasks can reserve here besides CPUs and memory */
  readonly genericResources: readonly GenericResource[];
}

export const DEFAULT_SOCKET = '/run/skep/skep.sock';
const DEFAULT_DATA_DIR = '/var/lib/skep';

export interface Flags extends TlsFlags, RegistryFlags {
  readonly dataDir?: string;
  readonly host?: readonly string[];
  readonly group?: string;
  readonly socketMode?: string;
  readonly apiReadOnWorkers?: boolean;
  readonly apiExecOnWorkers?: boolean;
  readonly listenAddr?: string;
  readonly advertiseAddr?: string;
  readonly hostname?: string;
  readonly cgroupParent?: string;
  readonly logLevel?: LogLevel;
  readonly label?: readonly string[];
  readonly usernsRemap?: string;
  readonly addRuntime?: readonly string[];
  readonly defaultRuntime?: string;
  readonly forbid?: readonly string[];
  readonly logDriver?: string;
  readonly logOpt?: readonly string[];
  readonly imageGc?: string;
  readonly nodeGenericResource?: readonly string[];
  readonly config?: string;
}

export const collect = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  value,
];

/** What the program was started for. */
export type Invocation =
  | {
      readonly kind: 'serve';
      readonly options: DaemonOptions;
      /** where the process writes its number; null = nowhere */
      readonly pidFile: string | null;
    }
  | { readonly kind: 'inspect-raft'; readonly request: InspectRequest };

/** Flags win over the file, that over the environment. Prints help or a usage error and exits by itself, as commands do. */
export async function parseInvocation(
  argv: readonly string[],
  version: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Invocation> {
  let request: InspectRequest | null = null;
  const command = apiOptions(new Command('skepd'), DEFAULT_SOCKET)
    .description('The skep daemon: one per host, worker always, manager when the node is one')
    .version(version)
    .option('--data-dir <dir>', `where everything durable lies (default ${DEFAULT_DATA_DIR})`)
    .option('--socket-mode <octal>', 'permissions of unix sockets of the API (default 0660)')
    .option(
      '--api-read-on-workers [on]',
      'workers answer what only reads the cluster, through managers that have this flag, too',
      switchOf('api-read-on-workers'),
    )
    .option(
      '--api-exec-on-workers [on]',
      'and run commands in tasks of other nodes likewise: whoever is root on a worker may, then',
      switchOf('api-exec-on-workers'),
    )
    .option('--listen-addr <ip:port>', 'where the cluster RPC listens (default 0.0.0.0:2377)')
    .option('--advertise-addr <ip>', 'the address that other nodes are told')
    .option('--hostname <name>', 'the name of this node (default: the machine name)')
    .option('--cgroup-parent <name>', 'cgroup under which tasks run (default skep)', cgroupName)
    .addOption(new Option('--log-level <level>', 'default info').choices(LOG_LEVELS))
    .option('--label <key=value>', 'engine label of this node', collect)
    .option('--log-driver <name>', 'of containers that name none (default json-file)')
    .option('--log-opt <key=value>', 'of that log driver', collect)
    .option(
      '--userns-remap <user[:group]>',
      'containers have the subordinate ids of this user (/etc/subuid, /etc/subgid), default = those of dockremap',
    )
    .option('--add-runtime <name=path>', 'an OCI runtime that containers may name', collect)
    .option(
      '--forbid <word>',
      `what no container here may have: ${FORBIDDABLE.join(', ')}`,
      collect,
    )
    .option('--default-runtime <name>', 'of containers that name none (default native)')
    .option(
      '--node-generic-resource <kind=value>',
      'what tasks can reserve here: a count (ssd=3) or values (gpu=UUID1,gpu=UUID2)',
      collect,
    )
    .option('--config <file>', 'YAML file with the same settings, e.g. `data-dir: /srv/skep`')
    .allowExcessArguments(false)
    .action(() => {});
  registryFlags(command, collect).option(
    '--image-gc <high:low[:age]|off>',
    'remove unused images above so many % of the disk, down to so many, but none that came or was used so shortly ago (default 85:80:2m)',
  );
  command
    .command('raft')
    .description('look at the Raft log of a manager')
    .command('inspect <dir>')
    .description(
      'Print segments, terms, indexes, snapshots and the first damage, if there is any (exit status 1). Changes nothing; the daemon may run',
    )
    .option('--unlock-key <key>', 'of a locked cluster; - = read it from standard input')
    .action((dir: string, { unlockKey }: { unlockKey?: string }) => {
      request = { dir, unlockKey: unlockKey ?? null };
    });
  command.parse([...argv]);
  if (request !== null) return { kind: 'inspect-raft', request };
  const options = await daemonOptions(command.opts<Flags>(), env);
  return { kind: 'serve', options, pidFile: null };
}

/** Where the API is served and to whom: the same flags as dockerd's. */
export function apiOptions(command: Command, defaultSocket: string): Command {
  return command
    .option(
      '-H, --host <url>',
      `where the API is: unix:///PATH, tcp://IP:PORT or fd:// (default unix://${defaultSocket})`,
      collect,
    )
    .option('-G, --group <name>', 'the group that may use unix sockets of the API')
    .option('--tls [on]', 'TLS on TCP; clients need no certificate', switchOf('tls'))
    .option('--tlsverify [on]', 'TLS on TCP, for clients with a certificate', switchOf('tlsverify'))
    .option('--tlscacert <file>', 'who issues the certificates of clients')
    .option('--tlscert <file>', 'the certificate of this daemon')
    .option('--tlskey <file>', 'and its key');
}

export async function daemonOptions(
  flags: Flags,
  env: Readonly<Record<string, string | undefined>>,
): Promise<DaemonOptions> {
  const file: Flags = flags.config === undefined ? {} : await readFileOf(flags.config);
  const all = { ...file, ...flags };
  return {
    dataDir: all.dataDir ?? DEFAULT_DATA_DIR,
    hosts: parseApiHosts(all.host ?? [`unix://${DEFAULT_SOCKET}`], all),
    group: all.group ?? '',
    socketMode: socketModeOf(all.socketMode ?? '0660'),
    listenAddress: all.listenAddr ?? '',
    advertiseAddress: all.advertiseAddr ?? '',
    hostname: all.hostname ?? hostname(),
    cgroupParent: all.cgroupParent ?? 'skep',
    logLevel: all.logLevel ?? 'info',
    registries: registrySettings(all, env),
    apiReadOnWorkers: (all.apiReadOnWorkers || all.apiExecOnWorkers) ?? false,
    apiExecOnWorkers: all.apiExecOnWorkers ?? false,
    imageWatermarks: watermarksOf(all.imageGc),
    usernsRemap: all.usernsRemap ?? '',
    runtimes: nodeRuntimes({
      added: all.addRuntime ?? [],
      defaultName: all.defaultRuntime ?? '',
    }),
    forbidden: new Set((all.forbid ?? []).map(forbiddenWord)),
    logDriver: logDriverOf(all),
    labels: Object.fromEntries((all.label ?? []).map(labelOf)),
    genericResources: parseGenericResources(all.nodeGenericResource ?? []),
  };
}

function logDriverOf({ logDriver, logOpt }: Flags): LogDriver {
  const options = Object.fromEntries(
    (logOpt ?? []).map((text) => {
      const at = text.indexOf('=');
      if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
      throw new SkepError('invalid-argument', `--log-opt ${text}: expected KEY=VALUE`);
    }),
  );
  const driver = { name: logDriver ?? DEFAULT_LOG_DRIVER.name, options };
  checkLogDriver(driver);
  return driver;
}

function forbiddenWord(text: string): Forbidden {
  const word = FORBIDDABLE.find((known) => known === text);
  if (word !== undefined) return word;
  const rule = `expected one of ${FORBIDDABLE.join(', ')}`;
  throw new SkepError('invalid-argument', `--forbid ${text}: ${rule}`);
}

/** What everybody may use makes everybody root. */
function socketModeOf(text: string): number {
  if (/^0?[0-7]{3}$/.test(text) && text.endsWith('0')) return Number.parseInt(text, 8);
  throw new SkepError(
    'invalid-argument',
    `--socket-mode ${text}: expected permissions as 0660, nothing for others`,
  );
}

/** A flag that may be said to be off: `--tls=false`. */
export function switchOf(name: string): (value: string) => boolean {
  return (value) => {
    const on = SWITCH_WORDS.get(value);
    if (on === undefined) throw new InvalidArgumentError(`--${name} is true or false.`);
    return on;
  };
}

const AGE_UNITS_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };

function watermarksOf(text: string | undefined): Watermarks | null {
  if (text === undefined) return DEFAULT_WATERMARKS;
  if (text === 'off') return null;
  const [, high, low, age, unit] = /^(\d{1,3}):(\d{1,3})(?::(\d{1,6})([smh]))?$/.exec(text) ?? [];
  if (low !== undefined && Number(low) < Number(high) && Number(high) <= 100) {
    const minAgeMs =
      age === undefined ? DEFAULT_WATERMARKS.minAgeMs : Number(age) * AGE_UNITS_MS[unit!]!;
    return { high: Number(high) / 100, low: Number(low) / 100, minAgeMs };
  }
  const rule = 'expected HIGH:LOW in %, HIGH:LOW:AGE (90s, 5m, 1h) or off';
  throw new SkepError('invalid-argument', `--image-gc ${text}: ${rule}`);
}

function labelOf(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at <= 0) throw new SkepError('invalid-argument', `--label ${text}: expected KEY=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function cgroupName(value: string): string {
  if (CGROUP_NAME.test(value)) return value;
  throw new InvalidArgumentError('letters, digits, "_", "." and "-" only.');
}

/** Only who has such a file needs a parser of YAML in memory. */
async function readFileOf(path: string): Promise<Flags> {
  const { readConfigFile } = await import('./config-file.ts');
  return readConfigFile(path);
}
