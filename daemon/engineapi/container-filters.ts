/** The filters of `docker ps`. Pure. */
import { SkepError } from '../../common/base/errors.ts';
import { TASK_START_CHARS_MIN } from '../../common/model/container-id.ts';
import type { ContainerInfo } from '../../worker/container-view.ts';
import type { Condition } from '../../worker/containers/lifecycle.ts';
import type { Filters } from './filters.ts';

export const CONTAINER_FILTERS = [
  ...['id', 'name', 'label', 'status', 'ancestor', 'network', 'volume', 'health', 'exited'],
  ...['is-task', 'since', 'before', 'publish', 'expose'],
];

const CONDITIONS: Readonly<Record<Condition, true>> = {
  ...{ created: true, running: true, paused: true, restarting: true },
  ...{ removing: true, exited: true, dead: true },
};
const HEALTHS = ['none', 'starting', 'healthy', 'unhealthy'];

/** Where containers of other nodes are listed as well. */
export const CLUSTER_CONTAINER_FILTERS = [...CONTAINER_FILTERS, 'node'];

/**
 * Of all filters but that of names.
 *
 * @param require a container by name or id, whatever the other filters say
 * Throws `invalid-argument` for ports, numbers and words that are none, and as `require` does.
 */
export function containerFilter(
  filters: Filters,
  require: (reference: string) => Pick<ContainerInfo, 'createdAtMs'>,
): (info: ContainerInfo) => boolean {
  const since = Math.max(...filters.get('since').map((name) => require(name).createdAtMs));
  const before = Math.min(...filters.get('before').map((name) => require(name).createdAtMs));
  const published = filters.get('publish').map(portsOf);
  const exposed = filters.get('expose').map(portsOf);
  const exits = filters.get('exited').map(exitCodeOf);
  filters.words('status', Object.keys(CONDITIONS));
  filters.words('health', HEALTHS);
  const isTask = filters.boolean('is-task');
  return (info) =>
    matches(info, filters) &&
    (exits.length === 0 || (info.exit !== null && exits.includes(info.exit.exitCode))) &&
    (isTask === undefined || isTask === (info.task !== null)) &&
    info.createdAtMs > since &&
    info.createdAtMs < before &&
    isAnyOf(published, publishedBy(info)) &&
    isAnyOf(exposed, exposedBy(info));
}

function matches(info: ContainerInfo, filters: Filters): boolean {
  return (
    filters.any('id', (id) => info.id.startsWith(id) || isTaskOf(info, id)) &&
    filters.labels('label', info.labels) &&
    filters.any('status', (status) => status === info.condition) &&
    filters.any('ancestor', (image) => isAncestor(info, image)) &&
    filters.any('network', (ref) =>
      info.networks.some(({ name, networkId }) => name === ref || networkId === ref),
    ) &&
    filters.any('health', (value) => value === (info.health?.status ?? 'none')) &&
    filters.any('volume', (place) => isMounted(info, place))
  );
}

function isTaskOf({ task }: ContainerInfo, start: string): boolean {
  return start.length >= TASK_START_CHARS_MIN && (task?.id.startsWith(start) ?? false);
}

/** The image itself, by name or id; not those that it was made from. */
function isAncestor({ spec, image }: ContainerInfo, reference: string): boolean {
  const named = [spec.container.image, image?.id, ...(image?.repoTags ?? [])];
  const id = image?.id.replace('sha256:', '') ?? '';
  const isStart = reference.length >= 4 && id.startsWith(reference.replace('sha256:', ''));
  return isStart || named.some((name) => name === reference || name === `${reference}:latest`);
}

/** By the name of a volume, its source, or its place in the container. */
function isMounted({ spec, volumes }: ContainerInfo, place: string): boolean {
  return (
    spec.container.mounts.some(({ source, target }) => source === place || target === place) ||
    volumes.some(({ name, target }) => name === place || target === place)
  );
}

function exitCodeOf(text: string): number {
  if (/^-?\d{1,9}$/.test(text)) return Number(text);
  throw new SkepError('invalid-argument', `invalid filter: 'exited'='${text}'`);
}

interface Ports {
  readonly protocol: string;
  readonly first: number;
  readonly last: number;
}

/** `80`, `80/udp`, `8000-8080/tcp`. */
function portsOf(text: string): Ports {
  const [, from = '', to = from, protocol = 'tcp'] =
    /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(text) ?? [];
  const range = { protocol, first: Number(from), last: Number(to) };
  if (from !== '' && range.first > 0 && range.last >= range.first && range.last < 65_536) {
    return range;
  }
  throw new SkepError(
    'invalid-argument',
    `invalid filter: '${text}' is no port and no range of them`,
  );
}

type Port = Pick<Ports, 'protocol'> & { readonly port: number };

function isAnyOf(wanted: readonly Ports[], ports: readonly Port[]): boolean {
  if (wanted.length === 0) return true;
  return ports.some(({ protocol, port }) =>
    wanted.some((it) => it.protocol === protocol && port >= it.first && port <= it.last),
  );
}

function publishedBy({ ports }: ContainerInfo): Port[] {
  return ports.flatMap(({ protocol, hostPort, targetPort }) => [
    { protocol, port: hostPort },
    { protocol, port: targetPort },
  ]);
}

function exposedBy({ shown, image, ports }: ContainerInfo): Port[] {
  const own = Object.keys((shown?.config['ExposedPorts'] ?? {}) as object);
  const all = [...own, ...(image?.config.exposedPorts ?? [])].map((text) => {
    const [port = '', protocol = 'tcp'] = text.split('/');
    return { protocol, port: Number(port) };
  });
  return [...all, ...ports.map(({ protocol, targetPort }) => ({ protocol, port: targetPort }))];
}
