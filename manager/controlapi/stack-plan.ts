/**
 * What a deployment of a stack would change, object by object. Computed by what decides when it is
 * applied: the same checks of specs, the same references, and the orchestrator's own test of which tasks
 * an update replaces. Pure: it reads a view and writes nothing.
 */

import { createHash, createHmac } from 'node:crypto';
import { assertNever } from '../../common/base/assert.ts';
import { deepEqual } from '../../common/base/equal.ts';
import { SkepError } from '../../common/base/errors.ts';
import { DirtyTest } from '../../common/model/dirty-task.ts';
import { asId, type NetworkId } from '../../common/model/ids.ts';
import type { Network, NetworkSpec } from '../../common/model/network.ts';
import { overlapProblem } from '../../common/model/network-overlap.ts';
import { UNSTAMPED } from '../../common/model/objects.ts';
import type { PlacementStep } from '../../common/model/placement.ts';
import { isPredefinedNetwork } from '../../common/model/predefined-networks.ts';
import { portConflict, sharedPort } from '../../common/model/reference-check.ts';
import { isJob, type Service, type ServiceSpec } from '../../common/model/service.ts';
import { usesIngress } from '../../common/model/service-references.ts';
import { specChange } from '../../common/model/spec-change.ts';
import {
  NAMESPACE_LABEL,
  type StackChange,
  type StackPlan,
  type WantedStack,
} from '../../common/model/stack.ts';
import { inStartOrder } from '../../common/model/start-order.ts';
import type { Task } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task-state.ts';
import type { ReadView } from '../store/types.ts';
import { requireCluster } from './cluster.ts';
import { findByRef } from './lookup.ts';
import { checkNetworkSpec, requireCreatable } from './networks.ts';
import { invalid } from './refusal.ts';
import { checkAddresses } from './service-references.ts';
import { checkServiceSpec, checkSpecChange } from './service-rules.ts';
import { keepRegistryAuth } from './services.ts';
import { type PlannedFiles, planFiles } from './stack-files.ts';

/** Stands for the id of what is yet to be created: no object has it. */
const PENDING = 'pending:';

const pendingNetwork = (name: string): NetworkId => asId<NetworkId>(PENDING + name);

export interface PlannedStack {
  /** without a word on where tasks would land */
  readonly plan: StackPlan;
  /** what each of its changes does to tasks; null = nothing */
  readonly steps: readonly (PlacementStep | null)[];
  /** those that it creates, under the ids by which the steps name them */
  readonly newNetworks: readonly Pick<Network, 'id' | 'spec'>[];
}

/** Throws what the writes would throw for specs that cannot be, with the object that it is about. */
export function planStack(view: ReadView, wanted: WantedStack): PlannedStack {
  requireDistinct('service', wanted.services);
  requireDistinct('network', wanted.networks);
  const missing = wanted.networks.filter(({ name }) => view.byName('network', name).length === 0);
  const networks = wanted.networks.map((spec) =>
    checked('network', spec.name, () => planNetwork(view, spec, missing)),
  );
  const secrets = planFiles(view, 'secret', wanted);
  const configs = planFiles(view, 'config', wanted);
  const references = {
    networks: new Map(wanted.networks.map((spec) => [spec.name, spec])),
    secrets,
    configs,
  };
  const services = inStartOrder(wanted.services).map((spec) => {
    const resolved = checked('service', spec.name, () => {
      const found = withReferences(view, spec, references);
      checkServiceSpec(found);
      requireApart(view, found, missing);
      return found;
    });
    return planService(view, wanted, resolved);
  });
  requireFreePorts(view, wanted);
  const goers = leftOver(view, wanted);
  const files = [...networks, ...secrets.changes, ...configs.changes];
  const changes = [...goers, ...files, ...services.map(({ change }) => change)];
  return {
    plan: { name: wanted.name, changes, hash: planHash(view, wanted, changes) },
    steps: [
      ...goers.map((change) => removalStep(view, change)),
      ...files.map(() => null),
      ...services.map(({ step }) => step),
    ],
    newNetworks: missing.map((spec) => ({ id: pendingNetwork(spec.name), spec })),
  };
}

/** Who writes one object knows which was refused; of a stack its refusal has to say it. */
function checked<T>(kind: StackChange['kind'], name: string, plan: () => T): T {
  try {
    return plan();
  } catch (err) {
    const words = `${kind} ${name}: `;
    if (!(err instanceof SkepError) || err.message.startsWith(words)) throw err;
    throw new SkepError(err.code, words + err.message, { details: err.details });
  }
}

interface PlannedService {
  readonly change: StackChange;
  readonly step: PlacementStep | null;
}

function requireDistinct(kind: string, specs: readonly { readonly name: string }[]): void {
  const seen = new Set<string>();
  for (const { name } of specs) {
    if (seen.has(name)) throw invalid(`${kind} ${name} is given twice`);
    seen.add(name);
  }
}

/** As it is found: nothing differs. */
export function unchanged(
  kind: StackChange['kind'],
  name: string,
  object: {
    readonly id: string;
    readonly meta: { readonly version: number };
    readonly specVersion?: number;
  },
): StackChange {
  return {
    kind,
    name,
    object: name,
    id: object.id,
    version: object.meta.version,
    specVersion: object.specVersion ?? object.meta.version,
    action: 'none',
    fields: [],
    forcedBy: [],
    replacedTasks: 0,
    note: '',
    landing: null,
  };
}

export function created(kind: StackChange['kind'], name: string, object = name): StackChange {
  return {
    kind,
    name,
    object,
    id: null,
    version: 0,
    specVersion: 0,
    action: 'create',
    fields: [],
    forcedBy: [],
    replacedTasks: 0,
    note: '',
    landing: null,
  };
}

// ---- networks ------------------------------------------------------------------------------------

/** A network that is there stays as it is, also when the stack says otherwise: its tasks are in it. */
function planNetwork(
  view: ReadView,
  spec: NetworkSpec,
  missing: readonly NetworkSpec[],
): StackChange {
  checkNetworkSpec(spec);
  const [existing] = view.byName('network', spec.name);
  if (!existing) {
    requireCreatable(view, spec, missing.slice(0, missing.indexOf(spec)));
    return created('network', spec.name);
  }
  const fields = networkDifferences(existing, spec);
  const note = fields.length > 0 ? 'a network cannot be changed: it stays as it is' : '';
  return { ...unchanged('network', spec.name, existing), fields, note };
}

function networkDifferences({ spec: old }: Network, now: NetworkSpec): string[] {
  const words: readonly (readonly [keyof NetworkSpec, string])[] = [
    ['driver', 'driver'],
    ['driverOptions', 'driver_opts'],
    ['internal', 'internal'],
    ['attachable', 'attachable'],
    ['ipv6', 'enable_ipv6'],
    ['ipam', 'ipam'],
    ['labels', 'labels'],
  ];
  return words.filter(([key]) => !deepEqual(old[key], now[key])).map(([, word]) => word);
}

// ---- services ------------------------------------------------------------------------------------

interface References {
  /** names that the stack creates when they are missing */
  readonly networks: ReadonlyMap<string, NetworkSpec>;
  readonly secrets: PlannedFiles;
  readonly configs: PlannedFiles;
}

/** The spec as it will be stored: ids in the place of names, versions in that of files. */
function withReferences(view: ReadView, spec: ServiceSpec, references: References): ServiceSpec {
  const { container } = spec.task;
  const networks = spec.task.networks.map((attachment) => {
    if (isPredefinedNetwork(attachment.target)) return attachment;
    const network = findByRef(view, 'network', attachment.target);
    const networkSpec = network?.spec ?? references.networks.get(attachment.target);
    if (!networkSpec) {
      throw new SkepError('not-found', `network ${attachment.target} not found`);
    }
    checkAddresses(attachment, networkSpec);
    return {
      ...attachment,
      target: network?.id ?? pendingNetwork(attachment.target),
    };
  });
  const secrets = container.secrets.map((use) => {
    const { id, object } = references.secrets.require(use.secretName);
    return { ...use, secretId: asId<typeof use.secretId>(id ?? PENDING), secretName: object };
  });
  const configs = container.configs.map((use) => {
    const { id, object } = references.configs.require(use.configName);
    return { ...use, configId: asId<typeof use.configId>(id ?? PENDING), configName: object };
  });
  return {
    ...spec,
    task: { ...spec.task, networks, container: { ...container, secrets, configs } },
  };
}

/** Networks that are yet to be created have the subnets that they ask for. */
function requireApart(view: ReadView, spec: ServiceSpec, missing: readonly NetworkSpec[]): void {
  const own = spec.task.networks.flatMap(({ target }) => {
    const planned = missing.find(({ name }) => pendingNetwork(name) === target);
    return planned ? { spec: planned, ipam: [] } : (view.get('network', target) ?? []);
  });
  const ingress = view.list('network').filter((network) => network.spec.ingress);
  const problem = overlapProblem([...own, ...(usesIngress(spec) ? ingress : [])]);
  if (problem !== null) throw invalid(problem);
}

function planService(view: ReadView, stack: WantedStack, wanted: ServiceSpec): PlannedService {
  const [service] = view.byName('service', wanted.name);
  if (!service) {
    const change = created('service', wanted.name);
    return { change, step: stepOf(view, newService(wanted), []) };
  }
  if (service.spec.labels[NAMESPACE_LABEL] !== stack.name) {
    throw new SkepError(
      'name-conflict',
      `name conflicts with an existing object: service ${wanted.name} is not of this stack`,
    );
  }
  const spec = asUpdated(service, wanted);
  const same = unchanged('service', wanted.name, service);
  if (deepEqual(spec, service.spec)) return { change: same, step: null };
  checked('service', wanted.name, () => checkSpecChange(service.spec, spec));
  const effect = effectOf(view, service, spec);
  const specVersion = service.meta.version;
  const next = { ...service, spec, specVersion, endpoint: null, updateStatus: null };
  return {
    change: { ...same, ...effect.change },
    step: stepOf(view, next, effect.replaced),
  };
}

/** As the write would make it, without what only the write knows. */
function newService(spec: ServiceSpec): Service {
  return {
    id: asId<Service['id']>(PENDING + spec.name),
    meta: UNSTAMPED,
    spec,
    specVersion: 0,
    previousSpec: null,
    previousSpecVersion: null,
    endpoint: null,
    updateStatus: null,
    jobStatus: null,
  };
}

/** Among services as they will be: those of others, left-over ones that stay, and the stack's own as it wants them. */
function requireFreePorts(view: ReadView, { name: stack, services, prune }: WantedStack): void {
  const names = new Set(services.map(({ name }) => name));
  const staying = view.list('service').filter(({ spec }) => {
    return spec.labels[NAMESPACE_LABEL] !== stack || (!prune && !names.has(spec.name));
  });
  for (const [at, spec] of services.entries()) {
    const [service] = view.byName('service', spec.name);
    const conflict = portConflict(staying, spec, service?.id ?? null);
    if (conflict) throw conflict;
    for (const other of services.slice(0, at)) {
      const port = sharedPort(other, spec);
      if (port === null) continue;
      throw invalid(`port '${port}' is published by service ${other.name} and by ${spec.name}`);
    }
  }
}

/** What the service remembers although no file says it. */
function asUpdated(service: Service, wanted: ServiceSpec): ServiceSpec {
  const { forceUpdate } = service.spec.task;
  const spec = { ...wanted, task: { ...wanted.task, forceUpdate } };
  return keepRegistryAuth(service, spec, 'spec');
}

interface Effect {
  readonly change: Partial<StackChange>;
  /** tasks that others take the place of */
  readonly replaced: readonly Task[];
}

function effectOf(view: ReadView, service: Service, spec: ServiceSpec): Effect {
  const { fields, replacing } = specChange(service.spec, spec);
  if (isJob(service.spec.mode)) {
    const note = 'an updated job runs again';
    const change = { action: 'replace', fields, forcedBy: fields, note } as const;
    return { change, replaced: liveTasks(view, service) };
  }
  const replaced = dirtyTasks(view, service, spec);
  if (replaced.length === 0) return { change: { action: 'update', fields }, replaced };
  const forcedBy = replacing.length > 0 ? replacing : fields;
  const change = { action: 'replace', fields, forcedBy, replacedTasks: replaced.length } as const;
  return { change, replaced };
}

/** Those of jobs are wanted complete. */
const liveTasks = (view: ReadView, { id }: Service): readonly Task[] =>
  view.tasksByService(id).filter(({ desiredState, status }) => {
    const isWanted = desiredState !== 'shutdown' && desiredState !== 'remove';
    return isWanted && !isTerminal(status.state);
  });

/** null when no task comes, and none goes. @param replaced of the tasks that it has now */
function stepOf(view: ReadView, service: Service, replaced: readonly Task[]): PlacementStep | null {
  const { mode } = service.spec;
  const gone = replaced.map(({ id }) => id);
  switch (mode.kind) {
    case 'replicated': {
      const now = liveTasks(view, service).length;
      const coming = Math.min(gone.length, mode.replicas) + Math.max(0, mode.replicas - now);
      return coming + gone.length > 0 ? { service, gone, coming } : null;
    }
    case 'replicated-job': {
      const coming = Math.min(mode.maxConcurrent, mode.totalCompletions);
      return { service, gone, coming };
    }
    case 'global-job':
      return { service, gone, coming: null };
    case 'global': {
      const isNew = view.get('service', service.id) === undefined;
      return isNew || gone.length > 0 ? { service, gone, coming: null } : null;
    }
    default:
      return assertNever(mode, 'service mode');
  }
}

function removalStep(view: ReadView, { id, action }: StackChange): PlacementStep | null {
  if (action !== 'remove' || id === null) return null;
  const service = view.require('service', id);
  return { service, gone: view.tasksByService(service.id).map((task) => task.id), coming: 0 };
}

/** Those that the orchestrator would replace if the service said `spec`. */
function dirtyTasks(view: ReadView, service: Service, spec: ServiceSpec): readonly Task[] {
  const next = { ...service, spec, specVersion: service.meta.version };
  const test = new DirtyTest(next, (id) => view.get('node', id));
  return liveTasks(view, service).filter((task) => test.isDirty(task));
}

function leftOver(view: ReadView, stack: WantedStack): StackChange[] {
  const wanted = new Set(stack.services.map(({ name }) => name));
  return view
    .list('service')
    .filter(({ spec }) => spec.labels[NAMESPACE_LABEL] === stack.name && !wanted.has(spec.name))
    .map((service): StackChange => {
      const found = unchanged('service', service.spec.name, service);
      if (stack.prune) return { ...found, action: 'remove' };
      return { ...found, note: 'not in the stack file: --prune removes it' };
    });
}

// ---- hash ----------------------------------------------------------------------------------------

/**
 * Keyed with what is never in a plan, so that nobody can try out contents of secrets on it. Where an external authority has
 * the root's key that is the token of managers: who may ask for it may do everything.
 */
function planHash(view: ReadView, wanted: WantedStack, changes: readonly StackChange[]): string {
  const { keyPem, joinTokens } = requireCluster(view).rootCa;
  const key = keyPem || joinTokens.manager;
  const state = changes.map(({ id, specVersion }) => [id, specVersion]);
  const content = [wanted.secrets, wanted.configs].map((files) =>
    files.map(({ spec, object }) => [
      { ...spec, data: createHash('sha256').update(spec.data).digest('hex') },
      object,
    ]),
  );
  // Tasks come and go by themselves.
  const plain = changes.map(
    ({ version: _, specVersion: __, replacedTasks: ___, landing: ____, ...change }) => change,
  );
  const told = JSON.stringify([wanted.networks, wanted.services, content, plain, state]);
  return createHmac('sha256', key).update(told).digest('hex').slice(0, HASH_CHARS);
}

const HASH_CHARS = 32;
