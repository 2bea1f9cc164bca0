/** `/_ping`, `/version`, `/info` and what else is said of the engine itself. */

import { arch, cpus, release, totalmem } from 'node:os';
import { type ErrorCode, hasCode } from '../../common/base/errors.ts';
import { LOG_DRIVERS } from '../../common/model/log-driver.ts';
import { NATIVE_RUNTIME, type NodeRuntimes } from '../../worker/executor/oci-runtimes.ts';
import type { RegistrySettings } from '../../worker/images/image-store.ts';
import { NETWORK_DRIVERS } from '../../worker/network/local-network.ts';
import type { RequestContext } from './http-context.ts';
import { BRIDGE_NETFILTER_UNTIL } from './json/api-versions.ts';
import { clusterInfoToJson } from './json/cluster.ts';
import { controlOf, type RouteParts } from './parts.ts';
import { API_VERSION_MAX, API_VERSION_MIN, type Routes } from './server.ts';

/** Why a manager may not be able to say anything of its cluster. */
const SILENT_CLUSTER: readonly ErrorCode[] = [
  'no-leader',
  'unavailable',
  'deadline-exceeded',
  'not-leader',
  'not-a-manager',
];

const GO_ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
const KERNEL_ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };

export function addSystemRoutes(routes: Routes, parts: RouteParts): void {
  const ping = (context: RequestContext): void => {
    const { response } = context;
    response.setHeader('Builder-Version', '1');
    response.setHeader('Cache-Control', 'no-cache, no-store, must-revalidate');
    response.setHeader('Pragma', 'no-cache');
    response.setHeader('Swarm', swarmHeader(parts));
    response.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': 2 });
    response.end(context.request.method === 'HEAD' ? undefined : 'OK');
  };
  routes.add('HEAD', '/_ping', ping);
  routes.add('GET', '/_ping', ping);
  routes.add('GET', '/version', (context) => context.send(200, versionJson(parts)));
  routes.add('GET', '/info', async (context) => context.send(200, await infoJson(parts, context)));
  routes.add('GET', '/plugins', (context) => context.send(200, []));
  // Nothing is built here, so that nothing is kept of it: `docker system prune` asks for it with the rest.
  routes.add('POST', '/build/prune', (context) =>
    context.send(200, { CachesDeleted: [], SpaceReclaimed: 0 }),
  );
}

function swarmHeader({ swarm }: RouteParts): string {
  const { local, role } = swarm.state();
  return local === 'active' ? `active/${role}` : local;
}

function versionJson({ version }: RouteParts): object {
  const architecture = GO_ARCHITECTURES[arch()] ?? arch();
  const details = {
    ApiVersion: API_VERSION_MAX,
    MinAPIVersion: API_VERSION_MIN,
    Arch: architecture,
    Os: 'linux',
    KernelVersion: release(),
    GoVersion: `node ${process.versions.node}`,
    GitCommit: '',
    BuildTime: '',
    Experimental: 'false',
  };
  return {
    ...details,
    Experimental: false,
    Version: version,
    Platform: { Name: 'skep' },
    Components: [{ Name: 'Engine', Version: version, Details: details }],
  };
}

async function infoJson(parts: RouteParts, context: RequestContext): Promise<object> {
  const { worker, version, labels } = parts;
  const containers = worker.containers.list();
  const paused = containers.filter(({ condition }) => condition === 'paused').length;
  const running = containers.filter(({ condition }) => condition === 'running').length;
  return {
    ID: parts.engineId,
    Containers: containers.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: containers.length - running - paused,
    Images: worker.images.list().length,
    Driver: 'overlay2',
    DriverStatus: [],
    Plugins: {
      Volume: ['local'],
      Network: NETWORK_DRIVERS,
      Authorization: null,
      Log: [...LOG_DRIVERS],
    },
    MemoryLimit: true,
    SwapLimit: true,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: true,
    CPUSet: true,
    PidsLimit: true,
    OomKillDisable: worker.containers.cgroupVersion() === '1',
    IPv4Forwarding: true,
    ...(context.apiMinor <= BRIDGE_NETFILTER_UNTIL && {
      ...{ BridgeNfIptables: true, BridgeNfIp6tables: true },
    }),
    Debug: false,
    NFd: 0,
    NGoroutines: 0,
    SystemTime: new Date(parts.clock.wallMs()).toISOString(),
    LoggingDriver: parts.logDriver.name,
    CgroupDriver: 'cgroupfs',
    CgroupVersion: worker.containers.cgroupVersion(),
    NEventsListener: 0,
    KernelVersion: release(),
    OperatingSystem: 'Linux',
    OSType: 'linux',
    Architecture: KERNEL_ARCHITECTURES[arch()] ?? arch(),
    IndexServerAddress: 'https://index.docker.io/v1/',
    HttpProxy: redacted(parts.registries.proxy.http),
    HttpsProxy: redacted(parts.registries.proxy.https),
    NoProxy: parts.registries.proxy.except.join(','),
    RegistryConfig: registryConfigJson(parts.registries),
    NCPU: cpus().length,
    MemTotal: totalmem(),
    DockerRootDir: parts.dataDir,
    Name: parts.hostname,
    Labels: Object.entries(labels).map(([key, value]) => `${key}=${value}`),
    ExperimentalBuild: false,
    ServerVersion: version,
    Runtimes: runtimesJson(parts.runtimes),
    DefaultRuntime: parts.runtimes.defaultName,
    Swarm: await swarmInfoJson(parts, context),
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: '',
    SecurityOptions: ['name=seccomp,profile=builtin', ...(parts.isRemapped ? ['name=userns'] : [])],
    Warnings: null,
  };
}

function runtimesJson({ others }: NodeRuntimes): object {
  const shown = [...others].map(([name, path]) => [name, { path }]);
  return { [NATIVE_RUNTIME]: { path: 'skep-shim' }, ...Object.fromEntries(shown) };
}

/** Loopback is always insecure, as in Docker; the rest is what the daemon was told. */
function registryConfigJson({ insecureRegistries, mirrors }: RegistrySettings): object {
  const ranges = insecureRegistries.filter((entry) => entry.includes('/'));
  const hosts = insecureRegistries.filter((entry) => !entry.includes('/'));
  return {
    InsecureRegistryCIDRs: ['127.0.0.0/8', ...ranges],
    IndexConfigs: Object.fromEntries(
      hosts.map((host) => [host, { Name: host, Mirrors: [], Secure: false, Official: false }]),
    ),
    Mirrors: mirrors,
  };
}

/** A proxy's URL may hold a password. */
function redacted(proxy: string | null): string {
  if (proxy === null) return '';
  const url = new URL(proxy);
  if (url.password !== '') url.password = 'xxxxx';
  return url.href;
}

async function swarmInfoJson(parts: RouteParts, context: RequestContext): Promise<object> {
  const { swarm } = parts;
  const { local, nodeId, nodeAddress, role, error } = swarm.state();
  const base = {
    NodeID: nodeId,
    NodeAddr: nodeAddress,
    LocalNodeState: local,
    ControlAvailable: local === 'active' && role === 'manager',
    Error: error,
    RemoteManagers: swarm
      .remoteManagers()
      .map((manager) => ({ NodeID: manager.nodeId, Addr: manager.address })),
  };
  if (local !== 'active' || role !== 'manager') return base;
  try {
    const control = controlOf(parts);
    const nodes = await control.listNodes({}, context.signal);
    const cluster = await control.getCluster(context.signal);
    return {
      ...base,
      Nodes: nodes.length,
      Managers: nodes.filter((node) => node.role === 'manager').length,
      Cluster: clusterInfoToJson(cluster),
    };
  } catch (err) {
    // The engine answers also while the cluster has no leader, and while this manager leaves the group.
    if (hasCode(err, ...SILENT_CLUSTER)) {
      return { ...base, Error: err.message };
    }
    throw err;
  }
}
