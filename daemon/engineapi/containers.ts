/** Containers: lists, inspection, logs. What tasks are is the orchestrator's business. */
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import type { ContainerInfo, ContainerView } from '../../worker/container-view.ts';
import { Filters } from './filters.ts';
import { streamType } from './frames.ts';
import { containerRowToJson, containerToJson } from './json/container.ts';
import { logSelection, writeLogLines } from './log-lines.ts';
import type { Routes } from './server.ts';

export interface ContainerRoutesOptions {
  readonly containers: ContainerView;
  readonly clock: Clock;
  /** of a network that is this node's alone */
  readonly networkIdOf: (name: string) => string;
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
const FILTERS_DONE = [
  'id',
  'name',
  'label',
  'status',
  'is-task',
  'health',
  'ancestor',
  'exited',
  'network',
];

export function addContainerRoutes(routes: Routes, options: ContainerRoutesOptions): void {
  const { containers, clock, networkIdOf } = options;
  const sizesJson = async (info: ContainerInfo): Promise<object> => {
    const { changedBytes, rootBytes } = await containers.sizes(info);
    return { SizeRw: changedBytes, SizeRootFs: rootBytes };
  };

  routes.add('GET', '/containers/json', async (context) => {
    const filters = Filters.parse(context.text('filters'), CONTAINER_FILTERS);
    for (const name of CONTAINER_FILTERS) {
      if (filters.has(name) && !FILTERS_DONE.includes(name)) {
        throw new SkepError('unimplemented', `filter '${name}' is not supported yet`);
      }
    }
    const limit = Number(context.text('limit') ?? 0);
    // The newest so many are meant whatever they do.
    const all = context.flag('all') || limit > 0 || filters.has('status');
    const rows = containers
      .list()
      .filter((info) => all || info.pid > 0 || info.condition === 'restarting')
      .filter((info) => matches(info, filters));
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
    context.send(200, { ...containerToJson(info, networkIdOf), ...sizes });
  });

  routes.add('GET', '/containers/:id/logs', async (context) => {
    const info = containers.require(context.param('id'));
    const selection = logSelection(context);
    const { tty } = info.spec.container;
    const records = containers.logs(info.runtimeId, selection, context.signal);
    const out = context.stream(streamType(tty, context.apiMinor));
    await writeLogLines(out, records, selection, tty, clock, context.signal);
  });
}

function matches(info: ContainerInfo, filters: Filters): boolean {
  return (
    filters.any('id', (id) => info.id.startsWith(id)) &&
    filters.any('name', (name) => info.name.includes(name.replace(/^\//, ''))) &&
    filters.labels('label', info.labels) &&
    filters.any('status', (status) => status === info.condition) &&
    filters.any('is-task', (value) => ['true', '1'].includes(value) === (info.task !== null)) &&
    filters.any('ancestor', (image) => isAncestor(info, image)) &&
    filters.any('exited', (code) => info.exit !== null && Number(code) === info.exit.exitCode) &&
    filters.any('network', (ref) =>
      info.networks.some(({ name, networkId }) => name === ref || networkId === ref),
    ) &&
    filters.any('health', (value) => value === (info.health?.status ?? 'none'))
  );
}

/** The image itself, by name or id; not those that it was made from. */
function isAncestor({ spec, image }: ContainerInfo, reference: string): boolean {
  const named = [spec.container.image, image?.id, ...(image?.repoTags ?? [])];
  const id = image?.id.replace('sha256:', '') ?? '';
  const isStart = reference.length >= 4 && id.startsWith(reference.replace('sha256:', ''));
  return isStart || named.some((name) => name === reference || name === `${reference}:latest`);
}
