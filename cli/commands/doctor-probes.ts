/** What `skep doctor` looks at on this host. Says what it finds, and nothing of what that means. */
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { networkInterfaces, release } from 'node:os';
import { dirname } from 'node:path';
import { parseMountinfo } from '../../common/base/mountinfo.ts';

/** null = it worked; else why not. */
export type Trial = string | null;

export interface HostFacts {
  readonly isRoot: boolean;
  readonly nodeVersion: string;
  readonly kernel: string;
  readonly trials: Readonly<Record<TrialName, Trial>>;
  readonly cgroups: {
    readonly version: 'v1' | 'v2' | 'hybrid' | 'none';
    readonly controllers: readonly string[];
  };
  /** that skep needs, e.g. `2377/tcp` */
  readonly ports: readonly string[];
  /** those of them that are taken */
  readonly takenPorts: readonly string[];
  /** chains of a firewall that drop what comes in unless it is let */
  readonly dropping: readonly string[];
  /** of the interface of the default route, or the smallest; null = there is none */
  readonly mtu: number | null;
  readonly mtus: Readonly<Record<string, number>>;
  /** null = nobody says */
  readonly isClockSynchronised: boolean | null;
  readonly disk: {
    readonly path: string;
    readonly freeBytes: number;
    readonly totalBytes: number;
    readonly freeInodesRatio: number;
    readonly type: string;
  };
  readonly openFilesMax: number | null;
  readonly connectionsMax: number | null;
  readonly memoryFreeBytes: number | null;
}

export type TrialName =
  | 'namespaces'
  | 'overlayfs'
  | 'bridge'
  | 'veth'
  | 'vxlan'
  | 'wireguard'
  | 'nftables';

const PROGRAM_MS = 10_000;
/** A connection that takes longer counts as none. */
const CONNECT_MS = 3_000;

/** Each in a network or mount namespace of its own, which ends with the program. */
const TRIALS: Readonly<Record<TrialName, readonly string[]>> = {
  namespaces: ['unshare', '--pid', '--fork', '--mount', '--uts', '--ipc', '--net', 'true'],
  overlayfs: [
    'unshare',
    '--mount',
    'sh',
    '-c',
    'mount -t tmpfs none /mnt && mkdir /mnt/a /mnt/b /mnt/c /mnt/d && mount -t overlay none -o lowerdir=/mnt/a,upperdir=/mnt/b,workdir=/mnt/c /mnt/d',
  ],
  bridge: ['unshare', '--net', 'ip', 'link', 'add', 'name', 'try0', 'type', 'bridge'],
  veth: ['unshare', '--net', 'ip', 'link', 'add', 'name', 'try0', 'type', 'veth'],
  vxlan: [
    ...['unshare', '--net', 'ip', 'link', 'add', 'name', 'try0', 'type', 'vxlan'],
    ...['id', '1', 'dstport', '4789', 'local', '127.0.0.1'],
  ],
  wireguard: ['unshare', '--net', 'ip', 'link', 'add', 'name', 'try0', 'type', 'wireguard'],
  nftables: [
    'unshare',
    '--net',
    'sh',
    '-c',
    'nft add table ip t && nft add chain ip t c "{ type nat hook prerouting priority 0; }" && nft add rule ip t c tcp dport 80 dnat to numgen random mod 2 map "{ 0 : 10.0.0.1, 1 : 10.0.0.2 }" && nft add rule ip t c ct state established accept && nft add chain ip t z "{ type filter hook prerouting priority -300; }" && nft add rule ip t z ct original zone set 1',
  ],
};

/** @param dataPathPort of VXLAN; WireGuard has the one after it */
export async function probeHost(
  dataDir: string,
  dataPathPort: number,
  signal: AbortSignal,
): Promise<HostFacts> {
  const trials: Partial<Record<TrialName, Trial>> = {};
  for (const [name, words] of Object.entries(TRIALS)) {
    trials[name as TrialName] = await attempt(words, signal);
  }
  const mtus = await linkMtus(signal);
  const ports = [CONTROL_PORT, `${dataPathPort}/udp`, `${dataPathPort + 1}/udp`];
  return {
    isRoot: process.getuid?.() === 0,
    nodeVersion: process.versions.node,
    kernel: release(),
    trials: trials as Record<TrialName, Trial>,
    cgroups: cgroups(),
    ports,
    takenPorts: await takenPorts(ports),
    dropping: await droppingChains(signal),
    mtu: mtus[defaultLink() ?? ''] ?? smallest(Object.values(mtus)),
    mtus,
    isClockSynchronised: await clockSynchronised(signal),
    disk: await disk(dataDir, signal),
    openFilesMax: openFilesMax(),
    connectionsMax: numberIn('/proc/sys/net/netfilter/nf_conntrack_max'),
    memoryFreeBytes: memoryFree(),
  };
}

// ---- programs ------------------------------------------------------------------------------------

interface Outcome {
  readonly ok: boolean;
  readonly stdout: string;
  readonly words: string;
}

function run([program = '', ...words]: readonly string[], signal: AbortSignal): Promise<Outcome> {
  return new Promise((done) => {
    const options = { timeout: PROGRAM_MS, signal, encoding: 'utf8' as const };
    execFile(program, words, options, (err, stdout, stderr) => {
      const isMissing = (err as NodeJS.ErrnoException | null)?.code === 'ENOENT';
      const said = stderr.trim().split('\n')[0] ?? '';
      const why = isMissing ? `the program ${program} is not there` : said || String(err?.message);
      done({ ok: err === null, stdout, words: err === null ? '' : why });
    });
  });
}

async function attempt(words: readonly string[], signal: AbortSignal): Promise<Trial> {
  const { ok, words: why } = await run(words, signal);
  return ok ? null : why;
}

async function droppingChains(signal: AbortSignal): Promise<readonly string[]> {
  const { ok, stdout } = await run(['nft', '-j', 'list', 'chains'], signal);
  if (!ok) return [];
  const { nftables } = JSON.parse(stdout) as {
    nftables: {
      chain?: { family: string; table: string; name: string; hook?: string; policy?: string };
    }[];
  };
  return nftables.flatMap(({ chain }) =>
    chain?.hook === 'input' && chain.policy === 'drop'
      ? [`${chain.family} ${chain.table} ${chain.name}`]
      : [],
  );
}

async function clockSynchronised(signal: AbortSignal): Promise<boolean | null> {
  const words = ['timedatectl', 'show', '--property=NTPSynchronized', '--value'];
  const { ok, stdout } = await run(words, signal);
  if (!ok) return null;
  return stdout.trim() === 'yes';
}

async function disk(dataDir: string, signal: AbortSignal): Promise<HostFacts['disk']> {
  let path = dataDir;
  while (!existsSync(path)) path = dirname(path);
  const { bavail, blocks, bsize, ffree, files } = statfsSync(path);
  const type = await run(['stat', '--file-system', '--format=%T', path], signal);
  return {
    path,
    freeBytes: bavail * bsize,
    totalBytes: blocks * bsize,
    freeInodesRatio: files > 0 ? ffree / files : 1,
    type: type.ok ? type.stdout.trim() : 'unknown',
  };
}

// ---- files of the kernel -------------------------------------------------------------------------

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function numberIn(path: string): number | null {
  const text = textOf(path).trim();
  return /^\d+$/.test(text) ? Number(text) : null;
}

function cgroups(): HostFacts['cgroups'] {
  const mounts = parseMountinfo(textOf('/proc/self/mountinfo'));
  const hasTree = mounts.some(({ type }) => type === 'cgroup2');
  const controllers = mounts
    .filter(({ type }) => type === 'cgroup')
    .flatMap(({ superOptions }) => superOptions)
    .filter((word) => word !== 'rw' && !word.includes('='));
  if (controllers.length > 0) return { version: hasTree ? 'hybrid' : 'v1', controllers };
  if (!hasTree) return { version: 'none', controllers: [] };
  const unified = textOf('/sys/fs/cgroup/cgroup.controllers').trim().split(/\s+/);
  return { version: 'v2', controllers: unified };
}

function openFilesMax(): number | null {
  const [, soft] = /^Max open files\s+\d+\s+(\d+)/m.exec(textOf('/proc/self/limits')) ?? [];
  return soft === undefined ? null : Number(soft);
}

function memoryFree(): number | null {
  const [, kib] = /^MemAvailable:\s+(\d+) kB/m.exec(textOf('/proc/meminfo')) ?? [];
  return kib === undefined ? null : Number(kib) * 1024;
}

/** The interface that the default route leads through. */
function defaultLink(): string | null {
  const route = textOf('/proc/net/route')
    .split('\n')
    .map((line) => line.split('\t'))
    .find(([, destination]) => destination === '00000000');
  return route?.[0] ?? null;
}

/** Of links that have addresses. /sys would tell of the network in which it was mounted. */
async function linkMtus(signal: AbortSignal): Promise<Record<string, number>> {
  const { ok, stdout } = await run(['ip', '-json', 'link', 'show'], signal);
  if (!ok) return {};
  const links = JSON.parse(stdout) as { readonly ifname: string; readonly mtu: number }[];
  const used = Object.keys(networkInterfaces()).filter((name) => name !== 'lo');
  return Object.fromEntries(
    links.filter(({ ifname }) => used.includes(ifname)).map(({ ifname, mtu }) => [ifname, mtu]),
  );
}

const smallest = (numbers: readonly number[]): number | null =>
  numbers.length > 0 ? Math.min(...numbers) : null;

// ---- ports and paths -----------------------------------------------------------------------------

const CONTROL_PORT = '2377/tcp';

async function takenPorts(ports: readonly string[]): Promise<string[]> {
  const taken: string[] = [];
  for (const port of ports) {
    const number = Number.parseInt(port, 10);
    const isFree = port.endsWith('/tcp') ? await canListen(number) : await canBind(number);
    if (!isFree) taken.push(port);
  }
  return taken;
}

function canListen(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(false));
    server.listen(port, '0.0.0.0', () => server.close(() => done(true)));
  });
}

function canBind(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = createSocket('udp4');
    socket.once('error', () => socket.close(() => done(false)));
    socket.bind(port, '0.0.0.0', () => socket.close(() => done(true)));
  });
}

export interface PathFacts {
  readonly address: string;
  /** answers to small packets; null = `ping` is not there to ask */
  readonly answers: boolean | null;
  /** and to packets of the whole MTU, which may not be divided */
  readonly passesWhole: boolean;
  /** where all calls of the cluster go, e.g. `2377/tcp` */
  readonly port: string;
  /** somebody takes connections there */
  readonly isServed: boolean;
}

export interface PathEnd {
  readonly address: string;
  /** of the cluster's calls */
  readonly port: number;
}

/** IP and ICMP headers. */
const PING_HEADER_BYTES = 28;

/** @param mtu of this host; null = unknown: no packets of that size are sent */
export async function probePaths(
  ends: readonly PathEnd[],
  mtu: number | null,
  signal: AbortSignal,
): Promise<readonly PathFacts[]> {
  return Promise.all(
    ends.map(async ({ address, port }): Promise<PathFacts> => {
      const isServed = await canConnect(address, port);
      const served = { address, port: `${port}/tcp`, isServed };
      const ping = ['ping', '-c', '2', '-i', '0.2', '-W', '1'];
      const small = await run([...ping, address], signal);
      if (!small.ok) {
        const isMissing = small.words.includes('is not there');
        return { ...served, answers: isMissing ? null : false, passesWhole: false };
      }
      if (mtu === null) return { ...served, answers: true, passesWhole: true };
      const size = String(mtu - PING_HEADER_BYTES);
      const whole = await run([...ping, '-M', 'do', '-s', size, address], signal);
      return { ...served, answers: true, passesWhole: whole.ok };
    }),
  );
}

function canConnect(host: string, port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ host, port, timeout: CONNECT_MS });
    const end = (isServed: boolean): void => {
      socket.destroy();
      done(isServed);
    };
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(false));
    socket.once('error', () => end(false));
  });
}
