import { statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  DEFAULT_ISOLATION,
  type DeviceMapping,
  NO_KERNEL_RESOURCES,
  NO_RESOURCES,
} from '../../../common/model/service.ts';
import {
  chooseApparmorProfile,
  deviceNumber,
  devicesBelow,
  hostFacts,
  loadedProfiles,
} from '../../../worker/executor/host-facts.ts';
import { aContainerSpec, aTaskSpec } from '../../support/builders.ts';

const withDevice = (hostPath: string, containerPath = '/dev/x', permissions = 'rw') => {
  const devices: DeviceMapping[] = [{ hostPath, containerPath, permissions }];
  const container = aContainerSpec({ isolation: { ...DEFAULT_ISOLATION, devices } });
  return aTaskSpec({ container });
};

describe('AppArmor', () => {
  const loaded = loadedProfiles(
    'mine (enforce)\na name//child (complain)\ndocker-default (enforce)\n',
  );

  test('profiles are read from the kernel’s list', () => {
    expect([...loaded]).toEqual(['mine', 'a name//child', 'docker-default']);
  });

  test.each([
    ['default', '', 'docker-default', null],
    ['disabled', '', 'unconfined', null],
    ['custom', 'mine', 'mine', 'AppArmor profile "mine": this node has no AppArmor'],
    [
      'custom',
      'other',
      'AppArmor profile "other": it is not loaded on this node',
      'AppArmor profile "other": this node has no AppArmor',
    ],
    ['custom', 'unconfined', 'unconfined', null],
  ] as const)('%s %s: %s with it, %s without', (mode, profile, withIt, without) => {
    const choose = (names: ReadonlySet<string> | null): string | null => {
      try {
        return chooseApparmorProfile(mode, profile, names);
      } catch (err) {
        return err instanceof Error ? err.message : String(err);
      }
    };
    expect(choose(loaded)).toBe(withIt);
    expect(choose(null)).toBe(without);
  });

  test('no profile for containers in general is loaded: none', () => {
    expect(chooseApparmorProfile('default', '', new Set(['mine']))).toBeNull();
  });
});

describe('devices of this machine', () => {
  test.each([
    [0x0103, 1, 3],
    [0x8800, 136, 0],
    [0x10_0000, 0, 0x100], // minors above 255 are behind the major
    [2 ** 44 + 0x0500, 0x1005, 0], // majors above 4095 behind both
  ])('%i is %i:%i', (rdev, major, minor) => {
    expect(deviceNumber(rdev)).toEqual({ major, minor });
  });

  test('one by its path, under another name', async () => {
    const { devices } = await hostFacts(withDevice('/dev/null'));
    const { mode, uid, gid } = statSync('/dev/null');
    const number = { major: 1, minor: 3, fileMode: mode & 0o7777, uid, gid };
    expect(devices).toEqual([{ device: { type: 'c', path: '/dev/x', ...number }, access: 'rw' }]);
  });

  test('a directory is the devices in it', async () => {
    const { devices } = await hostFacts(withDevice('/dev', '/host'));
    expect(devices.map(({ device }) => device.path)).toContain('/host/null');
    expect(devices.every(({ device }) => !device.path.startsWith('/host/pts/'))).toBe(true);
  });

  test.each(['/dev/', '/dev/.', '//dev'])('%s is /dev', async (path) => {
    const { devices } = await hostFacts(withDevice(path, '/host/'));
    const paths = devices.map(({ device }) => device.path);
    expect(paths).toContain('/host/null');
    expect(paths.filter((name) => name.startsWith('/host/pts/'))).toEqual([]);
  });

  test.each(['/dev/no-such', '/dev/null'])('%s is a directory no more: no devices', async (dir) => {
    expect(await devicesBelow(dir, '/host', 'r')).toEqual([]);
  });

  test.each([
    ['/dev/no-such', 'no such file or directory'],
    ['/dev/null/x', 'not a directory'],
    [`/dev/${'x'.repeat(300)}`, 'name too long'],
    ['/', 'a directory must be /dev or below it'],
    ['/dev/../sys', 'a directory must be /dev or below it'],
    ['/dev/fd', 'a directory must be /dev or below it'], // a link to /proc
    ['/etc/passwd', 'not a device node'],
  ])('%s is refused', async (path, words) => {
    await expect(hostFacts(withDevice(path))).rejects.toThrow(
      `error gathering device information while adding custom device "${path}": ${words}`,
    );
  });

  test('a throttle of what is no block device is refused', async () => {
    const blockIo = { ...NO_KERNEL_RESOURCES.blockIo, readBps: [{ path: '/dev/null', rate: 1 }] };
    const resources = { ...NO_RESOURCES, kernel: { ...NO_KERNEL_RESOURCES, blockIo } };
    await expect(hostFacts(aTaskSpec({ resources }))).rejects.toThrow(
      '/dev/null is no block device here',
    );
  });
});
