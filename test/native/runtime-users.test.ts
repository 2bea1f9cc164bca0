// User namespaces: root of the container is nobody on the host, and its files are its own all the same.
import { lstatSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mappedOwners } from '../../worker/containers/owners.ts';
import { RootTree } from '../../worker/containers/root-tree.ts';
import { RootWriter } from '../../worker/containers/root-writer.ts';
import { type TarEntry, TarReader } from '../../worker/images/tar-reader.ts';
import type { OciMount, OciSpec } from '../../worker/runtime/oci.ts';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const FIRST = 300_000;
const SIZE = 65_536;
const mappings = [{ containerID: 0, hostID: FIRST, size: SIZE }];

function mapped(change: Partial<OciSpec> = {}, process: Partial<OciSpec['process']> = {}) {
  return (spec: OciSpec): OciSpec => ({
    ...spec,
    ...change,
    mounts: [...spec.mounts, ...(change.mounts ?? [])],
    process: { ...spec.process, ...process },
    linux: {
      ...spec.linux,
      namespaces: [...spec.linux.namespaces, { type: 'user' }],
      uidMappings: mappings,
      gidMappings: mappings,
    },
  });
}

function bind(source: string, destination: string, ...options: string[]): OciMount {
  return { destination, type: 'bind', source, options: ['rbind', ...options] };
}

const anEntry = (entry: Pick<TarEntry, 'name' | 'kind'> & Partial<TarEntry>): TarEntry => ({
  ...{ linkName: '', mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 1_000, sizeBytes: 0 },
  ...{ deviceMajor: 0, deviceMinor: 0, xattrs: new Map(), sparse: null },
  ...entry,
});

/** By the names of a tar's entries. */
function ownersIn(tar: Buffer): Record<string, string> {
  const out: Record<string, string> = {};
  const reader = new TarReader({
    entry: ({ name, uid, gid }) => {
      out[name] = `${uid}:${gid}`;
    },
    data: () => {},
    end: () => {},
  });
  reader.push(tar);
  reader.finish();
  return out;
}

describe.skipIf(!runtimeTestsCanRun)('native runtime: user namespaces', () => {
  let box: RuntimeBox;
  beforeAll(async () => {
    box = await RuntimeBox.open();
  });
  afterAll(async () => {
    await box.close();
    expect(box.failures).toEqual([]);
  });

  test('root inside is an id of the range outside, and the image is root’s', async () => {
    const { pid } = await box.run(
      'who',
      'id -u; cat /proc/self/uid_map; stat -c %u:%g /bin/busybox; exec sleep 100',
      mapped(),
    );
    await expect.poll(() => box.logText('who')).toMatch(/\n0:0$/);
    const lines = (await box.logText('who'))
      .split('\n')
      .map((line) => line.trim().replace(/ +/g, ' '));
    expect(lines).toEqual(['0', `0 ${FIRST} ${SIZE}`, '0:0']);
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(
      new RegExp(`^Uid:\\t${FIRST}\\t`, 'm'),
    );
    for (const type of ['user', 'net', 'pid', 'mnt', 'ipc', 'uts', 'cgroup']) {
      expect(readlinkSync(`/proc/${pid}/ns/${type}`)).not.toBe(
        readlinkSync(`/proc/self/ns/${type}`),
      );
    }
    await box.runtime.killAll('who');
  });

  test('what it writes lies on disk with the ids that it has inside', async () => {
    const { exit } = await box.output(
      'owner',
      'touch /mine && touch /other && chown 1000:1001 /other && chmod 4755 /other && rm /bin/yes && echo x >> /etc/passwd',
      mapped(),
    );
    expect(exit).toMatchObject({ exitCode: 0 });
    const upper = (name: string) => lstatSync(join(box.stateDir, 'owner/upper', name));
    expect(upper('mine')).toMatchObject({ uid: 0, gid: 0 });
    expect(upper('other')).toMatchObject({ uid: 1000, gid: 1001 });
    expect(upper('etc/passwd')).toMatchObject({ uid: 0, gid: 0 });
    expect(upper('bin/yes').isCharacterDevice()).toBe(true); // a whiteout
    await box.runtime.renew('owner', (bundle) => bundle);
    await box.runtime.startContainer('owner');
    expect(await box.runtime.wait('owner')).toMatchObject({ exitCode: 1 }); // /bin/yes is gone for good
  });

  test('files of the host are nobody’s and stay as they are; those mapped for it are its own', async () => {
    const dir = join(box.dir, 'host');
    mkdirSync(join(dir, 'below'), { recursive: true });
    writeFileSync(join(dir, 'secret'), 'of the host', { mode: 0o600 });
    const mounts = [
      bind(dir, '/host'),
      bind(dir, '/own', 'idmap'),
      bind(dir, '/read', 'idmap', 'ro'),
    ];
    const script = `stat -c %u:%a /host/secret /own/secret
      cat /host/secret || echo denied
      touch /host/new || echo denied
      cat /own/secret; echo
      echo changed > /own/secret; touch /own/new
      touch /read/new || echo read-only`;
    const { lines } = await box.output(
      'host-files',
      `exec 2>/dev/null; ${script}`,
      mapped({ mounts }),
    );
    expect(lines).toEqual(['65534:600', '0:600', 'denied', 'denied', 'of the host', 'read-only']);
    expect(readFileSync(join(dir, 'secret'), 'utf8')).toBe('changed\n');
    expect(lstatSync(join(dir, 'new'))).toMatchObject({ uid: 0, gid: 0 });
  });

  test('has no right over the host: devices, mounts of it, its clock, its name, its processes', async () => {
    const script = `mknod /tmp/disk b 8 0 || echo no device
      mount -o remount,rw /proc/sys && echo own mount
      echo 9 > /proc/sys/kernel/panic || echo no sysctl
      echo 1 > /proc/sysrq-trigger || echo no sysrq
      date -s 2001-01-01 > /tmp/date 2>&1; grep -o -i 'not permitted' /tmp/date
      kill -0 ${process.pid} || echo no process
      echo -1000 > /proc/self/oom_score_adj || echo no score
      hostname other && hostname`;
    const all = [
      'CAP_SYS_ADMIN',
      'CAP_MKNOD',
      'CAP_SYS_TIME',
      'CAP_SYS_BOOT',
      'CAP_SYS_RESOURCE',
      'CAP_KILL',
    ];
    const { lines } = await box.output('rights', `exec 2>/dev/null; ${script}`, (spec) => {
      const changed = mapped()(spec);
      const capabilities = {
        ...changed.process.capabilities,
        bounding: all,
        effective: all,
        permitted: all,
      };
      return {
        ...changed,
        process: { ...changed.process, capabilities },
        linux: { ...changed.linux, seccomp: null },
      };
    });
    expect(lines).toEqual([
      'no device',
      'own mount',
      'no sysctl',
      'no sysrq',
      'not permitted',
      'no process',
      'no score',
      'other',
    ]);
  });

  test('has its devices, its terminal, its limits, its score and its sysctls', async () => {
    const script = `echo gone > /dev/null && head -c 4 /dev/zero | wc -c
      stat -c %F:%u /dev/null; tty; ls -1 /dev | grep -E '^(console|full|null|ptmx)$'; ulimit -n; cat /proc/self/oom_score_adj
      cat /proc/sys/net/ipv4/ip_unprivileged_port_start; touch /read-only || echo read-only`;
    const { lines } = await box.output('own', `exec 2>&1; ${script}`, (spec) => {
      const changed = mapped(
        { root: { ...spec.root, readonly: true } },
        {
          terminal: true,
          oomScoreAdj: 500,
          rlimits: [{ type: 'RLIMIT_NOFILE', soft: 1500, hard: 1500 }],
        },
      )(spec);
      return {
        ...changed,
        linux: { ...changed.linux, sysctl: { 'net.ipv4.ip_unprivileged_port_start': '80' } },
      };
    });
    const clean = lines.map((line) => line.trim());
    expect(clean).toEqual([
      '4',
      'character special file:0',
      '/dev/pts/0',
      ...['console', 'full', 'null', 'ptmx'],
      ...['1500', '500', '80'],
      'touch: /read-only: Read-only file system',
      'read-only',
    ]);
  });

  test('an exec is in it too, as any user', async () => {
    await box.run('exec', 'exec sleep 100', mapped());
    const as = async (user: string) => {
      const words =
        'id -u; cat /proc/self/uid_map; touch /tmp/by-$(id -u); stat -c %u /tmp/by-$(id -u); cat /dev/null';
      const session = await box.runtime.exec('exec', execSpec(['sh', '-c', words], { user }));
      const { stdout, stderr } = await execResult(session);
      return { lines: stdout.split('\n').map((line) => line.trim().replace(/ +/g, ' ')), stderr };
    };
    const map = `0 ${FIRST} ${SIZE}`;
    expect(await as('0')).toEqual({ lines: ['0', map, '0', ''], stderr: '' });
    const session = await box.runtime.exec('exec', execSpec(['chmod', '1777', '/tmp']));
    await execResult(session);
    expect(await as('1000:1000')).toEqual({ lines: ['1000', map, '1000', ''], stderr: '' });
    await box.runtime.killAll('exec');
  });

  test('files are copied in and out with the owners that it sees', async () => {
    await box.run('copied', 'mkdir /full; chown 7:8 /full; exec sleep 100', mapped());
    const session = await box.runtime.exec(
      'copied',
      execSpec(['sh', '-c', 'until [ "$(stat -c %u /full)" = 7 ]; do true; done']),
    );
    await execResult(session);
    const ids = await box.runtime.owners('copied');
    const tree = new RootTree(box.runtime.rootPath('copied'), [], mappedOwners(ids!.uid, ids!.gid));
    try {
      const options = { copyOwners: true, replacesKinds: true, owners: tree.owners };
      const writer = new RootWriter(tree.fd, '/full', tree.openDirectory('/full'), options);
      for (const entry of [
        anEntry({ name: 'new/file', kind: 'file', uid: 1000, gid: 1001, mode: 0o4750 }),
        anEntry({ name: 'new/link', kind: 'symlink', linkName: 'file' }),
        anEntry({ name: 'new/pipe', kind: 'fifo', uid: 3 }),
      ]) {
        writer.entry(entry);
        if (entry.kind === 'file') writer.data(Buffer.from('copied'));
        writer.end();
      }
      writer.finish();
      writer.close();
      const words = 'cd /full && stat -c %n:%u:%g:%a . new new/file new/pipe && cat new/link';
      const seen = await execResult(
        await box.runtime.exec('copied', execSpec(['sh', '-c', words])),
      );
      expect(seen).toMatchObject({
        stdout: '.:7:8:755\nnew:0:0:755\nnew/file:1000:1001:4750\nnew/pipe:3:0:644\ncopied',
        stderr: '',
      });
      const packed: Buffer[] = [];
      const how = { prefix: 'full', oneFileSystem: false };
      for await (const piece of tree.pack('/full', how)) packed.push(piece);
      expect(ownersIn(Buffer.concat(packed))).toEqual({
        'full/': '7:8',
        'full/new/': '0:0',
        'full/new/file': '1000:1001',
        'full/new/link': '0:0',
        'full/new/pipe': '3:0',
      });
    } finally {
      tree.close();
      await box.runtime.killAll('copied');
    }
  });

  test.each([
    [
      'an IPC namespace of another',
      { namespaces: [{ type: 'ipc' as const, path: '/proc/1/ns/ipc' }] },
    ],
    ['maps without a namespace', { uidMappings: mappings, gidMappings: mappings }],
  ])('refuses %s', async (_what, linux) => {
    const created = box.create('refused', ['true'], (spec) => {
      const base = 'namespaces' in linux ? mapped()(spec) : spec;
      const namespaces = [
        ...base.linux.namespaces.filter(({ type }) => type !== 'ipc'),
        ...('namespaces' in linux ? linux.namespaces : [{ type: 'ipc' as const }]),
      ];
      return { ...base, linux: { ...base.linux, ...linux, namespaces } };
    });
    await expect(created).rejects.toMatchObject({ code: 'invalid-argument' });
  });

  test('a layer whose file system cannot map owners is named', async () => {
    const created = box.create('proc-layer', ['true'], (spec) => ({
      ...mapped()(spec),
      root: { ...spec.root, lowerDirs: ['/proc/self/fdinfo'] },
    }));
    await expect(created).rejects.toThrow(/its file system cannot map owners/);
  });
});
