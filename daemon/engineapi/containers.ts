/** Containers: lists, inspection, logs. What tasks are is the orchestrator's business. */
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { ContainerInfo, ContainerView } from '../../worker/container-view.ts';
import type { LogRecord } from '../../worker/runtime/native-runtime.ts';
import { Filters } from './filters.ts';
import { streamType } from './frames.ts';
import { containerRowToJson, containerToJson, labelsOf } from './json/container.ts';
import { type LogLine, logSelection, writeLogLines } from './log-lines.ts';
import type { Routes } from './server.ts';

export interface ContainerRoutesOptions {
  readonly containers: ContainerView;
  readonly clock: Clock;
}

const CONTAINER_FILTERS = [
  'id',
  'name',
  'label',
  'status',
  'ancestor',
  'network',
  'volume',
  'health',
  'exited',
  'is-task',
  'since',
  'before',
  'publish',
  'expose',
];
const FILTERS_DONE = ['id', 'name', 'label', 'status', 'is-task', 'health'];

export function addContainerRoutes(routes: Routes, options: ContainerRoutesOptions): void {
  const { containers, clock } = options;
  routes.add('GET', '/containers/json', (context) => {
    const filters = Filters.parse(context.text('filters'), CONTAINER_FILTERS);
    for (const name of CONTAINER_FILTERS) {
      if (filters.has(name) && !FILTERS_DONE.includes(name)) {
        throw new SkepError('unimplemented', `filter '${name}' is not supported yet`);
      }
    }
    const all = context.flag('all') || filters.has('status');
    const limit = Number(context.text('limit') ?? 0);
    const rows = containers
      .list()
      .filter((info) => all || info.state.status === 'running')
      .filter((info) => matches(info, filters));
    const shown = limit > 0 ? rows.slice(0, limit) : rows;
    context.send(
      200,
      shown.map((info) => containerRowToJson(info, clock.wallMs())),
    );
  });

  routes.add('GET', '/containers/:id/json', (context) =>
    context.send(200, containerToJson(containers.require(context.param('id')))),
  );

  routes.add('GET', '/containers/:id/logs', async (context) => {
    const info = containers.require(context.param('id'));
    const selection = logSelection(context);
    const { tty } = info.task.spec.container;
    const records = containers.logs(info.task.id, selection, context.signal);
    const out = context.stream(streamType(tty, context.apiMinor));
    await writeLogLines(out, linesOf(records), selection, tty, context.signal);
  });
}

function matches(info: ContainerInfo, filters: Filters): boolean {
  return (
    filters.any('id', (id) => info.id.startsWith(id)) &&
    filters.any('name', (name) => info.name.includes(name.replace(/^\//, ''))) &&
    filters.labels('label', labelsOf(info)) &&
    filters.any('status', (status) => status === info.state.status) &&
    filters.any('is-task', (value) => value === 'true' || value === '1') &&
    filters.any('health', (value) => value === (info.health?.status ?? 'none'))
  );
}

async function* linesOf(records: AsyncIterable<LogRecord>): AsyncIterable<LogLine> {
  for await (const { timeNanos, stream, data } of records) {
    yield { timeNanos, stream, data, attributes: {} };
  }
}
