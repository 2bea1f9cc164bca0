/** `/skep/tasks/{id}/move` and `/skep/rebalance`: tasks that go elsewhere although no spec has changed. */
import { SkepError } from '../../common/base/errors.ts';
import type { TaskMoveJson } from '../../common/model/engine-json/task.ts';
import type { TaskMove } from '../../common/model/placement.ts';
import { JsonReader } from './json/reader.ts';
import { controlOf, type RouteParts } from './parts.ts';
import type { Routes } from './server.ts';

const MOVES_DEFAULT = 10;
const MOVES_MAX = 1_000;

export function addMoveRoutes(routes: Routes, parts: RouteParts): void {
  routes.add('POST', '/skep/tasks/:id/move', async (context) => {
    const order = new JsonReader(await context.json()).string('Order') || 'start-first';
    if (order !== 'start-first' && order !== 'stop-first' && order !== 'none') {
      throw new SkepError(
        'invalid-argument',
        `Order ${order}: expected start-first, stop-first or none`,
      );
    }
    const { id } = await controlOf(parts).moveTask(context.param('id'), order, context.signal);
    context.send(200, { ID: id });
  });

  routes.add('GET', '/skep/rebalance', async (context) => {
    const text = context.text('max');
    const max = text === null ? MOVES_DEFAULT : Number(text);
    if (!Number.isInteger(max) || max < 1 || max > MOVES_MAX) {
      throw new SkepError('invalid-argument', `max ${text}: expected 1 to ${MOVES_MAX}`);
    }
    const moves = await controlOf(parts).planRebalance(max, context.signal);
    context.send(200, { Moves: moves.map(moveToJson) });
  });
}

function moveToJson({ taskId, serviceName, slot, from, to }: TaskMove): TaskMoveJson {
  return {
    TaskID: taskId,
    Service: serviceName,
    Slot: slot,
    From: { NodeID: from.nodeId, Hostname: from.hostname },
    To: { NodeID: to.nodeId, Hostname: to.hostname },
  };
}
