/**
 * What a development cluster will consist of: hosts, addresses, kernel names. Pure: names and
 * numbers in, a plan out. Knows neither the kernel nor the daemon.
 */
import { createHash } from 'node:crypto';
import { SkepError } from '../../common/base/errors.ts';

export interface HostPlan {
  /** `manager-1`, `worker-2` */
  readonly name: string;
  readonly role: 'manager' | 'worker';
  readonly address: string;
  /** for `ip netns exec` */
  readonly netns: string;
  /** path of the daemon's API socket */
  readonly socket: string;
  /** of the host's directory: data and log */
  readonly dir: string;
  /** the end of its link at the bridge, in the namespace of this machine */
  readonly link: string;
  readonly cgroupParent: string;
}

/** What the hosts' daemons are started with, also when they are started again. */
export interface DaemonSettings {
  readonly logLevel: string;
  readonly insecureRegistries: readonly string[];
  /** of the daemons; absent in the plans of earlier releases */
  readonly apiReadOnWorkers?: boolean;
  readonly apiExecOnWorkers?: boolean;
  readonly imageGc?: string;
  /** any others, as they are given to `skepd` */
  readonly daemonFlags?: readonly string[];
}

/** Flags of `skepd` by which the hosts are told apart and found again. */
const OWN_FLAGS = [
  ...['--data-dir', '--host', '-H', '--listen-addr', '--advertise-addr'],
  ...['--hostname', '--cgroup-parent'],
];

export interface ClusterPlan {
  readonly name: string;
  readonly settings: DaemonSettings;
  readonly bridge: string;
  /** third number of 172.30.N.0/24 */
  readonly subnet: number;
  readonly bridgeAddress: string;
  /** managers first */
  readonly hosts: readonly HostPlan[];
}

/** Where state and sockets lie; the parents of one directory for each cluster. */
export interface DevRoots {
  readonly stateRoot: string;
  readonly socketRoot: string;
}

export const SUBNET_PREFIX = '172.30';
export const SUBNET_BITS = 24;
export const SUBNETS = 256;
/** Host i (from 0) has the address 10 + i + 1. */
const FIRST_HOST_NUMBER = 11;
export const HOSTS_MAX = 200;
const NAME_PATTERN = /^[a-z0-9](?:[a-z0-9-]{0,18}[a-z0-9])?$/;

/** Throws `invalid-argument`. Names end up in namespaces, groups and paths. */
export function checkClusterName(name: string): void {
  if (NAME_PATTERN.test(name)) return;
  throw new SkepError(
    'invalid-argument',
    `cluster name '${name}': 1 to 20 lower-case letters, digits and '-', not at the ends`,
  );
}

/** Throws `invalid-argument` for what is no flag, and for those that a development cluster sets itself. */
function checkDaemonFlags(flags: readonly string[]): void {
  const [first] = flags;
  if (first !== undefined && !first.startsWith('-')) {
    throw new SkepError('invalid-argument', `flags of skepd after --: ${first} is none`);
  }
  const own = flags.find((flag) => OWN_FLAGS.includes(flag.split('=')[0]!));
  if (own === undefined) return;
  throw new SkepError('invalid-argument', `flags of skepd after --: skep dev sets ${own} itself`);
}

/** The subnet a name would have if all are free, 0..255. */
export function preferredSubnet(name: string): number {
  return createHash('sha256').update(name).digest()[0]!;
}

/** The first free subnet from the preferred one on. Throws `resource-exhausted`. */
export function chooseSubnet(name: string, taken: ReadonlySet<number>): number {
  const first = preferredSubnet(name);
  for (let step = 0; step < SUBNETS; step++) {
    const subnet = (first + step) % SUBNETS;
    if (!taken.has(subnet)) return subnet;
  }
  throw new SkepError('resource-exhausted', `no free subnet in ${SUBNET_PREFIX}.0.0/16`);
}

export interface PlanRequest extends DevRoots, DaemonSettings {
  readonly name: string;
  readonly managers: number;
  readonly workers: number;
  readonly subnet: number;
}

/** Throws `invalid-argument` for a bad name, number or flag. */
export function planCluster(request: PlanRequest): ClusterPlan {
  const { name, managers, workers, subnet, stateRoot, socketRoot } = request;
  checkClusterName(name);
  checkDaemonFlags(request.daemonFlags ?? []);
  if (managers < 1) throw new SkepError('invalid-argument', '--managers: at least 1 is needed');
  if (managers + workers > HOSTS_MAX) {
    throw new SkepError('invalid-argument', `at most ${HOSTS_MAX} hosts: ${managers + workers}`);
  }
  // Interface names have 15 characters at most, so the cluster's name goes in as a hash.
  const tag = createHash('sha256').update(name).digest('hex').slice(0, 6);
  const names = [
    ...Array.from({ length: managers }, (_, i) => ['manager', i + 1] as const),
    ...Array.from({ length: workers }, (_, i) => ['worker', i + 1] as const),
  ];
  return {
    name,
    settings: {
      logLevel: request.logLevel,
      insecureRegistries: request.insecureRegistries,
      ...(request.apiReadOnWorkers && { apiReadOnWorkers: true }),
      ...(request.apiExecOnWorkers && { apiExecOnWorkers: true }),
      ...(request.imageGc !== undefined && { imageGc: request.imageGc }),
      ...(request.daemonFlags && { daemonFlags: request.daemonFlags }),
    },
    bridge: `skb-${tag}`,
    subnet,
    bridgeAddress: `${SUBNET_PREFIX}.${subnet}.1`,
    hosts: names.map(([role, number], index) => ({
      name: `${role}-${number}`,
      role,
      address: `${SUBNET_PREFIX}.${subnet}.${FIRST_HOST_NUMBER + index}`,
      netns: `skep-${name}-${role}-${number}`,
      socket: `${socketRoot}/${name}/${role}-${number}.sock`,
      dir: `${stateRoot}/${name}/${role}-${number}`,
      link: `skv-${tag}-${index + 1}`,
      cgroupParent: `skep-${name}-${role}-${number}`,
    })),
  };
}
