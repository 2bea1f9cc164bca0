/**
 * The machine's side of a development cluster: namespaces, links, mounts, groups, processes. Every
 * removal bears that the thing is gone already. Knows nothing of the daemon's API.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, readlink, rmdir, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { SkepError } from '../../common/base/errors.ts';
import { parseMountinfo, pointsBelow } from '../../common/base/mountinfo.ts';
import { type ClusterPlan, type HostPlan, SUBNET_BITS, SUBNET_PREFIX } from './plan.ts';

const run = promisify(execFile);

async function ip(...args: string[]): Promise<string> {
  try {
    return (await run('ip', args)).stdout;
  } catch (err) {
    const { code, stderr } = err as { code?: unknown; stderr?: string };
    if (code === 'ENOENT') {
      throw new SkepError('failed-precondition', "the 'ip' command is missing: install iproute2");
    }
    throw new SkepError('internal', `ip ${args.join(' ')}: ${(stderr ?? '').trim()}`);
  }
}

/** Third numbers of 172.30.N that this machine's addresses or routes use. */
export async function subnetsInUse(): Promise<Set<number>> {
  const text = (await ip('-4', '-o', 'addr')) + (await ip('-4', 'route', 'show', 'table', 'all'));
  const pattern = new RegExp(`\\b${SUBNET_PREFIX.replace('.', '\\.')}\\.(\\d{1,3})\\.`, 'g');
  return new Set([...text.matchAll(pattern)].map((match) => Number(match[1])));
}

export async function createBridge(plan: ClusterPlan): Promise<void> {
  await ip('link', 'add', plan.bridge, 'type', 'bridge');
  await ip('addr', 'add', `${plan.bridgeAddress}/${SUBNET_BITS}`, 'dev', plan.bridge);
  await ip('link', 'set', plan.bridge, 'up');
}

export async function createHostNetwork(plan: ClusterPlan, host: HostPlan): Promise<void> {
  const { netns, link } = host;
  await ip('netns', 'add', netns);
  await ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
  await ip('link', 'set', link, 'master', plan.bridge);
  await ip('link', 'set', link, 'up');
  await ip('-n', netns, 'link', 'set', 'lo', 'up');
  await ip('-n', netns, 'addr', 'add', `${host.address}/${SUBNET_BITS}`, 'dev', 'eth0');
  await ip('-n', netns, 'link', 'set', 'eth0', 'up');
  await ip('-n', netns, 'route', 'add', 'default', 'via', plan.bridgeAddress);
}

export async function setLink(host: HostPlan, state: 'up' | 'down'): Promise<void> {
  await ip('link', 'set', host.link, state);
}

/** Whether the host's link is up; false also when it is gone. */
export async function linkIsUp(host: HostPlan): Promise<boolean> {
  try {
    const flags = Number(await readFile(`/sys/class/net/${host.link}/flags`, 'utf8'));
    return (flags & 1) === 1;
  } catch {
    return false;
  }
}

export async function destroyHostNetwork(host: HostPlan): Promise<void> {
  // The link goes first: a namespace dies only with its last user, and the name must be free again.
  if (await exists(`/sys/class/net/${host.link}`)) await ip('link', 'del', host.link);
  if (await exists(`/run/netns/${host.netns}`)) await ip('netns', 'del', host.netns);
}

export async function destroyBridge(plan: ClusterPlan): Promise<void> {
  if (await exists(`/sys/class/net/${plan.bridge}`)) await ip('link', 'del', plan.bridge);
}

/** The argv that runs a program in the host's network, and in nothing else of it. */
export function inNetwork(host: HostPlan, argv: readonly string[]): string[] {
  // Not `ip netns exec`: that gives a new mount namespace whose /sys has no control groups.
  return ['nsenter', `--net=/run/netns/${host.netns}`, '--', ...argv];
}

/** Every process whose network is the host's: daemon, shims, what `dev run` started. */
export async function pidsInNetwork(host: HostPlan): Promise<number[]> {
  const wanted = await identity(`/run/netns/${host.netns}`);
  if (wanted === null) return [];
  const pids: number[] = [];
  for (const pid of await allPids()) {
    if ((await identity(`/proc/${pid}/ns/net`)) === wanted) pids.push(pid);
  }
  return pids;
}

/** Every process in the host's control groups, of any hierarchy. */
export async function pidsInGroups(host: HostPlan): Promise<number[]> {
  const pids = new Set<number>();
  for (const dir of await groupDirs(host)) {
    for (const group of await groupTree(dir)) {
      const text = await readFile(`${group}/cgroup.procs`, 'utf8').catch(() => '');
      for (const line of text.split('\n')) if (line !== '' && line !== '0') pids.add(Number(line));
    }
  }
  return [...pids];
}

/** Removes the host's control groups. A group with a process in it stays. */
export async function destroyGroups(host: HostPlan): Promise<void> {
  for (const dir of await groupDirs(host)) {
    for (const group of (await groupTree(dir)).reverse()) {
      await rmdir(group).catch(() => {}); // still busy, or gone meanwhile: the caller tries again
    }
  }
}

export async function groupsRemain(host: HostPlan): Promise<boolean> {
  return (await groupDirs(host)).length > 0;
}

/** Lazily unmounts everything at or below `dir`, the deepest first. */
export async function unmountBelow(dir: string): Promise<void> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  const points = pointsBelow(parseMountinfo(text), dir).reverse(); // later mounts cover earlier ones
  for (const point of points.sort((a, b) => b.length - a.length)) {
    await run('umount', ['-l', '--', point]).catch(() => {}); // seen below if it is still there
  }
}

/** False for a process that ended, also while its parent has not yet heard of it. */
export async function isRunning(pid: number): Promise<boolean> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    const state = text.slice(text.lastIndexOf(')') + 2, text.lastIndexOf(')') + 3);
    return state !== 'Z' && state !== 'X';
  } catch {
    return false;
  }
}

/** True when `pid` is a process with `word` among its arguments: pids are used again. */
export async function hasArgument(pid: number, word: string): Promise<boolean> {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return text.split('\0').includes(word);
}

/** A process that is gone already is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ESRCH') throw err;
  }
}

async function groupDirs(host: HostPlan): Promise<string[]> {
  const root = '/sys/fs/cgroup';
  const names = await readdir(root).catch(() => []);
  const dirs = new Map<string, string>();
  for (const parent of [root, ...names.map((name) => `${root}/${name}`)]) {
    const dir = `${parent}/${host.cgroupParent}`;
    const id = await identity(dir); // cpu and cpuacct may be one hierarchy under two names
    if (id !== null) dirs.set(id, dir);
  }
  return [...dirs.values()];
}

/** A group and those below it, parents first. */
async function groupTree(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
  const children = entries.filter((entry) => entry.isDirectory());
  const below = await Promise.all(children.map((child) => groupTree(`${dir}/${child.name}`)));
  return [dir, ...below.flat()];
}

async function allPids(): Promise<number[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
}

async function identity(path: string): Promise<string | null> {
  try {
    const { dev, ino } = await stat(path);
    return `${dev}:${ino}`;
  } catch {
    return null;
  }
}

async function exists(path: string): Promise<boolean> {
  if ((await identity(path)) !== null) return true;
  return readlink(path).then(
    () => true,
    () => false,
  );
}
