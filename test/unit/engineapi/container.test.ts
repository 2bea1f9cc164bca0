import { describe, expect, test } from 'vitest';
import {
  type ContainerSpec,
  DEFAULT_ISOLATION,
  NO_KERNEL_RESOURCES,
  NO_RESOURCES,
  type ResourceRequirements,
} from '../../../common/model/service.ts';
import { containerToJson } from '../../../daemon/engineapi/json/container.ts';
import type { ContainerInfo } from '../../../worker/container-view.ts';
import { aContainerSpec, aTask, aTaskSpec, aTaskStatus } from '../../support/builders.ts';

function inspected(
  container: Partial<ContainerSpec>,
  resources: ResourceRequirements = NO_RESOURCES,
): object {
  const spec = aTaskSpec({ container: aContainerSpec(container), resources });
  const info: Pick<
    ContainerInfo,
    'id' | 'name' | 'task' | 'state' | 'status' | 'image' | 'health'
  > = {
    id: 'c'.repeat(64),
    name: 'web.1.x',
    task: aTask({ spec }),
    state: {
      id: 'x',
      pid: 7,
      status: 'running',
      exit: null,
      createdAtMs: 1,
      startedAtMs: 2,
      netnsPath: null,
      paused: false,
    },
    status: aTaskStatus({}),
    image: null,
    health: null,
  };
  return containerToJson(info);
}

describe('docker inspect of a container', () => {
  test('shows what it shares and is held to, as docker run would have asked for it', () => {
    const isolation = {
      ...DEFAULT_ISOLATION,
      privileged: true,
      devices: [{ hostPath: '/dev/a', containerPath: '/dev/b', permissions: 'r' }],
      pid: 'host' as const,
    };
    const kernel = { ...NO_KERNEL_RESOURCES, cpuShares: 512, cpusetCpus: '0' };
    const resources = { ...NO_RESOURCES, kernel, memorySwappiness: 7 };
    expect(inspected({ isolation, init: true, oomScoreAdj: 5 }, resources)).toMatchObject({
      HostConfig: {
        Privileged: true,
        Devices: [{ PathOnHost: '/dev/a', PathInContainer: '/dev/b', CgroupPermissions: 'r' }],
        PidMode: 'host',
        IpcMode: 'private',
        CpuShares: 512,
        CpusetCpus: '0',
        MemorySwappiness: 7,
        Init: true,
        OomScoreAdj: 5,
      },
    });
  });

  test('of a service that asks for nothing has Docker’s defaults', () => {
    expect(inspected({ domainname: 'a.b', tty: true })).toMatchObject({
      Config: { Domainname: 'a.b', Tty: true },
      HostConfig: {
        Privileged: false,
        PidMode: '',
        UTSMode: '',
        CgroupnsMode: 'private',
        Init: null,
      },
    });
  });
});
