/** What containers use and which processes they have: `stats` and `top`, of tasks too. */
import { cpus, totalmem } from 'node:os';
import type { Clock } from '../../common/base/clock.ts';
import type { ContainerInfo, ContainerView } from '../../worker/container-view.ts';
import { requireAnswering } from '../../worker/containers/lifecycle.ts';
import type { EventJournal } from './event-journal.ts';
import { processTable } from './json/process-table.ts';
import { type Sample, type StatsOf, statsToJson } from './json/stats.ts';
import { PatientWriter } from './patient-writer.ts';
import { containerEvent } from './route-events.ts';
import type { Routes } from './server.ts';

export interface ContainerUsageOptions {
  readonly containers: ContainerView;
  readonly clock: Clock;
  readonly events: Pick<EventJournal, 'tell'>;
}

/** As Docker samples. */
const PERIOD_MS = 1000;

export function addContainerUsageRoutes(
  routes: Routes,
  { containers, clock, events }: ContainerUsageOptions,
): void {
  const sampleOf = (info: ContainerInfo): Sample => ({
    ...containers.usage(info),
    readAtMs: clock.wallMs(),
  });

  routes.add('GET', '/containers/:id/stats', async (context) => {
    const info = containers.require(context.param('id'));
    const of: StatsOf = {
      id: info.id,
      name: info.name,
      cpuCount: cpus().length,
      memoryBytes: totalmem(),
    };
    let before: Sample | null = null;
    let sample = sampleOf(info);
    if (!context.flag('stream', true)) {
      if (!context.flag('one-shot') && sample.stats) {
        await clock.sleep(PERIOD_MS, context.signal);
        before = sample;
        sample = sampleOf(info);
      }
      context.send(200, statsToJson(of, sample, before));
      return;
    }
    const out = context.stream('application/json');
    const writer = new PatientWriter(out, clock, context.signal);
    // One that stopped may run again; one that was removed has nothing more to tell.
    while (containers.isThere(info)) {
      await writer.write(`${JSON.stringify(statsToJson(of, sample, before))}\n`);
      await clock.sleep(PERIOD_MS, context.signal);
      before = sample;
      sample = sampleOf(info);
    }
    out.end();
  });

  routes.add('GET', '/containers/:id/top', (context) => {
    const info = containers.require(context.param('id'));
    if (info.condition !== 'paused') requireAnswering(info, 'top');
    const machine = { nowMs: clock.wallMs(), memoryBytes: totalmem() };
    const rows = containers.processes(info);
    const table = processTable(rows, context.text('ps_args') ?? '', machine);
    events.tell(containerEvent(info, 'top'));
    context.send(200, table);
  });
}
