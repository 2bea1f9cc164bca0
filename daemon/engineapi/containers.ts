/** Containers: lists, inspection, logs. What tasks are is the orchestrator's business. */
import type { Clock } from '../../common/base/clock.ts';
import type { ContainerInfo, ContainerView } from '../../worker/container-view.ts';
import type { LogRecord } from '../../worker/runtime/native-runtime.ts';
import { CONTAINER_FILTERS, containerFilter } from './container-filters.ts';
import { Filters } from './filters.ts';
import { streamType } from './frames.ts';
import { containerRowToJson, containerToJson } from './json/container.ts';
import { type LogLine, logSelection, writeLogLines } from './log-lines.ts';
import type { Routes } from './server.ts';

export interface ContainerRoutesOptions {
  readonly containers: ContainerView;
  readonly clock: Clock;
  /** of a network that is this node's alone */
  readonly networkIdOf: (name: string) => string;
}

export function addContainerRoutes(routes: Routes, options: ContainerRoutesOptions): void {
  const { containers, clock, networkIdOf } = options;
  const sizesJson = async (info: ContainerInfo): Promise<object> => {
    const { changedBytes, rootBytes } = await containers.sizes(info);
    return { SizeRw: changedBytes, SizeRootFs: rootBytes };
  };

  routes.add('GET', '/containers/json', async (context) => {
    const filters = Filters.parse(context.text('filters'), CONTAINER_FILTERS);
    const isMeant = containerFilter(filters, (reference) => containers.require(reference));
    const limit = Number(context.text('limit') ?? 0);
    // The newest so many are meant whatever they do.
    const all = context.flag('all') || limit > 0 || filters.has('status');
    const rows = filters
      .named(containers.list(), ({ name }) => [name, `/${name}`])
      .filter((info) => all || info.pid > 0 || info.condition === 'restarting')
      .filter(isMeant);
    const shown = limit > 0 ? rows.slice(0, limit) : rows;
    const answer: object[] = [];
    for (const info of shown) {
      const row = containerRowToJson(info, clock.wallMs(), networkIdOf);
      answer.push({ ...row, ...(context.flag('size') && (await sizesJson(info))) });
    }
    context.send(200, answer);
  });

  routes.add('GET', '/containers/:id/json', async (context) => {
    const info = containers.require(context.param('id'));
    const sizes = context.flag('size') && (await sizesJson(info));
    const volumes = await containers.volumesOf(info);
    context.send(200, { ...containerToJson({ ...info, volumes }, networkIdOf), ...sizes });
  });

  routes.add('GET', '/containers/:id/logs', async (context) => {
    const info = containers.require(context.param('id'));
    const selection = logSelection(context);
    const { tty } = info.spec.container;
    const records = containers.logs(info.runtimeId, selection, context.signal);
    const out = context.stream(streamType(tty, context.apiMinor));
    const attributes = containers.logAttributes(info);
    const isMarked = selection.details && Object.keys(attributes).length > 0;
    const lines = isMarked ? linesOf(records, attributes) : records;
    await writeLogLines(out, lines, selection, tty, clock, context.signal);
  });
}

async function* linesOf(
  records: AsyncIterable<LogRecord>,
  attributes: NonNullable<LogLine['attributes']>,
): AsyncIterable<LogLine> {
  for await (const { timeNanos, stream, data } of records) {
    yield { timeNanos, stream, data, attributes };
  }
}
