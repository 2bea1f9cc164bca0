// What a container shares with the host, or is kept from, when its spec says other than the default.
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unmountTree } from '../../native/ffi/mount.ts';
import type { OciNamespaceType, OciSpec } from '../../worker/runtime/oci.ts';
import { partOfVolume } from '../../worker/volumes/subpath.ts';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const SIGKILL = 9;

function sharing(...types: OciNamespaceType[]) {
  return (spec: OciSpec): OciSpec => ({
    ...spec,
    linux: {
      ...spec.linux,
      namespaces: spec.linux.namespaces.filter(({ type }) => !types.includes(type)),
    },
  });
}

describe.skipIf(!runtimeTestsCanRun)('native runtime: isolation', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
  });
  afterAll(async () => {
    await box.close();
    expect(box.failures).toEqual([]);
  });

  test.each([
    ['pid', 'pid'],
    ['ipc', 'ipc'],
    ['uts', 'uts'],
    ['cgroup', 'cgroup'],
  ] as const)(
    'shares the %s namespace of the host when it has none, an exec too',
    async (type, file) => {
      const { pid } = await box.run(`shared-${type}`, 'sleep 100', sharing(type));
      const own = readlinkSync(`/proc/self/ns/${file}`);
      expect(readlinkSync(`/proc/${pid}/ns/${file}`)).toBe(own);
      const session = await box.runtime.exec(
        `shared-${type}`,
        execSpec(['readlink', `/proc/self/ns/${file}`]),
      );
      expect((await execResult(session)).stdout.trim()).toBe(own);
      await box.runtime.killAll(`shared-${type}`);
    },
  );

  test('what it mounts below a shared bind is seen by the host, and nothing else', async () => {
    const dir = mkdtempSync('/var/tmp/skep-shared-');
    const place = spawnSync('sh', [
      '-c',
      'mount -t tmpfs t "$1" && mount --make-shared "$1" && mkdir "$1/in"',
      'sh',
      dir,
    ]);
    expect(place.status, String(place.stderr)).toBe(0);
    const bind = (destination: string, propagation: string) => ({
      ...{ destination, type: 'bind', source: dir, options: ['rbind', propagation] },
    });
    try {
      const words =
        'mount -t tmpfs x /shared/in && touch /shared/in/seen && mount -t tmpfs y /own/in && touch /own/in/hidden';
      const { exit } = await box.output('shared-bind', words, (spec) => {
        const capabilities = [...spec.process.capabilities.bounding, 'CAP_SYS_ADMIN'];
        const all = { bounding: capabilities, effective: capabilities, permitted: capabilities };
        return {
          ...spec,
          mounts: [...spec.mounts, bind('/shared', 'rshared'), bind('/own', 'rprivate')],
          process: { ...spec.process, capabilities: { ...spec.process.capabilities, ...all } },
          linux: { ...spec.linux, seccomp: null },
        };
      });
      expect(exit).toMatchObject({ exitCode: 0 });
      expect(readdirSync(join(dir, 'in'))).toEqual(['seen']);
    } finally {
      await unmountTree(dir);
      rmdirSync(dir);
    }
  });

  test('what is mounted below a read-only bind is as read-only as that, or as it was, as its options say', async () => {
    const dir = join(box.dir, 'tree');
    const below = join(dir, 'below');
    mkdirSync(below, { recursive: true });
    const place = spawnSync('mount', ['-t', 'tmpfs', 'skep-test', below]);
    expect(place.status, String(place.stderr)).toBe(0);
    const bind = (destination: string, options: string[], plainSource = false) => ({
      ...{ destination, type: 'bind', source: dir, plainSource },
      options: ['rbind', ...options],
    });
    try {
      const places = ['tree', 'part', 'root', 'alone'];
      const words = `for at in ${places.join(' ')}; do
        for file in /$at/new /$at/below/$at; do touch $file 2>&1 && echo $file; done; done; true`;
      const { lines } = await box.output('read-only-tree', words, (spec) => ({
        ...spec,
        mounts: [
          ...spec.mounts,
          bind('/tree', ['rprivate', 'rro']),
          bind('/part', ['rprivate', 'rro'], true),
          bind('/root', ['rprivate', 'ro']),
          { ...bind('/alone', []), options: ['bind', 'ro'] },
        ],
      }));
      const denied = (path: string) => `touch: ${path}: Read-only file system`;
      expect(lines).toEqual([
        ...['/tree/new', '/tree/below/tree', '/part/new', '/part/below/part', '/root/new'].map(
          denied,
        ),
        '/root/below/root',
        ...['/alone/new', '/alone/below/alone'].map(denied),
      ]);
      expect(readdirSync(below)).toEqual(['root']);
    } finally {
      await unmountTree(below);
    }
  });

  test('a link that is put in the way of a part of a volume leads nowhere', async () => {
    const dir = mkdtempSync('/var/tmp/skep-part-');
    try {
      for (const name of ['volume/part', 'volume/other'])
        mkdirSync(join(dir, name), { recursive: true });
      writeFileSync(join(dir, 'volume/part/file'), 'of the part');
      symlinkSync('part', join(dir, 'volume/link'));
      symlinkSync(dir, join(dir, 'volume/out'));
      const part = partOfVolume(join(dir, 'volume'), 'link');
      expect(part).toBe(join(dir, 'volume/part'));
      for (const path of ['out/volume', '../volume', '/etc', 'nothing']) {
        expect(() => partOfVolume(join(dir, 'volume'), path)).toThrow(/subpath|cannot access path/);
      }
      const mount = { destination: '/part', type: 'bind', source: part, options: ['rbind'] };
      const run = (id: string) =>
        box.output(id, 'cat /part/file', (spec) => ({
          ...spec,
          mounts: [...spec.mounts, { ...mount, plainSource: true }],
        }));
      expect((await run('part')).text).toBe('of the part');
      renameSync(part, `${part}-moved`);
      symlinkSync('/etc', part); // by whoever else has the volume
      await expect(run('part-gone')).rejects.toThrow(/openat2 mount source .*: ELOOP/);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('the name of the host is seen and kept', async () => {
    const before = hostname();
    const { text } = await box.output('host-name', 'hostname', sharing('uts'));
    expect(text).toBe(before);
    expect(hostname()).toBe(before);
  });

  test('processes of the host are seen, and what it leaves ends with it all the same', async () => {
    await box.run(
      'host-pids',
      'sleep 1001 & echo $!; ps -o pid | grep -c .; exec sleep 100',
      sharing('pid'),
    );
    await expect.poll(async () => (await box.logText('host-pids')).split('\n').length).toBe(2);
    const [left = ''] = (await box.logText('host-pids')).split('\n');
    expect(readlinkSync(`/proc/${left}/exe`)).toContain('busybox'); // in the host's numbers
    await box.runtime.signal('host-pids', SIGKILL);
    expect(await box.runtime.wait('host-pids')).toMatchObject({ exitCode: 137 });
    await expect.poll(async () => (await box.runtime.stats('host-pids')).pids).toBe(0);
  });
});
