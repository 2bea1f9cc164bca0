/**
 * What of the kernel and the disk a container program may leave behind on this machine: processes,
 * mounts, network namespaces, links, routes, nftables, control groups, files. As lines of text, so
 * that two lists can be compared and the difference read. Looks only, changes nothing.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

export const SUBJECTS = [
  'processes',
  'mounts',
  'network namespaces',
  'links',
  'routes',
  'nftables',
  'cgroups',
  'files',
] as const;
export type Subject = (typeof SUBJECTS)[number];
export type Inventory = Readonly<Record<Subject, readonly string[]>>;

/** Directories that belong to skep, and the parents below which such directories are looked for. */
const FILE_PARENTS = ['/var/lib', '/run', '/var/tmp', '/dev/shm'];
/** Left out: a cache of downloads that is meant to stay. */
const KEPT_FILES = ['/var/tmp/skep-cgroup2-vm'];

export function takeInventory(): Inventory {
  const processes = readProcesses();
  const orphans = [...processes.values()]
    .filter(({ pid, parent, state }) => pid > 2 && parent !== 2 && !'ZX'.includes(state))
    .filter(({ pid }) => isOrphanTree(pid, processes))
    .map(({ pid }) => pid);
  return {
    processes: orphans.map((pid) => `${pid} ${commandOf(pid)} (${groupsOf(pid)})`),
    mounts: mountLines(),
    'network namespaces': namespaceLines(orphans),
    links: commandLines('ip', ['-o', 'link']).map(linkName),
    routes: [
      ...commandLines('ip', ['route', 'show', 'table', 'all']).filter(
        (line) => !isLinkLocalRoute(line),
      ),
      ...commandLines('ip', ['rule']),
    ],
    nftables: commandLines('nft', ['list', 'ruleset']),
    cgroups: cgroupLines(),
    files: fileLines(),
  };
}

/** The kernel makes these for each link, a second or two after the link: they come and go with it. */
function isLinkLocalRoute(line: string): boolean {
  return /^(local |anycast |multicast )?(fe80:|ff00:)/.test(line);
}

/** Lines of `after` that `before` lacks (`+ mounts: ...`), and the other way round (`- ...`). */
export function difference(before: Inventory, after: Inventory): string[] {
  return SUBJECTS.flatMap((subject) => {
    const old = new Set(before[subject]);
    const now = new Set(after[subject]);
    const gone = [...old].filter((line) => !now.has(line));
    return [
      ...[...now].filter((line) => !old.has(line)).map((line) => `+ ${subject}: ${line}`),
      ...gone.map((line) => `- ${subject}: ${line}`),
    ];
  });
}

/** Everything on this machine that bears the name of a development cluster, or its links' tag. */
export function leftoversOf(cluster: string): string[] {
  const inventory = takeInventory();
  // The names of links are too short for a cluster's name (cli/dev/plan.ts).
  const tag = createHash('sha256').update(cluster).digest('hex').slice(0, 6);
  const pattern = new RegExp(`skep[^ ]*\\b${cluster}\\b|\\bsk[bv]-${tag}\\b`);
  return SUBJECTS.flatMap((subject) =>
    inventory[subject].filter((line) => pattern.test(line)).map((line) => `${subject}: ${line}`),
  );
}

interface ProcessState {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
}

function readProcesses(): Map<number, ProcessState> {
  const processes = new Map<number, ProcessState>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const text = read(`/proc/${name}/stat`);
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    if (fields.length < 2) continue; // it ended just now
    const pid = Number(name);
    processes.set(pid, { pid, parent: Number(fields[1]), state: fields[0]! });
  }
  return processes;
}

/**
 * Whether a process belongs to something that was set free: a daemon, a shim, a task. False for the
 * test's own tree and for whatever else runs below a living session of somebody at this machine.
 */
function isOrphanTree(pid: number, all: ReadonlyMap<number, ProcessState>): boolean {
  const own = new Set<number>();
  for (let at = all.get(process.pid); at && at.pid > 1; at = all.get(at.parent)) own.add(at.pid);
  for (let at = all.get(pid); at && at.pid > 1; at = all.get(at.parent)) {
    if (own.has(at.pid)) return false;
  }
  return true;
}

const commandOf = (pid: number): string =>
  read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim() || read(`/proc/${pid}/comm`).trim();

const groupsOf = (pid: number): string =>
  [
    ...new Set(
      read(`/proc/${pid}/cgroup`)
        .trim()
        .split('\n')
        .map((line) => line.split(':')[2]),
    ),
  ]
    .filter((path) => path !== undefined && path !== '/')
    .join(' ');

/** Type, place and source; not the number, which the kernel gives anew. */
function mountLines(): string[] {
  return read('/proc/self/mountinfo')
    .trim()
    .split('\n')
    .map((line) => {
      const fields = line.split(' ');
      const [type, source] = fields.slice(fields.indexOf('-') + 1);
      return `${fields[4]} ${type} ${source}`;
    });
}

/** Named ones, and those that only these processes hold. */
function namespaceLines(pids: readonly number[]): string[] {
  const named = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  const own = link('/proc/self/ns/net');
  const held = pids
    .map((pid) => link(`/proc/${pid}/ns/net`))
    .filter((id) => !['', own].includes(id));
  return [...named.map((name) => `name ${name}`), ...new Set(held)];
}

/** `7: skb-1a2b3c: <BROADCAST...` -> `skb-1a2b3c` */
const linkName = (line: string): string => line.split(': ')[1]?.split('@')[0] ?? line;

/** Every group but those of the machine's own services. */
function cgroupLines(): string[] {
  const walk = (dir: string): string[] => {
    let names: string[];
    try {
      names = readdirSync(dir, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name);
    } catch {
      return []; // removed meanwhile
    }
    return names.flatMap((name) => [`${dir}/${name}`, ...walk(`${dir}/${name}`)]);
  };
  return walk('/sys/fs/cgroup');
}

function fileLines(): string[] {
  return FILE_PARENTS.filter((parent) => existsSync(parent) && link(parent) === '').flatMap(
    (parent) =>
      readdirSync(parent)
        .filter((name) => name.startsWith('skep'))
        .map((name) => `${parent}/${name}`)
        .filter((path) => !KEPT_FILES.includes(path))
        .flatMap((path) => [path, ...childLines(path)]),
  );
}

/** Two levels suffice to name what was left. */
function childLines(path: string, depth = 2): string[] {
  if (depth === 0) return [];
  try {
    return readdirSync(path).flatMap((name) => [
      `${path}/${name}`,
      ...childLines(`${path}/${name}`, depth - 1),
    ]);
  } catch {
    return []; // a file, or gone meanwhile
  }
}

function commandLines(program: string, args: readonly string[]): string[] {
  const text = execFileSync(program, args, { encoding: 'utf8' });
  return text.split('\n').filter((line) => line.trim() !== '');
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** A symbolic link's target; '' when it is none. */
function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
