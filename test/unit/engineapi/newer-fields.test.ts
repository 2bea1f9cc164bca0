import { expect, test } from 'vitest';
import {
  NEWER_CONTAINER_FIELDS,
  NEWER_SERVICE_FIELDS,
  withoutNewer,
} from '../../../daemon/engineapi/json/newer-fields.ts';

const SERVICE = {
  Name: 'web',
  mode: { replicatedjob: { MaxConcurrent: 1 }, Global: {} },
  TaskTemplate: {
    Resources: { Limits: { Pids: 3, MemoryBytes: 4 } },
    ContainerSpec: {
      ...{ Image: 'x', Ulimits: [{ Name: 'nofile' }], CapabilityAdd: ['A'], OomScoreAdj: 5 },
      Privileges: { NoNewPrivileges: true, Seccomp: { Mode: 'unconfined' }, SELinuxContext: {} },
      Healthcheck: { Test: ['NONE'], StartInterval: 1 },
      Mounts: [{ Target: '/t', TmpfsOptions: { SizeBytes: 1, Options: [['noexec']] } }, null, 1],
    },
  },
};

test('what came with the version that was asked for, or before, is heard', () => {
  expect(withoutNewer(SERVICE, 50, NEWER_SERVICE_FIELDS)).toEqual(SERVICE);
  expect(withoutNewer(SERVICE, 46, NEWER_SERVICE_FIELDS)).toEqual(SERVICE);
});

test('what came later is not, in whatever case it is written', () => {
  const before = structuredClone(SERVICE);
  const { ContainerSpec } = SERVICE.TaskTemplate;
  const of45 = {
    Image: 'x',
    ...{ Ulimits: ContainerSpec.Ulimits, CapabilityAdd: ['A'] },
    ...{ Privileges: ContainerSpec.Privileges, Healthcheck: ContainerSpec.Healthcheck },
    Mounts: [{ Target: '/t', TmpfsOptions: { SizeBytes: 1 } }, null, 1],
  };
  const of43 = { ...of45, Privileges: { SELinuxContext: {} }, Healthcheck: { Test: ['NONE'] } };
  const specAt = (minor: number): unknown => withoutNewer(SERVICE, minor, NEWER_SERVICE_FIELDS);
  const containerAt = (minor: number): unknown =>
    (specAt(minor) as typeof SERVICE).TaskTemplate.ContainerSpec;
  expect(containerAt(45)).toEqual(of45);
  expect(containerAt(44)).toEqual(of45);
  expect(containerAt(43)).toEqual(of43);
  expect(containerAt(41)).toEqual(of43);
  const { Image, Privileges, Healthcheck, Mounts } = of43;
  expect(specAt(40)).toEqual({
    Name: 'web',
    mode: { Global: {} },
    TaskTemplate: {
      Resources: { Limits: { MemoryBytes: 4 } },
      ContainerSpec: { Image, Privileges, Healthcheck, Mounts },
    },
  });
  expect(SERVICE).toEqual(before);
});

const READ_ONLY_TREE = {
  ...{ CreateMountpoint: true, ReadOnlyNonRecursive: true, ReadOnlyForceRecursive: true },
};

test.each([
  [41, { Healthcheck: {}, HostConfig: { Mounts: [{ BindOptions: {} }] } }],
  [43, { Healthcheck: {}, HostConfig: { Mounts: [{ BindOptions: { CreateMountpoint: true } }] } }],
  [
    44,
    {
      Healthcheck: { StartInterval: 1 },
      HostConfig: { Mounts: [{ BindOptions: READ_ONLY_TREE }] },
    },
  ],
])('a container of API 1.%i has what there was then', (minor, expected) => {
  const body = {
    Healthcheck: { StartInterval: 1 },
    HostConfig: { Mounts: [{ BindOptions: READ_ONLY_TREE }] },
  };
  expect(withoutNewer(body, minor, NEWER_CONTAINER_FIELDS)).toEqual(expected);
});

test.each([[null], ['text'], [[]], [{ TaskTemplate: [], Mode: 1 }]])(
  'a body that is none, %j, is left to who reads it',
  (body) => {
    expect(withoutNewer(body, 24, NEWER_SERVICE_FIELDS)).toEqual(body);
  },
);
