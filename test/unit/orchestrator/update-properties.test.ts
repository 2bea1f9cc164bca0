import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ServiceId } from '../../../common/model/ids.ts';
import {
  DEFAULT_UPDATE_CONFIG,
  type ServiceSpec,
  type UpdateConfig,
} from '../../../common/model/service.ts';
import type { Task } from '../../../common/model/task.ts';
import { aContainerSpec, aTaskSpec } from '../../support/builders.ts';
import { ControlRooms } from '../../support/control-rooms.ts';

const NODES = 3;
const OVER = ['completed', 'paused', 'rollback_completed', 'rollback_paused'];

interface Update {
  readonly replicas: number;
  readonly config: UpdateConfig;
  /** for the new tasks in the order in which they are told to run: polls until it runs, or it fails */
  readonly fates: readonly (number | 'fails')[];
}

const updates = (failing: boolean): fc.Arbitrary<Update> =>
  fc.record({
    replicas: fc.integer({ min: 1, max: 6 }),
    config: fc.record<UpdateConfig>({
      parallelism: fc.integer({ min: 0, max: 3 }),
      delayNanos: fc.constantFrom(0, 5e8, 2e9),
      failureAction: fc.constantFrom('pause', 'continue', 'rollback'),
      monitorNanos: fc.constantFrom(0, 1e9, 3e9),
      maxFailureRatio: fc.constantFrom(0, 0.3, 1),
      order: fc.constantFrom('stop-first', 'start-first'),
    }),
    fates: fc.array(failing ? fc.oneof(fc.nat(2), fc.constant('fails' as const)) : fc.nat(3), {
      minLength: 1,
      maxLength: 8,
    }),
  });

const isNew = ({ spec }: Task): boolean => spec.container.image === 'new';

/** Deploys, updates, and looks at the tasks after every single write until nothing happens any more. */
async function watched(
  { replicas, config, fates }: Update,
  look: (tasks: readonly Task[]) => void,
): Promise<{ readonly rooms: ControlRooms; readonly id: ServiceId }> {
  const rooms = await ControlRooms.start(NODES);
  const { id } = await rooms.deploy({
    mode: { kind: 'replicated', replicas },
    update: config,
    rollback: { ...DEFAULT_UPDATE_CONFIG, parallelism: 2, monitorNanos: 1e9 },
    task: aTaskSpec({
      container: aContainerSpec({ image: 'old' }),
      restart: { condition: 'any', delayNanos: 1e9, maxAttempts: 0, windowNanos: 0 },
    }),
  });
  const polls = new Map<string, { left: number | 'fails' }>();
  rooms.outcome = (task) => {
    if (!isNew(task)) return 'running';
    const fate = polls.get(task.id) ?? { left: fates[polls.size % fates.length]! };
    polls.set(task.id, fate);
    if (fate.left === 'fails') return 'failed';
    return fate.left-- > 0 ? 'starting' : 'running';
  };
  const { proposer } = rooms.test;
  const append = proposer.append.bind(proposer);
  proposer.append = (payload) => {
    const index = append(payload);
    look(rooms.tasks(id));
    return index;
  };
  await rooms.change(id, (spec: ServiceSpec) => ({
    ...spec,
    task: { ...spec.task, container: { ...spec.task.container, image: 'new' } },
  }));
  for (let s = 0; s < 120 && !OVER.includes(stateOf(rooms, id)); s++) await rooms.pass(1000, 250);
  return { rooms, id };
}

function stateOf(rooms: ControlRooms, id: ServiceId): string {
  return rooms.service(id).updateStatus?.state ?? '';
}

const running = (tasks: readonly Task[]): number =>
  tasks.filter(({ status }) => status.state === 'running').length;
const serving = (tasks: readonly Task[]): number =>
  tasks.filter(
    ({ status, desiredState }) => status.state === 'running' && desiredState === 'running',
  ).length;

test('an update that succeeds never has more tasks than replicas and surge, nor fewer than it may', async () => {
  await fc.assert(
    fc.asyncProperty(updates(false), async (update) => {
      const { replicas, config } = update;
      const atOnce = config.parallelism === 0 ? replicas : config.parallelism;
      const startFirst = config.order === 'start-first';
      const { rooms, id } = await watched(update, (tasks) => {
        expect(running(tasks)).toBeLessThanOrEqual(replicas + (startFirst ? atOnce : 0));
        expect(serving(tasks)).toBeGreaterThanOrEqual(replicas - (startFirst ? 0 : atOnce));
      });
      expect(stateOf(rooms, id)).toBe('completed');
      expect(rooms.running(id).map(isNew)).toEqual(Array(replicas).fill(true));
      await rooms.stop();
    }),
    { numRuns: 40 },
  );
}, 60_000);

test('an update with failures ends, by its failure action, and never doubles more than its seats', async () => {
  await fc.assert(
    fc.asyncProperty(updates(true), async (update) => {
      const { replicas, config } = update;
      const { rooms, id } = await watched(update, (tasks) => {
        const bySlot = new Map<number | null, number>();
        for (const { slot, status } of tasks) {
          if (status.state === 'running') bySlot.set(slot, (bySlot.get(slot) ?? 0) + 1);
        }
        for (const [slot, count] of bySlot) {
          expect(slot).toBeLessThanOrEqual(replicas);
          expect(count).toBeLessThanOrEqual(config.order === 'start-first' ? 2 : 1);
        }
      });
      const state = stateOf(rooms, id);
      const ends = { continue: [], pause: ['paused'], rollback: ['rollback_completed'] };
      expect(['completed', ...ends[config.failureAction]]).toContain(state);
      if (state === 'rollback_completed') {
        expect(rooms.running(id).map(isNew)).toEqual(Array(replicas).fill(false));
      }
      // What is over stays over.
      await rooms.pass(10_000, 1000);
      expect(stateOf(rooms, id)).toBe(state);
      await rooms.stop();
    }),
    { numRuns: 40 },
  );
}, 60_000);
