import { describe, expect, test } from 'vitest';
import {
  type ContainerSpec,
  DEFAULT_ISOLATION,
  type Isolation,
  type KernelResources,
  NO_KERNEL_RESOURCES,
  type Privileges,
} from '../../../common/model/service.ts';
import {
  checkIsolation,
  checkKernelResources,
} from '../../../manager/controlapi/isolation-rules.ts';
import { checkServiceSpec } from '../../../manager/controlapi/service-rules.ts';
import { aContainerSpec, aServiceSpec, aTaskSpec } from '../../support/builders.ts';

const isolation = (change: Partial<Isolation>) => ({
  isolation: { ...DEFAULT_ISOLATION, ...change },
});
const privileges = (change: Partial<Privileges>) => ({
  privileges: {
    noNewPrivileges: false,
    seccomp: { mode: 'default' as const, profile: '' },
    apparmor: { mode: 'default' as const, profile: '' },
    ...change,
  },
});
const device = (change: object) => {
  const whole = { hostPath: '/dev/null', containerPath: '/dev/x', permissions: 'rwm' };
  return isolation({ devices: [{ ...whole, ...change }] });
};

describe('what a spec may ask of the kernel', () => {
  test.each<[string, Partial<ContainerSpec>]>([
    ['terminal, input and init', { tty: true, openStdin: true, init: true }],
    [
      'a sysctl of its namespaces',
      { sysctls: { 'net.core.somaxconn': '1', 'kernel.shmmax': '2' } },
    ],
    ['a limit that is known', { ulimits: [{ name: 'nofile', soft: 1, hard: 2 }] }],
    ['a device', device({})],
    [
      'rules',
      isolation({ deviceRules: ['c 1:3 rwm', 'b *:* r', 'a *:* rwm', 'c 4095:1048575 mr'] }),
    ],
    [
      'namespaces of the node',
      isolation({ pid: 'host', ipc: 'host', uts: 'host', cgroup: 'host' }),
    ],
    ['an AppArmor profile', privileges({ apparmor: { mode: 'custom', profile: 'my/profile-1' } })],
    [
      'a seccomp profile',
      privileges({ seccomp: { mode: 'custom', profile: '{"defaultAction":"SCMP_ACT_ALLOW"}' } }),
    ],
  ])('%s', (_what, change) => {
    expect(() => checkIsolation(aContainerSpec(change), [])).not.toThrow();
  });

  test.each<[Partial<ContainerSpec>, string]>([
    [{ sysctls: { 'vm.swappiness': '1' } }, "sysctl 'vm.swappiness' is not allowed"],
    [{ sysctls: { 'net/../vm/swappiness': '1' } }, 'is not allowed'],
    [{ sysctls: { 'kernel.shmmax': '1' }, ...isolation({ ipc: 'host' }) }, "would be the node's"],
    [{ ulimits: [{ name: 'files', soft: 1, hard: 1 }] }, 'invalid ulimit type: files'],
    [device({ hostPath: 'dev/null' }), "'dev/null' is not absolute"],
    [device({ containerPath: 'x' }), "'x' is not absolute"],
    [device({ permissions: 'rx' }), 'invalid device mode: rx'],
    [device({ permissions: 'rr' }), 'invalid device mode: rr'],
    [isolation({ deviceRules: ['c 1 rwm'] }), "invalid device cgroup rule format: 'c 1 rwm'"],
    [isolation({ deviceRules: ['a *:* rrr'] }), "'a *:* rrr': rrr is not made of r, w and m"],
    [isolation({ deviceRules: ['c 1:3 x'] }), "'c 1:3 x': x is not made of r, w and m"],
    [isolation({ deviceRules: ['c 4096:3 r'] }), 'the major number must be at most 4095'],
    [isolation({ deviceRules: ['c *:1048576 r'] }), 'the minor number must be at most 1048575'],
    [{ hostname: 'x', ...isolation({ uts: 'host' }) }, 'conflicting options: hostname'],
    [
      privileges({ apparmor: { mode: 'custom', profile: 'a\nchangeprofile b' } }),
      'is no name of an AppArmor profile',
    ],
    [privileges({ seccomp: { mode: 'custom', profile: '' } }), 'seccomp profile: it is not JSON'],
  ])('%j is refused', (change, words) => {
    expect(() => checkIsolation(aContainerSpec(change), [])).toThrow(words);
  });

  const network = (target: string) => ({ target, aliases: [], addresses: [], driverOptions: {} });
  test('a sysctl of the network is refused in the host’s', () => {
    const check = (name: string, ...targets: string[]) => {
      const container = aContainerSpec({ sysctls: { [name]: '1' } });
      const task = aTaskSpec({ container, networks: targets.map(network) });
      checkServiceSpec(aServiceSpec({ task }));
    };
    expect(() => check('net.core.somaxconn', 'front')).not.toThrow();
    expect(() => check('net.core.somaxconn', 'host')).toThrow("would be the node's");
    expect(() => check('kernel.shmmax', 'host')).not.toThrow();
  });

  const kernel = (change: Partial<KernelResources>) => ({ ...NO_KERNEL_RESOURCES, ...change });
  const blockIo = (change: Partial<KernelResources['blockIo']>) =>
    kernel({ blockIo: { ...NO_KERNEL_RESOURCES.blockIo, ...change } });

  test.each([
    [kernel({ cpuShares: 2 }), null],
    [kernel({ cpuShares: 1 }), 'invalid CpuShares 1: must be between 2 and 262144'],
    [kernel({ cpusetCpus: '0-2,5', cpusetMems: '0' }), null],
    [kernel({ cpusetCpus: '0-' }), 'invalid value 0- for CpusetCpus'],
    [kernel({ cpusetMems: 'all' }), 'invalid value all for CpusetMems'],
    [blockIo({ weight: 10, readBps: [{ path: '/dev/sda', rate: 1 }] }), null],
    [blockIo({ weight: 9 }), 'invalid BlkioWeight 9'],
    [blockIo({ writeIops: [{ path: 'sda', rate: 1 }] }), 'bad format for device path: sda'],
    [blockIo({ readIops: [{ path: '/dev/sda', rate: 0 }] }), 'invalid rate for device /dev/sda'],
  ])('%j: %s', (resources, words) => {
    const check = () => checkKernelResources(resources);
    if (words === null) expect(check).not.toThrow();
    else expect(check).toThrow(words);
  });
});
