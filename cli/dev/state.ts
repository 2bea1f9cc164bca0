/**
 * What is kept of development clusters on disk: the plan, written before anything is made, so that
 * `down` can remove also what a failed `up` left; and the pids of the daemons.
 */
import { mkdir, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { SkepError } from '../../common/base/errors.ts';
import type { ClusterPlan, DevRoots, HostPlan } from './plan.ts';

export const DEV_ROOTS: DevRoots = { stateRoot: '/var/lib/skep-dev', socketRoot: '/run/skep-dev' };

const clusterFile = (roots: DevRoots, name: string): string =>
  `${roots.stateRoot}/${name}/cluster.json`;
const pidFile = (host: HostPlan): string => `${host.dir}/skepd.pid`;

export const logFileOf = (host: HostPlan): string => `${host.dir}/skepd.log`;
export const dataDirOf = (host: HostPlan): string => `${host.dir}/data`;

/** Makes the directories and writes the plan. Throws `already-exists` when the name is taken. */
export async function createState(roots: DevRoots, plan: ClusterPlan): Promise<void> {
  await mkdir(roots.stateRoot, { recursive: true, mode: 0o755 });
  try {
    await mkdir(`${roots.stateRoot}/${plan.name}`);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw err;
    throw new SkepError(
      'already-exists',
      `cluster ${plan.name} exists already: 'skep dev down --name ${plan.name}' removes it`,
    );
  }
  await writeFile(clusterFile(roots, plan.name), `${JSON.stringify(plan, null, 2)}\n`);
  await mkdir(`${roots.socketRoot}/${plan.name}`, { recursive: true, mode: 0o755 });
  for (const host of plan.hosts) await mkdir(dataDirOf(host), { recursive: true, mode: 0o711 });
}

/** null when there is no such cluster. A directory without a readable plan counts as none. */
export async function findState(roots: DevRoots, name: string): Promise<ClusterPlan | null> {
  try {
    return JSON.parse(await readFile(clusterFile(roots, name), 'utf8')) as ClusterPlan;
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT' || err instanceof SyntaxError) return null;
    throw err;
  }
}

/** Throws `not-found`. */
export async function requireState(roots: DevRoots, name: string): Promise<ClusterPlan> {
  const plan = await findState(roots, name);
  if (plan) return plan;
  throw new SkepError('not-found', `no cluster named ${name}: 'skep dev up' starts one`);
}

export async function listStates(roots: DevRoots): Promise<ClusterPlan[]> {
  let names: string[];
  try {
    names = await readdir(roots.stateRoot);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw err;
  }
  const plans = await Promise.all(names.map((name) => findState(roots, name)));
  return plans.filter((plan) => plan !== null);
}

export async function removeState(roots: DevRoots, name: string): Promise<void> {
  for (const root of [roots.socketRoot, roots.stateRoot]) {
    await rm(`${root}/${name}`, { recursive: true, force: true });
    await rmdir(root).catch((err: NodeJS.ErrnoException) => {
      // Other clusters are in it, or it never was.
      if (err.code !== 'ENOTEMPTY' && err.code !== 'ENOENT') throw err;
    });
  }
}

/** Throws `not-found`. */
export function requireHost(plan: ClusterPlan, name: string): HostPlan {
  const host = plan.hosts.find((candidate) => candidate.name === name);
  if (host) return host;
  const names = plan.hosts.map((candidate) => candidate.name).join(', ');
  throw new SkepError('not-found', `no host ${name} in cluster ${plan.name}: it has ${names}`);
}

export async function writePid(host: HostPlan, pid: number): Promise<void> {
  await writeFile(pidFile(host), `${pid}\n`);
}

/** The pid written last, whether or not it still runs; null when there is none. */
export async function readPid(host: HostPlan): Promise<number | null> {
  try {
    const pid = Number((await readFile(pidFile(host), 'utf8')).trim());
    return Number.isInteger(pid) && pid > 1 ? pid : null;
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw err;
  }
}
