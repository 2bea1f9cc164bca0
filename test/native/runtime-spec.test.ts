// From a task's spec to what its process may and may not do: each row shows the denied (or allowed)
// operation, not the setting.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type ContainerSpec,
  DEFAULT_ISOLATION,
  type Isolation,
  NO_RESOURCES,
  type Privileges,
} from '../../common/model/service.ts';
import { hostFacts } from '../../worker/executor/host-facts.ts';
import { ociSpecOf } from '../../worker/executor/oci-builder.ts';
import type { OciMount } from '../../worker/runtime/oci.ts';
import { aContainerSpec, aTaskSpec } from '../support/builders.ts';
import { anImageConfig } from '../support/fake-container-host.ts';
import { RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const isolated = (change: Partial<Isolation>) => ({
  isolation: { ...DEFAULT_ISOLATION, ...change },
});
const secured = (change: Partial<Privileges>) => ({
  privileges: {
    noNewPrivileges: false,
    seccomp: { mode: 'default' as const, profile: '' },
    apparmor: { mode: 'default' as const, profile: '' },
    ...change,
  },
});
const seccomp = (mode: 'unconfined' | 'custom', profile = '') =>
  secured({ seccomp: { mode, profile } });

describe.skipIf(!runtimeTestsCanRun)('a container as its spec has it', () => {
  let box: RuntimeBox;
  let lastId = 0;
  beforeAll(async () => {
    box = await RuntimeBox.open();
  });
  afterAll(async () => {
    await box.close();
    expect(box.failures).toEqual([]);
  });

  /** The output of a script in a container of this spec, with its errors. */
  async function outputOf(
    container: Partial<ContainerSpec>,
    script: string,
    mounts: readonly OciMount[] = [],
  ): Promise<string> {
    const args = ['-c', `exec 2>&1; ${script}`];
    const spec = aTaskSpec({
      container: aContainerSpec({ ...container, command: ['sh'], args }),
      resources: NO_RESOURCES,
    });
    const oci = ociSpecOf({
      spec,
      genericResources: [],
      image: anImageConfig(),
      lowerDirs: [box.lower],
      hostname: 'box',
      user: { uid: 0, gid: 0, additionalGids: [], home: '/' },
      mounts,
      network: 'new',
      idMappings: null,
      host: await hostFacts(spec),
    });
    const { text } = await box.output(`spec-${++lastId}`, '', () => oci);
    return text;
  }

  const PLAIN = {};
  const PRIVILEGED = isolated({ privileged: true });
  const DENIED = /not permitted|denied|Read-only/;

  test.each<[string, string, Partial<ContainerSpec>, RegExp, Partial<ContainerSpec>, RegExp]>([
    [
      'a device of the host',
      'echo from skep > /dev/log2 && echo written',
      PLAIN,
      /^from skep$|^written$/, // a plain file in its own /dev
      isolated({
        devices: [{ hostPath: '/dev/kmsg', containerPath: '/dev/log2', permissions: 'r' }],
      }),
      /not permitted/, // for reading only
    ],
    [
      'a device that a rule names',
      'mknod /n c 10 237; exec 9</n && echo opened',
      PLAIN,
      DENIED,
      isolated({ deviceRules: ['c 10:237 r'] }),
      /^opened$/,
    ],
    ['a mount', 'mount -t tmpfs none /tmp && echo mounted', PLAIN, DENIED, PRIVILEGED, /^mounted$/],
    [
      'the kernel’s settings',
      'cat /proc/sys/kernel/printk > /proc/sys/kernel/printk && echo set',
      PLAIN,
      DENIED,
      PRIVILEGED,
      /^set$/,
    ],
    ['hidden files', 'cat /proc/timer_list | wc -c | grep -v "^0$"', PLAIN, /^$/, PRIVILEGED, /\d/],
    [
      'every device of the host',
      'test -e /dev/loop-control && echo there || echo none',
      PLAIN,
      /^none$/,
      PRIVILEGED,
      /^there$/,
    ],
    [
      'a capability taken away',
      'chown 5 /tmp && echo done',
      PLAIN,
      /^done$/,
      { capabilityDrop: ['CHOWN'] },
      /not permitted/,
    ],
    [
      'all of them taken away but one',
      'chown 5 /tmp && echo owned; chroot / true; mknod /n c 1 3',
      { capabilityAdd: ['CHOWN', 'SYS_CHROOT'], capabilityDrop: ['ALL'] },
      /^owned\nmknod: .*not permitted$/,
      { capabilityDrop: ['ALL'] },
      /^chown: .*not permitted\nchroot: .*not permitted\nmknod: .*not permitted$/,
    ],
    [
      'a namespace of its own, without a filter',
      'unshare -m true && echo made',
      { capabilityAdd: ['SYS_ADMIN'] },
      /^made$/,
      PLAIN,
      /not permitted/,
    ],
    [
      'what the profile of the user forbids',
      'mkdir /tmp/x && echo made',
      seccomp('unconfined'),
      /^made$/,
      seccomp(
        'custom',
        JSON.stringify({
          defaultAction: 'SCMP_ACT_ALLOW',
          syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 }],
        }),
      ),
      /No space left/,
    ],
    [
      'its root, read-only',
      'echo x > /etc/x && echo written',
      PLAIN,
      /^written$/,
      { readOnly: true },
      /Read-only file system/,
    ],
    [
      'more open files than its limit',
      'ulimit -n; ulimit -n 30 && echo raised',
      { ulimits: [{ name: 'nofile', soft: 20, hard: 40 }] },
      /^20\nraised$/,
      { ulimits: [{ name: 'nofile', soft: 20, hard: 20 }] },
      /^20\n.*not permitted/,
    ],
    [
      'shared memory',
      'ls -d /dev/shm; df /dev/shm | tail -n 1',
      PLAIN,
      /^\/dev\/shm\nshm .* 65536 /,
      isolated({ ipc: 'none' }),
      /No such file/,
    ],
    [
      'its own control groups',
      'grep -e ":memory:" -e "^0::" /proc/self/cgroup | head -n 1',
      PLAIN,
      /:\/$/,
      isolated({ cgroup: 'host' }),
      /:\/skep-test-.*\/spec-/,
    ],
  ])('%s', async (_what, script, first, expected, second, otherwise) => {
    expect(await outputOf(first, script)).toMatch(expected);
    expect(await outputOf(second, script)).toMatch(otherwise);
  });

  test('no-new-privileges and the filter are the kernel’s, for it and its children', async () => {
    const script = 'grep -h -e NoNewPrivs -e "Seccomp:" /proc/self/status';
    expect(await outputOf(secured({ noNewPrivileges: true }), script)).toBe(
      'NoNewPrivs:\t1\nSeccomp:\t2',
    );
    expect(await outputOf(seccomp('unconfined'), script)).toBe('NoNewPrivs:\t0\nSeccomp:\t0');
  });

  test('sysctls of its namespaces are its own', async () => {
    const sysctls = { 'net.core.somaxconn': '77', 'kernel.msgmax': '9000' };
    const script = 'cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax';
    expect(await outputOf({ sysctls }, script)).toBe('77\n9000');
    expect(await outputOf({}, script)).not.toContain('77');
  });

  test('the score by which the kernel chooses whom to kill', async () => {
    expect(await outputOf({ oomScoreAdj: 300 }, 'cat /proc/self/oom_score_adj')).toBe('300');
  });

  test('its domain, and the name of the host when it shares it', async () => {
    const script = 'cat /proc/sys/kernel/domainname; hostname';
    expect(await outputOf({ domainname: 'example.org' }, script)).toBe('example.org\nbox');
    expect(await outputOf(isolated({ uts: 'host' }), 'hostname')).toBe(hostname());
  });

  test('processes of the host are seen, not those of others', async () => {
    const script = `test -d /proc/${process.pid}/task && echo seen`;
    expect(await outputOf(isolated({ pid: 'host' }), script)).toBe('seen');
    expect(await outputOf({}, script)).toBe('');
  });

  const bind = (source: string, destination: string): OciMount => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind'],
  });

  test('a bind of the host’s /dev, or of a device, bears the devices by itself', async () => {
    const script = 'test -c /dev/null && test -c /dev/loop-control && echo there';
    expect(await outputOf(PLAIN, script, [bind('/dev', '/dev')])).toBe('there');
    expect(await outputOf(PRIVILEGED, script, [bind('/dev', '/dev/')])).toBe('there');
    const control = bind('/dev/loop-control', '/dev/loop-control');
    expect(await outputOf(PRIVILEGED, script, [control])).toBe('there');
  });

  test('nothing is made in a directory of the host that is bound over /dev, but places of mounts', async () => {
    const dir = mkdtempSync(`${tmpdir()}/skep-dev-`);
    try {
      const mounts = [bind(dir, '/dev'), bind('/dev/null', '/dev/null')];
      expect(await outputOf(PRIVILEGED, 'echo ran', mounts)).toBe('ran');
      expect(readdirSync(dir)).toEqual(['null']);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('an empty directory over /dev leaves a command with an input at its end', async () => {
    const dir = mkdtempSync(`${tmpdir()}/skep-dev-`);
    try {
      const script = 'cat; test -e /dev/null || echo ran';
      expect(await outputOf(PRIVILEGED, script, [bind(dir, '/dev')])).toBe('ran');
      expect(readdirSync(dir)).toEqual([]);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('an AppArmor profile that the node does not have is refused by name', async () => {
    const apparmor = { mode: 'custom' as const, profile: 'no-such-profile' };
    await expect(outputOf(secured({ apparmor }), 'true')).rejects.toThrow(
      /AppArmor profile "no-such-profile": (this node has no AppArmor|it is not loaded)/,
    );
  });
});
