/** Resources, restart policy, placement: what a task asks of its node and of the scheduler. */
import { skep } from '../../proto/gen/skep.js';
import { SkepError } from '../base/errors.ts';
import type {
  GenericResource,
  Placement,
  Platform,
  ResourceRequirements,
  RestartPolicy,
} from '../model/service.ts';
import { kernelResourcesFromProto, kernelResourcesToProto } from './isolation.ts';
import {
  enumTable,
  int64,
  intFromProto,
  listFromProto,
  nullable,
  optionalInt64,
  optionalIntFromProto,
  requiredMessage,
  text,
  textList,
  textListFromProto,
} from './scalars.ts';

const restartConditionTable = enumTable<RestartPolicy['condition'], skep.RestartCondition>(
  'restart condition',
  {
    none: skep.RestartCondition.RESTART_CONDITION_NONE,
    'on-failure': skep.RestartCondition.RESTART_CONDITION_ON_FAILURE,
    any: skep.RestartCondition.RESTART_CONDITION_ANY,
  },
);

export function restartPolicyToProto(policy: RestartPolicy): skep.RestartPolicy.$Properties {
  return {
    condition: restartConditionTable.toProto(policy.condition),
    delayNanos: int64(policy.delayNanos, 'restart.delayNanos'),
    maxAttempts: int64(policy.maxAttempts, 'restart.maxAttempts'),
    windowNanos: int64(policy.windowNanos, 'restart.windowNanos'),
  };
}

export function restartPolicyFromProto(m: skep.RestartPolicy.$Properties): RestartPolicy {
  return Object.freeze({
    condition: restartConditionTable.fromProto(m.condition),
    delayNanos: intFromProto(m.delayNanos, 'restart.delayNanos'),
    maxAttempts: intFromProto(m.maxAttempts, 'restart.maxAttempts'),
    windowNanos: intFromProto(m.windowNanos, 'restart.windowNanos'),
  });
}

export function genericResourceToProto(
  resource: GenericResource,
): skep.GenericResource.$Properties {
  const kind = text(resource.kind);
  return typeof resource.value === 'number'
    ? { kind, count: int64(resource.value, `generic resource '${kind}'`) }
    : { kind, named: text(resource.value) };
}

export function genericResourceFromProto(m: skep.GenericResource.$Properties): GenericResource {
  const kind = m.kind ?? '';
  if (m.named !== null && m.named !== undefined) return Object.freeze({ kind, value: m.named });
  if (m.count === null || m.count === undefined) {
    throw new SkepError('data-loss', `decode generic resource '${kind}': its value is missing`);
  }
  return Object.freeze({ kind, value: intFromProto(m.count, 'generic resource') });
}

export function resourceRequirementsToProto(
  resources: ResourceRequirements,
): skep.ResourceRequirements.$Properties {
  const { limits, reservations } = resources;
  return {
    limits: {
      nanoCpus: int64(limits.nanoCpus, 'limits.nanoCpus'),
      memoryBytes: int64(limits.memoryBytes, 'limits.memoryBytes'),
      pids: int64(limits.pids, 'limits.pids'),
    },
    reservations: {
      nanoCpus: int64(reservations.nanoCpus, 'reservations.nanoCpus'),
      memoryBytes: int64(reservations.memoryBytes, 'reservations.memoryBytes'),
      generic: reservations.generic.map(genericResourceToProto),
    },
    swapBytes: optionalInt64(resources.swapBytes, 'swapBytes'),
    memorySwappiness: optionalInt64(resources.memorySwappiness, 'memorySwappiness'),
    kernel: nullable(resources.kernel, kernelResourcesToProto),
  };
}

export function resourceRequirementsFromProto(
  m: skep.ResourceRequirements.$Properties,
): ResourceRequirements {
  const limits = requiredMessage(m.limits, 'resources.limits');
  const reservations = requiredMessage(m.reservations, 'resources.reservations');
  return Object.freeze({
    limits: Object.freeze({
      nanoCpus: intFromProto(limits.nanoCpus, 'limits.nanoCpus'),
      memoryBytes: intFromProto(limits.memoryBytes, 'limits.memoryBytes'),
      pids: intFromProto(limits.pids, 'limits.pids'),
    }),
    reservations: Object.freeze({
      nanoCpus: intFromProto(reservations.nanoCpus, 'reservations.nanoCpus'),
      memoryBytes: intFromProto(reservations.memoryBytes, 'reservations.memoryBytes'),
      generic: listFromProto(reservations.generic, genericResourceFromProto),
    }),
    swapBytes: optionalIntFromProto(m.swapBytes, 'swapBytes'),
    memorySwappiness: optionalIntFromProto(m.memorySwappiness, 'memorySwappiness'),
    kernel: nullable(m.kernel, kernelResourcesFromProto),
  });
}

export function platformToProto(platform: Platform): skep.Platform.$Properties {
  return { architecture: text(platform.architecture), os: text(platform.os) };
}

export function platformFromProto(m: skep.Platform.$Properties): Platform {
  return Object.freeze({ architecture: m.architecture ?? '', os: m.os ?? '' });
}

export function placementToProto(placement: Placement): skep.Placement.$Properties {
  return {
    constraints: textList(placement.constraints),
    preferences: placement.preferences.map((p) => ({ spreadOver: text(p.spreadOver) })),
    maxReplicas: int64(placement.maxReplicas, 'placement.maxReplicas'),
    platforms: placement.platforms.map(platformToProto),
  };
}

export function placementFromProto(m: skep.Placement.$Properties): Placement {
  return Object.freeze({
    constraints: textListFromProto(m.constraints),
    preferences: listFromProto(m.preferences, (p) =>
      Object.freeze({ spreadOver: p.spreadOver ?? '' }),
    ),
    maxReplicas: intFromProto(m.maxReplicas, 'placement.maxReplicas'),
    platforms: listFromProto(m.platforms, platformFromProto),
  });
}
