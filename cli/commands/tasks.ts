/** Rows of tasks, for `service ps`, `stack ps` and `node ps`: names resolved once per id. */
import { compareText } from '../../common/base/order.ts';
import type { TaskJson } from '../../common/model/engine-json/task.ts';
import { familiarReference, parseImageReference } from '../../common/model/image-reference.ts';
import { hasStatus } from '../client/transport.ts';
import type { Listing, Row } from '../output/listing.ts';
import { hostPorts } from '../output/ports.ts';
import { ellipsis, naturalCompare } from '../output/table.ts';
import { ago } from '../output/units.ts';
import type { CommandContext } from './context.ts';

export interface TaskListFlags {
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly quiet?: boolean;
  readonly resolve?: boolean;
  readonly trunc?: boolean;
}

const ERROR_CHARS_MAX = 30;
export const SHORT_ID_CHARS = 12;

/** Remembers the names of objects, so that each is asked for once. */
class Names {
  readonly #known = new Map<string, Promise<string>>();
  readonly #ask: (id: string) => Promise<string>;

  constructor(ask: (id: string) => Promise<string>) {
    this.#ask = ask;
  }

  of(id: string): Promise<string> {
    let name = this.#known.get(id);
    if (!name) {
      name = this.#ask(id).catch((err: unknown) => {
        if (hasStatus(err, 404)) return id; // removed meanwhile: its id is all that is left
        throw err;
      });
      this.#known.set(id, name);
    }
    return name;
  }
}

interface NamedTask {
  readonly task: TaskJson;
  readonly name: string;
  readonly node: string;
}

export async function listTasks(
  context: CommandContext,
  tasks: readonly TaskJson[],
  flags: TaskListFlags,
): Promise<Listing> {
  const named = await nameTasks(context, tasks, flags.resolve ?? true);
  named.sort(
    (a, b) => naturalCompare(a.name, b.name) || compareText(b.task.CreatedAt, a.task.CreatedAt),
  );
  const nowMs = context.clock.wallMs();
  let previous = '';
  const rows = named.map((item) => {
    const older = item.name === previous;
    previous = item.name;
    return rowOf(item, older, flags, nowMs);
  });
  return {
    columns: [
      ['ID', 'ID'],
      ['NAME', 'Name'],
      ['IMAGE', 'Image'],
      ['NODE', 'Node'],
      ['DESIRED STATE', 'DesiredState'],
      ['CURRENT STATE', 'CurrentState'],
      ['ERROR', 'Error'],
      ['PORTS', 'Ports'],
    ],
    rows,
    quietField: 'ID',
  };
}

async function nameTasks(
  context: CommandContext,
  tasks: readonly TaskJson[],
  resolve: boolean,
): Promise<NamedTask[]> {
  const { client } = context;
  const services = new Names(async (id) => (await client.service(id)).Spec.Name);
  const nodes = new Names(async (id) => {
    const node = await client.node(id);
    return node.Spec.Name || node.Description?.Hostname || id;
  });
  return Promise.all(
    tasks.map(async (task) => {
      const nodeId = task.NodeID ?? '';
      const slot = task.Slot ?? nodeId;
      const service = resolve ? await services.of(task.ServiceID) : task.ServiceID;
      const node = resolve && nodeId !== '' ? await nodes.of(nodeId) : nodeId;
      return { task, name: `${service}.${slot}`, node };
    }),
  );
}

function rowOf(item: NamedTask, older: boolean, flags: TaskListFlags, nowMs: number): Row {
  const { task, name, node } = item;
  const trunc = flags.trunc ?? true;
  const plain = (flags.format ?? 'table').startsWith('table');
  const { State, Timestamp, Err = '', PortStatus } = task.Status;
  const error = Err === '' ? '' : `"${trunc ? ellipsis(Err, ERROR_CHARS_MAX) : Err}"`;
  return {
    ID: trunc ? task.ID.slice(0, SHORT_ID_CHARS) : task.ID,
    Name: older && plain ? ` \\_ ${name}` : name,
    Image: shortImage(task.Spec.ContainerSpec?.Image ?? '', trunc),
    Node: node,
    DesiredState: capital(task.DesiredState),
    CurrentState: `${capital(State)} ${ago(Timestamp, nowMs)}`,
    Error: error,
    Ports: hostPorts(PortStatus?.Ports),
  };
}

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);

/** `nginx:latest` of `docker.io/library/nginx:latest@sha256:...`; the digest stays with --no-trunc. */
export function shortImage(image: string, trunc = true): string {
  const [, id] = /^sha256:([0-9a-f]{64})$/.exec(image) ?? [];
  if (id !== undefined) return trunc ? id.slice(0, SHORT_ID_CHARS) : image;
  try {
    const reference = parseImageReference(image);
    if (!trunc) return familiarReference(reference);
    if (reference.tag === null && reference.digest !== null) return familiarReference(reference);
    return familiarReference({ ...reference, digest: null });
  } catch {
    return image; // an id, or a name that a newer daemon understands
  }
}
