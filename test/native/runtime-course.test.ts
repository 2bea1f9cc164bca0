// What courses on containers show with `unshare`, `chroot`, `pivot_root` and control groups, held against ours.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseMountinfo } from '../../common/base/mountinfo.ts';
import { DEFAULT_CAPABILITIES } from '../../worker/runtime/defaults.ts';
import type { OciSpec } from '../../worker/runtime/oci.ts';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const hasIpcmk = spawnSync('ipcmk', ['--version']).error === undefined;

describe.skipIf(!runtimeTestsCanRun)('a container against the course', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
  });
  afterAll(async () => {
    await box.close();
    expect(box.failures).toEqual([]);
  });

  function withProcess(change: Partial<OciSpec['process']>) {
    return (spec: OciSpec): OciSpec => ({ ...spec, process: { ...spec.process, ...change } });
  }

  function withCapability(name: string) {
    const all = [...DEFAULT_CAPABILITIES, name];
    const sets = { bounding: all, effective: all, permitted: all };
    return (spec: OciSpec): OciSpec => {
      const capabilities = { ...spec.process.capabilities, ...sets };
      return { ...spec, process: { ...spec.process, capabilities } };
    };
  }

  test('its network is a loopback that is up, and no route of the host', async () => {
    const { lines } = await box.output('net', 'ip route; ip -o link');
    expect(lines).toEqual([expect.stringMatching(/^1: lo: <LOOPBACK,UP,LOWER_UP>/)]);
  });

  test('a tmpfs of its own is as large as asked, and on no list of the host', async () => {
    const tmpfs = {
      destination: '/scratch',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['size=20m'],
    };
    const script = 'df -k /scratch | tail -n 1 | tr -s " " | cut -d " " -f 2; exec sleep 100';
    const { pid } = await box.run('tmpfs', script, (spec) => ({
      ...spec,
      mounts: [...spec.mounts, tmpfs],
    }));
    await expect.poll(() => box.logText('tmpfs')).toBe('20480');
    const inside = parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
    const outside = parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'));
    expect(inside.map(({ point }) => point)).toContain('/scratch');
    const ours = outside.filter(({ point }) => /scratch/.test(point) || point.includes(box.dir));
    expect(ours).toEqual([]);
    await box.runtime.killAll('tmpfs');
  });

  test('nothing of the host is mounted in it: its root, the kernel’s file systems, its devices', async () => {
    const { pid } = await box.run('mounts', 'exec sleep 100');
    const mounts = parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
    const unknown = mounts.filter(({ point }) => !/^\/(proc|sys|dev)(\/|$)|^\/$/.test(point));
    expect(unknown).toEqual([]);
    expect(mounts.find(({ point }) => point === '/')?.type).toBe('overlay');
    const text = readFileSync(`/proc/${pid}/mountinfo`, 'utf8');
    expect(text).toMatch(/ \/proc rw,nosuid,nodev,noexec,relatime - proc /);
    expect(mounts.filter(({ isShared }) => isShared)).toEqual([]); // what is mounted stays on its side
    await box.runtime.killAll('mounts');
  });

  test('pid 1 is the command itself, with its children and nobody else; the host has its number', async () => {
    const script = 'hostname; pwd; ps -o pid,args; readlink /proc/1/exe; exec sleep 100';
    const { pid } = await box.run('first', script, (spec) => ({ ...spec, hostname: 'course' }));
    await expect.poll(() => box.logText('first')).toContain('busybox');
    const [name, at, , ...more] = (await box.logText('first')).split('\n');
    expect([name, at]).toEqual(['course', '/']);
    expect(hostname()).not.toBe('course');
    expect(more).toEqual([
      expect.stringMatching(/^ +1 sh -c hostname/),
      expect.stringMatching(/^ +\d+ (ps|\{ps\} sh) /),
      '/bin/busybox',
    ]);
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    expect(status).toMatch(new RegExp(`^NSpid:\t${pid}\t1$`, 'm'));
    const list = await box.runtime.exec('first', execSpec(['sh', '-c', 'ps -o pid,args']));
    const { stdout } = await execResult(list);
    expect(stdout).toMatch(/^ +1 sleep 100$/m);
    expect(stdout).toMatch(/^ +\d+ (\{ps\} )?sh -c ps/m); // a second process beside the first
    await box.runtime.killAll('first');
  });

  test.skipIf(!hasIpcmk)(
    'a queue that is made in it is seen neither outside nor beside it',
    async () => {
      const queues = (text: string): number => text.trim().split('\n').length - 1; // but for the heading
      const before = queues(readFileSync('/proc/sysvipc/msg', 'utf8'));
      const { pid } = await box.run('queue', 'exec sleep 100');
      execFileSync('nsenter', ['-t', `${pid}`, '-i', 'ipcmk', '-Q']);
      const list = await box.runtime.exec('queue', execSpec(['cat', '/proc/sysvipc/msg']));
      expect(queues((await execResult(list)).stdout)).toBe(1);
      expect(queues((await box.output('beside', 'cat /proc/sysvipc/msg')).text)).toBe(0);
      expect(queues(readFileSync('/proc/sysvipc/msg', 'utf8'))).toBe(before);
      await box.runtime.killAll('queue');
    },
  );

  test('nsenter of the host goes into all that its pid names', async () => {
    const { pid } = await box.run('enter', 'echo mine > /mine; exec sleep 100', (spec) => ({
      ...spec,
      hostname: 'entered',
    }));
    const into = ['-t', `${pid}`, '-m', '-u', '-i', '-n', '-p', '/bin/sh', '-c'];
    const words = 'hostname; cat /mine; readlink /proc/1/exe; ip -o link | wc -l';
    await expect
      .poll(() => spawnSync('nsenter', [...into, words], { encoding: 'utf8' }).stdout)
      .toBe('entered\nmine\n/bin/busybox\n1\n');
    await box.runtime.killAll('enter');
  });

  test('NET_ADMIN is what changing a link needs', async () => {
    const script = 'ip link set lo down && echo down';
    expect((await box.output('link-denied', script)).text).toMatch(/not permitted/);
    const added = await box.output('link-allowed', script, withCapability('CAP_NET_ADMIN'));
    expect(added.text).toBe('down');
  });

  test('a set-user-id program gives its rights, but under no-new-privileges', async () => {
    const program = join(box.lower, 'bin/as-root');
    const source =
      '#include <stdio.h>\n#include <unistd.h>\nint main(void) { return printf("%d\\n", geteuid()) < 0; }\n';
    execFileSync('cc', ['-static', '-x', 'c', '-o', program, '-'], { input: source });
    chmodSync(program, 0o4755);
    const user = { uid: 1000, gid: 1000, additionalGids: [] };
    const run = (id: string, noNewPrivileges: boolean) =>
      box.output(id, '/bin/as-root', withProcess({ user, noNewPrivileges }));
    expect((await run('setuid', false)).text).toBe('0');
    expect((await run('setuid-held', true)).text).toBe('1000');
  });
});
