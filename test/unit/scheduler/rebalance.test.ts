import { expect, test, vi } from 'vitest';
import type { NodeId } from '../../../common/model/ids.ts';
import type { Service } from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { NodeTable } from '../../../manager/scheduler/node-table.ts';
import { planRebalance } from '../../../manager/scheduler/rebalance.ts';
import {
  aNode,
  aNodeDescription,
  aService,
  aServiceSpec,
  aTaskOf,
  aTaskStatus,
  idOf,
} from '../../support/builders.ts';

/** Each look at it takes a turn's worth of time. */
class SlowClock {
  looks = 0;

  monotonicMs(): number {
    return 10 * ++this.looks;
  }
}

/** @param places of the tasks of each service, by the number of the node */
function cluster(nodeCount: number, places: readonly (readonly number[])[]) {
  const nodes = Array.from({ length: nodeCount }, (_, at) =>
    aNode({
      id: idOf<NodeId>(`n${at}`),
      description: aNodeDescription({ hostname: `n${at}` }),
    }),
  );
  const table = new NodeTable();
  for (const node of nodes) table.putNode(node);
  const services: Service[] = [];
  const tasks: Task[] = [];
  for (const [at, own] of places.entries()) {
    const mode = { kind: 'replicated' as const, replicas: own.length };
    const service = aService({ spec: aServiceSpec({ name: `s${at}`, mode }) });
    services.push(service);
    for (const [slot, node] of own.entries()) {
      const status = aTaskStatus({ state: 'running' });
      tasks.push(aTaskOf(service, { slot: slot + 1, nodeId: nodes[node]!.id, status }));
    }
  }
  for (const task of tasks) table.putTask(task);
  return { table, services, tasks };
}

/** Turns of the event loop that others had meanwhile. */
async function turnsDuring<T>(
  work: () => Promise<T>,
): Promise<{ readonly result: T; turns: number }> {
  let turns = 0;
  let next = setImmediate(function turn() {
    turns++;
    next = setImmediate(turn);
  });
  const result = await work();
  clearImmediate(next);
  return { result, turns };
}

const moved = ({ from, to }: { from: { hostname: string }; to: { hostname: string } }): string =>
  `${from.hostname} ${to.hostname}`;

test('lets others have their turn between the tasks that it tries', async () => {
  const { table, services, tasks } = cluster(4, [
    [0, 0, 0, 0],
    [1, 1, 1, 1],
  ]);
  const clock = new SlowClock();
  const { result, turns } = await turnsDuring(() =>
    planRebalance(table, { services, tasks }, 100, clock),
  );
  expect(result.length).toBeGreaterThanOrEqual(4);
  expect(turns).toBeGreaterThanOrEqual(result.length);
});

test('moves from the fullest nodes to the emptiest, for services first and for nodes then', async () => {
  const spread = cluster(3, [[0, 0, 0]]);
  const of = { services: spread.services, tasks: spread.tasks };
  const moves = await planRebalance(spread.table, of, 10, new SlowClock());
  expect(moves.map(moved).sort()).toEqual(['n0 n1', 'n0 n2']);
  const loaded = cluster(3, [[0], [0], [0, 1]]);
  const others = { services: loaded.services, tasks: loaded.tasks };
  expect((await planRebalance(loaded.table, others, 10, new SlowClock())).map(moved)).toEqual([
    'n0 n2',
  ]);
});

test('tries nothing where nothing can be gained', async () => {
  const places = Array.from({ length: 100 }, () => [0, 1, 2, 3, 4]);
  const { table, services, tasks } = cluster(5, places);
  const tried = vi.spyOn(table, 'removeTask');
  const { result, turns } = await turnsDuring(() =>
    planRebalance(table, { services, tasks }, 10, new SlowClock()),
  );
  expect(result).toEqual([]);
  expect(tried).not.toHaveBeenCalled();
  expect(turns).toBeGreaterThanOrEqual(services.length); // looking takes its time as well
});

test('ends when nobody waits for it any more', async () => {
  const { table, services, tasks } = cluster(2, [[0, 0]]);
  const signal = AbortSignal.abort(new Error('gone'));
  await expect(
    planRebalance(table, { services, tasks }, 10, new SlowClock(), signal),
  ).rejects.toThrow('gone');
});
