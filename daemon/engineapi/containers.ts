/** Containers: lists, inspection, logs. What tasks are is the orchestrator's business. */
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type {
  ContainerFilePaths,
  ContainerSizes,
  ContainerView,
} from '../../worker/container-view.ts';
import type { LogRecord } from '../../worker/runtime/native-runtime.ts';
import {
  CLUSTER_CONTAINER_FILTERS,
  CONTAINER_FILTERS,
  containerFilter,
} from './container-filters.ts';
import {
  type ContainerRow,
  mergedRows,
  placesOf,
  type RemoteListOptions,
  rowsElsewhere,
} from './container-lists.ts';
import type { Execs } from './execs.ts';
import { Filters } from './filters.ts';
import { streamType } from './frames.ts';
import type { RequestContext } from './http-context.ts';
import { containerRowToJson, containerToJson } from './json/container.ts';
import { type LogLine, logSelection, writeLogLines } from './log-lines.ts';
import { CONTAINER_LIST } from './remote-containers.ts';
import type { Routes } from './server.ts';

export interface ContainerRoutesOptions {
  readonly containers: ContainerView;
  readonly clock: Clock;
  readonly execs: Pick<Execs, 'runningIn'>;
  /** who asks, asks this node about its own: paths mean something to them */
  readonly tellsPaths: boolean;
  /** of a network that is this node's alone */
  readonly networkIdOf: (name: string) => string;
  /** null = only this node is asked */
  readonly elsewhere: RemoteListOptions | null;
}

export function addContainerRoutes(routes: Routes, options: ContainerRoutesOptions): void {
  const { containers, clock, execs, tellsPaths, networkIdOf, elsewhere } = options;

  const ownRows = async (
    context: RequestContext,
    filters: Filters,
    limit: number,
  ): Promise<ContainerRow[]> => {
    const isMeant = containerFilter(filters, (reference) => containers.require(reference));
    // The newest so many are meant whatever they do.
    const all = context.flag('all') || limit > 0 || filters.has('status');
    const rows = filters
      .named(containers.list(), ({ name }) => [name, `/${name}`])
      .filter((info) => all || info.pid > 0 || info.condition === 'restarting')
      .filter(isMeant);
    const shown = limit > 0 ? rows.slice(0, limit) : rows;
    const answer: ContainerRow[] = [];
    for (const info of shown) {
      const row = containerRowToJson(info, clock.wallMs(), networkIdOf, context.apiMinor);
      if (!context.flag('size')) {
        answer.push(row);
        continue;
      }
      const sizes = await containers.sizesIfStaying(info);
      if (sizes !== null) answer.push({ ...row, ...sizesJson(sizes) });
    }
    return answer;
  };

  routes.add('GET', CONTAINER_LIST, async (context) => {
    const known = elsewhere === null ? CONTAINER_FILTERS : CLUSTER_CONTAINER_FILTERS;
    const filters = Filters.parse(context.text('filters'), known);
    const limit = limitOf(context.text('limit') || '0');
    const { isHere, others } =
      elsewhere === null
        ? { isHere: true, others: [] }
        : await placesOf(filters, elsewhere, context.signal);
    const own = isHere ? await ownRows(context, filters, limit) : [];
    if (elsewhere === null || others.length === 0) return context.send(200, own);
    const rows = await rowsElsewhere(context, filters, others, elsewhere);
    context.send(200, mergedRows(own, rows, limit));
  });

  routes.add('GET', '/containers/:id/json', async (context) => {
    const info = containers.require(context.param('id'));
    const sizes = context.flag('size') && sizesJson(await containers.sizes(info));
    const volumes = await containers.volumesOf(info);
    const json = containerToJson({ ...info, volumes }, networkIdOf, context.apiMinor);
    const paths = tellsPaths ? await containers.filePaths(info) : null;
    context.send(200, {
      ...{ ...json, ...sizes, ...pathsJson(paths) },
      ExecIDs: orNull(execs.runningIn(info.id)),
    });
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

function sizesJson({ changedBytes, rootBytes }: ContainerSizes): object {
  return { SizeRw: changedBytes, SizeRootFs: rootBytes };
}

/** null = none are told */
function pathsJson(paths: ContainerFilePaths | null): object {
  return {
    // Clients take it for lines of JSON; ours are the shim's records.
    LogPath: '',
    ResolvConfPath: paths?.resolvConf ?? '',
    HostsPath: paths?.hosts ?? '',
    HostnamePath: paths?.hostname ?? '',
  };
}

function orNull(ids: readonly string[]): readonly string[] | null {
  return ids.length > 0 ? ids : null;
}

/** 0 and, as older clients have it, less = all. */
function limitOf(text: string): number {
  if (/^[+-]?\d+$/.test(text)) return Number(text);
  throw new SkepError('invalid-argument', `invalid limit: '${text}' is not a number`);
}

async function* linesOf(
  records: AsyncIterable<LogRecord>,
  attributes: NonNullable<LogLine['attributes']>,
): AsyncIterable<LogLine> {
  for await (const { timeNanos, stream, data } of records) {
    yield { timeNanos, stream, data, attributes };
  }
}
