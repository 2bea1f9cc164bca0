import { describe, expect, test } from 'vitest';
import { capabilitySet, defaultProcess, defaultSpec } from '../../../worker/runtime/defaults.ts';
import type { OciSpec } from '../../../worker/runtime/oci.ts';
import { ociConfigText } from '../../../worker/runtime/oci-config.ts';

const CONTEXT = {
  runtimeName: 'crun',
  taskDir: '/tasks/a',
  cgroupsPath: '/skep/a',
  countsSwap: true,
  initProgram: '/lib/skep-shim',
};
const base = defaultSpec(['/layers/a'], defaultProcess(['sh', '-c', 'true'], ['A=b']));

function configOf(change: Partial<OciSpec>, context = CONTEXT) {
  return JSON.parse(ociConfigText({ ...base, ...change }, context));
}

describe('the config.json of another runtime', () => {
  test('has what the specification names, and nothing of ours', () => {
    const config = configOf({ hostname: 'web', domainname: 'example.org' });
    expect(Object.keys(config).sort()).toEqual(
      ['hostname', 'linux', 'mounts', 'ociVersion', 'process', 'root'].sort(),
    );
    expect(config.root).toEqual({ path: 'merged', readonly: false });
    expect(config.process).toEqual({
      terminal: false,
      user: { uid: 0, gid: 0, additionalGids: [], umask: 0o022 },
      args: ['sh', '-c', 'true'],
      env: base.process.env,
      cwd: '/',
      capabilities: capabilitySet(base.process.capabilities.bounding),
      rlimits: [],
      noNewPrivileges: false,
    });
    expect(config.linux).toMatchObject({
      cgroupsPath: '/skep/a',
      rootfsPropagation: 'rprivate',
      sysctl: { 'kernel.domainname': 'example.org' },
      namespaces: base.linux.namespaces,
    });
    expect(config.linux.resources.devices[0]).toEqual({ allow: false, type: 'a', access: 'rwm' });
  });

  test('an unlimited rlimit is the number of the kernel', () => {
    const rlimits = [{ type: 'RLIMIT_CORE', soft: 5, hard: -1 }];
    const text = ociConfigText({ ...base, process: { ...base.process, rlimits } }, CONTEXT);
    expect(text).toContain('"soft":5,"hard":18446744073709551615}');
    const args = ['@unlimited@'];
    expect(configOf({ process: { ...base.process, args, rlimits } }).process.args).toEqual(args);
  });

  test('swap is told where the kernel counts it', () => {
    const resources = {
      ...base.linux.resources,
      memory: { limit: 100, swap: null, reservation: 50, swappiness: 7 },
      cpu: { quota: null, period: 1000, shares: 2, cpus: '0-1' },
      pids: { limit: null },
    };
    const linux = { ...base.linux, resources };
    const memory = { limit: 100, reservation: 50, swappiness: 7 };
    expect(configOf({ linux }).linux.resources).toMatchObject({
      memory: { ...memory, swap: 100 },
      cpu: { period: 1000, shares: 2, cpus: '0-1' },
      pids: { limit: -1 },
    });
    const without = configOf({ linux }, { ...CONTEXT, countsSwap: false }).linux.resources;
    expect(without.memory).toEqual(memory);
  });

  test('binds say how they propagate, and are staged where their source is not safe', () => {
    const bind = { type: 'bind', source: '/src' };
    const mounts = [
      { ...bind, destination: '/a', options: ['rbind', 'ro'] },
      { ...bind, destination: '/b', options: ['rslave'], plainSource: true },
      { destination: '/c', type: 'tmpfs', source: 'tmpfs', options: ['size=1k'] },
      { ...bind, destination: '/d', options: [], sourceNamespace: '/proc/7/ns/mnt' },
    ];
    const config = configOf({ mounts });
    expect(config.mounts).toEqual([
      { ...bind, destination: '/a', options: ['rbind', 'ro', 'rprivate'] },
      { ...bind, destination: '/b', source: '/tasks/a/staged/0', options: ['bind', 'rslave'] },
      mounts[2],
      { ...bind, destination: '/d', source: '/tasks/a/staged/1', options: ['bind', 'rprivate'] },
    ]);
    expect(config.linux.rootfsPropagation).toBe('rslave');
  });

  test('an init of ours is bound in', () => {
    const config = configOf({ process: { ...base.process, init: true } });
    expect(config.process.args).toEqual(['/sbin/docker-init', '--', 'sh', '-c', 'true']);
    expect(config.mounts.at(-1)).toMatchObject({
      destination: '/sbin/docker-init',
      source: '/lib/skep-shim',
      options: ['bind', 'ro', 'rprivate'],
    });
  });

  test('no rule without conditions stands beside one with them, which libseccomp would drop', () => {
    const { syscalls } = configOf({}).linux.seccomp;
    type Rule = { names: string[]; action: string; errnoRet?: number; args?: { value: number }[] };
    const rules = syscalls as Rule[];
    for (const rule of rules.filter(({ args = [] }) => args.length === 0)) {
      const conditional = rules.filter(({ args = [] }) => args.length > 0);
      const both = rule.names.filter((name) => conditional.some((it) => it.names.includes(name)));
      expect(both).toEqual([]);
    }
    const clone = rules.filter(({ names }) => names.includes('clone'));
    const refused = clone.filter(({ action }) => action === 'SCMP_ACT_ERRNO');
    expect(refused.map(({ errnoRet }) => errnoRet)).toEqual(refused.map(() => 1));
    // Every namespace flag: new mount, cgroup, UTS, IPC, user, pid, network.
    const bits = refused.map(({ args }) => args?.[0]?.value ?? 0);
    expect(bits.reduce((sum, bit) => sum + bit, 0)).toBe(0x7e020000);
    expect(configOf({ linux: { ...base.linux, seccomp: null } }).linux.seccomp).toBeUndefined();
  });

  test.each([
    ['a user namespace', { linux: { ...base.linux, namespaces: [{ type: 'user' as const }] } }],
    [
      'shared propagation',
      { mounts: [{ destination: '/s', type: 'bind', source: '/s', options: ['rshared'] }] },
    ],
  ])('refuses %s', (_what, change) => {
    expect(() => configOf(change)).toThrow(/^runtime crun: /);
  });
});
