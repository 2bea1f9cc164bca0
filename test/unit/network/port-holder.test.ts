import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { portHolder } from '../../../worker/network/port-holder.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();
const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
const line = (local: string, state: string, inode: number): string =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0`;

/** nginx listens on TCP 8080 (1F90) by IPv6, and has a connection from 8081 on; dnsd is on UDP 53. */
async function host(): Promise<string> {
  const proc = await folder();
  const net = join(proc, 'self', 'net');
  await mkdir(net, { recursive: true });
  const tables: Record<string, string[]> = {
    tcp: [line('0100007F:1F91', '01', 12)],
    tcp6: [line('00000000000000000000000000000000:1F90', '0A', 11)],
    udp: [line('00000000:0035', '07', 13)],
  };
  for (const [name, lines] of Object.entries(tables)) {
    await writeFile(join(net, name), [HEAD, ...lines, ''].join('\n'));
  }
  for (const [pid, comm, inodes] of [
    ['20', 'other', [99]],
    ['21', 'nginx', [98, 11, 12]],
    ['22', 'dnsd', [13]],
  ] as const) {
    await mkdir(join(proc, pid, 'fd'), { recursive: true });
    await writeFile(join(proc, pid, 'comm'), `${comm}\n`);
    for (const [at, inode] of inodes.entries()) {
      await symlink(`socket:[${inode}]`, join(proc, pid, 'fd', String(at)));
    }
  }
  return proc;
}

describe('who has a port of this host', () => {
  test('is the process that listens, by its name and number', async () => {
    const proc = await host();
    expect(portHolder('tcp', 8080, proc)).toBe('process nginx (pid 21)');
    expect(portHolder('udp', 53, proc)).toBe('process dnsd (pid 22)');
  });

  test('is nobody that can be named where nobody listens', async () => {
    const proc = await host();
    expect(portHolder('tcp', 8081, proc)).toBe('a process');
    expect(portHolder('udp', 8080, proc)).toBe('a process');
    expect(portHolder('tcp', 8080, join(proc, 'nowhere'))).toBe('a process');
  });
});
