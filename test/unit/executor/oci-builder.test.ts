import { describe, expect, test } from 'vitest';
import {
  DEFAULT_ISOLATION,
  NO_KERNEL_RESOURCES,
  NO_RESOURCES,
  type ResourceRequirements,
} from '../../../common/model/service.ts';
import {
  argvOf,
  capabilitiesOf,
  environmentOf,
  type OciParts,
  ociSpecOf,
} from '../../../worker/executor/oci-builder.ts';
import { CAPABILITIES } from '../../../worker/runtime/capabilities.ts';
import { defaultSeccomp } from '../../../worker/runtime/default-seccomp.ts';
import {
  DEFAULT_CAPABILITIES,
  DEFAULT_DEVICE_RULES,
  DEFAULT_PATH,
} from '../../../worker/runtime/defaults.ts';
import { aContainerSpec } from '../../support/builders.ts';
import { anImageConfig, NO_HOST_FACTS } from '../../support/fake-container-host.ts';

describe('argv', () => {
  test.each<[string, string[], string[], string[] | null, string[] | null, string[]]>([
    // spec.command, spec.args, image.entrypoint, image.cmd, argv
    ['the image alone', [], [], ['/entry'], ['run'], ['/entry', 'run']],
    ['an image without entrypoint', [], [], null, ['run'], ['run']],
    ['an image without command', [], [], ['/entry'], null, ['/entry']],
    ["arguments replace the image's command", [], ['x'], ['/entry'], ['run'], ['/entry', 'x']],
    ["a command resets the image's command", ['/own'], [], ['/entry'], ['run'], ['/own']],
    ['command and arguments', ['/own'], ['x', 'y'], ['/entry'], ['run'], ['/own', 'x', 'y']],
  ])('%s', (_what, command, args, entrypoint, cmd, argv) => {
    expect(argvOf({ command, args }, { entrypoint, cmd })).toEqual(argv);
  });

  test('is refused when nobody names a command', () => {
    const image = { entrypoint: null, cmd: null };
    expect(() => argvOf({ command: [], args: [] }, image)).toThrow(/no command specified/);
  });
});

describe('environment', () => {
  const of = (env: string[], image: string[], tty = false) =>
    environmentOf({ env, tty }, { env: image }, 'box', '/root');

  test('has path, host name and home', () => {
    expect(of([], [])).toEqual([`PATH=${DEFAULT_PATH}`, 'HOSTNAME=box', 'HOME=/root']);
  });

  test('has TERM with a terminal', () => {
    expect(of([], [], true)).toContain('TERM=xterm');
  });

  test.each<[string, string[], string[], string[], string[]]>([
    ['the image over the defaults', [], ['PATH=/bin'], ['PATH=/bin'], [`PATH=${DEFAULT_PATH}`]],
    ['the spec over the image', ['A=2'], ['A=1'], ['A=2'], ['A=1']],
    ['a value with an equals sign', ['A=b=c'], [], ['A=b=c'], []],
    ['an empty value', ['A='], ['A=1'], ['A='], ['A=1']],
    ['a bare name takes it out', ['A'], ['A=1'], [], ['A=1', 'A', 'A=']],
    ['the last of two', ['A=1', 'A=2'], [], ['A=2'], ['A=1']],
  ])('%s', (_what, env, image, present, absent) => {
    const environment = of(env, image);
    expect(environment).toEqual(expect.arrayContaining(present));
    for (const entry of absent) expect(environment).not.toContain(entry);
  });
});

describe('capabilities', () => {
  const without =
    (...names: string[]) =>
    (all: readonly string[]) =>
      all.filter((name) => !names.includes(name));

  test.each<[string, string[], string[], readonly string[]]>([
    ['the default list', [], [], DEFAULT_CAPABILITIES],
    ['one more', ['NET_ADMIN'], [], [...DEFAULT_CAPABILITIES, 'CAP_NET_ADMIN']],
    ['one that is there already', ['CAP_CHOWN'], [], DEFAULT_CAPABILITIES],
    ['one less', [], ['cap_chown'], without('CAP_CHOWN')(DEFAULT_CAPABILITIES)],
    ['none', [], ['ALL'], []],
    ['only one', ['net_bind_service'], ['all'], ['CAP_NET_BIND_SERVICE']],
    ['all', ['ALL'], [], CAPABILITIES],
    ['all but one', ['ALL'], ['SYS_ADMIN'], without('CAP_SYS_ADMIN')(CAPABILITIES)],
    ['all added and all dropped: all', ['ALL'], ['ALL'], CAPABILITIES],
  ])('%s', (_what, add, drop, names) => {
    expect(new Set(capabilitiesOf(add, drop))).toEqual(new Set(names));
  });

  test('an addition wins over a removal of the same name', () => {
    expect(capabilitiesOf(['CHOWN'], ['CHOWN'])).toContain('CAP_CHOWN');
  });

  test('an unknown name is refused', () => {
    expect(() => capabilitiesOf(['FLY'], [])).toThrow("unknown capability 'FLY'");
    expect(() => capabilitiesOf([], ['FLY'])).toThrow("unknown capability 'FLY'");
  });
});

describe('OCI configuration of a task', () => {
  function specOf(
    container: Parameters<typeof aContainerSpec>[0] = {},
    overrides: Partial<OciParts> = {},
    resources: ResourceRequirements = NO_RESOURCES,
  ) {
    return ociSpecOf({
      spec: { container: aContainerSpec(container), resources },
      genericResources: [],
      image: anImageConfig(),
      lowerDirs: ['/layers/2', '/layers/1'],
      hostname: 'box',
      user: { uid: 5, gid: 6, additionalGids: [7], home: '/home/u' },
      mounts: [],
      network: 'new',
      idMappings: null,
      host: NO_HOST_FACTS,
      ...overrides,
    });
  }

  test('says who runs what, and on what root', () => {
    const spec = specOf({ readOnly: true });
    expect(spec.root).toEqual({ lowerDirs: ['/layers/2', '/layers/1'], readonly: true });
    expect(spec.hostname).toBe('box');
    expect(spec.process).toMatchObject({
      args: ['sh'],
      cwd: '/',
      user: { uid: 5, gid: 6, additionalGids: [7] },
      noNewPrivileges: false,
      oomScoreAdj: null,
    });
    expect(spec.process.env).toContain('HOME=/home/u');
  });

  test('tells the process which generic resources it has', () => {
    const genericResources = [{ kind: 'gpu', value: 'UUID1' }];
    const spec = specOf({}, { genericResources });
    expect(spec.process.env).toContain('DOCKER_RESOURCE_GPU=UUID1');
  });

  test('shares the network of the host, or of a namespace that is named', () => {
    const networkOf = (network: OciParts['network']) =>
      specOf({}, { network }).linux.namespaces.filter(({ type }) => type === 'network');
    expect(networkOf('new')).toEqual([{ type: 'network' }]);
    expect(networkOf('host')).toEqual([]);
    const path = '/proc/7/ns/net';
    expect(networkOf({ path })).toEqual([{ type: 'network', path }]);
  });

  test.each([
    ['', '', '/'],
    ['', '/img', '/img'],
    ['/own', '/img', '/own'],
  ])('works in %j of the spec, %j of the image: %s', (workdir, workingDir, cwd) => {
    const spec = specOf({ workdir }, { image: anImageConfig({ workingDir }) });
    expect(spec.process.cwd).toBe(cwd);
  });

  test('passes on ulimits, sysctls, the OOM score and privileges', () => {
    const spec = specOf({
      ulimits: [{ name: 'nofile', soft: 10, hard: 20 }],
      sysctls: { 'net.ipv4.ip_forward': '1' },
      oomScoreAdj: 100,
      privileges: {
        noNewPrivileges: true,
        seccomp: { mode: 'unconfined', profile: '' },
        apparmor: { mode: 'default', profile: '' },
      },
    });
    expect(spec.process.rlimits).toEqual([{ type: 'RLIMIT_NOFILE', soft: 10, hard: 20 }]);
    expect(spec.linux.sysctl).toEqual({ 'net.ipv4.ip_forward': '1' });
    expect(spec.process.oomScoreAdj).toBe(100);
    expect(spec.process.noNewPrivileges).toBe(true);
    expect(spec.linux.seccomp).toBeNull();
  });

  const withSeccomp = (mode: 'default' | 'unconfined' | 'custom', profile = '') => ({
    noNewPrivileges: false,
    seccomp: { mode, profile },
    apparmor: { mode: 'default' as const, profile: '' },
  });

  test('has the default seccomp profile, or its own, by the rules that hold here', () => {
    expect(specOf().linux.seccomp).toEqual(defaultSeccomp(DEFAULT_CAPABILITIES));
    const read = { names: ['read'], action: 'SCMP_ACT_ALLOW' };
    const profile = JSON.stringify({
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 5,
      syscalls: [
        read,
        { ...read, names: ['bpf'], includes: { caps: ['CAP_BPF'] } },
        { ...read, names: ['chown'], excludes: { caps: ['CAP_CHOWN'] } },
        { ...read, names: ['ptrace'], includes: { minKernel: '4.8' } },
        { ...read, names: ['later'], includes: { minKernel: '6.2' } },
        { ...read, names: ['arm'], includes: { arches: ['arm64'] } },
      ],
    });
    const { seccomp } = specOf({ privileges: withSeccomp('custom', profile) }).linux;
    expect(seccomp).toMatchObject({ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 5 });
    expect(seccomp?.syscalls.flatMap(({ names }) => names)).toEqual(['read', 'ptrace']);
    expect(() => specOf({ privileges: withSeccomp('custom', '{}') })).toThrow('defaultAction');
  });

  test('has terminal, input, init, domain and AppArmor profile when asked', () => {
    const host = { ...NO_HOST_FACTS, apparmorProfile: 'mine' };
    const asked = { tty: true, openStdin: true, init: true, domainname: 'example.org' };
    const spec = specOf(asked, { host });
    expect(spec.process).toMatchObject({
      terminal: true,
      openStdin: true,
      init: true,
      apparmorProfile: 'mine',
    });
    expect(spec.domainname).toBe('example.org');
    expect(specOf().process).toMatchObject({ terminal: false, openStdin: false, init: false });
  });

  test.each(['pid', 'ipc', 'uts', 'cgroup'] as const)(
    'shares the %s namespace when asked',
    (type) => {
      const own = specOf();
      const spec = specOf({ isolation: { ...DEFAULT_ISOLATION, [type]: 'host' } });
      const types = (linux: typeof own.linux) => linux.namespaces.map((n) => n.type);
      expect(types(spec.linux)).toEqual(types(own.linux).filter((name) => name !== type));
      // Or the host would get the container's name.
      expect(spec.hostname).toBe(type === 'uts' ? '' : 'box');
    },
  );

  test('has a user namespace with the ids that the node gives', () => {
    const uid = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const { linux } = specOf({}, { idMappings: { uid, gid: uid } });
    expect(linux).toMatchObject({ uidMappings: uid, gidMappings: uid });
    expect(linux.namespaces).toContainEqual({ type: 'user' });
    expect(specOf().linux).not.toHaveProperty('uidMappings');
  });

  test('shared memory follows the IPC namespace', () => {
    const shm = (ipc: 'private' | 'host' | 'none') =>
      specOf({ isolation: { ...DEFAULT_ISOLATION, ipc } }).mounts.find(
        ({ destination }) => destination === '/dev/shm',
      );
    expect(shm('private')).toMatchObject({ type: 'tmpfs' });
    expect(shm('host')).toMatchObject({ type: 'bind', source: '/dev/shm' });
    expect(shm('none')).toBeUndefined();
  });

  test('message queues are mounted, also where the node has them at no place', () => {
    for (const ipc of ['private', 'host', 'none'] as const) {
      const { mounts } = specOf({ isolation: { ...DEFAULT_ISOLATION, ipc } });
      const queues = mounts.filter(({ destination }) => destination === '/dev/mqueue');
      expect(queues).toMatchObject([{ type: 'mqueue' }]);
    }
  });

  describe('devices', () => {
    const kmsg = { type: 'c', path: '/dev/log', major: 1, minor: 11 } as const;
    const device = { ...kmsg, fileMode: 0o600, uid: 1, gid: 2 };
    const host = { ...NO_HOST_FACTS, devices: [{ device, access: 'rw' }] };

    test('of the host are made, and allowed as far as asked; rules come last', () => {
      const deviceRules = ['c 10:* rwm', 'a 7:0 r'];
      const { linux } = specOf({ isolation: { ...DEFAULT_ISOLATION, deviceRules } }, { host });
      expect(linux.devices).toContainEqual(device);
      const rule = { allow: true, type: 'c', major: 10, minor: null, access: 'rwm' };
      expect(linux.resources.devices).toEqual([
        ...DEFAULT_DEVICE_RULES,
        { ...rule, major: 1, minor: 11, access: 'rw' },
        rule,
        { ...rule, major: 7, minor: 0, access: 'r' },
        { ...rule, type: 'b', major: 7, minor: 0, access: 'r' },
      ]);
    });

    const bound = (destination: string, type = 'bind') => ({
      destination,
      type,
      source: type === 'bind' ? '/host' : 'tmpfs',
      options: [],
    });
    test.each([
      ['beside a mount: made', [bound('/dev/lo')], true],
      ['at a mount: not made', [bound('/dev/log')], false],
      ['below a mount: not made', [bound('/dev/')], false],
      ['at a mount that is spelt otherwise: not made', [bound('/dev//./log')], false],
      ['below a fresh tmpfs: made', [bound('/dev', 'tmpfs')], true],
      [
        'below a tmpfs that a bind covers: not made',
        [bound('/dev', 'tmpfs'), bound('/dev')],
        false,
      ],
    ])('%s; the rules for it stay', (_what, mounts, made) => {
      const { linux } = specOf({}, { host, mounts });
      expect(linux.devices.some(({ path }) => path === device.path)).toBe(made);
      expect(linux.resources.devices).toContainEqual(
        expect.objectContaining({ major: 1, minor: 11 }),
      );
    });

    test('none, nor a default one, is made when /dev is a mount of the task', () => {
      const { linux, mounts } = specOf({}, { host, mounts: [bound('/dev/')] });
      expect(linux.devices).toEqual([]);
      expect(mounts.filter(({ destination }) => destination === '/dev')).toHaveLength(1);
    });

    test('privileged: all of it, nothing hidden', () => {
      const isolation = { ...DEFAULT_ISOLATION, privileged: true };
      const spec = specOf({ isolation, capabilityDrop: ['ALL'] }, { host });
      expect(spec.process.capabilities.bounding).toEqual(CAPABILITIES);
      expect(spec.linux).toMatchObject({ maskedPaths: [], readonlyPaths: [], seccomp: null });
      expect(spec.linux.devices).toContainEqual(device);
      expect(spec.linux.resources.devices).toEqual([
        { allow: true, type: 'a', major: null, minor: null, access: 'rwm' },
      ]);
      const kernel = spec.mounts.filter(({ destination }) => destination.startsWith('/sys'));
      expect(kernel.flatMap(({ options }) => options)).not.toContain('ro');
    });

    test('privileged keeps a seccomp profile that it is given', () => {
      const isolation = { ...DEFAULT_ISOLATION, privileged: true };
      const profile = '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}';
      const spec = specOf({ isolation, privileges: withSeccomp('custom', profile) });
      expect(spec.linux.seccomp).toEqual({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [] });
    });
  });

  test("has a network namespace of its own, or the host's", () => {
    const types = (network: 'new' | 'host') =>
      specOf({}, { network }).linux.namespaces.map(({ type }) => type);
    expect(types('new')).toContain('network');
    expect(types('host')).toEqual(types('new').filter((type) => type !== 'network'));
  });

  test('a mount of the task hides the default one at its place; the others stay before it', () => {
    const shm = { destination: '/dev/shm', type: 'bind', source: '/big', options: ['rbind'] };
    const data = { destination: '/data', type: 'bind', source: '/d', options: ['rbind'] };
    const { mounts } = specOf({}, { mounts: [shm, data] });
    expect(mounts.filter(({ destination }) => destination === '/dev/shm')).toEqual([shm]);
    expect(mounts.slice(-2)).toEqual([shm, data]);
    expect(mounts[0]?.destination).toBe('/proc');
  });

  test.each<[string, Partial<ResourceRequirements>, object]>([
    ['nothing', {}, {}],
    [
      'half a CPU',
      { limits: { nanoCpus: 5e8, memoryBytes: 0, pids: 0 } },
      { cpu: { quota: 50_000, period: 100_000, shares: null } },
    ],
    [
      'memory without swap',
      { limits: { nanoCpus: 0, memoryBytes: 64, pids: 0 } },
      { memory: { limit: 64, swap: null } },
    ],
    [
      'swap on top of memory',
      { limits: { nanoCpus: 0, memoryBytes: 64, pids: 0 }, swapBytes: 36 },
      { memory: { limit: 64, swap: 100 } },
    ],
    [
      'memory with unlimited swap',
      { limits: { nanoCpus: 0, memoryBytes: 64, pids: 0 }, swapBytes: -1 },
      { memory: { limit: 64, swap: -1 } },
    ],
    [
      'memory reserved, and its swappiness',
      {
        reservations: { nanoCpus: 0, memoryBytes: 32, generic: [] },
        memorySwappiness: 0,
      },
      { memory: { limit: null, swap: null, reservation: 32, swappiness: 0 } },
    ],
    [
      'memory for which nothing is killed',
      { kernel: { ...NO_KERNEL_RESOURCES, oomKillDisable: true } },
      { memory: { limit: null, swap: null, disableOomKiller: true } },
    ],
    [
      'shares and sets of CPUs',
      { kernel: { ...NO_KERNEL_RESOURCES, cpuShares: 512, cpusetCpus: '0-1', cpusetMems: '0' } },
      { cpu: { quota: null, period: 100_000, shares: 512, cpus: '0-1', mems: '0' } },
    ],
    ['processes', { limits: { nanoCpus: 0, memoryBytes: 0, pids: 9 } }, { pids: { limit: 9 } }],
  ])('limits %s', (_what, resources, limits) => {
    const { devices, ...rest } = specOf({}, {}, { ...NO_RESOURCES, ...resources }).linux.resources;
    expect(rest).toEqual(limits);
    expect(devices).toEqual(DEFAULT_DEVICE_RULES);
  });
});
