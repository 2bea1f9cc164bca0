import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unmountTree } from '../../native/ffi/mount.ts';
import { CommandError } from '../../worker/runtime/exec-session.ts';
import type { OciMount, OciSpec } from '../../worker/runtime/oci.ts';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const SIGTERM = 15;
const NAMESPACES = ['pid', 'mnt', 'net', 'ipc', 'uts', 'cgroup'];

function withMounts(...mounts: OciMount[]) {
  return (spec: OciSpec): OciSpec => ({ ...spec, mounts: [...spec.mounts, ...mounts] });
}

/** The header of a program for a machine that nobody has (EM_M32), 64 bits. */
const FOREIGN_ELF = Buffer.alloc(64);
Buffer.from('7f454c4602010100', 'hex').copy(FOREIGN_ELF);
FOREIGN_ELF.writeUInt16LE(2, 16); // ET_EXEC
FOREIGN_ELF.writeUInt16LE(1, 18);

const LOOKERS = 16;

describe.skipIf(!runtimeTestsCanRun)('native runtime: a container', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
  });
  afterAll(async () => {
    await box.close();
    expect(box.failures).toEqual([]);
  });

  test('runs a command and keeps its exit code and output', async () => {
    const { exit, text } = await box.output('exit-code', 'echo out; echo err >&2; exit 42');
    expect(exit).toMatchObject({ exitCode: 42, signal: 0, oomKilled: false, error: null });
    expect(exit.finishedAtMs).toBeGreaterThanOrEqual(exit.startedAtMs);
    expect(text.split('\n').sort()).toEqual(['err', 'out']);
    expect(box.runtime.get('exit-code')).toMatchObject({
      status: 'exited',
      pid: 0,
      netnsPath: null,
    });
  });

  test('exists before it is started, with its network namespace, and runs nothing', async () => {
    const state = await box.create('created', ['sh', '-c', 'echo ran > /ran; sleep 100']);
    expect(state).toMatchObject({ status: 'created', startedAtMs: null, exit: null });
    expect(readlinkSync(state.netnsPath ?? '')).not.toBe(readlinkSync('/proc/self/ns/net'));
    expect(existsSync(join(box.runtime.rootPath('created'), 'ran'))).toBe(false);
    await box.runtime.remove('created');
    expect(box.runtime.get('created')).toBeUndefined();
  });

  test('that is being removed is not there, rather than damaged', async () => {
    await box.create('leaving', ['sleep', '100']);
    const removal = box.runtime.destroy('leaving');
    let isGone = false;
    const gone = removal.then(() => {
      isGone = true;
    });
    const codes = new Set<string>();
    const look = async (): Promise<void> => {
      while (!isGone) {
        await box.runtime.layers('leaving').catch((err: { code: string }) => codes.add(err.code));
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    // More than the pool has threads: the steps of the removal wait for some of them, and others look in between.
    await Promise.all([gone, ...Array.from({ length: LOOKERS }, look)]);
    expect([...codes]).toEqual(['not-found']);
  });

  test('has namespaces of its own', async () => {
    const { pid } = await box.run('namespaces', 'sleep 100');
    for (const name of NAMESPACES) {
      const own = readlinkSync(`/proc/${pid}/ns/${name}`);
      expect(own, name).not.toBe(readlinkSync(`/proc/self/ns/${name}`));
    }
    await box.runtime.killAll('namespaces');
  });

  test('uses the network of the host when no network namespace is asked for', async () => {
    const { pid } = await box.run('host-network', 'sleep 100', (spec) => ({
      ...spec,
      linux: {
        ...spec.linux,
        namespaces: spec.linux.namespaces.filter((n) => n.type !== 'network'),
      },
    }));
    expect(readlinkSync(`/proc/${pid}/ns/net`)).toBe(readlinkSync('/proc/self/ns/net'));
    await box.runtime.killAll('host-network');
  });

  test('joins the network namespace of another container', async () => {
    const first = await box.run('net-owner', 'sleep 100');
    const second = await box.run('net-joiner', 'sleep 100', (spec) => ({
      ...spec,
      linux: {
        ...spec.linux,
        namespaces: spec.linux.namespaces.map((n) =>
          n.type === 'network' ? { ...n, path: first.netnsPath ?? '' } : n,
        ),
      },
    }));
    expect(readlinkSync(`/proc/${second.pid}/ns/net`)).toBe(
      readlinkSync(`/proc/${first.pid}/ns/net`),
    );
    await box.runtime.killAll('net-joiner');
    await box.runtime.killAll('net-owner');
  });

  test('sees its hostname, its environment, its working directory, made when missing', async () => {
    const { lines } = await box.output(
      'basics',
      'hostname; echo $GREETING; pwd; umask',
      (spec) => ({
        ...spec,
        hostname: 'box-1',
        process: {
          ...spec.process,
          env: [...spec.process.env, 'GREETING=hi you'],
          cwd: '/srv/app',
        },
      }),
    );
    expect(lines).toEqual(['box-1', 'hi you', '/srv/app', '0022']);
  });

  test('has the device nodes, modes and links that programs expect', async () => {
    const { lines } = await box.output(
      'devices',
      'for d in null zero full random urandom tty; do stat -c "%n %F %a" /dev/$d; done; ' +
        'for l in fd stdout ptmx; do readlink /dev/$l; done; stat -c %a /dev/shm; echo x > /dev/null && ' +
        'head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c',
    );
    expect(lines.slice(0, 6).every((line) => line.endsWith('character special file 666'))).toBe(
      true,
    );
    expect(lines.slice(6)).toEqual([
      '/proc/self/fd',
      '/proc/self/fd/1',
      'pts/ptmx',
      '1777',
      '4',
      '4',
    ]);
  });

  test('takes a device that is there already, and refuses another one in its place', async () => {
    const withNull = (minor: number) => (spec: OciSpec) => {
      const again = { type: 'c', path: '/dev//null', major: 1, minor } as const;
      const device = { ...again, fileMode: 0o600, uid: 1, gid: 1 };
      return { ...spec, linux: { ...spec.linux, devices: [...spec.linux.devices, device] } };
    };
    const { text } = await box.output('device-twice', 'stat -c "%a %u" /dev/null', withNull(3));
    expect(text).toBe('666 0');
    await expect(box.output('device-other', 'true', withNull(5))).rejects.toThrow(/mknod.*EEXIST/);
  });

  test('cannot use a device that no rule allows', async () => {
    const { exit, text } = await box.output(
      'device-rules',
      'mknod /dev/kmsg c 1 11; cat /dev/kmsg',
    );
    expect(exit.exitCode).toBe(1);
    expect(text).toContain('Operation not permitted');
  });

  test('sees later mounts of the host below a slave bind, and only there', async () => {
    const source = join(box.dir, 'shared');
    mkdirSync(join(source, 'sub'), { recursive: true });
    execFileSync('mount', ['--bind', source, source]);
    execFileSync('mount', ['--make-shared', source]);
    try {
      const bind = (destination: string, option: string) => ({
        destination,
        type: 'bind',
        source,
        options: ['rbind', option],
      });
      const change = withMounts(bind('/slave', 'rslave'), bind('/private', 'rprivate'));
      await box.run('propagation', 'sleep 100', change);
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(source, 'sub')]);
      writeFileSync(join(source, 'sub/later'), 'x');
      const ls = async (dir: string) =>
        (await execResult(await box.runtime.exec('propagation', execSpec(['ls', dir])))).stdout;
      expect(await ls('/slave/sub')).toBe('later\n');
      expect(await ls('/private/sub')).toBe('');
      // What is mounted inside stays inside.
      const args = ['mount', '-t', 'tmpfs', 'none', '/slave'];
      await execResult(await box.runtime.exec('propagation', execSpec(args, { privileged: true })));
      expect(existsSync(join(source, 'sub/later'))).toBe(true);
      await box.runtime.killAll('propagation');
    } finally {
      await unmountTree(source);
    }
  });

  test('sees nothing in masked paths and cannot write to read-only ones', async () => {
    const { lines } = await box.output(
      'masked',
      'cat /proc/keys | wc -c; ls /sys/firmware | wc -l; ' +
        'echo 1 > /proc/sys/net/ipv4/ip_forward; mkdir $(ls -d /sys/fs/cgroup /sys/fs/cgroup/memory 2>/dev/null | tail -n 1)/x; true',
    );
    expect(lines.filter((line) => /^\d+$/.test(line.trim()))).toEqual(['0', '0']);
    expect(lines.filter((line) => line.includes('Read-only file system'))).toHaveLength(2);
  });

  test('has the default capabilities and no more', async () => {
    const { text } = await box.output('capabilities', 'grep -E "Cap|NoNewPrivs" /proc/self/status');
    expect(text).toContain('CapInh:\t0000000000000000');
    for (const set of ['CapPrm', 'CapEff', 'CapBnd']) {
      expect(text).toContain(`${set}:\t00000000a80425fb`); // Docker's fourteen
    }
    expect(text).toContain('NoNewPrivs:\t0');
  });

  test('runs as another user without capabilities, who can write to the standard output files', async () => {
    const { text } = await box.output(
      'user',
      'id -u; id -g; id -G; grep CapEff /proc/self/status; echo to-file > /dev/stdout',
      (spec) => ({
        ...spec,
        process: {
          ...spec.process,
          user: { uid: 1000, gid: 1001, additionalGids: [1002] },
          noNewPrivileges: true,
        },
      }),
    );
    expect(text.split('\n')).toEqual([
      '1000',
      '1001',
      '1001 1002',
      'CapEff:\t0000000000000000',
      'to-file',
    ]);
  });

  test('keeps to no-new-privileges and resource limits', async () => {
    const { lines } = await box.output(
      'limits',
      'grep NoNewPrivs /proc/self/status; ulimit -n; cat /proc/self/oom_score_adj',
      (spec) => ({
        ...spec,
        process: {
          ...spec.process,
          noNewPrivileges: true,
          oomScoreAdj: 300,
          rlimits: [{ type: 'RLIMIT_NOFILE', soft: 123, hard: 456 }],
        },
      }),
    );
    expect(lines).toEqual(['NoNewPrivs:\t1', '123', '300']);
  });

  test('mounts binds, read-only binds and tmpfs, making targets through links of the image', async () => {
    const source = join(box.dir, 'source');
    mkdirSync(source);
    writeFileSync(join(source, 'file'), 'from host');
    const { lines } = await box.output(
      'mounts',
      'exec 2>&1; cat /data/file; echo; echo more > /data/new && echo wrote; cat /etc/single; echo; ' +
        'touch /readonly/x || true; df -k /scratch | tail -n 1 | tr -s " " | cut -d " " -f 2; pwd',
      (spec) => ({
        ...withMounts(
          { destination: '/data', type: 'bind', source, options: ['rbind', 'rw'] },
          { destination: '/readonly', type: 'bind', source, options: ['rbind', 'ro'] },
          {
            destination: '/etc/single',
            type: 'bind',
            source: join(source, 'file'),
            options: ['bind', 'ro'],
          },
          {
            destination: '/scratch',
            type: 'tmpfs',
            source: 'tmpfs',
            options: ['size=1m', 'nosuid'],
          },
        )(spec),
      }),
    );
    expect(lines).toEqual([
      'from host',
      'wrote',
      'from host',
      'touch: /readonly/x: Read-only file system',
      '1024',
      '/',
    ]);
    expect(readFileSync(join(source, 'new'), 'utf8')).toBe('more\n');
  });

  test('never mounts outside its root, however the image links', async () => {
    const evil = join(box.dir, 'evil');
    mkdirSync(evil, { recursive: true });
    const target = join(box.dir, 'outside');
    symlinkSync(target, join(evil, 'escape'));
    const { exit } = await box.output('escape', 'test -d /escape/inner', (spec) => ({
      ...withMounts({ destination: '/escape/inner', type: 'tmpfs', source: 'tmpfs', options: [] })(
        spec,
      ),
      root: { ...spec.root, lowerDirs: [evil, box.lower] },
    }));
    expect(exit.exitCode).toBe(0);
    expect(existsSync(target)).toBe(false); // made in the container's root instead
  });

  test('has a read-only root when asked', async () => {
    const { exit, text } = await box.output('readonly-root', 'touch /x', (spec) => ({
      ...spec,
      root: { ...spec.root, readonly: true },
    }));
    expect(exit.exitCode).toBe(1);
    expect(text).toContain('Read-only file system');
  });

  test('merges many layers, more than one page of mount options holds', async () => {
    const layers = Array.from({ length: 100 }, (_, i) => {
      const dir = join(box.dir, 'layers', `${'x'.repeat(60)}-${i}`);
      mkdirSync(dir, { recursive: true });
      writeFileSync(join(dir, `file-${i}`), `${i}`);
      return dir;
    });
    const { text } = await box.output(
      'layers',
      'cat /file-0 /file-99; ls /file-* | wc -l',
      (spec) => ({
        ...spec,
        root: { ...spec.root, lowerDirs: [...layers, box.lower] },
      }),
    );
    expect(text).toBe('099100');
  });

  test('writes only to its own upper directory', async () => {
    await box.output('upper', 'echo mine > /tmp/mine; rm /etc/passwd');
    expect(readdirSync(join(box.lower, 'tmp'))).toEqual([]);
    expect(existsSync(join(box.lower, 'etc/passwd'))).toBe(true);
    expect(existsSync(join(box.stateDir, 'upper/upper/tmp/mine'))).toBe(true);
  });

  test('is told a signal, and dies by one with 128 + its number', async () => {
    await box.run(
      'handled',
      'trap "echo got it; exit 7" TERM; echo ready; while :; do sleep 0.05; done',
    );
    await expect.poll(() => box.logText('handled')).toContain('ready');
    await box.runtime.signal('handled', SIGTERM);
    expect(await box.runtime.wait('handled')).toMatchObject({ exitCode: 7, signal: 0 });
    expect(await box.logText('handled')).toContain('got it');
    await box.run('killed', 'sleep 100');
    await box.runtime.killAll('killed');
    expect(await box.runtime.wait('killed')).toMatchObject({ exitCode: 137, signal: 9 });
    await expect(box.runtime.signal('killed', SIGTERM)).rejects.toMatchObject({ code: 'conflict' });
  });

  test.each([
    [
      'missing',
      ['no-such-command'],
      127,
      'exec: "no-such-command": executable file not found in $PATH',
    ],
    ['missing-path', ['/no/such'], 127, 'exec: "/no/such": no such file or directory'],
    ['not-executable', ['/etc/passwd'], 126, 'exec: "/etc/passwd": permission denied'],
    ['directory', ['/etc'], 126, 'exec: "/etc": permission denied'],
    ['foreign', ['/bin/foreign'], 126, 'exec: "/bin/foreign": exec format error'],
  ])('says why a command cannot be run: %s', async (id, args, exitCode, words) => {
    writeFileSync(join(box.lower, 'bin/foreign'), FOREIGN_ELF, { mode: 0o755 });
    await box.create(id, args);
    const failure = await box.runtime.startContainer(id).catch((err: unknown) => err);
    expect(failure).toBeInstanceOf(CommandError);
    expect(failure).toMatchObject({ message: `start container: ${words}`, exitCode });
    expect(await box.runtime.wait(id)).toMatchObject({ exitCode, error: words });
    await box.runtime.remove(id);
  });

  test('cannot call what the seccomp profile refuses', async () => {
    const { lines } = await box.output(
      'seccomp',
      'grep Seccomp: /proc/self/status; exec 2>&1; unshare -n true; mount -t tmpfs x /tmp; true',
    );
    expect(lines).toEqual([
      'Seccomp:\t2',
      'unshare: unshare(0x40000000): Operation not permitted',
      'mount: permission denied (are you root?)',
    ]);
    const free = await box.output('unconfined', 'grep Seccomp: /proc/self/status', (spec) => ({
      ...spec,
      linux: { ...spec.linux, seccomp: null },
    }));
    expect(free.text).toBe('Seccomp:\t0');
  });

  test('has a seccomp filter under no-new-privileges and in an exec, too', async () => {
    await box.run('seccomp-exec', 'grep Seccomp: /proc/self/status; sleep 100', (spec) => ({
      ...spec,
      process: {
        ...spec.process,
        noNewPrivileges: true,
        user: { uid: 5, gid: 5, additionalGids: [] },
      },
    }));
    await expect.poll(() => box.logText('seccomp-exec')).toBe('Seccomp:\t2');
    const grep = execSpec(['grep', 'Seccomp:', '/proc/self/status']);
    const own = await execResult(await box.runtime.exec('seccomp-exec', grep));
    expect(own.stdout).toBe('Seccomp:\t2\n');
    const privileged = await box.runtime.exec('seccomp-exec', { ...grep, privileged: true });
    expect((await execResult(privileged)).stdout).toBe('Seccomp:\t0\n');
    await box.runtime.killAll('seccomp-exec');
  });

  test('leaves nothing of a create that fails', async () => {
    const mount = {
      destination: '/x',
      type: 'bind',
      source: '/no/such/source',
      options: ['rbind'],
    };
    await expect(box.create('bad', ['true'], withMounts(mount))).rejects.toThrow(
      'create container bad: stat mount source /no/such/source: ENOENT',
    );
    expect(existsSync(join(box.stateDir, 'bad'))).toBe(false);
    expect(box.runtime.get('bad')).toBeUndefined();
    expect(box.cgroupDirs().some((dir) => existsSync(`${dir}/bad`))).toBe(false);
  });

  test('is refused twice under one id, and unknown ids are named', async () => {
    await box.create('twice', ['true']);
    await expect(box.create('twice', ['true'])).rejects.toMatchObject({ code: 'already-exists' });
    await expect(box.runtime.startContainer('nobody')).rejects.toThrow('no such container: nobody');
    await box.runtime.remove('nobody');
  });

  test('refuses to remove a running container', async () => {
    await box.run('busy', 'sleep 100');
    await expect(box.runtime.remove('busy')).rejects.toMatchObject({ code: 'conflict' });
    await box.runtime.killAll('busy');
    await box.runtime.remove('busy');
    expect(existsSync(join(box.stateDir, 'busy'))).toBe(false);
  });
});
