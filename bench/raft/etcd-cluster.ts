/** Three members of Debian's etcd on loopback, as its defaults are; without TLS. */
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { endAtExit, runProgram, temporaryDirectory } from '../support/cleanup.ts';
import type { HelperProcess } from '../support/helper-process.ts';
import { say } from '../support/report.ts';
import type { ClientOperations } from './client-process.ts';

const MEMBERS = 3;
const PACKAGE = 'etcd-server';
const START_LIMIT_MS = 30_000;

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

/** Starts the members; resolves with the leader's client address. They end with this process. */
export async function startEtcd(client: HelperProcess<ClientOperations>): Promise<string> {
  const dir = temporaryDirectory('etcd');
  const ports = await freePorts(2 * MEMBERS);
  const members = Array.from({ length: MEMBERS }, (_, i) => ({
    name: `m${i}`,
    client: `127.0.0.1:${ports[2 * i]}`,
    peer: `http://127.0.0.1:${ports[2 * i + 1]}`,
  }));
  const cluster = members.map(({ name, peer }) => `${name}=${peer}`).join(',');
  for (const member of members) {
    const url = `http://${member.client}`;
    startDying('etcd', [
      ...['--name', member.name, '--data-dir', join(dir, member.name), '--logger', 'zap'],
      ...['--log-level', 'error', '--initial-cluster', cluster],
      ...['--listen-client-urls', url, '--advertise-client-urls', url],
      ...['--listen-peer-urls', member.peer, '--initial-advertise-peer-urls', member.peer],
    ]);
  }
  const deadlineMs = performance.now() + START_LIMIT_MS;
  for (;;) {
    for (const { client: address } of members) {
      if (await client.ask('etcdLeads', address).catch(() => false)) return address;
    }
    if (performance.now() > deadlineMs) throw new Error('etcd has no leader');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
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
