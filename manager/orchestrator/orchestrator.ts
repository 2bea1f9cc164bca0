/** The orchestration room: three loops over the store that know nothing of each other. Leader only. */
import { ConstraintEnforcer } from './constraint-enforcer.ts';
import type { RoomOptions } from './options.ts';
import { ServiceOrchestrator } from './service-orchestrator.ts';
import { TaskReaper } from './task-reaper.ts';

export type OrchestratorOptions = RoomOptions;

export class Orchestrator {
  readonly #rooms: readonly [ServiceOrchestrator, TaskReaper, ConstraintEnforcer];

  constructor(options: OrchestratorOptions) {
    const named = (component: string): RoomOptions => ({
      ...options,
      log: options.log.child({ component }),
    });
    this.#rooms = [
      new ServiceOrchestrator(named('orchestrator')),
      new TaskReaper(named('reaper')),
      new ConstraintEnforcer(named('constraint-enforcer')),
    ];
  }

  async start(): Promise<void> {
    for (const room of this.#rooms) room.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#rooms.map((room) => room.stop()));
  }
}
