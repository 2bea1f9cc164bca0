// What is large, and what the managers make of it.
import { beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_CLUSTER_SPEC } from '../../../common/model/cluster.ts';
import type { ServiceSpec } from '../../../common/model/service.ts';
import { DEFAULT_UPDATE_CONFIG } from '../../../common/model/service.ts';
import { SPEC_BYTES_MAX } from '../../../common/model/spec-size.ts';
import { MAX_TRANSACTION_BYTES } from '../../../manager/store/types.ts';
import {
  aConfigSpec,
  aContainerSpec,
  aNetworkSpec,
  aNode,
  aNodeSpec,
  aSecretSpec,
  aServiceSpec,
  aTask,
  aTaskSpec,
  aTaskStatus,
} from '../../support/builders.ts';
import { makeControlApi, type TestControlApi } from '../../support/control-api.ts';
import { ControlRooms } from '../../support/control-rooms.ts';

let it: TestControlApi;
beforeEach(async () => {
  it = await makeControlApi();
});

/** So many of the shortest labels, which take the most room beside their JSON, as have `bytes` as JSON. */
const labelsOf = (bytes: number): Record<string, string> => {
  const each = '"00000":"",'.length;
  return Object.fromEntries(
    Array.from({ length: Math.floor(bytes / each) }, (_, i) => [String(i).padStart(5, '0'), '']),
  );
};
const OVER = labelsOf(SPEC_BYTES_MAX + 100);
const UNDER = labelsOf(SPEC_BYTES_MAX - 4_000);
/** For both in half of what a spec may have: a label is in each task once more. */
const large = (words: Partial<ServiceSpec> = {}): ServiceSpec =>
  aServiceSpec({
    labels: labelsOf(SPEC_BYTES_MAX / 2 - 4_000),
    task: aTaskSpec({
      container: aContainerSpec({ env: [`A=${'x'.repeat(SPEC_BYTES_MAX / 2 - 4_000)}`] }),
    }),
    ...words,
  });

describe('words of users that are too many', () => {
  const refusal = {
    code: 'invalid-argument',
    message: expect.stringContaining('exceeds the limit of 393216'),
  };

  test('are refused in services', async () => {
    await expect(it.api.createService(aServiceSpec({ labels: OVER }))).rejects.toMatchObject(
      refusal,
    );
    const { id, meta, spec } = await it.api.createService(aServiceSpec({ labels: UNDER }));
    await expect(
      it.api.updateService(id, meta.version, { ...spec, labels: OVER }),
    ).rejects.toMatchObject(refusal);
  });

  test('are refused in networks, secrets and configs', async () => {
    await expect(it.api.createNetwork(aNetworkSpec({ labels: OVER }))).rejects.toMatchObject(
      refusal,
    );
    await it.api.createNetwork(aNetworkSpec({ labels: UNDER }));
    const data = new Uint8Array(1_023_999);
    await expect(it.api.createConfig(aConfigSpec({ labels: OVER, data }))).rejects.toMatchObject(
      refusal,
    );
    const config = await it.api.createConfig(aConfigSpec({ labels: UNDER, data }));
    await expect(
      it.api.updateConfig(config.id, config.meta.version, { ...config.spec, labels: OVER }),
    ).rejects.toMatchObject(refusal);
    await expect(it.api.createSecret(aSecretSpec({ labels: OVER }))).rejects.toMatchObject(refusal);
  });

  test('are refused of nodes and of the cluster', async () => {
    const [node] = await it.create('node', aNode());
    const { version } = node!.meta;
    await expect(
      it.api.updateNode(node!.id, version, aNodeSpec({ labels: OVER })),
    ).rejects.toMatchObject(refusal);
    await it.api.updateNode(node!.id, version, aNodeSpec({ labels: UNDER }));
    const cluster = await it.api.getCluster();
    await expect(
      it.api.updateCluster(cluster.meta.version, { ...DEFAULT_CLUSTER_SPEC, labels: OVER }),
    ).rejects.toMatchObject(refusal);
  });
});

describe('the largest words of users', () => {
  test('leave room for a task and three that it takes the place of', () => {
    expect(4 * SPEC_BYTES_MAX).toBeLessThanOrEqual(MAX_TRANSACTION_BYTES);
  });

  test('are no obstacle to updates, restarts and rollbacks', async () => {
    const rooms = await ControlRooms.start(2);
    const endless = { condition: 'any', delayNanos: 1e8, maxAttempts: 0, windowNanos: 0 } as const;
    const spec = large({ mode: { kind: 'replicated', replicas: 2 } });
    rooms.outcome = (task) => (task.spec.container.workdir === '/bad' ? 'failed' : 'running');
    const update = { ...DEFAULT_UPDATE_CONFIG, failureAction: 'rollback', parallelism: 0 } as const;
    const { id } = await rooms.deploy({
      ...spec,
      update,
      task: { ...spec.task, restart: endless },
    });
    await rooms.change(id, (before) => ({
      ...before,
      task: { ...before.task, container: { ...before.task.container, workdir: '/bad' } },
    }));
    await rooms.pass(30_000, 500);
    expect(rooms.service(id).updateStatus?.state).toBe('rollback_completed');
    rooms.outcome = () => 'failed';
    await rooms.change(id, (before) => ({
      ...before,
      update: { ...update, failureAction: 'continue' },
      task: { ...before.task, forceUpdate: 1 },
    }));
    await rooms.pass(5_000, 500);
    expect(rooms.tasks(id).length).toBeGreaterThan(6);
    await rooms.stop();
  });

  test('in tasks do not keep their node from being removed', async () => {
    const [node] = await it.create('node', aNode());
    const { task, labels, name } = large();
    for (let i = 0; i < 5; i++) {
      await it.create(
        'task',
        aTask({
          nodeId: node!.id,
          spec: task,
          serviceAnnotations: { name, labels },
          status: aTaskStatus({ state: 'running' }),
        }),
      );
    }
    await it.api.removeNode(node!.id, true);
    expect((await it.api.listTasks()).map(({ status }) => status.state)).toEqual(
      Array(5).fill('orphaned'),
    );
  });
});
