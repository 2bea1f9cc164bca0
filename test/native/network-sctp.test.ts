// SCTP by real sockets: here where the kernel has them, else in a virtual machine.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bundled } from '../support/bundled.ts';
import { HOST_PROGRAM, PYTHON } from '../support/network-lab.ts';
import type { SctpReport } from '../support/sctp-probe.ts';

const root = join(import.meta.dirname, '../..');
const script = join(root, 'test/support/network-sctp-sockets.py');
const isRoot = process.getuid?.() === 0;
const hasPython = existsSync(PYTHON);
const hasSockets = hasPython && spawnSync(PYTHON, [script, 'can']).status === 0;
const hasMachine =
  process.arch === 'x64' && spawnSync('qemu-system-x86_64', ['--version']).status === 0;
const canRun = isRoot && hasPython && (hasSockets || hasMachine);
const where = hasSockets ? 'on this kernel' : 'in a virtual machine';
const title = canRun
  ? `SCTP by real sockets (${where})`
  : 'SCTP by real sockets (skipped: this kernel has none, and root, Python or qemu is missing)';
/** The machine emulates its processor: everything takes about twenty times as long. */
const LIMIT_SECONDS = 600;
const NO_MACHINE = 125;
const BYTES = 20_000;

describe.skipIf(!canRun)(title, () => {
  let report: SctpReport;
  /** why there is no machine (no kernel to be had, for one); null = there is */
  let unavailable: string | null = null;
  beforeAll(() => {
    const host = `${HOST_PROGRAM}=${bundled('network-host.ts')}`;
    const probe = ['env', host, 'node', bundled('sctp-probe.ts'), script];
    const vm = [join(root, 'test/support/cgroup2-vm'), '-t', `${LIMIT_SECONDS}`];
    const [program = '', ...args] = hasSockets ? probe : [...vm, ...probe];
    const run = spawnSync(program, args, { cwd: root, encoding: 'utf8' });
    if (run.status === NO_MACHINE && !hasSockets) {
      unavailable = run.stderr.trim();
      return;
    }
    const line = run.stdout.split('\n').find((text) => text.startsWith('report '));
    if (line === undefined) throw new Error(`exit ${run.status}\n${run.stdout}\n${run.stderr}`);
    report = JSON.parse(line.slice('report '.length));
  }, LIMIT_SECONDS * 1000);

  beforeEach((context) => {
    if (unavailable !== null) context.skip(unavailable);
  });

  test('tasks reach one another, by address and by virtual IP, which alternates', () => {
    const from = `10.0.1.14 ${BYTES}`;
    expect(report.byAddress).toBe(`web2 ${from}`);
    expect(report.byVirtualIp).toEqual([`web1 ${from}`, `web2 ${from}`]);
  });

  test('published ports answer on every host, and the client keeps its address', () => {
    const from = `${report.outsideAddress} ${BYTES}`;
    const both = [`web1 ${from}`, `web2 ${from}`];
    expect(report.byPublishedPort).toEqual([...both, ...both]);
    expect(report.byHostPort).toBe(`web2 ${from}`);
  });

  test('who serves no more gets nothing new', () => {
    expect(report.afterOneEnded.map((said) => said.split(' ')[0])).toEqual(
      Array.from({ length: 4 }, () => 'web2'),
    );
  });
});
