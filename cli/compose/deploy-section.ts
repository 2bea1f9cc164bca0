/** `deploy` of a service, and `restart`, which stands for its restart policy. */

import { parseConstraint } from '../../common/model/constraint.ts';
import type { ServiceModeJson, UpdateConfigJson } from '../../common/model/engine-json/service.ts';
import type {
  PlacementJson,
  ResourcesJson,
  RestartPolicyJson,
} from '../../common/model/engine-json/task.ts';
import type { Fields, Item } from './item.ts';
import { parseDurationNanos, parseNanoCpus, parseSizeBytes } from './values.ts';

export interface Deployment {
  readonly mode: ServiceModeJson;
  readonly labels: Record<string, string>;
  readonly endpointMode: string | undefined;
  readonly resources: ResourcesJson;
  readonly placement: PlacementJson;
  readonly restart: RestartPolicyJson | undefined;
  readonly update: UpdateConfigJson | undefined;
  readonly rollback: UpdateConfigJson | undefined;
}

const MODES = ['replicated', 'global', 'replicated-job', 'global-job'] as const;

/**
 * @param deploy absent = all defaults
 * @param scale the older key for replicas
 */
export function deploySection(deploy: Item | undefined, scale: Item | undefined): Deployment {
  const fields: Fields = deploy?.fields() ?? new Map();
  const restart = fields.get('restart_policy');
  const update = fields.get('update_config');
  const rollback = fields.get('rollback_config');
  return {
    mode: modeOf(fields, scale),
    labels: fields.get('labels')?.stringMap() ?? {},
    endpointMode: fields.get('endpoint_mode')?.oneOf(['vip', 'dnsrr']),
    resources: resourcesOf(fields.get('resources')),
    placement: placementOf(fields.get('placement')),
    restart: restart && restartPolicy(restart),
    update: update && updateConfig(update, ['pause', 'continue', 'rollback']),
    rollback: rollback && updateConfig(rollback, ['pause', 'continue']),
  };
}

function modeOf(fields: Fields, scale: Item | undefined): ServiceModeJson {
  const mode = fields.get('mode')?.oneOf(MODES) ?? 'replicated';
  const replicasItem = fields.get('replicas') ?? scale;
  const replicas = replicasItem?.integer(0);
  if (scale && replicasItem !== scale && scale.integer(0) !== replicas) {
    scale.problem(`${scale.path} and deploy.replicas say two different things`);
  }
  switch (mode) {
    case 'replicated':
      return { Replicated: { Replicas: replicas ?? 1 } };
    case 'replicated-job':
      return { ReplicatedJob: { MaxConcurrent: replicas ?? 1, TotalCompletions: replicas ?? 1 } };
    case 'global':
    case 'global-job':
      replicasItem?.problem(`${replicasItem.path}: replicas can only be used with replicated mode`);
      return mode === 'global' ? { Global: {} } : { GlobalJob: {} };
  }
}

function resourcesOf(item: Item | undefined): ResourcesJson {
  const parts = item?.fields();
  const limits = parts?.get('limits')?.fields();
  const reservations = parts?.get('reservations')?.fields();
  const common = (fields: Fields | undefined) => {
    const cpus = fields?.get('cpus')?.parsed(parseNanoCpus);
    const memory = fields?.get('memory')?.parsed(parseSizeBytes);
    return { ...(cpus && { NanoCPUs: cpus }), ...(memory && { MemoryBytes: memory }) };
  };
  const pids = limits?.get('pids')?.integer();
  const generic = reservations?.get('generic_resources')?.items().flatMap(genericResource) ?? [];
  return {
    Limits: { ...common(limits), ...(pids && pids > 0 && { Pids: pids }) },
    Reservations: {
      ...common(reservations),
      ...(generic.length > 0 && { GenericResources: generic }),
    },
  };
}

function genericResource(item: Item) {
  const spec = item.fields().get('discrete_resource_spec')?.fields();
  const kind = spec?.get('kind')?.text();
  const value = spec?.get('value')?.integer(0);
  if (kind === undefined || value === undefined) {
    item.problem(`${item.path}: discrete_resource_spec with kind and value is needed`);
    return [];
  }
  return [{ DiscreteResourceSpec: { Kind: kind, Value: value } }];
}

function placementOf(item: Item | undefined): PlacementJson {
  const fields = item?.fields();
  const constraintItems = fields?.get('constraints')?.items() ?? [];
  for (const constraint of constraintItems) constraint.parsed(parseConstraint);
  const constraints = constraintItems.map((constraint) => constraint.text() ?? '');
  const most = fields?.get('max_replicas_per_node')?.integer(0);
  const preferences = (fields?.get('preferences')?.items() ?? []).flatMap((preference) => {
    const spread = preference.fields().get('spread')?.text();
    return spread === undefined ? [] : [{ Spread: { SpreadDescriptor: spread } }];
  });
  return {
    ...(constraints.length > 0 && { Constraints: constraints }),
    ...(preferences.length > 0 && { Preferences: preferences }),
    ...(most && { MaxReplicas: most }),
  };
}

function restartPolicy(item: Item): RestartPolicyJson {
  const fields = item.fields();
  const condition = fields.get('condition')?.oneOf(['none', 'on-failure', 'any']);
  const delay = fields.get('delay')?.parsed(parseDurationNanos);
  const attempts = fields.get('max_attempts')?.integer(0);
  const window = fields.get('window')?.parsed(parseDurationNanos);
  return {
    ...(condition && { Condition: condition }),
    ...(delay !== undefined && { Delay: delay }),
    ...(attempts !== undefined && { MaxAttempts: attempts }),
    ...(window !== undefined && { Window: window }),
  };
}

function updateConfig(item: Item, actions: readonly string[]): UpdateConfigJson {
  const fields = item.fields();
  const delay = fields.get('delay')?.parsed(parseDurationNanos);
  const action = fields.get('failure_action')?.oneOf(actions);
  const monitor = fields.get('monitor')?.parsed(parseDurationNanos);
  const ratioItem = fields.get('max_failure_ratio');
  const ratio = ratioItem?.number();
  if (ratio !== undefined && (ratio < 0 || ratio > 1)) {
    ratioItem?.problem(`${ratioItem.path} must be between 0 and 1: got ${ratio}`);
  }
  const order = fields.get('order')?.oneOf(['start-first', 'stop-first']);
  return {
    Parallelism: fields.get('parallelism')?.integer(0) ?? 1,
    ...(delay !== undefined && { Delay: delay }),
    ...(action && { FailureAction: action }),
    ...(monitor !== undefined && { Monitor: monitor }),
    ...(ratio !== undefined && { MaxFailureRatio: ratio }),
    ...(order && { Order: order }),
  };
}

/** `restart: always | unless-stopped | on-failure[:n] | no`. */
export function restartWord(item: Item): RestartPolicyJson | undefined {
  const text = item.text();
  if (text === undefined) return undefined;
  const failure = /^on-failure(?::(\d+))?$/.exec(text);
  if (failure) {
    const attempts = Number(failure[1] ?? 0);
    return { Condition: 'on-failure', ...(attempts > 0 && { MaxAttempts: attempts }) };
  }
  if (text === 'always' || text === 'unless-stopped') return { Condition: 'any' };
  if (text === 'no' || text === 'false') return { Condition: 'none' };
  item.problem(
    `${item.path} must be one of no, always, unless-stopped, on-failure[:n]: got "${text}"`,
  );
  return undefined;
}
