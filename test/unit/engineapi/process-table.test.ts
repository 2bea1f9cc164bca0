import { describe, expect, test } from 'vitest';
import { processTable } from '../../../daemon/engineapi/json/process-table.ts';
import { bootTimeMs, processRow } from '../../../worker/runtime/process-list.ts';

const BOOT_MS = 1_000_000_000_000;
const NOW = { nowMs: BOOT_MS + 100_000, memoryBytes: 10 * 4096 };
/** As proc(5) has them: started 50 s after the boot, used 5 s of CPU, 2 pages resident, on pts/3. */
const STAT = `42 (a (b) c) S 7 1 1 ${(136 << 8) | 3} 0 0 0 0 0 0 400 100 0 0 20 0 1 0 5000 8192 2 0`;
const STATUS = 'Name:\ta\nUid:\t1\t1000\t1\t1\n';
const ROW = processRow(42, BOOT_MS, STAT, STATUS, 'sh\0-c\0x\0');

describe('docker top', () => {
  test('reads a process from its files', () => {
    expect(ROW).toEqual({
      pid: 42,
      parentPid: 7,
      uid: 1000,
      state: 'S',
      terminal: 'pts/3',
      startedAtMs: BOOT_MS + 50_000,
      cpuMs: 5_000,
      virtualBytes: 8192,
      residentBytes: 8192,
      name: 'a (b) c',
      command: 'sh -c x',
    });
    expect(processRow(1, 0, '1 (k) R 0 0 0 0', '', '')).toMatchObject({
      terminal: '?',
      uid: 0,
      command: '[k]',
    });
    expect(bootTimeMs('cpu 1\nbtime 12\n')).toBe(12_000);
  });

  test.each<[string, string[], (string | RegExp)[]]>([
    ['', ['UID', 'PID', 'PPID', 'C'], ['1000', '42', '7', '10']],
    ['-ef', ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'], ['1000', '42', '7', '10']],
    [
      'aux',
      ['USER', 'PID', '%CPU', '%MEM', 'VSZ', 'RSS'],
      ['1000', '42', '10.0', '20.0', '8', '8'],
    ],
    ['-o pid,comm', ['PID', 'COMMAND'], ['42', 'a (b) c']],
    ['-eo pid,args,time', ['PID', 'COMMAND', 'TIME'], ['42', 'sh -c x', '00:00:05']],
  ])('prints the columns of ps %s', (psArgs, titles, cells) => {
    const table = processTable([ROW], psArgs, NOW);
    expect(table.Titles.slice(0, titles.length)).toEqual(titles);
    expect(table.Processes[0]?.slice(0, cells.length)).toEqual(cells);
  });

  test.each(['--forest', '-o nope', 'x; rm'])('%j is refused by name', (psArgs) => {
    expect(() => processTable([ROW], psArgs, NOW)).toThrow(
      expect.objectContaining({ code: 'unimplemented' }),
    );
  });
});
