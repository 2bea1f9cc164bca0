/**
 * A lock on a directory that ends with its holder's life, made of what Node offers: listening Unix
 * sockets. (Node has no flock; a pid file cannot tell a dead holder from a reused pid.) Knows
 * nothing of what the directory holds.
 *
 * The holder listens on a socket that carries the name `lock.<n>`. The kernel refuses connections to
 * it from the moment its process is gone, so anybody can tell a dead lock from a live one, in any
 * network namespace. A dead lock is never taken over or removed first: the newcomer links `<n+1>`,
 * which only one can. INVARIANT: among live holders only the highest number counts, and a newcomer
 * that finds a higher one after linking steps back.
 */
import * as fs from 'node:fs';
import net from 'node:net';
import { SkepError } from '../../common/base/errors.ts';
import { type DiskLock, errnoOf } from './disk.ts';

const LOCK_NAME = /^lock\.(\d+)$/;
const ATTEMPTS_MAX = 16;

/** Throws SkepError `conflict` when a living process holds the lock of `dir`. */
export async function lockDirectory(dir: string): Promise<DiskLock> {
  // Socket paths end at 107 bytes: the directory is named by a descriptor instead.
  const fd = fs.openSync(dir, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  const base = `/proc/self/fd/${fd}`;
  const candidate = `candidate.${process.pid}.${process.hrtime.bigint().toString(36)}`;
  const server = net.createServer((socket) => socket.destroy());
  try {
    await listen(server, `${base}/${candidate}`);
    await linkNext(dir, base, candidate);
  } catch (err) {
    await closeServer(server);
    fs.closeSync(fd);
    throw err;
  }
  server.unref();
  return {
    release: async () => {
      if (!server.listening) return;
      await closeServer(server); // the name stays behind as a dead lock: see the INVARIANT
      fs.closeSync(fd);
    },
  };
}

/** Whether a living process holds the lock of `dir`. Takes and changes nothing. */
export async function isDirectoryLocked(dir: string): Promise<boolean> {
  const fd = fs.openSync(dir, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    const highest = Math.max(0, ...numbersIn(dir));
    return highest > 0 && (await isLive(`/proc/self/fd/${fd}/lock.${highest}`));
  } finally {
    fs.closeSync(fd);
  }
}

async function linkNext(dir: string, base: string, candidate: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const highest = Math.max(0, ...numbersIn(dir));
    if (highest > 0 && (await isLive(`${base}/lock.${highest}`))) throw held(dir);
    const mine = highest + 1;
    if (!link(`${base}/${candidate}`, `${base}/lock.${mine}`)) continue;
    fs.unlinkSync(`${base}/${candidate}`);
    const rivals = numbersIn(dir).filter((n) => n > mine);
    if (rivals.length > 0) {
      fs.unlinkSync(`${base}/lock.${mine}`);
      throw held(dir);
    }
    for (const n of numbersIn(dir)) if (n < mine) fs.rmSync(`${base}/lock.${n}`, { force: true });
    return;
  }
  throw held(dir);
}

function numbersIn(dir: string): number[] {
  return fs.readdirSync(dir).flatMap((name) => {
    const match = LOCK_NAME.exec(name);
    return match ? [Number(match[1])] : [];
  });
}

/** False when the name is taken. */
function link(from: string, to: string): boolean {
  try {
    fs.linkSync(from, to);
    return true;
  } catch (err) {
    if (errnoOf(err) === 'EEXIST') return false;
    throw err;
  }
}

/** Only a refused connection or a missing name proves that nobody is there. */
function isLive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', (err) => resolve(!['ECONNREFUSED', 'ENOENT'].includes(errnoOf(err))));
  });
}

function listen(server: net.Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
}

function closeServer(server: net.Server): Promise<void> {
  if (!server.listening) return Promise.resolve();
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

function held(dir: string): SkepError {
  return new SkepError(
    'conflict',
    `lock ${dir}: another running process uses this directory: stop it first`,
  );
}
