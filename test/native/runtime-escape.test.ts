// Attempts to get out of a container, to change the host from within, or to stay when it is to end. Each
// shows the operation that is denied.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unmountTree } from '../../native/ffi/mount.ts';
import {
  DEFAULT_MASKED_PATHS,
  DEFAULT_READONLY_PATHS,
  defaultProcess,
  defaultSpec,
} from '../../worker/runtime/defaults.ts';
import type { OciSpec } from '../../worker/runtime/oci.ts';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const repository = join(import.meta.dirname, '../..');
const FREEZER = '/sys/fs/cgroup/freezer';
const MIB = 1024 * 1024;
/** What reaches nothing but the process itself, or says EINVAL to these arguments before it looks at rights. */
const OF_THEIR_OWN = ['add_key', 'bpf', 'keyctl', 'perf_event_open', 'quotactl', 'userfaultfd'];
/** More than a daemon or a shim could have left open by mistake. */
const DESCRIPTORS = Array.from({ length: 30 }, (_, i) => i);

const hashOf = (path: string): string =>
  createHash('sha256').update(readFileSync(path)).digest('hex');

describe.skipIf(!runtimeTestsCanRun)('native runtime: escape attempts', () => {
  let box: RuntimeBox;
  let secret: string;
  beforeAll(async () => {
    box = await RuntimeBox.open();
    secret = join(box.dir, 'secret');
    writeFileSync(secret, 'of the host');
  });
  afterAll(async () => {
    await box.close();
    expect(box.failures).toEqual([]);
  });

  function withoutPidNamespace(spec: OciSpec): OciSpec {
    const namespaces = spec.linux.namespaces.filter(({ type }) => type !== 'pid');
    return { ...spec, linux: { ...spec.linux, namespaces } };
  }

  test('dots, links and /proc lead to its own root, whatever the way', async () => {
    const climb = '../'.repeat(20);
    const ways = [
      `/${climb}`,
      `/proc/1/root/${climb}`,
      `/proc/self/root/${climb}`,
      `/proc/self/cwd/${climb}`,
      '/link/',
      '/proc/1/cwd/',
    ];
    const script = [
      `ln -s /${climb} /link`,
      ...ways.flatMap((way) => [
        `cat ${way}${secret.slice(1)} 2>&1`,
        `echo x 2>/dev/null > ${way}${secret.slice(1)} && echo written`,
        `test ${way}bin -ef /bin && echo own`,
      ]),
      'true',
    ];
    const { lines } = await box.output('climb', script.join('; '));
    expect(lines.filter((line) => line === 'own')).toHaveLength(ways.length);
    const denied = lines.filter((line) => line.includes('No such file or directory'));
    expect(denied.length).toBeGreaterThanOrEqual(ways.length);
    expect(lines).not.toContain('written');
    expect(readFileSync(secret, 'utf8')).toBe('of the host');
  });

  test('no descriptor of the daemon or its shim is left open, to go out by', async () => {
    await box.run('descriptors', 'exec sleep 100');
    const list = execSpec([
      'sh',
      '-c',
      'for f in /proc/1/fd/* /proc/self/fd/*; do readlink $f; done',
    ]);
    const { stdout } = await execResult(await box.runtime.exec('descriptors', list));
    for (const target of stdout.trim().split('\n')) {
      expect(target).toMatch(/^(pipe:\[\d+\]|\/dev\/null|\/proc\/\d+\/fd)$/);
    }
    for (const fd of DESCRIPTORS) {
      const look = execSpec(['sh', '-c', 'ls -d ./var/tmp ../var/tmp 2>/dev/null; pwd'], {
        cwd: `/proc/self/fd/${fd}`,
      });
      const result = await box.runtime.exec('descriptors', look).then(execResult, () => null);
      expect(result?.stdout ?? '', `descriptor ${fd}`).not.toContain('var/tmp');
    }
    await box.runtime.killAll('descriptors');
    for (const fd of DESCRIPTORS) {
      const id = `cwd-${fd}`;
      const withCwd = (spec: OciSpec): OciSpec => ({
        ...spec,
        process: { ...spec.process, cwd: `/proc/self/fd/${fd}` },
      });
      const ended = await box
        .output(id, 'ls -d ./var/tmp ../var/tmp 2>/dev/null', withCwd)
        .catch(() => null);
      expect(ended?.text ?? '', `descriptor ${fd}`).not.toContain('var/tmp');
    }
  });

  test('processes of the host that it sees keep their root, memory and program to themselves', async () => {
    await box.run('other', 'exec sleep 100');
    const [shim] = box.shims();
    const pids = [1, process.pid, shim!];
    const script = pids.flatMap((pid) => [
      `ls /proc/${pid}/root/ 2>&1`,
      `(echo x > /proc/${pid}/exe) 2>&1`,
      `(echo x > /proc/${pid}/mem) 2>&1`,
      `readlink /proc/${pid}/cwd || echo denied`,
      `readlink /proc/${pid}/fd/0 || echo denied`,
    ]);
    const { lines } = await box.output('see-host', script.join('; '), withoutPidNamespace);
    const open = lines.filter((line) => !/Permission denied|^denied$/.test(line));
    expect(open).toEqual([]);
    expect(lines.length).toBeGreaterThanOrEqual(script.length);
    await box.runtime.killAll('other');
  });

  test('what is masked or read-only is so by every way that leads there', async () => {
    const there = (path: string): boolean => existsSync(path);
    const masked = DEFAULT_MASKED_PATHS.filter(there);
    const fixed = DEFAULT_READONLY_PATHS.filter(there);
    expect(masked.length).toBeGreaterThan(2);
    expect(fixed.length).toBeGreaterThan(2);
    const roots = ['', '/proc/self/root', '/proc/1/root', '/proc/1/task/1/root'];
    const script = roots.flatMap((root) => [
      ...masked.map((path) => {
        const at = root + path;
        const file = `stat -L -c %t:%T ${at}; (echo x > ${at}) 2>&1; cat ${at}`;
        return `umount ${at} 2>/dev/null && echo unmounted; if [ -d ${at} ]; then ls ${at}; touch ${at}/x 2>&1; else ${file}; fi`;
      }),
      ...fixed.map(
        (path) =>
          `umount ${root + path} 2>/dev/null && echo unmounted; chmod 700 ${root + path} 2>&1`,
      ),
      `(echo 1 > ${root}/proc/sys/kernel/panic) 2>&1`,
    ]);
    const { lines } = await box.output('masked-ways', script.join('; '));
    expect(lines).toHaveLength(roots.length * (masked.length + fixed.length + 1));
    // A file is the null device, where what is written goes nowhere; a directory is empty and fixed.
    const unexpected = lines.filter(
      (line) => line !== '1:3' && !/Read-only file system$/.test(line),
    );
    expect(unexpected).toEqual([]);
  });

  test('an exec whose program is itself does not hand the shim’s to who waits to overwrite it', async () => {
    const built = ['skep-shim', 'libskep.so'].map((name) => join(repository, 'native/build', name));
    const before = built.map(hashOf);
    const lurk =
      'echo "#!/proc/self/exe" > /bin/trap; chmod 755 /bin/trap; echo ready; ' +
      'while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe) in ' +
      '*skep-shim*) echo found; (echo x > $p/exe) 2>&1; (echo x >> $p/exe) 2>&1;; esac; done; done';
    await box.run('lurks', lurk);
    await expect.poll(() => box.logText('lurks')).toContain('ready');
    const failedTries = async () =>
      (await box.logText('lurks')).split('\n').filter((line) => line.includes('/exe'));
    for (let i = 0; i < 500 && (await failedTries()).length === 0; i++) {
      await box.runtime.exec('lurks', execSpec(['/bin/trap'])).then(execResult, () => null);
    }
    await box.runtime.killAll('lurks');
    expect((await box.logText('lurks')).split('\n')).toContain('found');
    const tries = await failedTries();
    expect(tries.length).toBeGreaterThan(0);
    for (const line of tries) {
      expect(line).toMatch(/Text file busy|Operation not permitted|Permission denied|nonexistent/);
    }
    expect(built.map(hashOf)).toEqual(before);
    expect(await box.output('after', 'echo works')).toMatchObject({ text: 'works' });
  });

  describe('a program that tries what the default profile and rights deny', () => {
    const program = () => join(box.lower, 'bin/escape-probe');
    beforeAll(() => {
      const source = join(repository, 'test/support/escape-probe.c');
      const flags = ['-static', '-O1', '-D_GNU_SOURCE', '-Wall', '-Werror'];
      const built = spawnSync('cc', [...flags, '-o', program(), source], { encoding: 'utf8' });
      expect(built.stderr).toBe('');
    });

    const results = async (id: string, change?: (spec: OciSpec) => OciSpec) => {
      const { lines } = await box.output(id, '/bin/escape-probe', change);
      return new Map(lines.map((line) => line.split('=') as [string, string]));
    };
    const denied = (found: ReadonlyMap<string, string>, name: string): boolean =>
      ['EPERM', 'ENOSYS', 'EACCES'].includes(found.get(name) ?? 'not tried');

    test('every call is denied, namespaces by clone, clone3 and unshare too', async () => {
      const found = await results('probe');
      expect(found.size).toBeGreaterThan(40);
      expect([...found.keys()].filter((name) => !denied(found, name))).toEqual([]);
      for (const [name, error] of found) {
        if (name.startsWith('clone3')) expect(error, name).toBe('ENOSYS'); // C libraries go on with clone
      }
    });

    test('without the profile its rights still deny what is the host’s', async () => {
      const found = await results('probe-unconfined', (spec) => ({
        ...spec,
        linux: { ...spec.linux, seccomp: null },
      }));
      // Who may make a user namespace, as the kernel lets everyone, has every right in it and none outside.
      const tried = [...found.keys()].filter(
        (name) => !/^(clone|clone3|unshare|setns) /.test(name),
      );
      const free = tried.filter((name) => !denied(found, name));
      expect(OF_THEIR_OWN).toEqual(expect.arrayContaining(free));
    });
  });

  test('a fork bomb stays within its limit, harms nobody beside it, and ends at once', async () => {
    const limited = (spec: OciSpec): OciSpec => ({
      ...spec,
      linux: { ...spec.linux, resources: { ...spec.linux.resources, pids: { limit: 64 } } },
    });
    await box.run(
      'bomb',
      'bomb() { bomb | bomb & }; bomb 2>/dev/null; while :; do :; done',
      limited,
    );
    // How often the limit was met: those that cannot fork end, so that there may be fewer at any moment.
    const refused = (): number => {
      const files = box.cgroupDirs().map((dir) => join(dir, 'bomb/pids.events'));
      const file = files.find((path) => existsSync(path));
      return file ? Number(/^max (\d+)$/m.exec(readFileSync(file, 'utf8'))?.[1]) : 0;
    };
    await expect.poll(refused, { timeout: 10_000 }).toBeGreaterThan(0);
    expect(await box.output('beside', 'echo unharmed')).toMatchObject({ text: 'unharmed' });
    expect(box.runtime.stats('bomb').pids).toBeLessThanOrEqual(64);
    await box.runtime.killAll('bomb');
    expect(await box.runtime.wait('bomb')).toMatchObject({ exitCode: 137 });
    expect(box.runtime.pids('bomb')).toEqual([]);
  });

  test('a log that fills its disk stops growing, and its task goes on to its end', async () => {
    const small = await RuntimeBox.open();
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'small', small.stateDir]);
    expect(String(mounted.stderr)).toBe('');
    try {
      const script = 'yes | head -c 20000000; exit 6';
      const spec = defaultSpec([small.lower], defaultProcess(['sh', '-c', script]));
      await small.runtime.create('full', { spec, logMaxBytes: 50 * MIB, logMaxFiles: 1 });
      await small.runtime.startContainer('full');
      expect(await small.runtime.wait('full')).toMatchObject({ exitCode: 6, error: null });
      const text = await small.logText('full');
      expect(text.length).toBeGreaterThan(100_000);
      expect(text).toMatch(/^(y\n)*y?$/); // whole records only
      await small.runtime.remove('full'); // which makes room, when nobody has it open
      await expect.poll(() => small.shims()).toEqual([]);
      expect(await small.output('next', 'echo fits')).toMatchObject({ text: 'fits' });
      await small.runtime.remove('next');
    } finally {
      await small.runtime.stop();
      await unmountTree(small.stateDir);
      await small.close();
    }
  });

  test('a task that hears no signal, has closed its streams and left its session ends all the same', async () => {
    const stubborn =
      'trap "" HUP INT QUIT TERM USR1 USR2; exec <&- >&- 2>&-; ' +
      '(setsid sh -c "trap \\"\\" TERM; (sleep 1000 &) ; touch /both; sleep 1000" &) ; ' +
      'while :; do sleep 0.05; done';
    await box.run('stubborn', stubborn);
    const root = box.runtime.rootPath('stubborn');
    await expect.poll(() => existsSync(join(root, 'both'))).toBe(true);
    await expect.poll(() => box.runtime.pids('stubborn').length).toBeGreaterThanOrEqual(4);
    const pids = box.runtime.pids('stubborn');
    for (const signo of [15, 1, 2]) await box.runtime.signal('stubborn', signo);
    expect(box.runtime.get('stubborn')).toMatchObject({ status: 'running' });
    const exec = await box.runtime.exec('stubborn', execSpec(['echo', 'heard']));
    expect(await execResult(exec)).toMatchObject({ stdout: 'heard\n' });
    await box.runtime.killAll('stubborn');
    expect(await box.runtime.wait('stubborn')).toMatchObject({ exitCode: 137 });
    expect(pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
  });

  test('daemons that it leaves end with its first process', async () => {
    await box.run(
      'leaves',
      '(setsid sh -c "(sleep 1000 &)" &) ; while [ ! -e /go ]; do sleep 0.02; done; exit 4',
    );
    await expect.poll(() => box.runtime.pids('leaves').length).toBeGreaterThanOrEqual(2);
    const pids = box.runtime.pids('leaves');
    writeFileSync(join(box.runtime.rootPath('leaves'), 'go'), '');
    expect(await box.runtime.wait('leaves')).toMatchObject({ exitCode: 4 });
    await expect.poll(() => pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
  });

  test('a task that is stopped or frozen, and hears nothing, is killed and removed', async () => {
    await box.run('stopped', 'while :; do sleep 0.05; done');
    await box.runtime.signal('stopped', 19);
    await box.runtime.freeze('stopped');
    await box.runtime.signal('stopped', 15); // waits in the kernel
    expect(box.runtime.get('stopped')).toMatchObject({ status: 'running', paused: true });
    await box.runtime.destroy('stopped');
    expect(box.runtime.get('stopped')).toBeUndefined();
    expect(existsSync(join(box.stateDir, 'stopped'))).toBe(false);
  });

  test('a process that does not even die by SIGKILL is told of, holds nobody up, and is removed later', {
    timeout: 60_000,
  }, async ({ skip }) => {
    const { pid } = await box.run('blocked', 'exec sleep 1000');
    skip(!existsSync(FREEZER), 'only the freezer of cgroup v1 keeps a process from dying');
    const group = join(FREEZER, `${box.cgroupParent}-blocked`);
    mkdirSync(group);
    try {
      for (const one of box.runtime.pids('blocked')) {
        writeFileSync(join(group, 'cgroup.procs'), `${one}`);
      }
      writeFileSync(join(group, 'freezer.state'), 'FROZEN');
      const state = () => readFileSync(`/proc/${pid}/status`, 'utf8');
      await expect.poll(state).toMatch(/^State:\tD/m); // as one that waits for a disk that is gone
      const destroyed = box.runtime.destroy('blocked');
      destroyed.catch(() => {}); // looked at below
      expect(await box.output('goes-on', 'echo on')).toMatchObject({ text: 'on' });
      await expect(destroyed).rejects.toThrow(`${pid}`);
      expect(box.runtime.get('blocked')).toBeDefined();
      writeFileSync(join(group, 'freezer.state'), 'THAWED');
      await box.runtime.destroy('blocked');
      expect(box.runtime.get('blocked')).toBeUndefined();
      expect(existsSync(`/proc/${pid}`)).toBe(false);
    } finally {
      writeFileSync(join(group, 'freezer.state'), 'THAWED');
      if (box.runtime.get('blocked')) await box.runtime.destroy('blocked');
      rmdirSync(group);
    }
  });
});
