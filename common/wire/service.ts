/** Service, its spec and its task template. */
import { skep } from '../../proto/gen/skep.js';
import { assertNever } from '../base/assert.ts';
import { SkepError } from '../base/errors.ts';
import { asId } from '../model/ids.ts';
import type {
  NetworkAttachmentConfig,
  Service,
  ServiceMode,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
  UpdateFailureAction,
  UpdateStatus,
} from '../model/service.ts';
import {
  containerSpecFromProto,
  containerSpecToProto,
  logDriverFromProto,
  logDriverToProto,
} from './container.ts';
import {
  endpointFromProto,
  endpointSpecFromProto,
  endpointSpecToProto,
  endpointToProto,
} from './endpoint.ts';
import { metaFromProto, metaToProto } from './objects.ts';
import {
  placementFromProto,
  placementToProto,
  resourceRequirementsFromProto,
  resourceRequirementsToProto,
  restartPolicyFromProto,
  restartPolicyToProto,
} from './resources.ts';
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
  textMap,
  textMapFromProto,
} from './scalars.ts';

const failureActionTable = enumTable<UpdateFailureAction, skep.UpdateFailureAction>(
  'update failure action',
  {
    pause: skep.UpdateFailureAction.UPDATE_FAILURE_ACTION_PAUSE,
    continue: skep.UpdateFailureAction.UPDATE_FAILURE_ACTION_CONTINUE,
    rollback: skep.UpdateFailureAction.UPDATE_FAILURE_ACTION_ROLLBACK,
  },
);

const updateOrderTable = enumTable<UpdateConfig['order'], skep.UpdateOrder>('update order', {
  'stop-first': skep.UpdateOrder.UPDATE_ORDER_STOP_FIRST,
  'start-first': skep.UpdateOrder.UPDATE_ORDER_START_FIRST,
});

const updateStateTable = enumTable<UpdateStatus['state'], skep.UpdateState>('update state', {
  updating: skep.UpdateState.UPDATE_STATE_UPDATING,
  paused: skep.UpdateState.UPDATE_STATE_PAUSED,
  completed: skep.UpdateState.UPDATE_STATE_COMPLETED,
  rollback_started: skep.UpdateState.UPDATE_STATE_ROLLBACK_STARTED,
  rollback_paused: skep.UpdateState.UPDATE_STATE_ROLLBACK_PAUSED,
  rollback_completed: skep.UpdateState.UPDATE_STATE_ROLLBACK_COMPLETED,
});

function serviceModeToProto(mode: ServiceMode): skep.ServiceMode.$Properties {
  switch (mode.kind) {
    case 'replicated':
      return { replicated: { replicas: int64(mode.replicas, 'mode.replicas') } };
    case 'global':
      return { global: {} };
    case 'replicated-job':
      return {
        replicatedJob: {
          maxConcurrent: int64(mode.maxConcurrent, 'mode.maxConcurrent'),
          totalCompletions: int64(mode.totalCompletions, 'mode.totalCompletions'),
        },
      };
    case 'global-job':
      return { globalJob: {} };
    default:
      return assertNever(mode, 'service mode');
  }
}

function serviceModeFromProto(m: skep.ServiceMode.$Properties): ServiceMode {
  if (m.replicated) {
    return Object.freeze({
      kind: 'replicated' as const,
      replicas: intFromProto(m.replicated.replicas, 'mode.replicas'),
    });
  }
  if (m.global) return Object.freeze({ kind: 'global' as const });
  if (m.replicatedJob) {
    return Object.freeze({
      kind: 'replicated-job' as const,
      maxConcurrent: intFromProto(m.replicatedJob.maxConcurrent, 'mode.maxConcurrent'),
      totalCompletions: intFromProto(m.replicatedJob.totalCompletions, 'mode.totalCompletions'),
    });
  }
  if (m.globalJob) return Object.freeze({ kind: 'global-job' as const });
  throw new SkepError('data-loss', 'decode service mode: it is missing or unknown');
}

function updateConfigToProto(update: UpdateConfig): skep.UpdateConfig.$Properties {
  return {
    parallelism: int64(update.parallelism, 'update.parallelism'),
    delayNanos: int64(update.delayNanos, 'update.delayNanos'),
    failureAction: failureActionTable.toProto(update.failureAction),
    monitorNanos: int64(update.monitorNanos, 'update.monitorNanos'),
    maxFailureRatio: update.maxFailureRatio,
    order: updateOrderTable.toProto(update.order),
  };
}

function updateConfigFromProto(m: skep.UpdateConfig.$Properties): UpdateConfig {
  return Object.freeze({
    parallelism: intFromProto(m.parallelism, 'update.parallelism'),
    delayNanos: intFromProto(m.delayNanos, 'update.delayNanos'),
    failureAction: failureActionTable.fromProto(m.failureAction),
    monitorNanos: intFromProto(m.monitorNanos, 'update.monitorNanos'),
    maxFailureRatio: m.maxFailureRatio ?? 0,
    order: updateOrderTable.fromProto(m.order),
  });
}

function attachmentConfigToProto(
  attachment: NetworkAttachmentConfig,
): skep.NetworkAttachmentConfig.$Properties {
  return {
    target: text(attachment.target),
    aliases: textList(attachment.aliases),
    driverOptions: textMap(attachment.driverOptions),
    addresses: textList(attachment.addresses),
  };
}

function attachmentConfigFromProto(
  m: skep.NetworkAttachmentConfig.$Properties,
): NetworkAttachmentConfig {
  return Object.freeze({
    target: m.target ?? '',
    aliases: textListFromProto(m.aliases),
    driverOptions: textMapFromProto(m.driverOptions),
    addresses: textListFromProto(m.addresses),
  });
}

export function taskSpecToProto(spec: TaskSpec): skep.TaskSpec.$Properties {
  return {
    container: containerSpecToProto(spec.container),
    resources: resourceRequirementsToProto(spec.resources),
    restart: nullable(spec.restart, restartPolicyToProto),
    placement: placementToProto(spec.placement),
    networks: spec.networks.map(attachmentConfigToProto),
    logDriver: nullable(spec.logDriver, logDriverToProto),
    forceUpdate: int64(spec.forceUpdate, 'forceUpdate'),
    runtime: text(spec.runtime),
  };
}

export function taskSpecFromProto(m: skep.TaskSpec.$Properties): TaskSpec {
  return Object.freeze({
    container: containerSpecFromProto(requiredMessage(m.container, 'task spec.container')),
    resources: resourceRequirementsFromProto(requiredMessage(m.resources, 'task spec.resources')),
    restart: nullable(m.restart, restartPolicyFromProto),
    placement: placementFromProto(requiredMessage(m.placement, 'task spec.placement')),
    networks: listFromProto(m.networks, attachmentConfigFromProto),
    logDriver: nullable(m.logDriver, logDriverFromProto),
    forceUpdate: intFromProto(m.forceUpdate, 'forceUpdate'),
    runtime: m.runtime ?? '',
  });
}

export function serviceSpecToProto(spec: ServiceSpec): skep.ServiceSpec.$Properties {
  return {
    name: text(spec.name),
    labels: textMap(spec.labels),
    task: taskSpecToProto(spec.task),
    mode: serviceModeToProto(spec.mode),
    update: nullable(spec.update, updateConfigToProto),
    rollback: nullable(spec.rollback, updateConfigToProto),
    endpoint: endpointSpecToProto(spec.endpoint),
  };
}

export function serviceSpecFromProto(m: skep.ServiceSpec.$Properties): ServiceSpec {
  return Object.freeze({
    name: m.name ?? '',
    labels: textMapFromProto(m.labels),
    task: taskSpecFromProto(requiredMessage(m.task, 'service spec.task')),
    mode: serviceModeFromProto(requiredMessage(m.mode, 'service spec.mode')),
    update: nullable(m.update, updateConfigFromProto),
    rollback: nullable(m.rollback, updateConfigFromProto),
    endpoint: endpointSpecFromProto(requiredMessage(m.endpoint, 'service spec.endpoint')),
  });
}

function updateStatusToProto(status: UpdateStatus): skep.UpdateStatus.$Properties {
  return {
    state: updateStateTable.toProto(status.state),
    startedAtMs: int64(status.startedAtMs, 'updateStatus.startedAtMs'),
    completedAtMs: optionalInt64(status.completedAtMs, 'updateStatus.completedAtMs'),
    message: text(status.message),
  };
}

function updateStatusFromProto(m: skep.UpdateStatus.$Properties): UpdateStatus {
  return Object.freeze({
    state: updateStateTable.fromProto(m.state),
    startedAtMs: intFromProto(m.startedAtMs, 'updateStatus.startedAtMs'),
    completedAtMs: optionalIntFromProto(m.completedAtMs, 'updateStatus.completedAtMs'),
    message: m.message ?? '',
  });
}

export function serviceToProto(service: Service): skep.Service.$Properties {
  return {
    id: text(service.id),
    meta: metaToProto(service.meta),
    spec: serviceSpecToProto(service.spec),
    specVersion: int64(service.specVersion, 'specVersion'),
    previousSpec: nullable(service.previousSpec, serviceSpecToProto),
    previousSpecVersion: optionalInt64(service.previousSpecVersion, 'previousSpecVersion'),
    endpoint: nullable(service.endpoint, endpointToProto),
    updateStatus: nullable(service.updateStatus, updateStatusToProto),
    jobStatus: nullable(service.jobStatus, (job) => ({
      iteration: int64(job.iteration, 'jobStatus.iteration'),
      lastExecutionMs: int64(job.lastExecutionMs, 'jobStatus.lastExecutionMs'),
    })),
  };
}

export function serviceFromProto(m: skep.Service.$Properties): Service {
  return Object.freeze({
    id: asId<Service['id']>(m.id ?? ''),
    meta: metaFromProto(requiredMessage(m.meta, 'service.meta')),
    spec: serviceSpecFromProto(requiredMessage(m.spec, 'service.spec')),
    specVersion: intFromProto(m.specVersion, 'specVersion'),
    previousSpec: nullable(m.previousSpec, serviceSpecFromProto),
    previousSpecVersion: optionalIntFromProto(m.previousSpecVersion, 'previousSpecVersion'),
    endpoint: nullable(m.endpoint, endpointFromProto),
    updateStatus: nullable(m.updateStatus, updateStatusFromProto),
    jobStatus: nullable(m.jobStatus, (job) =>
      Object.freeze({
        iteration: intFromProto(job.iteration, 'jobStatus.iteration'),
        lastExecutionMs: intFromProto(job.lastExecutionMs, 'jobStatus.lastExecutionMs'),
      }),
    ),
  });
}
