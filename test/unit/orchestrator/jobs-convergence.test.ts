import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ServiceId } from '../../../common/model/ids.ts';
import type { ServiceMode, ServiceSpec } from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { isTerminal } from '../../../common/model/task-state.ts';
import { aTaskSpec } from '../../support/builders.ts';
import { ControlRooms } from '../../support/control-rooms.ts';

const NODES = 3;
const ATTEMPTS_MAX = 2;

interface Step {
  readonly kind: 'end' | 'fail' | 'again' | 'drain' | 'down' | 'mute' | 'lead' | 'pass';
  readonly pick: number;
}

const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom(
      'end',
      'end',
      'fail',
      'fail',
      'again',
      'drain',
      'down',
      'mute',
      'lead',
      'pass',
    ),
    pick: fc.nat(1000),
  }),
  { maxLength: 14 },
);
const modes: fc.Arbitrary<ServiceMode> = fc.oneof(
  fc.record({
    kind: fc.constant('replicated-job' as const),
    maxConcurrent: fc.integer({ min: 1, max: 3 }),
    totalCompletions: fc.integer({ min: 0, max: 5 }),
  }),
  fc.constant({ kind: 'global-job' as const }),
);

/** What must hold at every moment. */
function check(rooms: ControlRooms, id: ServiceId): void {
  const { spec, jobStatus } = rooms.service(id);
  const tasks = rooms.tasks(id);
  const current = tasks.filter(({ jobIteration }) => jobIteration === jobStatus!.iteration);
  const global = spec.mode.kind === 'global-job';
  const seat = (task: Task) => (global ? `${task.nodeId}` : `${task.slot}`);
  const done = current.filter(({ status }) => status.state === 'complete').map(seat);
  expect(new Set(done).size).toBe(done.length);
  if (spec.mode.kind !== 'replicated-job') return;
  const { maxConcurrent, totalCompletions } = spec.mode;
  expect(current.every(({ slot }) => slot !== null && slot < totalCompletions)).toBe(true);
  // A node that is down may still run what nobody can stop.
  const running = tasks.filter(
    ({ status, nodeId }) =>
      status.state === 'running' &&
      rooms.nodes().some((node) => node.id === nodeId && node.status.state !== 'down'),
  );
  expect(running.length).toBeLessThanOrEqual(maxConcurrent);
  const failures = new Map<string, number>();
  for (const task of current) {
    if (task.status.state !== 'failed') continue;
    failures.set(seat(task), (failures.get(seat(task)) ?? 0) + 1);
  }
  for (const count of failures.values()) expect(count).toBeLessThanOrEqual(ATTEMPTS_MAX + 1);
}

test('whatever happened, each seat of a job completes once, or was tried often enough', async () => {
  await fc.assert(
    fc.asyncProperty(modes, steps, async (mode, history) => {
      const rooms = await ControlRooms.start(NODES);
      const restart = {
        condition: 'on-failure' as const,
        delayNanos: 1e9,
        maxAttempts: ATTEMPTS_MAX,
        windowNanos: 0,
      };
      const { id } = await rooms.deploy({ mode, task: aTaskSpec({ restart }) });
      for (const step of history) {
        await rooms.pass(10); // no two of a seat's tasks are created in one millisecond
        await take(rooms, id, step);
        await rooms.rest();
        check(rooms, id);
      }
      await heal(rooms);
      rooms.outcome = () => 'complete';
      await finishWhatRuns(rooms, id);
      await rooms.pass(20_000, 500);
      check(rooms, id);
      const { iteration } = rooms.service(id).jobStatus!;
      const tasks = rooms.tasks(id).filter(({ jobIteration }) => jobIteration === iteration);
      expect(tasks.every(({ status }) => isTerminal(status.state))).toBe(true);
      const seats = new Set(
        tasks.map((task) => (mode.kind === 'global-job' ? task.nodeId : task.slot)),
      );
      expect(seats.size).toBe(mode.kind === 'replicated-job' ? mode.totalCompletions : NODES);
      for (const seat of seats) {
        const own = tasks.filter(({ slot, nodeId }) => seat === slot || seat === nodeId);
        const completed = own.some(({ status }) => status.state === 'complete');
        expect(completed || own.length > ATTEMPTS_MAX).toBe(true);
      }
      await rooms.stop();
    }),
    { numRuns: 60 },
  );
}, 60_000);

async function finishWhatRuns(rooms: ControlRooms, id: ServiceId): Promise<void> {
  for (const task of rooms.running(id)) await rooms.report(task.id, 'complete');
  await rooms.rest();
}

async function take(rooms: ControlRooms, id: ServiceId, { kind, pick }: Step): Promise<void> {
  const node = rooms.nodes()[pick % NODES]!;
  const running = rooms.running(id);
  const task = running[pick % Math.max(1, running.length)];
  switch (kind) {
    case 'end':
      if (task) await rooms.report(task.id, 'complete');
      return;
    case 'fail':
      if (task) await rooms.report(task.id, 'failed');
      return;
    case 'again':
      return rooms.change(id, (spec: ServiceSpec) => ({
        ...spec,
        task: { ...spec.task, forceUpdate: spec.task.forceUpdate + 1 },
      }));
    case 'drain': {
      const availability = (['active', 'drain', 'pause'] as const)[pick % 3]!;
      return rooms.setNode(node.id, (it) => ({ ...it, spec: { ...it.spec, availability } }));
    }
    case 'down': {
      const state = node.status.state === 'down' ? 'ready' : 'down';
      if (state === 'down') rooms.silent.add(node.id);
      else rooms.silent.delete(node.id);
      return rooms.setNode(node.id, (it) => ({ ...it, status: { ...it.status, state } }));
    }
    case 'mute':
      rooms.silent.add(node.id);
      return;
    case 'lead':
      await rooms.stop();
      return rooms.lead();
    case 'pass':
      return rooms.pass(pick * 5, 500);
    default:
      throw new Error(`unknown step ${kind satisfies never}`);
  }
}

async function heal(rooms: ControlRooms): Promise<void> {
  rooms.silent.clear();
  for (const { id } of rooms.nodes()) {
    await rooms.setNode(id, (node) => ({
      ...node,
      status: { ...node.status, state: 'ready' },
      spec: { ...node.spec, availability: 'active' },
    }));
  }
  await rooms.rest();
}
