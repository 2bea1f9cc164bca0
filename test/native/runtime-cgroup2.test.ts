// The limits and the suites that depend on them once more, on cgroup v2, and AppArmor: in a virtual machine, because
// the machine at hand may have v1, and no AppArmor. One boot for all.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bundled, bundledSuites } from '../support/bundled.ts';
import type { Cgroup2Report } from '../support/cgroup2-probe.ts';
import type { SuiteReport } from '../support/cgroup2-suites.ts';

const root = join(import.meta.dirname, '../..');
const canRun =
  process.getuid?.() === 0 &&
  process.arch === 'x64' &&
  spawnSync('qemu-system-x86_64', ['--version']).status === 0;
/** The machine emulates its processor: everything takes about twenty times as long, and twice that beside another suite. */
const LIMIT_SECONDS = 3000;
/** What is left is for the probe. */
const SUITES_SECONDS = 2500;
/** To make the programs, and to wait for another's kernel. */
const BEFORE_SECONDS = 120;
const NO_MACHINE = 125;
/** Lines that are neither of a suite nor of the probe, which are shown where one of these is missing. */
const OTHERS_MAX = 100;
const OUTPUT_MAX = 64 * 1024 * 1024;
/**
 * All that make containers, but for those that start hundreds of processes of Node or compile programs: of steps at which a
 * daemon dies, of leaks, of earlier releases, of nonsense on the shim's socket.
 */
const SUITES = [
  ...['adoption', 'container', 'course', 'escape', 'exec', 'isolation', 'joined', 'limits'],
  ...['log-drivers', 'logs', 'oci', 'renew', 'spares', 'spec', 'stdio', 'supervision', 'sweep'],
  'users',
]
  .map((name) => `test/native/runtime-${name}.test.ts`)
  .concat('test/native/images-volumes.test.ts');

describe.skipIf(!canRun)('native runtime on cgroup v2 (needs qemu)', () => {
  let report: Cgroup2Report;
  const suites = new Map<string, SuiteReport['tests']>();
  const begun = new Set<string>();
  /** how the machine ended, and the last that it said */
  let ending = '';
  /** why there is no machine (no kernel to be had, for one); null = there is */
  let unavailable: string | null = null;
  let folder = '';
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  beforeAll(
    async () => {
      const vm = join(root, 'test/support/cgroup2-vm');
      const [probe, runner] = ['cgroup2-probe.ts', 'cgroup2-suites.ts'].map(bundled);
      folder = await bundledSuites(SUITES);
      // The suites first: with a profile for containers in general they would be under it.
      const words = `timeout -k 10 ${SUITES_SECONDS} node ${runner} ${folder}; echo "suites ended with $?"; node ${probe}`;
      const run = spawnSync(vm, ['-t', `${LIMIT_SECONDS}`, 'sh', '-c', words], {
        cwd: root,
        encoding: 'utf8',
        maxBuffer: OUTPUT_MAX,
      });
      if (run.status === NO_MACHINE) {
        unavailable = run.stderr.trim();
        return;
      }
      const lines = run.stdout.split('\n');
      const told = (word: string) =>
        lines
          .filter((line) => line.startsWith(`${word} `))
          .map((line) => line.slice(word.length + 1));
      for (const name of told('begun')) begun.add(name);
      for (const { name, tests } of told('suite').map((line): SuiteReport => JSON.parse(line))) {
        suites.set(name, tests);
      }
      const others = lines.filter((line) => !/^(begun|suite|report) /.test(line));
      ending = `the machine ended with ${run.status}\n${others.slice(-OTHERS_MAX).join('\n')}\n${run.stderr}`;
      const [probed] = told('report');
      if (probed !== undefined) report = JSON.parse(probed);
    },
    (LIMIT_SECONDS + BEFORE_SECONDS) * 1000,
  );

  beforeEach((context) => {
    if (unavailable !== null) context.skip(unavailable);
  });

  test.each(SUITES)('%s passes', (file) => {
    const name = basename(file, '.ts');
    const tests = suites.get(name);
    if (!tests) throw new Error(`${begun.has(name) ? 'not ended' : 'not begun'}: ${ending}`);
    expect(tests.filter(({ status }) => status === 'failed')).toEqual([]);
    // Not a suite that skips itself there.
    const passed = tests.filter(({ status }) => status === 'passed').length;
    expect(passed).toBeGreaterThan(tests.length / 2);
  });

  describe('limits, devices and profiles there', () => {
    beforeEach(() => {
      if (unavailable === null && !report) throw new Error(`no report of the probe: ${ending}`);
    });

    test('every controller is there', () => {
      expect(report.controllers.split(' ')).toEqual(
        expect.arrayContaining(['cpu', 'memory', 'pids']),
      );
    });

    test('half a core is half a core', () => {
      expect(report.cpuMax).toBe('50000 100000');
      expect(report.throttledPeriods).toBeGreaterThan(10);
      expect(report.cores).toBeGreaterThan(0.45);
      expect(report.cores).toBeLessThan(0.55);
    });

    test('memory: no swap, OOM with 137', () => {
      expect(report).toMatchObject({ memoryMax: `${64 * 1024 * 1024}`, swapMax: '0' });
      expect(report.oom).toEqual({ exitCode: 137, oomKilled: true });
    });

    test('a fork storm stops at the pids limit', () => {
      expect(report.pidsMax).toBe('20');
      expect(report.pids).toBeLessThanOrEqual(20);
      expect(report.pidsLog).toContain("can't fork");
    });

    test('the device program lets the default devices through and no others', () => {
      expect(report.devices).toMatch(/^null\n/);
      expect(report.devices).toContain('Operation not permitted');
    });

    test('init and exec are in the task group, which is the root of their cgroup namespace', () => {
      expect(report.cgroupPath).toMatch(/^0::\/skep-test-[^/]+\/exec$/);
      expect(report.exec).toBe('0::/\n');
    });

    test('weights, sets of CPUs and reserved memory; swappiness is refused by name', () => {
      expect(report).toMatchObject({
        cpuset: '0',
        cpuWeight: '20',
        memoryLow: `${32 * 1024 * 1024}`,
      });
      expect(report.swappiness).toContain('cgroup v2 of this node has no such limit');
    });

    test('the OOM killer, which cannot be disabled there, is refused by name', () => {
      expect(report.oomKillDisable).toContain('OomKillDisable: the OOM killer of cgroup v2 cannot');
    });

    test('a container is under its AppArmor profile, with what runs beside it; one that is not loaded is refused', () => {
      const { apparmor } = report;
      expect(apparmor).toMatchObject({
        current: 'skep-test (enforce)',
        besides: 'skep-test (enforce)\n',
        denied: expect.stringContaining('Permission denied'),
        allowed: 'yes',
        chosen: [null, 'skep-default', 'skep-test'],
        mounting: [expect.stringContaining('Permission denied'), 'mounted'],
      });
      expect(apparmor.refusals[0]).toBe(
        'AppArmor profile "nobody-loaded-it": it is not loaded on this node',
      );
      expect(apparmor.refusals[1]).toContain('nobody-loaded-it');
    });

    test('block IO: throttles and a weight stand in the group, and a limit of 1 MB/s is one', () => {
      const { max, weight, freeSeconds, limitedSeconds } = report.disk;
      expect(max).toBe('rbps=2000000 wbps=1000000 riops=30 wiops=40');
      expect(weight).toMatch(/^default (2930|300)$/m);
      // 2 MiB; the first slice of time is given ahead.
      expect(limitedSeconds - freeSeconds).toBeGreaterThan(1.5);
    });

    test('a volume of an NFS server is mounted while a container uses it, which writes to the server', () => {
      expect(report.nfs).toEqual({ type: 'nfs4', written: 'by the container', mountsAfter: 0 });
    });

    test('an init and a terminal are there as on v1', () => {
      expect(report.pid1).toBe('skep-init\r\n/dev/pts/0');
    });

    test('a frozen container uses nothing and can be killed', () => {
      expect(report.frozenNanos).toBe(0);
      expect(report.killedExitCode).toBe(137);
    });

    test('no group is left', () => {
      expect(report.leftovers).toEqual([]);
    });
  });
});
