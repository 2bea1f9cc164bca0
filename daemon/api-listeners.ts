/**
 * Binds the Engine API to its places: unix sockets with their group and mode, TCP with TLS, sockets that the process
 * was started with (systemd). Knows nothing of what is served there.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { chmod, chown, mkdir, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { SkepError } from '../common/base/errors.ts';
import type { Logger } from '../common/base/log.ts';
import { type ApiHost, type ApiSecurity, isOpen, requireClosed } from './api-hosts.ts';
import type { EngineServer, ServerTls } from './engineapi/server.ts';
import { findGroupId } from './groups.ts';

/** A socket that listens already. */
export interface PassedSocket {
  readonly fd: number;
  /** '' = it has none */
  readonly name: string;
}

export interface ApiListenersOptions {
  readonly server: Pick<EngineServer, 'listen'>;
  /** of unix sockets: a name, a number, or '' = the daemon's own */
  readonly group: string;
  /** of unix sockets: permission bits */
  readonly socketMode: number;
  readonly passed: readonly PassedSocket[];
  readonly log: Logger;
}

/** Resolves with what removes the place again, when connections are accepted there. Throws when it cannot be served. */
export async function listenAt(
  host: ApiHost,
  options: ApiListenersOptions,
): Promise<() => Promise<void>> {
  const { server } = options;
  switch (host.kind) {
    case 'unix':
      return listenAtPath(host.path, options);
    case 'tcp': {
      const { port, security } = host;
      warnWhenOpen(`${host.host}:${port}`, security, options);
      const tls = await loadTls(security);
      const place = { host: host.host, port };
      await bound(`tcp://${host.host}:${port}`, server.listen(place, tls));
      return async () => {};
    }
    case 'fd':
      for (const { fd } of chosen(host.which, options.passed)) {
        await listenAtDescriptor(fd, host, options);
      }
      return async () => {};
  }
}

async function listenAtPath(
  path: string,
  options: ApiListenersOptions,
): Promise<() => Promise<void>> {
  const groupId = options.group === '' ? null : await groupIdOf(options.group);
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  if (await isAnswered(path)) {
    const words = `serve the API at unix://${path}: another daemon serves there`;
    throw new SkepError('unavailable', words);
  }
  await rm(path, { force: true }); // of one that ended without its leave
  await bound(`unix://${path}`, options.server.listen({ path }));
  // Until here the umask of the daemon holds, which lets nobody else write to it.
  if (groupId !== null) await chown(path, 0, groupId);
  await chmod(path, options.socketMode);
  return () => rm(path, { force: true });
}

/** Somebody takes connections there. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (is: boolean): void => {
      socket.destroy();
      resolve(is);
    };
    socket.once('connect', () => settle(true));
    // EAGAIN: one that has more to do than it can take.
    socket.once('error', (err: NodeJS.ErrnoException) => settle(err.code === 'EAGAIN'));
  });
}

async function listenAtDescriptor(
  fd: number,
  { security, mayBeOpen }: Extract<ApiHost, { kind: 'fd' }>,
  options: ApiListenersOptions,
): Promise<void> {
  const place = `fd://${fd}`;
  if (isUnixSocket(fd)) {
    await bound(place, options.server.listen({ fd }));
    return;
  }
  requireClosed(place, security, mayBeOpen);
  warnWhenOpen(place, security, options);
  await bound(place, options.server.listen({ fd }, await loadTls(security)));
}

function chosen(which: string, passed: readonly PassedSocket[]): readonly PassedSocket[] {
  const found = passed.filter(
    ({ fd, name }) => which === '' || which === String(fd) || which === name,
  );
  if (found.length > 0) return found;
  const there = passed.map(({ fd, name }) => (name === '' ? fd : `${fd} (${name})`)).join(', ');
  throw new SkepError(
    'invalid-argument',
    `--host fd://${which}: no such socket was passed to this process; there ${
      there === '' ? 'is none' : `are: ${there}`
    }`,
  );
}

/** The kernel's table of unix sockets holds its inode. */
function isUnixSocket(fd: number): boolean {
  const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
  if (inode === undefined) {
    throw new SkepError('invalid-argument', `--host fd://${fd}: it is no socket`);
  }
  const lines = readFileSync('/proc/net/unix', 'utf8').split('\n');
  return lines.some((line) => line.split(/ +/)[6] === inode);
}

async function loadTls(security: ApiSecurity): Promise<ServerTls | null> {
  if (security.kind === 'plain') return null;
  const { certPath, keyPath, clientCaPath } = security;
  return {
    cert: await pem('--tlscert', certPath),
    key: await pem('--tlskey', keyPath),
    clientCa: clientCaPath === null ? null : await pem('--tlscacert', clientCaPath),
  };
}

async function pem(flag: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new SkepError('invalid-argument', `read ${flag}`, { cause });
  }
}

function warnWhenOpen(place: string, security: ApiSecurity, { log }: ApiListenersOptions): void {
  if (isOpen(security))
    log.warn({ place }, 'whoever connects to the API here is root on this host');
}

async function bound(place: string, listening: Promise<void>): Promise<void> {
  try {
    await listening;
  } catch (cause) {
    throw new SkepError('unavailable', `serve the API at ${place}`, { cause });
  }
}

async function groupIdOf(group: string): Promise<number> {
  const id = await findGroupId(group);
  if (id !== null) return id;
  throw new SkepError('invalid-argument', `--group ${group}: /etc/group has no such group`);
}

/**
 * What systemd passed to this process: LISTEN_FDS descriptors from 3 on, when LISTEN_PID is ours; their names are in
 * LISTEN_FDNAMES (sd_listen_fds(3)).
 */
export function passedSockets(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
): readonly PassedSocket[] {
  if (env['LISTEN_PID'] !== String(pid)) return [];
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':');
  const count = Number(env['LISTEN_FDS'] ?? 0);
  if (!Number.isInteger(count) || count < 0) return [];
  return Array.from({ length: count }, (_, i) => ({ fd: 3 + i, name: names[i] ?? '' }));
}
