import { describe, expect, test } from 'vitest';
import type { PlacementStep } from '../../../common/model/placement.ts';
import { ANYWHERE } from '../../../common/model/service.ts';
import { forecast } from '../../../manager/scheduler/forecast.ts';
import { NodeTable } from '../../../manager/scheduler/node-table.ts';
import {
  aNode,
  aNodeDescription,
  aService,
  aServiceSpec,
  aTaskOf,
  aTaskSpec,
  aTaskStatus,
} from '../../support/builders.ts';

/** Each look at it takes a turn's worth of time. */
class SlowClock {
  looks = 0;

  monotonicMs(): number {
    return 10 * ++this.looks;
  }
}

/** A service with `old` tasks on the first of three nodes is to have `coming` others, with at most `maxReplicas` on one node. */
function scene(old: number, coming: number, maxReplicas = 0) {
  const nodes = ['a', 'b', 'c'].map((hostname) =>
    aNode({ description: aNodeDescription({ hostname }) }),
  );
  const table = new NodeTable();
  for (const node of nodes) table.putNode(node);
  const task = aTaskSpec({ placement: { ...ANYWHERE, maxReplicas } });
  const service = aService({ spec: aServiceSpec({ task }) });
  const tasks = Array.from({ length: old }, () =>
    aTaskOf(service, { nodeId: nodes[0]!.id, status: aTaskStatus({ state: 'running' }) }),
  );
  for (const one of tasks) table.putTask(one);
  const step: PlacementStep = { service, gone: tasks.map(({ id }) => id), coming };
  return { table, steps: [step] };
}

const counts = ({ nodes }: { readonly nodes: readonly { readonly tasks: number }[] }): number[] =>
  nodes.map(({ tasks }) => tasks);

describe('a look at where tasks would land', () => {
  test('decides many that replace none in groups, with turns for others between them', async () => {
    const { table, steps } = scene(0, 1_000);
    const clock = new SlowClock();
    const [found] = await forecast(table, steps, clock);
    expect(counts(found!)).toEqual([334, 333, 333]);
    expect(clock.looks).toBeGreaterThanOrEqual(20); // ten groups, each with a turn of its own
    expect(clock.looks).toBeLessThan(40);
  });

  test('counts those that no node takes, over all groups', async () => {
    const { table, steps } = scene(2, 250, 40);
    const [found] = await forecast(table, steps, new SlowClock());
    expect(counts(found!)).toEqual([40, 40, 40]);
    expect(found!.unplaced).toEqual({
      tasks: 130,
      reason: 'no suitable node (max replicas per node limit exceed)',
    });
  });

  test('ends when nobody waits for it any more', async () => {
    const { table, steps } = scene(0, 1);
    const signal = AbortSignal.abort(new Error('gone'));
    await expect(forecast(table, steps, new SlowClock(), signal)).rejects.toThrow('gone');
  });
});
