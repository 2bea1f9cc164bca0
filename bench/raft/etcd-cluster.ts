/**
 * Three members of Debian's etcd on loopback, as its defaults are but for mutual TLS everywhere: among
 * the members and from the client, as ours.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Identity } from '../../common/pki/identity.ts';
import { BenchAuthority } from '../support/bench-authority.ts';
import { endAtExit, runProgram, temporaryDirectory } from '../support/cleanup.ts';
import type { HelperProcess } from '../support/helper-process.ts';
import { say } from '../support/report.ts';
import type { ClientOperations } from './client-process.ts';

const MEMBERS = 3;
const PACKAGE = 'etcd-server';
const START_LIMIT_MS = 30_000;
/** Members check each other's certificate against the name they dial. */
const HOST = 'localhost';

export interface EtcdTarget {
  /** Of the leader, `IP:port` */
  readonly address: string;
  readonly identity: Identity;
}

/** Resolves with the version. Installs the package when it is missing. */
export async function requireEtcd(): Promise<string> {
  const version = async (): Promise<string> =>
    /etcd Version: (\S+)/.exec(await runProgram('etcd', ['--version']))?.[1] ?? 'unknown';
  try {
    return await version();
  } catch {
    say(`installs ${PACKAGE}`);
    await runProgram('apt-get', ['install', '-y', '--no-install-recommends', PACKAGE]);
    return version();
  }
}

/** Starts the members; resolves with where and as whom to call. They end with this process. */
export async function startEtcd(client: HelperProcess<ClientOperations>): Promise<EtcdTarget> {
  const dir = temporaryDirectory('etcd');
  const identity = await (await BenchAuthority.create()).manager(HOST);
  const ports = await freePorts(2 * MEMBERS);
  const members = Array.from({ length: MEMBERS }, (_, i) => ({
    name: `m${i}`,
    clientPort: ports[2 * i]!,
    peerPort: ports[2 * i + 1]!,
  }));
  const peerUrl = (port: number): string => `https://${HOST}:${port}`;
  const cluster = members.map(({ name, peerPort }) => `${name}=${peerUrl(peerPort)}`).join(',');
  const tls = mutualTlsArguments(dir, identity);
  for (const { name, clientPort, peerPort } of members) {
    const url = `https://127.0.0.1:${clientPort}`;
    startDying('etcd', [
      ...['--name', name, '--data-dir', join(dir, name), '--logger', 'zap'],
      ...['--log-level', 'error', '--initial-cluster', cluster],
      ...['--listen-client-urls', url, '--advertise-client-urls', url],
      ...['--listen-peer-urls', `https://127.0.0.1:${peerPort}`],
      ...['--initial-advertise-peer-urls', peerUrl(peerPort), ...tls],
    ]);
  }
  const deadlineMs = performance.now() + START_LIMIT_MS;
  for (;;) {
    for (const { clientPort } of members) {
      const target = { address: `127.0.0.1:${clientPort}`, identity };
      if (await client.ask('etcdLeads', target).catch(() => false)) return target;
    }
    if (performance.now() > deadlineMs) throw new Error('etcd has no leader');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function mutualTlsArguments(dir: string, { certPem, keyPem, rootPem }: Identity): string[] {
  const file = (name: string, pem: string): string => {
    const path = join(dir, name);
    writeFileSync(path, pem, { mode: 0o600 });
    return path;
  };
  const cert = file('cert.pem', certPem);
  const key = file('key.pem', keyPem);
  const ca = file('ca.pem', rootPem);
  return ['', 'peer-'].flatMap((side) => [
    ...[`--${side}cert-file=${cert}`, `--${side}key-file=${key}`],
    ...[`--${side}trusted-ca-file=${ca}`, `--${side}client-cert-auth`],
  ]);
}

/** The kernel ends it should this process die without a chance to. */
function startDying(command: string, args: readonly string[]): void {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], {
    stdio: ['ignore', 'ignore', 'ignore'],
  });
  if (child.pid !== undefined) child.once('exit', endAtExit(child.pid));
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
