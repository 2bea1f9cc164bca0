/** The flags of `run` and `create`, and the request that they make. Knows no daemon. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { ContainerCreateJson } from '../../common/model/engine-json/container.ts';
import type { MountJson } from '../../common/model/engine-json/container-spec.ts';
import { parseUlimit } from '../compose/files.ts';
import { parseMountFlag } from '../compose/mounts.ts';
import { parseShortPorts } from '../compose/ports.ts';
import { parseNanoCpus, parseSizeBytes } from '../compose/values.ts';
import { containerNetworks, type NetworkFlags } from './container-networks.ts';
import {
  type CommandContext,
  collect,
  decimal,
  flag,
  pairs,
  refuseFlags,
  UsageError,
  unsigned,
} from './context.ts';
import { healthFlags } from './health-flags.ts';
import {
  type IsolationFlags,
  isolationFlags,
  isolationOf,
  kernelLimitsOf,
} from './isolation-flags.ts';
import { environmentOf } from './service-create.ts';
import { healthcheckOf, type SharedFlags } from './service-flags.ts';

type Many = readonly string[];

/** Flags of `run` and `update` that the daemon refuses whatever they say. */
export const NO_REAL_TIME = {
  '--cpu-rt-period': 'limits of real-time work are not supported',
  '--cpu-rt-runtime': 'limits of real-time work are not supported',
};

export interface ContainerFlags extends IsolationFlags, SharedFlags, NetworkFlags {
  readonly name?: string;
  readonly rm?: boolean;
  readonly env?: Many;
  readonly envFile?: Many;
  readonly label?: Many;
  readonly labelFile?: Many;
  readonly quiet?: boolean;
  readonly cpuPeriod?: number;
  readonly cpuQuota?: number;
  readonly publish?: Many;
  readonly publishAll?: boolean;
  readonly expose?: Many;
  readonly volume?: Many;
  readonly mount?: Many;
  readonly tmpfs?: Many;
  readonly restart?: string;
  readonly memory?: number;
  readonly memoryReservation?: number;
  readonly cpus?: number;
  readonly pidsLimit?: number;
  readonly capAdd?: Many;
  readonly capDrop?: Many;
  readonly groupAdd?: Many;
  readonly addHost?: Many;
  readonly dns?: Many;
  readonly dnsSearch?: Many;
  readonly dnsOption?: Many;
  readonly ulimit?: Many;
  readonly sysctl?: Many;
  readonly shmSize?: number;
  readonly volumesFrom?: readonly string[];
  readonly logDriver?: string;
  readonly logOpt?: readonly string[];
  readonly stopTimeout?: number;
  readonly link?: readonly string[];
}

const size = flag(parseSizeBytes);

export function containerFlags(command: Command): void {
  refuseFlags(command, {
    '--platform': 'an image is of the platform of its host',
    '--pull': 'images are pulled when they are missing',
    '--cidfile': 'not supported yet',
    '--annotation': 'not supported yet',
    '--storage-opt': 'not supported yet',
    '--cgroup-parent': 'the parent group is that of the daemon',
    '--blkio-weight-device': 'weights of single devices are not supported',
    '--cpu-count': 'it is a Windows feature',
    '--cpu-percent': 'it is a Windows feature',
    '--io-maxbandwidth': 'it is a Windows feature',
    '--io-maxiops': 'it is a Windows feature',
    '--isolation': 'it is a Windows feature',
    ...NO_REAL_TIME,
    '--disable-content-trust': 'not supported',
    '--ip6': 'addresses are chosen by the node',
    '--kernel-memory': 'the kernel has no such limit any more',
    '--link-local-ip': 'not supported',
    '--use-api-socket': 'not supported: mount the socket',
    '--volume-driver': 'volumes are local',
    '-a, --attach': 'all streams are attached, or none with --detach',
  });
  isolationFlags(command, { swap: 'memory and swap together; -1 = unlimited', joins: true });
  command
    .option('--name <name>', 'default: one is chosen')
    .option('--rm', 'remove it when it ends')
    .option('-t, --tty', 'allocate a terminal')
    .option('-e, --env <key=value>', 'environment variable', collect)
    .option('--env-file <file>', 'file of environment variables', collect)
    .option('-l, --label <key=value>', 'label', collect)
    .option('-p, --publish <port>', '[[ADDRESS:]PORT:]PORT[/PROTOCOL]', collect)
    .option('-P, --publish-all', 'all exposed ports, on any port of the host')
    .option('--expose <port>', 'for --publish-all', collect)
    .option('-v, --volume <volume>', '[SOURCE:]TARGET[:OPTIONS]', collect)
    .option('--mount <mount>', 'type=bind,source=/a,target=/b', collect)
    .option('--tmpfs <tmpfs>', 'TARGET[:OPTIONS]', collect)
    .option(
      '--network <network>',
      'NAME, name=NAME,alias=A,ip=IP, none, host, container:NAME',
      collect,
    )
    .option('--network-alias <name>', 'further name in the first network', collect)
    .option('--link <container[:alias]>', 'a name for it, in the first network', collect)
    .option('--ip <address>', 'in the first network, default: one is chosen')
    .option('--mac-address <address>', 'in the first network, default: one is chosen')
    .option('-h, --hostname <name>', 'default: the start of its id')
    .option('-u, --user <user>', 'name or id, with :group')
    .option('-w, --workdir <dir>', 'working directory')
    .option('--entrypoint <command>', "instead of the image's")
    .option('--restart <policy>', 'no, on-failure[:N], always, unless-stopped')
    .option('-m, --memory <size>', 'at least 6m', size)
    .option('--memory-reservation <size>', 'left alone by reclaim', size)
    .option('--cpus <n>', 'e.g. 1.5', flag(parseNanoCpus))
    .option('--cpu-period <us>', 'of --cpu-quota', unsigned)
    .option('--cpu-quota <us>', 'CPU time in each period', decimal)
    .option('--label-file <file>', 'file of labels', collect)
    .option('-q, --quiet', 'no progress of a pull')
    .option('--pids-limit <n>', '-1 = unlimited', decimal)
    .option('--cap-add <capability>', 'e.g. NET_ADMIN, ALL', collect)
    .option('--cap-drop <capability>', 'e.g. CHOWN, ALL', collect)
    .option('--group-add <group>', 'further group', collect)
    .option('--add-host <host:address>', 'line of /etc/hosts', collect)
    .option('--dns <address>', 'nameserver', collect)
    .option('--dns-search <domain>', 'search domain', collect)
    .option('--dns-option <option>', 'e.g. ndots:2', collect)
    .option('--ulimit <limit>', 'NAME=SOFT[:HARD]', collect)
    .option('--sysctl <key=value>', 'of its namespaces', collect)
    .option('--shm-size <size>', 'of /dev/shm', size)
    .option('--volumes-from <container[:ro]>', 'mount what that container has mounted', collect)
    .option('--log-driver <name>', 'json-file, local, none, syslog, gelf; default: the node’s')
    .option('--log-opt <key=value>', 'of the log driver', collect)
    .option('--read-only', 'its root cannot be written')
    .option('--init', 'a process of ours reaps its orphans')
    .option('--stop-signal <signal>', 'default: that of the image, SIGTERM')
    .option('--stop-timeout <seconds>', 'until SIGKILL, default 10', unsigned)
    .option('--oom-score-adj <n>', '-1000 to 1000', decimal);
  healthFlags(command);
}

/** Throws `UsageError` for flags that mean nothing. */
export async function containerRequest(
  context: CommandContext,
  image: string,
  words: readonly string[],
  flags: ContainerFlags,
): Promise<ContainerCreateJson> {
  const {
    Privileges: _privileges,
    OpenStdin: _stdin,
    Domainname,
    ...isolation
  } = isolationOf(context, flags);
  const { SwapBytes: _swap, ...kernel } = kernelLimitsOf(flags);
  const env = await environmentOf(context, flags);
  const bindings = portBindings(flags.publish ?? []);
  const exposed = [...Object.keys(bindings), ...(flags.expose ?? []).map(withProtocol)];
  const labels = [...(await fileLines(context, flags.labelFile)), ...(flags.label ?? [])];
  const volumes = flags.volume ?? [];
  const networks = containerNetworks(flags);
  const health = healthcheckOf(flags, undefined);
  return {
    Image: image,
    ...(words.length > 0 && { Cmd: words }),
    ...(flags.entrypoint !== undefined && { Entrypoint: [flags.entrypoint] }),
    ...(env.length > 0 && { Env: env }),
    ...(labels.length > 0 && { Labels: pairs(labels) }),
    ...(flags.hostname !== undefined && { Hostname: flags.hostname }),
    ...(Domainname !== undefined && { Domainname }),
    ...(flags.user !== undefined && { User: flags.user }),
    ...(flags.workdir !== undefined && { WorkingDir: flags.workdir }),
    ...(flags.tty && { Tty: true }),
    ...(flags.interactive && { OpenStdin: true, StdinOnce: true }),
    ...(flags.stopSignal !== undefined && { StopSignal: flags.stopSignal }),
    ...(flags.stopTimeout !== undefined && { StopTimeout: flags.stopTimeout }),
    ...(health && { Healthcheck: health }),
    ...(exposed.length > 0 && {
      ExposedPorts: Object.fromEntries(exposed.map((key) => [key, {}])),
    }),
    Volumes: Object.fromEntries(volumes.filter((v) => !v.includes(':')).map((v) => [v, {}])),
    HostConfig: {
      ...isolation,
      ...kernel,
      ...(volumes.some((v) => v.includes(':')) && {
        Binds: volumes.filter((v) => v.includes(':')),
      }),
      ...(flags.mount && { Mounts: flags.mount.map(mountOf) }),
      ...(flags.volumesFrom && { VolumesFrom: flags.volumesFrom }),
      ...(flags.tmpfs && { Tmpfs: Object.fromEntries(flags.tmpfs.map(tmpfsOf)) }),
      ...(Object.keys(bindings).length > 0 && { PortBindings: bindings }),
      ...(flags.publishAll && { PublishAllPorts: true }),
      ...(networks.mode !== undefined && { NetworkMode: networks.mode }),
      ...(flags.link && { Links: flags.link }),
      ...(flags.restart !== undefined && { RestartPolicy: restartPolicy(flags.restart) }),
      ...(flags.rm && { AutoRemove: true }),
      ...(flags.memory !== undefined && { Memory: flags.memory }),
      ...(flags.memoryReservation !== undefined && { MemoryReservation: flags.memoryReservation }),
      ...(flags.memorySwap !== undefined && { MemorySwap: flags.memorySwap }),
      ...(flags.cpus !== undefined && { NanoCpus: flags.cpus }),
      ...(flags.cpuPeriod !== undefined && { CpuPeriod: flags.cpuPeriod }),
      ...(flags.cpuQuota !== undefined && { CpuQuota: flags.cpuQuota }),
      ...(flags.pidsLimit !== undefined && { PidsLimit: flags.pidsLimit }),
      ...(flags.capAdd && { CapAdd: flags.capAdd }),
      ...(flags.capDrop && { CapDrop: flags.capDrop }),
      ...(flags.groupAdd && { GroupAdd: flags.groupAdd }),
      ...(flags.addHost && { ExtraHosts: flags.addHost }),
      ...(flags.dns && { Dns: flags.dns }),
      ...(flags.dnsSearch && { DnsSearch: flags.dnsSearch }),
      ...(flags.dnsOption && { DnsOptions: flags.dnsOption }),
      ...(flags.ulimit && { Ulimits: flags.ulimit.map(parseUlimit) }),
      ...(flags.sysctl && { Sysctls: pairs(flags.sysctl) }),
      ...(flags.shmSize !== undefined && { ShmSize: flags.shmSize }),
      ...(flags.readOnly && { ReadonlyRootfs: true }),
      ...((flags.logDriver !== undefined || flags.logOpt) && {
        LogConfig: { Type: flags.logDriver ?? '', Config: pairs(flags.logOpt) },
      }),
      ...(flags.init !== undefined && { Init: flags.init }),
      ...(flags.oomScoreAdj !== undefined && { OomScoreAdj: flags.oomScoreAdj }),
      ...(flags.securityOpt && { SecurityOpt: securityOptions(context, flags) }),
    },
    ...(Object.keys(networks.endpoints).length > 0 && {
      NetworkingConfig: { EndpointsConfig: networks.endpoints },
    }),
  };
}

/** A range of ports of the host for one of the container stays one: the first free one is meant. */
export function portBindings(texts: Many): Record<string, { HostIp: string; HostPort: string }[]> {
  const out: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const text of texts) {
    const { ports, address } = parseShortPorts(text);
    const [, range] = /(?:^|:)(\d+-\d+):\d+(?:\/[a-z]+)?$/i.exec(text) ?? [];
    const shown = range === undefined ? ports : ports.slice(0, 1);
    for (const { Protocol, TargetPort, PublishedPort } of shown) {
      const key = `${TargetPort}/${Protocol}`;
      const HostPort = range ?? (PublishedPort === undefined ? '' : String(PublishedPort));
      out[key] = [...(out[key] ?? []), { HostIp: address ?? '', HostPort }];
    }
  }
  return out;
}

/** `on-failure:3`. Throws `UsageError`. */
export function restartPolicy(text: string): { Name: string; MaximumRetryCount: number } {
  const [, name = '', count] = /^([a-z-]+)(?::(\d+))?$/.exec(text) ?? [];
  if (name === '' || (count !== undefined && name !== 'on-failure')) {
    throw new UsageError(`invalid restart policy '${text}'`);
  }
  return { Name: name, MaximumRetryCount: Number(count ?? 0) };
}

/** Lines `key=value`; empty ones and those that begin with # are none. */
async function fileLines({ cwd }: CommandContext, files: Many = []): Promise<readonly string[]> {
  const texts = await Promise.all(files.map((file) => readFile(resolve(cwd, file), 'utf8')));
  return texts
    .flatMap((text) => text.split('\n'))
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

const withProtocol = (port: string): string => (port.includes('/') ? port : `${port}/tcp`);

function mountOf(text: string): MountJson {
  return parseMountFlag(text);
}

function tmpfsOf(text: string): [string, string] {
  const at = text.indexOf(':');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** With the text of a profile instead of the name of its file. */
function securityOptions(context: CommandContext, flags: ContainerFlags): Many {
  const { Privileges } = isolationOf(context, flags);
  const seccomp = Privileges?.Seccomp;
  const profile = seccomp?.Profile === undefined ? null : Buffer.from(seccomp.Profile, 'base64');
  return (flags.securityOpt ?? []).map((option) =>
    /^seccomp[:=]/.test(option) && profile !== null
      ? `seccomp=${profile.toString('utf8')}`
      : option,
  );
}
