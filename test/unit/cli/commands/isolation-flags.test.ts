import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { create } from '../../../../cli/commands/service-create.ts';
import { update } from '../../../../cli/commands/service-update.ts';
import type { ServiceSpecJson } from '../../../../common/model/engine-json/service.ts';
import { runCommand } from '../../../support/cli-command.ts';

let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'skep-flags-'));
  writeFileSync(join(cwd, 'own.json'), '{"defaultAction":"SCMP_ACT_ALLOW"}');
});
afterAll(() => rmSync(cwd, { recursive: true }));

async function created(...argv: string[]): Promise<ServiceSpecJson['TaskTemplate']> {
  let sent: ServiceSpecJson | undefined;
  const engine = {
    serviceCreate: async (spec: ServiceSpecJson) => {
      sent = spec;
      return { ID: 'new' };
    },
  };
  const args = ['-d', '--no-resolve-image', ...argv, 'web'];
  const result = await runCommand(create, args, { engine, cwd });
  expect(result).toMatchObject({ status: 0 });
  if (!sent) throw new Error('nothing was sent');
  return sent.TaskTemplate;
}

describe('flags that docker run has and docker service lacks', () => {
  const PROFILE = Buffer.from('{"defaultAction":"SCMP_ACT_ALLOW"}').toString('base64');
  test.each<[string[], object]>([
    [['-t', '-i', '--init'], { TTY: true, OpenStdin: true, Init: true }],
    [['--privileged', '--domainname', 'a.b'], { Privileged: true, Domainname: 'a.b' }],
    [
      ['--device', '/dev/fuse', '--device', '/dev/sda:/dev/b:r', '--device', '/dev/kvm:rw'],
      {
        Devices: [
          { PathOnHost: '/dev/fuse', PathInContainer: '/dev/fuse', CgroupPermissions: 'rwm' },
          { PathOnHost: '/dev/sda', PathInContainer: '/dev/b', CgroupPermissions: 'r' },
          { PathOnHost: '/dev/kvm', PathInContainer: '/dev/kvm', CgroupPermissions: 'rw' },
        ],
      },
    ],
    [['--device-cgroup-rule', 'c 1:3 rwm'], { DeviceCgroupRules: ['c 1:3 rwm'] }],
    [
      ['--pid=host', '--ipc=none', '--uts=host', '--cgroupns=host'],
      { PidMode: 'host', IpcMode: 'none', UTSMode: 'host', CgroupnsMode: 'host' },
    ],
    [
      ['--security-opt', 'no-new-privileges', '--security-opt', 'seccomp=own.json'],
      { Privileges: { NoNewPrivileges: true, Seccomp: { Mode: 'custom', Profile: PROFILE } } },
    ],
    [
      ['--security-opt', 'seccomp=unconfined', '--security-opt', 'apparmor:mine'],
      {
        Privileges: {
          Seccomp: { Mode: 'unconfined' },
          AppArmor: { Mode: 'custom', Profile: 'mine' },
        },
      },
    ],
    [
      ['--tmpfs', '/run:size=1m,mode=700,exec', '--shm-size', '2m'],
      {
        Mounts: [
          {
            Type: 'tmpfs',
            Target: '/run',
            TmpfsOptions: { SizeBytes: 1 << 20, Mode: 0o700, Options: [['exec']] },
          },
          { Type: 'tmpfs', Target: '/dev/shm', TmpfsOptions: { SizeBytes: 2 << 20, Mode: 0o1777 } },
        ],
      },
    ],
  ])('%j', async (argv, container) => {
    expect((await created(...argv)).ContainerSpec).toMatchObject(container);
  });

  test('limits', async () => {
    const argv =
      '--memory-swap -1 --memory-swappiness 0 --oom-kill-disable -c 512 --cpuset-cpus 0-1 --cpuset-mems 0 --blkio-weight 10 ' +
      '--device-read-bps /dev/sda:1mb --device-write-iops /dev/sda:30';
    expect((await created(...argv.split(' '))).Resources).toEqual({
      Limits: {},
      Reservations: {},
      SwapBytes: -1,
      MemorySwappiness: 0,
      OomKillDisable: true,
      CpuShares: 512,
      CpusetCpus: '0-1',
      CpusetMems: '0',
      BlkioWeight: 10,
      BlkioDeviceReadBps: [{ Path: '/dev/sda', Rate: 1 << 20 }],
      BlkioDeviceWriteIOps: [{ Path: '/dev/sda', Rate: 30 }],
    });
  });

  test.each([
    [['--device', 'a:b:c:d'], 'invalid device specification: a:b:c:d'],
    [['--device-cgroup-rule', 'x'], "invalid device cgroup rule format: 'x'"],
    [['--security-opt', 'label:x'], 'invalid security option: label:x'],
    [['--security-opt', 'seccomp=none.json'], 'opening seccomp profile (none.json) failed'],
    [['--device-read-bps', 'sda'], 'bad format: sda'],
    [['--device-read-iops', '/dev/sda:1mb'], 'invalid rate: 1mb'],
    [['--limit-memory', '-64m'], "'--limit-memory <size>' argument '-64m' is invalid"],
    [['--pid', 'container:x'], "argument 'container:x' is invalid"],
  ])('%j is refused', async (argv, words) => {
    const result = await runCommand(create, ['--no-resolve-image', ...argv, 'web'], { cwd });
    expect(result.status).not.toBe(0);
    expect(result.stderr).toContain(words);
  });

  test('an update replaces what is given and leaves the rest', async () => {
    const before = {
      ContainerSpec: { Image: 'web', Privileged: true, PidMode: 'host', DeviceCgroupRules: ['a'] },
      Resources: { CpuShares: 2, CpusetCpus: '0' },
    };
    let sent: ServiceSpecJson | undefined;
    const engine = {
      service: async () => ({
        ID: 'id',
        Version: { Index: 1 },
        Spec: { Name: 'www', TaskTemplate: before },
      }),
      serviceUpdate: async (_id: string, _version: number, spec: ServiceSpecJson) => {
        sent = spec;
      },
    };
    await runCommand(update, ['-d', '--pid', 'private', '--cpu-shares', '7', 'www'], { engine });
    expect(sent?.TaskTemplate.ContainerSpec).toMatchObject({
      Privileged: true,
      PidMode: 'private',
      DeviceCgroupRules: ['a'],
    });
    expect(sent?.TaskTemplate.Resources).toMatchObject({ CpuShares: 7, CpusetCpus: '0' });
  });
});
