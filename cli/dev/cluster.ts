/**
 * A whole cluster on this machine: one network namespace, data directory and daemon for each host,
 * one bridge between them. Composes the files beside it; prints nothing.
 */
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { EngineClient } from '../client/engine-client.ts';
import { answers, daemonPid, startDaemon, stopDaemon } from './daemon-process.ts';
import {
  createBridge,
  createHostNetwork,
  destroyBridge,
  destroyGroups,
  destroyHostNetwork,
  groupsRemain,
  linkIsUp,
  pidsInGroups,
  pidsInNetwork,
  signalProcess,
  subnetsInUse,
  unmountBelow,
} from './kernel.ts';
import {
  type ClusterPlan,
  chooseSubnet,
  type DaemonSettings,
  type DevRoots,
  type HostPlan,
  planCluster,
} from './plan.ts';
import { createState, findState, listStates, removeState } from './state.ts';

const CLUSTER_PORT = 2377;
const LEAVE_LIMIT_MS = 4_000;
const CLEAN_LIMIT_MS = 10_000;
const CLEAN_POLL_MS = 30;

export interface UpRequest extends DaemonSettings {
  readonly name: string;
  readonly managers: number;
  readonly workers: number;
}

export interface HostStatus {
  readonly name: string;
  readonly role: 'manager' | 'worker';
  readonly address: string;
  readonly netns: string;
  readonly socket: string;
  /** null = the daemon does not run */
  readonly pid: number | null;
  /** whether its link is up */
  readonly linked: boolean;
  /** whether its API answers */
  readonly ready: boolean;
}

export interface ClusterStatus {
  readonly name: string;
  readonly bridge: string;
  readonly hosts: readonly HostStatus[];
}

export interface DevParts {
  readonly roots: DevRoots;
  readonly clock: Clock;
  /** aborts an `up`, which then removes what it made */
  readonly signal: AbortSignal;
}

/** Calls one host's daemon. */
export async function withHost<T>(
  host: HostPlan,
  work: (client: EngineClient) => Promise<T>,
): Promise<T> {
  const client = new EngineClient(`unix://${host.socket}`);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

/** Starts a cluster. Rejects, having removed all it made, when any part of it fails. */
export async function up(request: UpRequest, parts: DevParts): Promise<ClusterStatus> {
  const { roots } = parts;
  const taken = await subnetsInUse();
  for (const other of await listStates(roots)) taken.add(other.subnet);
  const subnet = chooseSubnet(request.name, taken);
  const plan = planCluster({ ...request, ...roots, subnet });
  await createState(roots, plan);
  try {
    await createBridge(plan);
    for (const host of plan.hosts) await createHostNetwork(plan, host);
    await all(plan.hosts, (host) => startDaemon(host, plan.settings, parts.clock, parts.signal));
    await formCluster(plan);
    return await status(plan);
  } catch (err) {
    await down(plan.name, parts);
    throw err;
  }
}

async function formCluster(plan: ClusterPlan): Promise<void> {
  const [first, ...others] = plan.hosts;
  if (!first) return;
  const tokens = await withHost(first, async (client) => {
    await client.swarmInit({
      ListenAddr: `${first.address}:${CLUSTER_PORT}`,
      AdvertiseAddr: first.address,
      DataPathAddr: '',
      DataPathPort: 0,
      ForceNewCluster: false,
      AutoLockManagers: false,
      Availability: 'active',
      DefaultAddrPool: [],
      SubnetSize: 24,
      Spec: {},
    });
    return (await client.swarm()).JoinTokens;
  });
  if (!tokens) throw new SkepError('internal', 'swarm init: the daemon gave no join tokens');
  const join = (host: HostPlan): Promise<void> =>
    withHost(host, async (client) => {
      try {
        await client.swarmJoin(joinRequest(first, host, tokens));
      } catch (err) {
        throw new SkepError('unavailable', `join ${host.name}`, { cause: err });
      }
    });
  // Managers change the quorum, one at a time; workers do not mind each other.
  for (const host of others) if (host.role === 'manager') await join(host);
  await all(
    others.filter((host) => host.role === 'worker'),
    join,
  );
}

function joinRequest(
  first: HostPlan,
  host: HostPlan,
  tokens: { readonly Worker: string; readonly Manager: string },
): Parameters<EngineClient['swarmJoin']>[0] {
  return {
    ListenAddr: `${host.address}:${CLUSTER_PORT}`,
    AdvertiseAddr: host.address,
    DataPathAddr: '',
    RemoteAddrs: [`${first.address}:${CLUSTER_PORT}`],
    JoinToken: host.role === 'manager' ? tokens.Manager : tokens.Worker,
    Availability: 'active',
  };
}

/**
 * Ends a cluster and removes all that it made. Works after a half-failed `up`, after killed daemons,
 * and twice. False when there was none.
 */
export async function down(name: string, parts: DevParts): Promise<boolean> {
  const { roots, clock } = parts;
  const plan = await findState(roots, name);
  if (!plan) {
    await removeState(roots, name);
    return false;
  }
  await all(plan.hosts, (host) => leave(host, clock));
  await all(plan.hosts, (host) => stopDaemon(host, clock));
  const deadline = clock.monotonicMs() + CLEAN_LIMIT_MS;
  while (!(await endProcesses(plan.hosts)) && clock.monotonicMs() < deadline) {
    await clock.sleep(CLEAN_POLL_MS);
  }
  for (const host of plan.hosts) {
    await unmountBelow(host.dir);
    await destroyHostNetwork(host);
  }
  await destroyBridge(plan);
  await removeState(roots, name);
  await reportLeftovers(plan);
  return true;
}

/**
 * Asks the daemon to end its tasks, without the grace that they have: what they would save goes with their host. One
 * that is dead or slow is dealt with by the rest of `down`.
 */
async function leave(host: HostPlan, clock: Clock): Promise<void> {
  if ((await daemonPid(host)) === null) return;
  let isLeft = false;
  const left = withHost(host, (client) => client.swarmLeave(true))
    .catch(() => {})
    .then(() => {
      isLeft = true;
    });
  const deadline = clock.monotonicMs() + LEAVE_LIMIT_MS;
  while (!isLeft && clock.monotonicMs() < deadline) {
    await Promise.race([left, clock.sleep(CLEAN_POLL_MS)]);
    if (isLeft) break;
    for (const pid of await pidsInGroups(host)) signalProcess(pid, 'SIGKILL');
  }
}

/** Kills what runs in the hosts' groups and networks. True when nothing does. */
async function endProcesses(hosts: readonly HostPlan[]): Promise<boolean> {
  let ended = true;
  for (const host of hosts) {
    const pids = new Set([...(await pidsInGroups(host)), ...(await pidsInNetwork(host))]);
    pids.delete(process.pid);
    for (const pid of pids) signalProcess(pid, 'SIGKILL');
    if (pids.size === 0) await destroyGroups(host);
    if (pids.size > 0 || (await groupsRemain(host))) ended = false;
  }
  return ended;
}

async function reportLeftovers(plan: ClusterPlan): Promise<void> {
  for (const host of plan.hosts) {
    if (!(await groupsRemain(host))) continue;
    const pids = await pidsInGroups(host);
    throw new SkepError(
      'internal',
      `dev down: control groups ${host.cgroupParent} stay, with processes ${pids.join(' ')}`,
    );
  }
}

export async function status(plan: ClusterPlan): Promise<ClusterStatus> {
  const hosts = await Promise.all(
    plan.hosts.map(async (host) => {
      const pid = await daemonPid(host);
      const { name, role, address, netns, socket } = host;
      const ready = pid !== null && (await answers(host));
      return { name, role, address, netns, socket, pid, linked: await linkIsUp(host), ready };
    }),
  );
  return { name: plan.name, bridge: plan.bridge, hosts };
}

/** All at once; rejects with the first failure after every one has ended. */
export async function all<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(items.map(work));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}
