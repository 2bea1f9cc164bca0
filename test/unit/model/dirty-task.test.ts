import { describe, expect, test } from 'vitest';
import { DirtyTest } from '../../../common/model/dirty-task.ts';
import {
  type PortConfig,
  type ServiceSpec,
  specWithDefaults,
  type TaskSpec,
} from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import {
  aContainerSpec,
  aNode,
  aNodeSpec,
  aPort,
  aService,
  aServiceSpec,
  aTaskOf,
  aTaskSpec,
  aTaskStatus,
} from '../../support/builders.ts';

const node = aNode({ spec: aNodeSpec({ labels: { zone: 'a' } }) });
const placement = (constraint: string): TaskSpec['placement'] => ({
  ...{ constraints: [constraint], preferences: [], maxReplicas: 0, platforms: [] },
});
const endpoint = (...ports: PortConfig[]) => ({
  ...{ spec: { mode: 'vip' as const, ports }, ports, virtualIps: [] },
});

/** A task of the spec before `now`. */
function isDirty(now: Partial<ServiceSpec>, task: Partial<Task> = {}): boolean {
  const before = aService({ spec: aServiceSpec(), specVersion: 3 });
  const service = { ...before, spec: { ...before.spec, ...now }, specVersion: 4 };
  const test = new DirtyTest(service, (id) => (id === node.id ? node : undefined));
  return test.isDirty(aTaskOf(before, { nodeId: node.id, endpoint: endpoint(), ...task }));
}

describe('a task of another spec version', () => {
  const registryAuth = aTaskSpec({ container: aContainerSpec({ registryAuth: 'e30=' }) });
  const bothIn = (zone: string): TaskSpec => ({
    ...registryAuth,
    placement: placement(`node.labels.zone == ${zone}`),
  });

  test.each<[string, Partial<ServiceSpec>, Partial<Task>, boolean]>([
    ['with the same words is clean', {}, {}, false],
    ['with other labels of the service is clean', { labels: { a: 'b' } }, {}, false],
    ['of another number is clean', { mode: { kind: 'replicated', replicas: 9 } }, {}, false],
    [
      'of another image is dirty',
      { task: aTaskSpec({ container: aContainerSpec({ image: 'x' }) }) },
      {},
      true,
    ],
    [
      'with the defaults written out is clean',
      { task: specWithDefaults(aServiceSpec()).task },
      {},
      false,
    ],
    ['that is forced is dirty', { task: aTaskSpec({ forceUpdate: 1 }) }, {}, true],
    ['of other ports is dirty', { endpoint: { mode: 'vip', ports: [aPort()] } }, {}, true],
    [
      'where it may be still is clean',
      { task: aTaskSpec({ placement: placement('node.labels.zone == a') }) },
      {},
      false,
    ],
    [
      'where it may not be any more is dirty',
      { task: aTaskSpec({ placement: placement('node.labels.zone == b') }) },
      {},
      true,
    ],
    ['of other credentials, pulled is clean', { task: registryAuth }, {}, false],
    [
      'of other credentials, not pulled is dirty',
      { task: registryAuth },
      { status: aTaskStatus({ state: 'preparing' }) },
      true,
    ],
    ['of other credentials, where it may be still is clean', { task: bothIn('a') }, {}, false],
    ['of other credentials, where it may not be is dirty', { task: bothIn('b') }, {}, true],
    [
      'of other credentials, where it may be still, not pulled is dirty',
      { task: bothIn('a') },
      { status: aTaskStatus({ state: 'preparing' }) },
      true,
    ],
  ])('%s', (_, now, task, dirty) => {
    expect(isDirty(now, { status: aTaskStatus({ state: 'running' }), ...task })).toBe(dirty);
  });
});

test('a task of this very spec is dirty with the ports of another: it was allocated between two rollbacks', () => {
  const [ours, other] = [aPort({ publishedPort: 8000 }), aPort({ publishedPort: 9000 })];
  const service = aService({
    spec: aServiceSpec({ endpoint: { mode: 'vip', ports: [ours] } }),
    specVersion: 4,
  });
  const test = new DirtyTest(service, () => node);
  const task = (port: PortConfig) => aTaskOf(service, { endpoint: endpoint(port) });
  expect(test.isDirty(task(other))).toBe(true);
  expect(test.isDirty(task(ours))).toBe(false);
  expect(test.isDirty(aTaskOf(service, { endpoint: null }))).toBe(false);
});
