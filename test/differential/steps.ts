/** Calls and waits in the words of the Engine API, for the scenarios. */
import type { Answer, Engine } from './engine.ts';
import type { Operation, Wait } from './scenario.ts';

export const IMAGE = 'skep-test/diff:1';
export const NEXT_IMAGE = 'skep-test/diff:2';
export const SLEEP = ['sleep', '600'];
export const SECOND = 1e9;

type Json = Readonly<Record<string, unknown>>;

export interface Task {
  readonly ID: string;
  readonly CreatedAt: string;
  readonly Slot?: number;
  readonly NodeID?: string;
  readonly DesiredState: string;
  readonly Status: {
    readonly State: string;
    readonly Err?: string;
    readonly Message?: string;
    readonly ContainerStatus?: { readonly ExitCode?: number };
  };
  readonly JobIteration?: { readonly Index?: number };
  readonly Spec: Json;
}

export interface Service {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: Json & { readonly TaskTemplate: Json };
  readonly Endpoint?: { readonly Spec?: Json };
  readonly UpdateStatus?: { readonly State?: string };
}

/** A spec that ends at once when told to, so that nothing waits for a grace period. */
export function spec(
  name: string,
  changes: Json = {},
  container: Json = {},
  task: Json = {},
): Json {
  return {
    Name: name,
    TaskTemplate: {
      ContainerSpec: { Image: IMAGE, Args: SLEEP, StopSignal: 'SIGKILL', ...container },
      ...task,
    },
    Mode: { Replicated: { Replicas: 1 } },
    ...changes,
  };
}

export function call(name: string, run: (engine: Engine) => Promise<unknown>): Operation {
  return { kind: 'call', name, run };
}

/** The status and, for a refusal, its words. */
export function request(name: string, method: string, path: string, body?: unknown): Operation {
  return call(name, async (engine) => {
    const { status, body: answer } = await engine.call(method, path, body);
    return status >= 400 ? { status, ...(answer as Json) } : { status };
  });
}

export function create(body: Json, name = `create ${String(body['Name'])}`): Operation {
  return request(name, 'POST', '/services/create', body);
}

export function remove(name: string): Operation {
  return request(`remove ${name}`, 'DELETE', `/services/${name}`);
}

/** Sends back what is there with a change, as clients do. */
export function update(
  what: string,
  name: string,
  change: (spec: Service['Spec']) => unknown,
  query = '',
): Operation {
  return call(what, (engine) =>
    inTurn(async () => {
      const { ID, Version, Spec } = await engine.get<Service>(`/services/${name}`);
      const path = `/services/${ID}/update?version=${Version.Index}${query}`;
      return engine.call('POST', path, change(Spec));
    }),
  );
}

const TURNS_MAX = 20;

/** Again while the engine itself writes the object between the look and the change. */
async function inTurn(change: () => Promise<Answer>): Promise<unknown> {
  for (let turn = 1; ; turn++) {
    const { status, body } = await change();
    if (status < 400) return { status };
    const answer = body as { readonly message?: string };
    const isLate = answer.message?.includes('update out of sequence') ?? false;
    if (!isLate || turn === TURNS_MAX) return { status, ...answer };
  }
}

export function scaled(replicas: number) {
  return (spec: Service['Spec']): Json => ({
    ...spec,
    Mode: { Replicated: { Replicas: replicas } },
  });
}

export function withContainer(change: Json) {
  return (spec: Service['Spec']): Json => {
    const container = spec.TaskTemplate['ContainerSpec'] as Json;
    const task = { ...spec.TaskTemplate, ContainerSpec: { ...container, ...change } };
    return { ...spec, TaskTemplate: task };
  };
}

export function look(path: string, name = `look at ${path}`): Operation {
  return call(name, async (engine) => (await engine.call('GET', path)).body);
}

export function lookAtService(name: string): Operation {
  return look(`/services/${name}?insertDefaults=true`, `service ${name}`);
}

export async function tasksOf(engine: Engine, service: string): Promise<Task[]> {
  const filters = encodeURIComponent(JSON.stringify({ service: [service] }));
  const tasks = await engine.get<Task[]>(`/tasks?filters=${filters}`);
  return tasks.sort(
    (a, b) => (a.Slot ?? 0) - (b.Slot ?? 0) || a.CreatedAt.localeCompare(b.CreatedAt),
  );
}

/** Slot by slot, oldest first: what each task was to do, and how far it came. */
export function lookAtTasks(service: string, name = `tasks of ${service}`): Operation {
  return call(name, async (engine) =>
    (await tasksOf(engine, service)).map(({ Slot, DesiredState, Status, JobIteration }) => ({
      Slot: Slot ?? 0,
      DesiredState,
      State: Status.State,
      Err: Status.Err ?? '',
      Message: Status.Message ?? '',
      ExitCode: Status.ContainerStatus?.ExitCode ?? 0,
      JobIteration: JobIteration?.Index ?? 0,
    })),
  );
}

/** As `lookAtTasks`, where it is chance which of them comes first. */
export function lookAtTasksByState(service: string): Operation {
  return call(`tasks of ${service}`, async (engine) =>
    (await tasksOf(engine, service))
      .map(({ DesiredState, Status }) => ({
        DesiredState,
        State: Status.State,
        Err: Status.Err ?? '',
      }))
      .sort((a, b) => a.State.localeCompare(b.State)),
  );
}

/** The spec and all else that the first task shows. */
export function lookAtFirstTask(service: string): Operation {
  return call(`first task of ${service}`, async (engine) => {
    const [first] = await tasksOf(engine, service);
    return first ? (await engine.call('GET', `/tasks/${first.ID}`)).body : null;
  });
}

export function wait(name: string, until: Wait['until']): Wait {
  return { kind: 'wait', name, until };
}

/** Exactly `count` tasks run and are meant to, and none is on its way out. */
export function running(service: string, count: number): Wait {
  return wait(`${count} tasks of ${service} run`, async (engine) => {
    const tasks = await tasksOf(engine, service);
    const wanted = tasks.filter(({ DesiredState }) => DesiredState === 'running');
    const leaving = tasks.filter(
      ({ DesiredState, Status }) =>
        (DesiredState === 'shutdown' || DesiredState === 'remove') && isAlive(Status.State),
    );
    return (
      wanted.length === count &&
      leaving.length === 0 &&
      wanted.every(({ Status }) => Status.State === 'running')
    );
  });
}

function isAlive(state: string): boolean {
  return !['complete', 'shutdown', 'failed', 'rejected', 'orphaned'].includes(state);
}

/** At least `count` tasks are in this state. */
export function inState(service: string, state: string, count = 1): Wait {
  return wait(`${count} tasks of ${service} are ${state}`, async (engine) => {
    const tasks = await tasksOf(engine, service);
    return tasks.filter(({ Status }) => Status.State === state).length >= count;
  });
}

/** At least `count` tasks are in this state, and nobody means them to run any more. */
export function left(service: string, state: string, count: number): Wait {
  return wait(`${count} tasks of ${service} are left ${state}`, async (engine) => {
    const tasks = (await tasksOf(engine, service)).filter(({ Status }) => Status.State === state);
    return tasks.length >= count && tasks.every(({ DesiredState }) => DesiredState === 'shutdown');
  });
}

export function waitingBecause(service: string): Wait {
  return wait(`a task of ${service} says why it waits`, async (engine) =>
    (await tasksOf(engine, service)).some(
      ({ Status }) => Status.State === 'pending' && (Status.Err ?? '') !== '',
    ),
  );
}

/** Its own endpoint follows from its spec a moment after it was created. */
export function hasEndpoint(service: string): Wait {
  return wait(`${service} has its endpoint`, async (engine) => {
    const { Endpoint } = await engine.get<Service>(`/services/${service}`);
    return Endpoint?.Spec !== undefined;
  });
}

export function updateIs(service: string, state: string): Wait {
  return wait(`the update of ${service} is ${state}`, async (engine) => {
    const { UpdateStatus } = await engine.get<Service>(`/services/${service}`);
    return UpdateStatus?.State === state;
  });
}

interface Node {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: Json;
}

/** Of the one node. */
export function updateNode(what: string, change: (spec: Json) => Json): Operation {
  return call(what, (engine) =>
    inTurn(async () => {
      const [node] = await engine.get<Node[]>('/nodes');
      const path = `/nodes/${node!.ID}/update?version=${node!.Version.Index}`;
      return engine.call('POST', path, change(node!.Spec));
    }),
  );
}

export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
