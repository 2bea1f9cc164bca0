/** Containers of tasks as Docker's JSON. */
import { containerLabels } from '../../../common/model/container-labels.ts';
import {
  type ContainerSpec,
  DEFAULT_ISOLATION,
  NO_KERNEL_RESOURCES,
  type ResourceRequirements,
} from '../../../common/model/service.ts';
import type { ContainerInfo } from '../../../worker/container-view.ts';
import { isoTime } from './common.ts';
import { healthToJson } from './container-spec.ts';
import { isolationToJson, kernelResourcesToJson } from './isolation.ts';
import { some } from './some.ts';

const ENDED_BY_ERROR = 255;

/** `docker ps` states. */
function dockerState(info: ContainerInfo): 'created' | 'running' | 'exited' {
  return info.state.status;
}

/** One row of `docker ps`. */
export function containerRowToJson(info: ContainerInfo, nowMs: number): object {
  const { task, state } = info;
  return {
    Id: info.id,
    Names: [`/${info.name}`],
    Image: task.spec.container.image,
    ImageID: info.image?.id ?? '',
    Command: commandText(info),
    Created: Math.floor(state.createdAtMs / 1000),
    Ports: info.status.hostPorts.map((port) => ({
      IP: '0.0.0.0',
      PrivatePort: port.targetPort,
      PublicPort: port.publishedPort,
      Type: port.protocol,
    })),
    Labels: labelsOf(info),
    State: dockerState(info),
    Status: statusText(info, nowMs),
    HostConfig: { NetworkMode: 'default' },
    NetworkSettings: { Networks: networksOf(info) },
    Mounts: mountsOf(info),
  };
}

export function containerToJson(info: ContainerInfo): object {
  const { task, state, health } = info;
  const { container, resources } = task.spec;
  const exit = state.exit;
  const argv = argvOf(info);
  return {
    Id: info.id,
    Created: isoTime(state.createdAtMs),
    Path: argv[0] ?? '',
    Args: argv.slice(1),
    State: {
      Status: dockerState(info),
      Running: state.status === 'running',
      Paused: false,
      Restarting: false,
      OOMKilled: exit?.oomKilled ?? false,
      Dead: false,
      Pid: state.pid,
      ExitCode: exit?.exitCode ?? 0,
      Error: exit?.error ?? '',
      StartedAt: isoTime(state.startedAtMs ?? 0),
      FinishedAt: isoTime(exit?.finishedAtMs ?? 0),
      ...(health && {
        Health: {
          Status: health.status,
          FailingStreak: health.failingStreak,
          Log: health.log.map((result) => ({
            Start: isoTime(result.startedAtMs),
            End: isoTime(result.endedAtMs),
            ExitCode: result.exitCode,
            Output: result.output,
          })),
        },
      }),
    },
    Image: info.image?.id ?? '',
    Name: `/${info.name}`,
    RestartCount: 0,
    Driver: 'overlay2',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    HostConfig: {
      NetworkMode: 'default',
      Memory: resources.limits.memoryBytes,
      NanoCpus: resources.limits.nanoCpus,
      PidsLimit: resources.limits.pids || null,
      RestartPolicy: { Name: '', MaximumRetryCount: 0 },
      AutoRemove: false,
      CapAdd: container.capabilityAdd,
      CapDrop: container.capabilityDrop,
      ReadonlyRootfs: container.readOnly,
      ...hostConfigOf(container, resources),
      LogConfig: { Type: 'json-file', Config: {} },
    },
    Mounts: mountsOf(info),
    Config: {
      Hostname: container.hostname || info.id.slice(0, 12),
      Domainname: container.domainname,
      User: container.user,
      Tty: container.tty,
      OpenStdin: container.openStdin,
      Env: container.env,
      Cmd: container.args,
      Entrypoint: container.command,
      Image: container.image,
      WorkingDir: container.workdir,
      Labels: labelsOf(info),
      ...(container.healthcheck && { Healthcheck: healthToJson(container.healthcheck) }),
      ...some('StopSignal', container.stopSignal),
    },
    NetworkSettings: { Ports: {}, Networks: networksOf(info) },
  };
}

/** What is of the container alone in Docker, and of a service's spec here. */
function hostConfigOf(container: ContainerSpec, resources: ResourceRequirements): object {
  const isolation = container.isolation ?? DEFAULT_ISOLATION;
  const unlessPrivate = (mode: string): string => (mode === 'private' ? '' : mode);
  return {
    ...isolationToJson(isolation),
    PidMode: unlessPrivate(isolation.pid),
    UTSMode: unlessPrivate(isolation.uts),
    ...kernelResourcesToJson(resources.kernel ?? NO_KERNEL_RESOURCES),
    MemoryReservation: resources.reservations.memoryBytes,
    MemorySwappiness: resources.memorySwappiness,
    Init: container.init,
    OomScoreAdj: container.oomScoreAdj,
    Sysctls: container.sysctls,
    Ulimits: container.ulimits.map(({ name, soft, hard }) => ({
      Name: name,
      Soft: soft,
      Hard: hard,
    })),
  };
}

export function labelsOf({ task }: ContainerInfo): Readonly<Record<string, string>> {
  return containerLabels(task);
}

function argvOf(info: ContainerInfo): readonly string[] {
  const { command, args } = info.task.spec.container;
  const image = info.image?.config;
  const entrypoint = command.length > 0 ? command : (image?.entrypoint ?? []);
  const rest = args.length > 0 ? args : command.length > 0 ? [] : (image?.cmd ?? []);
  return [...entrypoint, ...rest];
}

function commandText(info: ContainerInfo): string {
  return argvOf(info).join(' ');
}

function statusText(info: ContainerInfo, nowMs: number): string {
  const { state, health } = info;
  switch (state.status) {
    case 'created':
      return 'Created';
    case 'running': {
      const note = health
        ? ` (${health.status === 'starting' ? 'health: starting' : health.status})`
        : '';
      return `Up ${humanDuration(nowMs - (state.startedAtMs ?? nowMs))}${note}`;
    }
    case 'exited': {
      const code = state.exit?.exitCode ?? ENDED_BY_ERROR;
      return `Exited (${code}) ${humanDuration(nowMs - (state.exit?.finishedAtMs ?? nowMs))} ago`;
    }
  }
}

/** The words of Docker's go-units: `5 seconds`, `About a minute`, `3 hours`, ... */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(seconds / 3600);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}

function networksOf(info: ContainerInfo): Record<string, object> {
  const out: Record<string, object> = {};
  for (const { networkId, addresses, aliases } of info.task.networks) {
    const [address, prefix] = (addresses[0] ?? '').split('/');
    out[networkId] = {
      NetworkID: networkId,
      IPAddress: address ?? '',
      IPPrefixLen: Number(prefix ?? 0),
      Aliases: aliases,
    };
  }
  return out;
}

function mountsOf(info: ContainerInfo): object[] {
  return info.task.spec.container.mounts.map((mount) => ({
    Type: mount.type,
    ...some('Name', mount.type === 'volume' ? mount.source : ''),
    Source: mount.source,
    Destination: mount.target,
    RW: !mount.readOnly,
    Mode: '',
    Propagation: mount.bind?.propagation ?? '',
  }));
}
