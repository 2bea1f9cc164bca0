/** What `skep info` prints: this command, then the daemon in Docker's words. */
import type { InfoJson } from '../../common/model/engine-json/system.ts';
import { type Lines, section } from '../output/section.ts';
import { humanBinarySize, humanDuration } from '../output/units.ts';

export interface InfoClient {
  readonly version: string;
  /** of the context that is in force */
  readonly contextName: string;
}

export function infoText({ version, contextName }: InfoClient, found: InfoJson): string {
  const lines = [
    'Client:',
    ` Version:    ${version}`,
    ` Context:    ${contextName}`,
    '',
    'Server:',
    ` Containers: ${found.Containers ?? 0}`,
    `  Running: ${found.ContainersRunning ?? 0}`,
    `  Paused: ${found.ContainersPaused ?? 0}`,
    `  Stopped: ${found.ContainersStopped ?? 0}`,
    ` Images: ${found.Images ?? 0}`,
    ...given('Server Version', found.ServerVersion),
    ...given('Storage Driver', found.Driver),
    ...(found.DriverStatus ?? []).map(([key, value]) => `  ${key}: ${value}`),
    ...given('Logging Driver', found.LoggingDriver),
    ...given('Cgroup Driver', found.CgroupDriver),
    ...given('Cgroup Version', found.CgroupVersion),
    ...pluginLines(found),
    ` Swarm: ${found.Swarm.LocalNodeState ?? 'inactive'}`,
    ...swarmLines(found.Swarm),
    ...runtimeLines(found),
    ...securityLines(found),
    ...given('Kernel Version', found.KernelVersion),
    ...given('Operating System', found.OperatingSystem),
    ...given('OSType', found.OSType),
    ...given('Architecture', found.Architecture),
    ` CPUs: ${found.NCPU ?? 0}`,
    ` Total Memory: ${humanBinarySize(found.MemTotal ?? 0)}`,
    ...given('Name', found.Name),
    ...given('ID', found.ID),
    ` Docker Root Dir: ${found.DockerRootDir ?? ''}`,
    ` Debug Mode: ${found.Debug ?? false}`,
    ...given('HTTP Proxy', found.HttpProxy),
    ...given('HTTPS Proxy', found.HttpsProxy),
    ...given('No Proxy', found.NoProxy),
    ...section(
      ' Labels:',
      (found.Labels ?? []).map((label) => `  ${label}`),
    ),
    ` Experimental: ${found.ExperimentalBuild ?? false}`,
    ...registryLines(found),
    ` Live Restore Enabled: ${found.LiveRestoreEnabled ?? false}`,
  ];
  return `${lines.join('\n')}\n\n`;
}

const given = (name: string, value: string | undefined): Lines =>
  value ? [` ${name}: ${value}`] : [];

function pluginLines({ Plugins }: InfoJson): Lines {
  if (!Plugins) return [];
  const kinds = ['Volume', 'Network', 'Log'] as const;
  return [' Plugins:', ...kinds.map((kind) => `  ${kind}: ${(Plugins[kind] ?? []).join(' ')}`)];
}

function swarmLines(swarm: InfoJson['Swarm']): Lines {
  const { LocalNodeState: state = 'inactive', ControlAvailable = false } = swarm;
  if (state === 'inactive' || state === 'locked') return [];
  const addresses = (swarm.RemoteManagers ?? []).map(({ Addr }) => `   ${Addr}`);
  return [
    `  NodeID: ${swarm.NodeID ?? ''}`,
    ...(swarm.Error ? [`  Error: ${swarm.Error}`] : []),
    `  Is Manager: ${ControlAvailable}`,
    ...(ControlAvailable && !swarm.Error ? clusterLines(swarm) : []),
    `  Node Address: ${swarm.NodeAddr ?? ''}`,
    ...section('  Manager Addresses:', addresses.sort()),
  ];
}

function clusterLines({ Cluster, Managers = 0, Nodes = 0 }: InfoJson['Swarm']): Lines {
  if (!Cluster) return [];
  const { Spec, DefaultAddrPool } = Cluster;
  const { Raft = {}, CAConfig = {} } = Spec ?? {};
  const snapshots = Raft.KeepOldSnapshots;
  const lasts = (nanos: number | undefined): string => humanDuration((nanos ?? 0) / 1e6);
  const pool = DefaultAddrPool && [
    `  Default Address Pool: ${DefaultAddrPool.map((cidr) => `${cidr}  `).join('')}`,
    `  SubnetSize: ${Cluster.SubnetSize ?? 0}`,
  ];
  const external = (CAConfig.ExternalCAs ?? []).map(
    ({ Protocol, URL }) => `     ${Protocol}: ${URL}`,
  );
  return [
    `  ClusterID: ${Cluster.ID ?? ''}`,
    `  Managers: ${Managers}`,
    `  Nodes: ${Nodes}`,
    ...(pool ?? []),
    ...(Cluster.DataPathPort ? [`  Data Path Port: ${Cluster.DataPathPort}`] : []),
    '  Orchestration:',
    `   Task History Retention Limit: ${Spec?.Orchestration?.TaskHistoryRetentionLimit ?? 0}`,
    '  Raft:',
    `   Snapshot Interval: ${Raft.SnapshotInterval ?? 0}`,
    ...(snapshots === undefined ? [] : [`   Number of Old Snapshots to Retain: ${snapshots}`]),
    `   Heartbeat Tick: ${Raft.HeartbeatTick ?? 0}`,
    `   Election Tick: ${Raft.ElectionTick ?? 0}`,
    '  Dispatcher:',
    `   Heartbeat Period: ${lasts(Spec?.Dispatcher?.HeartbeatPeriod)}`,
    '  CA Configuration:',
    `   Expiry Duration: ${lasts(CAConfig.NodeCertExpiry)}`,
    `   Force Rotate: ${CAConfig.ForceRotate ?? 0}`,
    ...section('   External CAs:', external),
    `  Autolock Managers: ${Spec?.EncryptionConfig?.AutoLockManagers ?? false}`,
    `  Root Rotation In Progress: ${Cluster.RootRotationInProgress ?? false}`,
  ];
}

function runtimeLines({ Runtimes, DefaultRuntime = '' }: InfoJson): Lines {
  const names = Object.keys(Runtimes ?? {});
  return names.length === 0
    ? []
    : [` Runtimes: ${names.join(' ')}`, ` Default Runtime: ${DefaultRuntime}`];
}

/** `name=seccomp,profile=builtin` on two lines. */
function securityLines({ SecurityOptions }: InfoJson): Lines {
  const lines = (SecurityOptions ?? []).flatMap((option) => {
    const pairs = option.split(',').map((pair) => pair.split('=') as [string, string?]);
    const name = pairs.find(([key]) => key === 'name')?.[1] ?? option;
    const profiles = pairs
      .filter(([key]) => key === 'profile')
      .map(([, of]) => `   Profile: ${of ?? ''}`);
    return [`  ${name}`, ...profiles];
  });
  return section(' Security Options:', lines);
}

function registryLines({ RegistryConfig }: InfoJson): Lines {
  const { InsecureRegistryCIDRs, IndexConfigs, Mirrors } = RegistryConfig ?? {};
  const insecure = Object.values(IndexConfigs ?? {}).filter(({ Secure }) => Secure === false);
  return [
    ...section(' Insecure Registries:', [
      ...insecure.map(({ Name }) => `  ${Name}`),
      ...(InsecureRegistryCIDRs ?? []).map((cidr) => `  ${cidr}`),
    ]),
    ...section(
      ' Registry Mirrors:',
      (Mirrors ?? []).map((url) => `  ${url}`),
    ),
  ];
}
