/** What the findings of `skep doctor` mean, and what to do. Pure. */
import type { InfoJson } from '../../common/model/engine-json/system.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { humanBinarySize } from '../output/units.ts';
import type { ClusterFacts } from './doctor.ts';
import type { HostFacts, PathFacts, TrialName } from './doctor-probes.ts';
import { isRight } from './net.ts';

export interface Finding {
  readonly check: string;
  /** `fail`: skep cannot work so. `warn`: something of it will not, or soon. */
  readonly level: 'ok' | 'warn' | 'fail';
  readonly text: string;
  /** '' = nothing to do */
  readonly remedy: string;
}

const ok = (check: string, text: string): Finding => ({ check, level: 'ok', text, remedy: '' });
const warn = (check: string, text: string, remedy: string): Finding => ({
  ...{ check, level: 'warn', text, remedy },
});
const fail = (check: string, text: string, remedy: string): Finding => ({
  ...{ check, level: 'fail', text, remedy },
});

const NODE_MIN = [20, 19] as const;
const VXLAN_HEADER_BYTES = 50;
const MTU_MIN = 1_280;
const OPEN_FILES_MIN = 65_536;
const CONNECTIONS_MIN = 65_536;
const GIB = 1024 ** 3;
const DISK_FREE_MIN_BYTES = 2 * GIB;
const MEMORY_FREE_MIN_BYTES = GIB / 4;
const SKEW_WARN_MS = 2_000;
const SKEW_FAIL_MS = 60_000;

interface TrialWords {
  readonly what: string;
  readonly remedy: string;
  /** `warn`: the rest works without */
  readonly level?: 'warn';
}

const TRIAL_WORDS: Readonly<Record<TrialName, TrialWords>> = {
  namespaces: {
    what: 'process, mount, network, IPC and host name namespaces',
    remedy:
      'run as root, outside of containers that forbid namespaces (CONFIG_NAMESPACES and its kin)',
  },
  overlayfs: {
    what: 'overlay file systems',
    remedy:
      'modprobe overlay (CONFIG_OVERLAY_FS); inside of a container its root must not be an overlay',
  },
  bridge: { what: 'bridges', remedy: 'modprobe bridge (CONFIG_BRIDGE); install iproute2' },
  veth: { what: 'virtual Ethernet pairs', remedy: 'modprobe veth (CONFIG_VETH)' },
  vxlan: {
    what: 'VXLAN, for overlay networks',
    remedy: 'modprobe vxlan (CONFIG_VXLAN); cloud kernels have it in a package of extra modules',
  },
  wireguard: {
    what: 'WireGuard, for encrypted networks',
    remedy: 'modprobe wireguard (CONFIG_WIREGUARD): encrypted networks are refused until then',
    level: 'warn',
  },
  nftables: {
    what: 'nftables with NAT and connection tracking',
    remedy:
      'modprobe nf_tables nft_chain_nat nft_ct nft_numgen; install nftables; zones need CONFIG_NF_CONNTRACK_ZONES',
  },
};

/** Of the host of a daemon at `url`, which is another one. */
export const notLookedAt = (url: string): Finding =>
  warn('host', `not looked at: the daemon is at ${url}`, 'run skep doctor on that machine');

/** @param info of the daemon on this host; null = none answers */
export function judgeHost(host: HostFacts, info: InfoJson | null): readonly Finding[] {
  return [
    host.isRoot
      ? ok('user', 'root')
      : fail('user', 'not root', 'run skepd, and skep doctor, as root: containers need it'),
    nodeVersion(host.nodeVersion),
    ok('kernel', host.kernel),
    ...Object.entries(TRIAL_WORDS).map(([name, { what, remedy, level }]) => {
      const why = host.trials[name as TrialName];
      if (why === null) return ok(name, what);
      return (level === 'warn' ? warn : fail)(name, `no ${what}: ${why}`, remedy);
    }),
    cgroups(host.cgroups),
    ports(host, info),
    firewall(host),
    mtu(host),
    clock(host.isClockSynchronised),
    ...disk(host.disk),
    ...limits(host),
  ];
}

function nodeVersion(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const isNew = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
  if (isNew) return ok('node.js', version);
  return fail('node.js', `${version} is too old`, `install ${NODE_MIN.join('.')} or newer`);
}

const CONTROLLERS = ['cpu', 'cpuset', 'memory', 'pids'] as const;

function cgroups({ version, controllers }: HostFacts['cgroups']): Finding {
  if (version === 'none') {
    return fail('cgroups', 'no control groups are mounted', 'mount -t cgroup2 none /sys/fs/cgroup');
  }
  const missing = CONTROLLERS.filter((name) => !controllers.includes(name));
  const block = version === 'v2' ? 'io' : 'blkio';
  if (missing.length === 0 && controllers.includes(block)) {
    return ok('cgroups', `${version} with ${[...CONTROLLERS, block].join(', ')}`);
  }
  const lacks = [...missing, ...(controllers.includes(block) ? [] : [block])].join(', ');
  const remedy = missing.includes('memory')
    ? 'boot with cgroup_enable=memory swapaccount=1: limits of memory are refused until then'
    : 'boot a kernel that has them: limits of that kind are refused until then';
  return warn('cgroups', `${version} lacks ${lacks}`, remedy);
}

function ports({ ports: needed, takenPorts }: HostFacts, info: InfoJson | null): Finding {
  const isMember = info !== null && info.Swarm.LocalNodeState === 'active';
  const [first] = takenPorts;
  if (first === undefined || isMember) {
    return ok('ports', `${inWords(needed)} are ${isMember ? 'ours' : 'free'}`);
  }
  const [port = '', protocol = ''] = first.split('/');
  const look = `ss -l${protocol === 'tcp' ? 't' : 'u'}np sport = :${port} says by whom`;
  return warn('ports', `${inWords(takenPorts)} taken by somebody else`, look);
}

/** `a, b and c` */
const inWords = (words: readonly string[]): string =>
  [words.slice(0, -1).join(', '), ...words.slice(-1)].filter((part) => part !== '').join(' and ');

function firewall({ dropping, ports: needed }: HostFacts): Finding {
  if (dropping.length === 0) return ok('firewall', 'nothing drops what comes in by default');
  return warn(
    'firewall',
    `${dropping.join(', ')} drops what it does not know`,
    `let ${inWords(needed)} in from the other nodes, and the ports that you publish`,
  );
}

function mtu({ mtu: own, mtus }: HostFacts): Finding {
  if (own === null) return warn('mtu', 'there is no network interface', 'bring one up');
  const others = Object.entries(mtus).filter(([, size]) => size !== own);
  const inner = own - VXLAN_HEADER_BYTES;
  if (inner < MTU_MIN) {
    const remedy = `raise it to ${MTU_MIN + VXLAN_HEADER_BYTES} at least`;
    return warn('mtu', `${own}: overlay networks would have ${inner}`, remedy);
  }
  const more =
    others.length > 0 ? `; ${others.map(([name, size]) => `${name} ${size}`).join(', ')}` : '';
  return ok('mtu', `${own}, so that overlay networks have ${inner}${more}`);
}

function clock(isSynchronised: boolean | null): Finding {
  if (isSynchronised === null) {
    return warn(
      'clock',
      'nobody says whether it is synchronised',
      'install chrony or systemd-timesyncd',
    );
  }
  if (isSynchronised) return ok('clock', 'synchronised');
  return warn('clock', 'not synchronised', 'install and start chrony: certificates are about time');
}

/** On which an overlay cannot write. */
const BAD_FILE_SYSTEMS = ['overlayfs', 'nfs', 'aufs', 'ecryptfs', 'fuseblk', 'v9fs'];

function disk({
  path,
  freeBytes,
  totalBytes,
  freeInodesRatio,
  type,
}: HostFacts['disk']): Finding[] {
  const free = `${humanBinarySize(freeBytes)} of ${humanBinarySize(totalBytes)} free at ${path}`;
  const clean = 'skep system df says what takes it; skep image prune -a, or a larger disk';
  const findings: Finding[] = [];
  if (BAD_FILE_SYSTEMS.includes(type)) {
    const remedy = 'put --data-dir on ext4, xfs (ftype=1) or btrfs';
    findings.push(fail('file system', `${type} at ${path} cannot carry containers`, remedy));
  } else findings.push(ok('file system', `${type} at ${path}`));
  if (freeBytes < DISK_FREE_MIN_BYTES / 8) findings.push(fail('disk', free, clean));
  else if (freeBytes < DISK_FREE_MIN_BYTES || freeBytes < totalBytes / 20) {
    findings.push(warn('disk', free, clean));
  } else if (freeInodesRatio < 0.05) {
    const inodes = `${Math.round(freeInodesRatio * 100)} % of the inodes at ${path} are free`;
    findings.push(warn('disk', inodes, 'skep image prune -a, or a file system with more of them'));
  } else findings.push(ok('disk', free));
  return findings;
}

function limits({ openFilesMax, connectionsMax, memoryFreeBytes }: HostFacts): Finding[] {
  const findings: Finding[] = [];
  if (openFilesMax !== null && openFilesMax < OPEN_FILES_MIN) {
    const text = `${openFilesMax} open files at most`;
    findings.push(warn('limits', text, `LimitNOFILE=${OPEN_FILES_MIN * 16} in skepd's unit`));
  }
  if (connectionsMax !== null && connectionsMax < CONNECTIONS_MIN) {
    const remedy = `sysctl -w net.netfilter.nf_conntrack_max=${CONNECTIONS_MIN * 4}`;
    findings.push(warn('limits', `${connectionsMax} tracked connections at most`, remedy));
  }
  if (memoryFreeBytes !== null && memoryFreeBytes < MEMORY_FREE_MIN_BYTES) {
    const text = `${humanBinarySize(memoryFreeBytes)} of memory available`;
    findings.push(
      warn('limits', text, 'skepd itself takes some 90 MiB: end something, or add memory'),
    );
  }
  return findings.length > 0
    ? findings
    : [ok('limits', 'open files, connections and memory suffice')];
}

// ---- the cluster ---------------------------------------------------------------------------------

export function judgeCluster({
  info,
  silence,
  nodes,
  tasks,
  proofs,
  paths,
}: ClusterFacts & { readonly paths: readonly PathFacts[] }): readonly Finding[] {
  if (info === null) {
    return [warn('daemon', silence, 'start skepd, or name another one by -H or --context')];
  }
  const daemon = ok('daemon', `${info.Name ?? ''} ${info.ServerVersion ?? ''}`.trim());
  const { LocalNodeState: state = 'inactive', Error: error = '', ControlAvailable } = info.Swarm;
  if (state === 'locked') {
    return [daemon, fail('cluster', 'this manager is locked', 'skep swarm unlock')];
  }
  if (state !== 'active') {
    const text = `this node is ${state}${error === '' ? '' : `: ${error}`}`;
    const remedy = 'skep swarm init, or skep swarm join';
    return [daemon, error === '' ? ok('cluster', text) : fail('cluster', text, remedy)];
  }
  if (!ControlAvailable) {
    const text = 'this node is a worker: what follows is told by managers alone';
    return [daemon, error === '' ? ok('cluster', text) : fail('cluster', error, 'see its log')];
  }
  return [
    daemon,
    ...managers(nodes),
    ...unready(nodes),
    ...skews(nodes, tasks),
    ...networks(proofs),
    ...pathFindings(paths),
  ];
}

function managers(nodes: ClusterFacts['nodes']): Finding[] {
  const all = nodes.filter(({ ManagerStatus }) => ManagerStatus);
  const reachable = all.filter(({ ManagerStatus }) => ManagerStatus?.Reachability === 'reachable');
  const spare = reachable.length - (Math.floor(all.length / 2) + 1);
  const text = `${reachable.length} of ${all.length} managers reachable, ${Math.max(0, spare)} may fail`;
  if (reachable.length < all.length) {
    const lost = all.filter((one) => !reachable.includes(one)).map(nameOf);
    return [warn('managers', text, `bring back ${lost.join(', ')}, or demote and remove it`)];
  }
  if (all.length % 2 === 0) {
    return [warn('managers', text, 'an odd number of managers survives as much with one less')];
  }
  return [ok('managers', text)];
}

const nameOf = ({ ID, Description }: ClusterFacts['nodes'][number]): string =>
  Description?.Hostname ?? ID;

function unready(nodes: ClusterFacts['nodes']): Finding[] {
  const away = nodes.filter(({ Status }) => Status?.State !== 'ready');
  if (away.length === 0) return [ok('nodes', `all ${nodes.length} are ready`)];
  const names = away.map((node) => `${nameOf(node)} is ${node.Status?.State ?? 'unknown'}`);
  const remedy = 'look at skepd there, and at the way between; skep node rm for one that is gone';
  return [warn('nodes', names.join(', '), remedy)];
}

/**
 * How far a node's clock is ahead of the managers' (below 0: behind), at least, by the reports of its tasks: they bear
 * its time, but come after the task was made and before a manager writes them. null = nothing to tell from.
 */
export function skewMs(tasks: readonly TaskJson[]): number | null {
  const reports = tasks
    .filter(({ Status }) => Status.State === 'running')
    .map(({ CreatedAt, UpdatedAt, Status }) => ({
      saidMs: Date.parse(Status.Timestamp ?? ''),
      madeMs: Date.parse(CreatedAt),
      writtenMs: Date.parse(UpdatedAt),
    }))
    .filter(({ saidMs }) => !Number.isNaN(saidMs));
  if (reports.length === 0) return null;
  const ahead = Math.max(...reports.map(({ saidMs, writtenMs }) => saidMs - writtenMs));
  const behind = Math.max(...reports.map(({ saidMs, madeMs }) => madeMs - saidMs));
  if (ahead <= 0 && behind <= 0) return 0;
  return ahead >= behind ? ahead : -behind;
}

function skews(nodes: ClusterFacts['nodes'], tasks: readonly TaskJson[]): Finding[] {
  const findings: Finding[] = [];
  let known = 0;
  for (const node of nodes) {
    const ahead = skewMs(tasks.filter(({ NodeID }) => NodeID === node.ID));
    if (ahead === null) continue;
    known++;
    if (Math.abs(ahead) < SKEW_WARN_MS) continue;
    const words = `${nameOf(node)} is ${Math.round(Math.abs(ahead) / 1000)} s ${ahead > 0 ? 'ahead' : 'behind'}`;
    const judge = Math.abs(ahead) >= SKEW_FAIL_MS ? fail : warn;
    findings.push(judge('clock skew', words, `synchronise the clock of ${nameOf(node)} (chrony)`));
  }
  if (findings.length > 0 || known === 0) return findings;
  return [
    ok(
      'clock skew',
      `less than ${SKEW_WARN_MS / 1000} s on ${known} nodes, by their tasks' reports`,
    ),
  ];
}

/** As `skep net verify` finds them, which says more. */
function networks(proofs: ClusterFacts['proofs']): Finding[] {
  const compared = proofs.filter(({ State }) => State !== 'down');
  const wrong = compared.filter((proof) => !isRight(proof));
  if (compared.length === 0) return [];
  if (wrong.length === 0) {
    return [ok('network', `as it ought to be on ${compared.length} nodes`)];
  }
  const words = wrong.map(({ Hostname, NodeID, State, Error: error, LeftCount, Failures }) => {
    const [first] = Failures;
    const what = first ? `${first.Where}: ${first.Reason}` : `${LeftCount} things are otherwise`;
    return `${Hostname || NodeID}: ${State === 'failed' ? error : what}`;
  });
  const remedy = 'skep net verify says what is wrong, with --repair it puts right what it can';
  return [warn('network', words.join('; '), remedy)];
}

function pathFindings(paths: readonly PathFacts[]): Finding[] {
  const asked = paths.filter(({ answers }) => answers !== null);
  const deaf = paths.filter(({ isServed }) => !isServed);
  const shut = deaf.map(({ address, port }) =>
    warn(
      'paths',
      `nobody takes connections at ${address}, ${port}`,
      `start skepd there, or let ${port} in from the other nodes (firewall)`,
    ),
  );
  if (paths.length > 0 && asked.length === 0) {
    return [
      ...shut,
      warn('paths', 'not tried: the program ping is not there', 'install iputils-ping'),
    ];
  }
  const silent = asked.filter(({ answers }) => !answers).map(({ address }) => address);
  const narrow = asked.filter(({ answers, passesWhole }) => answers && !passesWhole);
  const addresses = narrow.map(({ address }) => address).join(', ');
  return [
    ...shut,
    ...(silent.length > 0
      ? [
          warn(
            'paths',
            `no answer to ping from ${silent.join(', ')}`,
            'a firewall between, or no way there',
          ),
        ]
      : []),
    ...(narrow.length > 0
      ? [
          warn(
            'paths',
            `whole packets do not reach ${addresses}: the MTU on the way is smaller than here`,
            'make networks with -o com.docker.network.driver.mtu=N, 50 less than the way has',
          ),
        ]
      : []),
    ...(asked.length > 0 && silent.length + narrow.length + deaf.length === 0
      ? [ok('paths', `whole packets and connections reach all ${asked.length} other nodes`)]
      : []),
  ];
}
