// The same containers made by our own shim, by crun and by runc: what they see, what is kept from them and
// how they end is the same, told by the commands inside.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unmountTree } from '../../native/ffi/mount.ts';
import { capabilitySet } from '../../worker/runtime/defaults.ts';
import type { OciSpec } from '../../worker/runtime/oci.ts';
import type { OciRuntime } from '../../worker/runtime/oci-config.ts';
import { programPath } from '../support/programs.ts';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const SIGTERM = 15;
const MIB = 1024 * 1024;

/** Identity, limits, confinement, files: what a command can find out, without what is each run's own. */
const FACTS = `
  env | sort; id; umask; pwd; hostname; cat /proc/sys/kernel/domainname
  grep -E '^(Cap|Seccomp:|NoNewPrivs|Groups|SigBlk)' /proc/self/status
  cat /proc/self/oom_score_adj /proc/self/cgroup
  for limit in c n u; do ulimit -S -$limit; ulimit -H -$limit; done
  cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced
  ls -l /dev | grep -v -e ' core ->' -e ' null$' | sed 's/ [A-Z][a-z][a-z] .* / /'; ls -l /dev/pts | head -1; cat /proc/self/comm; ls -l /dev/null | cut -c 1-10
  cat /proc/1/comm; ip -o addr | sort
  for path in $HIDDEN; do
    if [ -d $path ]; then ls $path | wc -l; elif [ -e $path ]; then wc -c < $path; fi
  done 2>&1
  echo x 2>&1 > /proc/sys/kernel/hostname; [ -w /proc/sysrq-trigger ] && echo sysrq # which is not tried: a privileged one could
  mount -t tmpfs x /tmp 2>&1; unshare -U true 2>&1; unshare -m true 2>&1
  mknod /tmp/disk b 8 0 2>&1; cat /tmp/disk 2>&1; date -s @$(date +%s) 2>&1 > /dev/null
  head -c 1 /dev/mine 2>&1 | wc -c; cat /own/part/file /read-only/part/file 2>&1; echo x 2>&1 > /read-only/new; echo x 2>&1 > /read-only/below/new
  echo out; echo err >&2`;

/** Mount points with the file system and what is forbidden in it; not the groups', which each arranges. */
function mountsIn(text: string): string[] {
  return text
    .split('\n')
    .flatMap((line) => {
      const [, , place = '', , type = '', options = ''] = line.split(' ');
      const flags = /^\((.*)\)$/.exec(options)?.[1]?.split(',') ?? [];
      const kept = flags.filter((flag) =>
        /^(ro|rw|nosuid|nodev|noexec|mode=.*|size=6.*)$/.test(flag),
      );
      const isHidden = /^\/proc\/./.test(place) || /^\/sys\/./.test(place);
      return isHidden || place === '' ? [] : [`${place} ${type} ${kept.sort().join()}`];
    })
    .sort();
}

/** As far from the defaults as a container without a user namespace can be. */
function special(folder: string) {
  return (spec: OciSpec): OciSpec => ({
    ...spec,
    hostname: 'special',
    domainname: 'example.org',
    root: { ...spec.root, readonly: true },
    process: {
      ...spec.process,
      env: [...spec.process.env, 'A=b c', 'PS1='],
      cwd: '/own/part',
      user: { uid: 1000, gid: 2000, additionalGids: [3000, 4000], umask: 0o027 },
      capabilities: { ...capabilitySet(['CAP_NET_RAW', 'CAP_CHOWN']), ambient: [] },
      rlimits: [
        { type: 'RLIMIT_NOFILE', soft: 100, hard: 200 },
        { type: 'RLIMIT_CORE', soft: -1, hard: -1 },
        { type: 'RLIMIT_NPROC', soft: 500, hard: 600 },
      ],
      noNewPrivileges: true,
      oomScoreAdj: 321,
    },
    mounts: [
      ...spec.mounts,
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['mode=1777', 'size=64k'] },
      { destination: '/own', type: 'bind', source: folder, options: ['rbind'], plainSource: true },
      { destination: '/read-only', type: 'bind', source: folder, options: ['rbind', 'rro'] },
      {
        destination: '/a-file',
        type: 'bind',
        source: `${folder}/part/file`,
        options: ['bind'],
        plainSource: true,
      },
    ],
    linux: {
      ...spec.linux,
      sysctl: { 'net.ipv4.ip_forward': '1', 'kernel.shm_rmid_forced': '1' },
      devices: [
        ...spec.linux.devices,
        { type: 'c', path: '/dev/mine', major: 1, minor: 5, fileMode: 0o640, uid: 1000, gid: 5 },
      ],
      resources: {
        ...spec.linux.resources,
        memory: { limit: 64 * MIB, swap: null, reservation: 32 * MIB },
        cpu: { quota: 50_000, period: 100_000, shares: 512, cpus: '0' },
        pids: { limit: 40 },
      },
    },
  });
}

const isV2 = existsSync('/sys/fs/cgroup/cgroup.controllers');
const LIMIT_FILES = isV2
  ? ['memory.max', 'memory.swap.max', 'memory.low', 'cpu.max', 'cpu.weight', 'pids.max']
  : [
      ...['memory.limit_in_bytes', 'memory.soft_limit_in_bytes', 'memory.memsw.limit_in_bytes'],
      ...['cpu.cfs_quota_us', 'cpu.shares', 'cpuset.cpus', 'pids.max', 'devices.list'],
    ];

/** The limits in force, file by file. */
function limitsOf(box: RuntimeBox, id: string): Record<string, string> {
  const found = LIMIT_FILES.flatMap((file) => {
    const path = box
      .cgroupDirs()
      .map((dir) => join(dir, id, file))
      .find((it) => existsSync(it));
    const lines = path ? readFileSync(path, 'utf8').trim().split('\n') : [];
    // crun lets containers use /dev/console, runc before 1.2 /dev/net/tun, whatever it is told.
    const rules = new Set(lines.filter((line) => !/^c (5:1|10:200) /.test(line)));
    return path ? [[file, [...rules].sort().join('\n')]] : [];
  });
  return Object.fromEntries(found);
}

const NATIVE = 'our own shim';
/** HOME: the runtimes add it where it is missing; our containers have it. */
const ENV = [
  'HOME=/root',
  'HIDDEN=/proc/kcore /proc/keys /proc/acpi /sys/firmware /proc/timer_list',
];

describe.skipIf(!runtimeTestsCanRun)('containers that another OCI runtime makes', () => {
  let box: RuntimeBox;
  let folder: string;
  let count = 0;
  const newId = (): string => `c${++count}`;

  beforeAll(async () => {
    box = await RuntimeBox.open();
    folder = join(box.dir, 'folder');
    mkdirSync(join(folder, 'part'), { recursive: true });
    writeFileSync(join(folder, 'part/file'), 'of the folder\n');
    mkdirSync(join(folder, 'below'));
    execFileSync('mount', ['-t', 'tmpfs', 'skep-test', join(folder, 'below')]);
    for (const applet of ['sed', 'od']) symlinkSync('busybox', join(box.lower, 'bin', applet));
    writeFileSync(join(box.lower, 'bin/not-executable'), '#!/bin/sh\n');
    chmodSync(join(box.lower, 'tmp'), 0o1777); // runc gives it to what is mounted there
  });
  afterAll(async () => {
    await unmountTree(join(folder, 'below'));
    await box.close();
    expect(box.failures).toEqual([]);
    expect(box.cgroupDirs().filter((dir) => existsSync(dir))).toEqual([]);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(box.dir);
  });

  async function by<T>(runtime: OciRuntime | null, work: () => Promise<T>): Promise<T> {
    box.ociRuntime = runtime;
    try {
      return await work();
    } finally {
      box.ociRuntime = null;
    }
  }

  async function factsOf(change: (spec: OciSpec) => OciSpec): Promise<object> {
    const id = newId();
    const { exit, text } = await box.output(id, `${FACTS}; mount >&2; exit 7`, (spec) => {
      const changed = change(spec);
      const process = { ...changed.process, env: [...ENV, ...changed.process.env] };
      return { ...changed, process };
    });
    const mountLines = text.split('\n').filter((line) => / type \w+ \(/.test(line));
    const facts = text.split('\n').filter((line) => !mountLines.includes(line));
    const { exitCode, signal, oomKilled, error } = exit;
    await box.runtime.remove(id);
    return {
      exit: { exitCode, signal, oomKilled, error },
      facts,
      mounts: mountsIn(mountLines.join('\n')),
    };
  }

  /** While it runs: a container's limits are gone with its groups when another runtime's has ended. */
  async function runningLimits(change: (spec: OciSpec) => OciSpec): Promise<object> {
    const id = newId();
    await box.run(id, 'sleep 1000', change);
    const limits = limitsOf(box, id);
    await box.runtime.killAll(id);
    await box.runtime.remove(id);
    return limits;
  }

  describe.each(['crun', 'runc'])('%s', (name) => {
    const path = programPath(name);
    const runtime = { name, path: path ?? '' };
    const testIf = test.skipIf(path === null);
    const both = async <T>(work: () => Promise<T>): Promise<[T, T]> => [
      await by(null, work),
      await by(runtime, work),
    ];

    testIf.each([
      ['with every default', (): ((spec: OciSpec) => OciSpec) => (spec) => spec],
      ['with everything said', () => special(folder)],
      [
        'privileged',
        () => (spec: OciSpec) => ({
          ...spec,
          process: { ...spec.process, env: [...spec.process.env, 'HIDDEN=/proc/acpi'] },
          linux: { ...spec.linux, seccomp: null, maskedPaths: [], readonlyPaths: [] },
        }),
      ],
      [
        'in a working directory that is not there yet',
        () => (spec: OciSpec) => ({ ...spec, process: { ...spec.process, cwd: '/srv/app' } }),
      ],
      [
        'in namespaces of the host',
        () => (spec: OciSpec) => ({
          ...spec,
          linux: {
            ...spec.linux,
            namespaces: spec.linux.namespaces.filter(({ type }) => type !== 'ipc'),
          },
        }),
      ],
    ])(`has the same facts as ${NATIVE} %s`, async (_words, change) => {
      const [own, other] = await both(() => factsOf(change()));
      expect(other).toEqual(own);
    });

    testIf('has the same limits in its groups', async () => {
      const [own, other] = await both(() => runningLimits(special(folder)));
      expect(Object.keys(own).length).toBeGreaterThan(4);
      expect(other).toEqual(own);
    });

    testIf.each([
      ['nope', 127],
      ['/bin/nope', 127],
      ['/bin/not-executable', 126],
      ['/etc', 126],
    ])('a command %s that cannot be run ends its start with %i', async (command, exitCode) => {
      const [own, other] = await both(async () => {
        const id = newId();
        await box.create(id, [command]);
        const err = await box.runtime.startContainer(id).catch((reason: unknown) => reason);
        const { exit, status } = box.runtime.get(id)!;
        await box.runtime.remove(id);
        return { words: String(err), status, exitCode: exit?.exitCode, error: exit?.error };
      });
      expect(other).toEqual(own);
      expect(other).toMatchObject({ status: 'exited', exitCode });
    });

    testIf('is signalled, waited for, and its log tells both streams', async () => {
      const [own, other] = await both(async () => {
        const id = newId();
        await box.run(
          id,
          'trap "echo caught; exit 9" TERM; echo up >&2; while :; do sleep 0.05; done',
        );
        await expect.poll(() => box.logText(id)).toBe('up');
        await box.runtime.signal(id, SIGTERM);
        const { exitCode, signal } = await box.runtime.wait(id);
        const streams = [
          await box.logText(id, { stderr: false }),
          await box.logText(id, { stdout: false }),
        ];
        return { exitCode, signal, streams };
      });
      expect(other).toEqual(own);
      expect(other).toEqual({ exitCode: 9, signal: 0, streams: ['caught', 'up'] });
    });

    testIf('is killed for want of memory, and told so', async () => {
      const [own, other] = await both(async () => {
        const id = newId();
        // The command itself, no shell: what the kernel kills is the container's first process.
        await box.create(id, ['tail', '/dev/zero'], (spec) => ({
          ...spec,
          linux: {
            ...spec.linux,
            resources: { ...spec.linux.resources, memory: { limit: 16 * MIB, swap: null } },
          },
        }));
        await box.runtime.startContainer(id);
        const exit = await box.runtime.wait(id);
        const { exitCode, signal, oomKilled } = exit;
        return { exitCode, signal, oomKilled };
      });
      expect(other).toEqual(own);
      expect(other).toEqual({ exitCode: 137, signal: 9, oomKilled: true });
    });

    testIf('commands run beside it as in ours', async () => {
      const script = `id; env | sort; pwd; cat /proc/self/cgroup /proc/self/oom_score_adj; umask
        grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status; unshare -U true; ulimit -n; echo err >&2; exit 4`;
      const [own, other] = await both(async () => {
        const id = newId();
        await box.run(id, 'sleep 1000', special(folder));
        const results = [
          await execResult(await box.runtime.exec(id, execSpec(['sh', '-c', script]))),
          await execResult(await box.runtime.exec(id, execSpec(['tty'], { tty: true }))),
          String(await box.runtime.exec(id, execSpec(['nope'])).catch((err: unknown) => err)),
        ];
        // A command that has ended is in the group until it is waited for.
        await expect.poll(() => box.runtime.pids(id).length, { timeout: 10_000 }).toBe(1);
        await box.runtime.killAll(id);
        await box.runtime.remove(id);
        return results;
      });
      expect(other).toEqual(own);
    });

    testIf('has a terminal whose size is set, and an input that is attached to', async () => {
      const [own, other] = await both(async () => {
        const id = newId();
        await box.create(
          id,
          ['sh', '-c', 'tty; read line; stty size; echo "got $line"'],
          (spec) => ({
            ...spec,
            process: { ...spec.process, terminal: true },
          }),
        );
        const session = await box.runtime.attach(id);
        session.stdout.resume();
        await box.runtime.startContainer(id);
        await box.runtime.resize(id, 33, 77);
        await expect.poll(() => box.logText(id)).toContain('/dev/pts/0');
        session.stdin.write('words\n');
        await box.runtime.wait(id);
        session.close();
        return box.logText(id);
      });
      expect(other).toEqual(own);
      expect(other).toMatch(/\/dev\/pts\/0.*words.*33 77.*got words/s);
      const [ownPiped, otherPiped] = await both(async () => {
        const id = newId();
        await box.create(id, ['sh', '-c', 'cat; echo end'], (spec) => ({
          ...spec,
          process: { ...spec.process, openStdin: true },
        }));
        const session = await box.runtime.attach(id);
        session.stdout.resume();
        session.stderr.resume();
        await box.runtime.startContainer(id);
        session.stdin.end('through the pipe\n');
        await box.runtime.wait(id);
        session.close();
        return box.logText(id);
      });
      expect(otherPiped).toEqual(ownPiped);
      expect(otherPiped).toBe('through the pipe\nend');
    });

    testIf('has our init where it asks for one', async () => {
      const [own, other] = await both(async () => {
        const id = newId();
        const { exit, text } = await box.output(
          id,
          'cat /proc/1/comm; (sleep 0 &); exit 6',
          (spec) => ({
            ...spec,
            process: { ...spec.process, init: true },
          }),
        );
        return { exitCode: exit.exitCode, text };
      });
      expect(other).toEqual(own);
      expect(other).toEqual({ exitCode: 6, text: 'skep-init' });
    });

    testIf('is paused, measured, given other limits and run again', async () => {
      await by(runtime, async () => {
        const id = newId();
        await box.run(id, 'echo run >> /runs; while :; do echo tick; sleep 0.02; done');
        await expect.poll(() => box.logText(id)).toContain('tick');
        await box.runtime.freeze(id);
        const before = await box.logText(id);
        await new Promise((resolve) => setTimeout(resolve, 200));
        expect(await box.logText(id)).toBe(before);
        await box.runtime.thaw(id);
        await expect.poll(() => box.logText(id)).not.toBe(before);
        await box.runtime.updateResources(id, { pids: { limit: 33 }, devices: [] });
        const stats = box.runtime.stats(id);
        expect(stats.pidsLimit).toBe(33);
        expect(stats.cpuUsageNanos > 0n).toBe(true);
        await box.runtime.killAll(id);
        await box.runtime.renew(id, (bundle) => ({
          ...bundle,
          spec: {
            ...bundle.spec,
            process: {
              ...bundle.spec.process,
              args: ['sh', '-c', 'cat /runs; cat /proc/self/cgroup'],
            },
          },
        }));
        await box.runtime.startContainer(id);
        expect(await box.runtime.wait(id)).toMatchObject({ exitCode: 0 });
        expect(await box.logText(id)).toContain('\nrun\n');
      });
    });

    testIf('outlives the daemon, and is adopted; without its shim it is killed', async () => {
      await by(runtime, async () => {
        const [running, created, orphan] = [newId(), newId(), newId()];
        const { pid } = await box.run(running, 'while [ ! -e /end ]; do sleep 0.02; done; exit 17');
        await box.create(created, ['sh', '-c', 'exit 18']);
        await box.run(orphan, 'sleep 1000');
        await box.runtime.stop();
        box.runtime = box.newRuntime();
        await box.runtime.start();
        expect(box.runtime.get(running)).toMatchObject({ status: 'running', pid });
        writeFileSync(join(box.runtime.rootPath(running), 'end'), '');
        expect((await box.runtime.wait(running)).exitCode).toBe(17);
        await box.runtime.startContainer(created);
        expect((await box.runtime.wait(created)).exitCode).toBe(18);
        const state = JSON.parse(readFileSync(join(box.stateDir, orphan, 'state'), 'utf8'));
        process.kill(state.shimPid, 'SIGKILL');
        expect(await box.runtime.wait(orphan)).toMatchObject({ exitCode: 137 });
        for (const id of [running, created, orphan]) await box.runtime.remove(id);
        const left = box.cgroupDirs().flatMap((dir) => {
          return [running, created, orphan]
            .map((id) => join(dir, id))
            .filter((it) => existsSync(it));
        });
        expect(left).toEqual([]);
      });
    });

    testIf('refuses by name what only our own shim does', async () => {
      await by(runtime, async () => {
        const shared = {
          destination: '/s',
          type: 'bind',
          source: folder,
          options: ['rbind', 'rshared'],
        };
        const refused: [OciSpec['mounts'], boolean, string][] = [
          [[shared], false, `runtime ${name}: mount /s: shared propagation`],
          [[], true, `runtime ${name}: user namespaces`],
        ];
        for (const [mounts, mapped, words] of refused) {
          const ids = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
          const made = box.create(newId(), ['true'], (spec) => ({
            ...spec,
            mounts: [...spec.mounts, ...mounts],
            linux: mapped
              ? {
                  ...spec.linux,
                  namespaces: [...spec.linux.namespaces, { type: 'user' }],
                  uidMappings: ids,
                  gidMappings: ids,
                }
              : spec.linux,
          }));
          await expect(made).rejects.toMatchObject({
            code: 'unimplemented',
            message: expect.stringContaining(words),
          });
        }
        const missing = { destination: '/x', type: 'bind', source: '/no/such', options: ['rbind'] };
        const made = box.create(newId(), ['true'], (spec) => ({
          ...spec,
          mounts: [...spec.mounts, missing],
        }));
        await expect(made).rejects.toThrow(new RegExp(`runtime .*${name}.*/no/such`));
      });
    });
  });

  test('a runtime that is not there, or is none, is told by its path', async () => {
    for (const [path, words] of [
      ['/no/such/runtime', /runtime \/no\/such\/runtime: ENOENT/],
      ['/bin/false', /runtime \/bin\/false: it ended with 1/],
    ] as const) {
      const made = by({ name: 'odd', path }, () => box.create(newId(), ['true']));
      await expect(made).rejects.toThrow(words);
    }
    const bundle = spawnSync('ls', [box.stateDir]).stdout.toString();
    expect(bundle).not.toContain(`c${count}`);
  });
});
