import { describe, expect, test } from 'vitest';
import { NO_RESOURCES, type ResourceRequirements } from '../../../common/model/service.ts';
import {
  argvOf,
  capabilitiesOf,
  environmentOf,
  type OciParts,
  ociSpecOf,
} from '../../../worker/executor/oci-builder.ts';
import { CAPABILITIES } from '../../../worker/runtime/capabilities.ts';
import {
  DEFAULT_CAPABILITIES,
  DEFAULT_DEVICE_RULES,
  DEFAULT_PATH,
} from '../../../worker/runtime/defaults.ts';
import { aContainerSpec, aTask, aTaskSpec } from '../../support/builders.ts';
import { anImageConfig } from '../../support/fake-container-host.ts';

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
      task: aTask({ spec: aTaskSpec({ container: aContainerSpec(container), resources }) }),
      image: anImageConfig(),
      lowerDirs: ['/layers/2', '/layers/1'],
      hostname: 'box',
      user: { uid: 5, gid: 6, additionalGids: [7], home: '/home/u' },
      mounts: [],
      network: 'new',
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
    const assignedGenericResources = [{ kind: 'gpu', value: 'UUID1' }];
    const spec = specOf({}, { task: aTask({ assignedGenericResources }) });
    expect(spec.process.env).toContain('DOCKER_RESOURCE_GPU=UUID1');
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
        apparmor: 'default',
      },
    });
    expect(spec.process.rlimits).toEqual([{ type: 'RLIMIT_NOFILE', soft: 10, hard: 20 }]);
    expect(spec.linux.sysctl).toEqual({ 'net.ipv4.ip_forward': '1' });
    expect(spec.process.oomScoreAdj).toBe(100);
    expect(spec.process.noNewPrivileges).toBe(true);
    expect(spec.linux.seccomp).toBeNull();
  });

  test('has the default seccomp profile; one of your own is refused', () => {
    expect(specOf().linux.seccomp).not.toBeNull();
    const seccomp = { mode: 'custom', profile: '{}' } as const;
    const privileges = { noNewPrivileges: false, seccomp, apparmor: 'default' } as const;
    expect(() => specOf({ privileges })).toThrow(/seccomp profile of your own/);
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
    ['processes', { limits: { nanoCpus: 0, memoryBytes: 0, pids: 9 } }, { pids: { limit: 9 } }],
  ])('limits %s', (_what, resources, limits) => {
    const { devices, ...rest } = specOf({}, {}, { ...NO_RESOURCES, ...resources }).linux.resources;
    expect(rest).toEqual(limits);
    expect(devices).toEqual(DEFAULT_DEVICE_RULES);
  });
});
