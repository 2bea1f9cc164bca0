/**
 * Who listens on a port of this host, for the error of whoever cannot have it: read from /proc once,
 * when it is asked for. Knows nothing of what we hold ourselves.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const TCP_LISTEN = '0A';

/** `process nginx (pid 123)`; `a process` when it cannot be told. */
export function portHolder(protocol: 'tcp' | 'udp', port: number, proc = '/proc'): string {
  const inodes = new Set(
    [`${protocol}`, `${protocol}6`].flatMap((table) => {
      return inodesOf(textOf(`${proc}/self/net/${table}`), protocol, port);
    }),
  );
  if (inodes.size === 0) return 'a process';
  for (const pid of namesIn(proc).filter((name) => /^\d+$/.test(name))) {
    if (!holdsOne(`${proc}/${pid}/fd`, inodes)) continue;
    return `process ${textOf(`${proc}/${pid}/comm`).trim() || '?'} (pid ${pid})`;
  }
  return 'a process';
}

/** Of sockets that are bound to the port; of TCP's those that listen. */
function inodesOf(table: string, protocol: 'tcp' | 'udp', port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  return table.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    const isMeant = local.endsWith(`:${wanted}`) && (protocol === 'udp' || state === TCP_LISTEN);
    return isMeant ? [`socket:[${inode}]`] : [];
  });
}

function holdsOne(dir: string, inodes: ReadonlySet<string>): boolean {
  return namesIn(dir).some((fd) => {
    try {
      return inodes.has(readlinkSync(`${dir}/${fd}`));
    } catch {
      return false; // closed meanwhile
    }
  });
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return []; // its process ended, or is not to be looked into
  }
}
