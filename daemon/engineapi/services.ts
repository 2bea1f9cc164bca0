/** `/services` and `/tasks`: what runs in the cluster. */
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { Network } from '../../common/model/network.ts';
import type { Meta } from '../../common/model/objects.ts';
import { randomName } from '../../common/model/random-name.ts';
import {
  type Service,
  type ServiceMode,
  type ServiceSpec,
  specWithDefaults,
} from '../../common/model/service.ts';
import { TASK_STATES, type TaskState } from '../../common/model/task-state.ts';
import type { ServiceRow } from '../../manager/controlapi/control-api.ts';
import { Filters } from './filters.ts';
import type { RequestContext } from './http-context.ts';
import { SERVICE_STATUS_SINCE } from './json/api-versions.ts';
import { NEWER_SERVICE_FIELDS, withoutNewer } from './json/newer-fields.ts';
import { explanationToJson } from './json/placement.ts';
import { JsonReader } from './json/reader.ts';
import { serviceSpecFromJson, serviceToJson, withKeptAddresses } from './json/service.ts';
import { taskToJson } from './json/task.ts';
import { KnownAnswers } from './known-answers.ts';
import { controlOf, type RouteParts } from './parts.ts';
import { withPredefinedWords } from './predefined-networks.ts';
import { arrayOf, RenderedRows, withField } from './rendered-rows.ts';
import type { Routes } from './server.ts';

const SERVICE_FILTERS = ['id', 'label', 'mode', 'name', 'runtime'];
const TASK_FILTERS = [
  'desired-state',
  'id',
  'label',
  'name',
  'node',
  'service',
  '_up-to-date',
  'runtime',
];
const NAME_ATTEMPTS_MAX = 20;

type NetworkOf = (id: string) => Network | undefined;

const MODES: Readonly<Record<string, ServiceMode['kind']>> = {
  replicated: 'replicated',
  global: 'global',
  'replicated-job': 'replicated-job',
  'global-job': 'global-job',
};

export function addServiceRoutes(routes: Routes, parts: RouteParts): void {
  const serviceRows = new RenderedRows();
  const taskRows = new RenderedRows();
  const answers = new KnownAnswers();
  const bareText = (service: Service, networkOf: NetworkOf): string => {
    const networks = (service.endpoint?.virtualIps ?? []).flatMap(({ networkId }) => {
      const network = networkOf(networkId);
      return network ? partsOf(network) : [-1, -1];
    });
    const parts = [...partsOf(service), ...networks];
    return serviceRows.text(service.id, parts, () => serviceToJson(service, networkOf));
  };
  const textOf = ({ service, status }: ServiceRow, networkOf: NetworkOf): string => {
    const row = bareText(service, networkOf);
    if (status === null) return row;
    const { running, desired, completed } = status;
    const counts = { RunningTasks: running, DesiredTasks: desired, CompletedTasks: completed };
    return withField(row, 'ServiceStatus', counts);
  };
  routes.add('GET', '/services', async (context) => {
    const filters = Filters.parse(context.text('filters'), SERVICE_FILTERS);
    const { control, store } = parts.swarm.requireManager();
    const question = context.request.url ?? '';
    const answer = await control.readServiceRows(
      {
        ids: filters.get('id'),
        namePrefixes: filters.get('name'),
        labels: filters.get('label'),
        modes: filters.get('mode').map(modeOf),
        runtimes: filters.get('runtime'),
      },
      { withStatus: context.flag('status') && context.apiMinor >= SERVICE_STATUS_SINCE },
      (revision, rows) =>
        answers.get(store, revision, question) ??
        answers.keep(
          store,
          revision,
          question,
          store.view((view) =>
            arrayOf(rows().map((row) => textOf(row, (id) => view.get('network', id)))),
          ),
        ),
      context.signal,
    );
    context.sendBytes(200, answer);
  });

  routes.add('POST', '/services/create', async (context) => {
    const spec = await specIn(context, parts);
    const service = await createNamed(parts, spec, context.signal);
    context.send(201, { ID: service.id, Warnings: null });
  });

  routes.add('GET', '/services/:id', async (context) => {
    const service = await controlOf(parts).getService(context.param('id'), context.signal);
    const { store } = parts.swarm.requireManager();
    store.view((view) => {
      const networkOf: NetworkOf = (id) => view.get('network', id);
      // Commands that tell of many services ask for one after the other.
      if (!context.flag('insertDefaults'))
        return context.sendText(200, bareText(service, networkOf));
      const spec = specWithDefaults(service.spec);
      context.send(200, serviceToJson({ ...service, spec }, networkOf));
    });
  });

  routes.add('GET', '/skep/services/:id/explain', async (context) => {
    const control = controlOf(parts);
    const explanation = await control.explainService(context.param('id'), context.signal);
    context.send(200, explanationToJson(explanation));
  });

  routes.add('POST', '/services/:id/update', async (context) => {
    const spec = await updatedSpecIn(context, parts);
    const rollback = context.text('rollback') ?? '';
    if (rollback !== '' && rollback !== 'previous') {
      throw new SkepError('invalid-argument', `invalid rollback: '${rollback}'`);
    }
    await controlOf(parts).updateService(
      context.param('id'),
      context.integer('version'),
      spec,
      {
        rollback: rollback === 'previous',
        registryAuthFrom:
          context.text('registryAuthFrom') === 'previous-spec' ? 'previous-spec' : 'spec',
      },
      context.signal,
    );
    context.send(200, { Warnings: null });
  });

  routes.add('DELETE', '/services/:id', async (context) => {
    await controlOf(parts).removeService(context.param('id'), context.signal);
    context.empty(200);
  });

  routes.add('GET', '/tasks', async (context) => {
    const filters = Filters.parse(context.text('filters'), TASK_FILTERS);
    const upToDate = filters.get('_up-to-date').some((value) => value === 'true' || value === '1');
    const tasks = await controlOf(parts).listTasks(
      {
        ids: filters.get('id'),
        names: filters.get('name'),
        services: filters.get('service'),
        nodes: filters.get('node'),
        labels: filters.get('label'),
        desiredStates: desiredStatesOf(filters),
        runtimes: filters.get('runtime'),
        upToDate,
      },
      context.signal,
    );
    const { store } = parts.swarm.requireManager();
    const rows = store.view((view) => {
      const networkOf = (id: string) => view.get('network', id);
      return tasks.map((task) => {
        const networks = task.networks.flatMap(({ networkId }) => {
          const network = networkOf(networkId);
          return network ? partsOf(network) : [-1, -1];
        });
        // What a task waits for is worked out when somebody asks.
        const parts = [...partsOf(task), task.status.err, ...networks];
        return taskRows.text(task.id, parts, () => taskToJson(task, networkOf));
      });
    });
    context.sendText(200, arrayOf(rows));
  });

  routes.add('GET', '/tasks/:id', async (context) => {
    const task = await controlOf(parts).getTask(context.param('id'), context.signal);
    const { store } = parts.swarm.requireManager();
    context.send(
      200,
      store.view((view) => taskToJson(task, (id) => view.get('network', id))),
    );
  });
}

async function specIn(context: RequestContext, { engineId }: RouteParts): Promise<ServiceSpec> {
  const spec = serviceSpecFromJson(await specJson(context), authOf(context));
  return withPredefinedWords(engineId, spec);
}

async function specJson(context: RequestContext): Promise<JsonReader> {
  const body = withoutNewer(await context.json(), context.apiMinor, NEWER_SERVICE_FIELDS);
  return new JsonReader(body);
}

async function updatedSpecIn(context: RequestContext, parts: RouteParts): Promise<ServiceSpec> {
  const json = await specJson(context);
  const spec = withPredefinedWords(parts.engineId, serviceSpecFromJson(json, authOf(context)));
  if (spec.endpoint.ports.length + spec.task.networks.length === 0) return spec;
  const before = await controlOf(parts).getService(context.param('id'), context.signal);
  return withKeptAddresses(spec, json, before.spec);
}

/** By which what is shown of an object is known again; the time, where a cluster was made anew from a backup. */
const partsOf = ({ meta }: { readonly meta: Meta }): number[] => [meta.version, meta.updatedAtMs];

/** A service without a name gets one; when another has it already, one more. */
async function createNamed(
  parts: RouteParts,
  spec: ServiceSpec,
  signal: AbortSignal,
): Promise<Service> {
  const control = controlOf(parts);
  if (spec.name !== '') return control.createService(spec, signal);
  for (let attempt = 1; ; attempt++) {
    try {
      return await control.createService({ ...spec, name: randomName(parts.random) }, signal);
    } catch (err) {
      if (attempt === NAME_ATTEMPTS_MAX || !hasCode(err, 'name-conflict')) throw err;
    }
  }
}

function authOf(context: RequestContext): string | null {
  const header = context.request.headers['x-registry-auth'];
  return typeof header === 'string' && header !== '' ? header : null;
}

function modeOf(text: string): ServiceMode['kind'] {
  const mode = MODES[text];
  if (!mode) throw new SkepError('invalid-argument', `invalid mode: '${text}'`);
  return mode;
}

/**
 * `running` and `shutdown` are meant as people mean them: with the tasks of jobs, which are wanted
 * complete, and those that are to be removed. Any other state is taken by its name, as Swarm does.
 */
function desiredStatesOf(filters: Filters): TaskState[] {
  return filters.get('desired-state').flatMap((text): TaskState[] => {
    const word = text.toLowerCase();
    if (word === 'running') return ['running', 'complete'];
    if (word === 'shutdown') return ['shutdown', 'remove'];
    if (word === 'accepted') return ['accepted', 'ready'];
    const state = TASK_STATES.find((name) => name === word);
    if (!state) throw new SkepError('invalid-argument', `invalid desired-state: '${text}'`);
    return [state];
  });
}
