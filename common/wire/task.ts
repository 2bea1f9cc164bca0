/** Task and its observed status. */
import { skep } from '../../proto/gen/skep.js';
import { asId, type NodeId } from '../model/ids.ts';
import type {
  ContainerStatus,
  LocalAddress,
  NetworkAttachment,
  Task,
  TaskStatus,
} from '../model/task.ts';
import type { DesiredState, TaskState } from '../model/task-state.ts';
import { logDriverFromProto, logDriverToProto } from './container.ts';
import {
  endpointFromProto,
  endpointToProto,
  portConfigFromProto,
  portConfigToProto,
} from './endpoint.ts';
import { annotationsFromProto, annotationsToProto, metaFromProto, metaToProto } from './objects.ts';
import { genericResourceFromProto, genericResourceToProto } from './resources.ts';
import {
  enumTable,
  int64,
  intFromProto,
  listFromProto,
  nullable,
  optionalInt64,
  optionalIntFromProto,
  optionalText,
  requiredMessage,
  text,
  textList,
  textListFromProto,
  uint32,
} from './scalars.ts';
import { decodeTaskSpec, encodeTaskSpec } from './task-spec.ts';

export const taskStateTable = enumTable<TaskState, skep.TaskState>('task state', {
  new: skep.TaskState.TASK_STATE_NEW,
  pending: skep.TaskState.TASK_STATE_PENDING,
  assigned: skep.TaskState.TASK_STATE_ASSIGNED,
  accepted: skep.TaskState.TASK_STATE_ACCEPTED,
  preparing: skep.TaskState.TASK_STATE_PREPARING,
  ready: skep.TaskState.TASK_STATE_READY,
  starting: skep.TaskState.TASK_STATE_STARTING,
  running: skep.TaskState.TASK_STATE_RUNNING,
  complete: skep.TaskState.TASK_STATE_COMPLETE,
  shutdown: skep.TaskState.TASK_STATE_SHUTDOWN,
  failed: skep.TaskState.TASK_STATE_FAILED,
  rejected: skep.TaskState.TASK_STATE_REJECTED,
  remove: skep.TaskState.TASK_STATE_REMOVE,
  orphaned: skep.TaskState.TASK_STATE_ORPHANED,
});

export const desiredStateTable = enumTable<DesiredState, skep.TaskState>('desired state', {
  ready: skep.TaskState.TASK_STATE_READY,
  running: skep.TaskState.TASK_STATE_RUNNING,
  complete: skep.TaskState.TASK_STATE_COMPLETE,
  shutdown: skep.TaskState.TASK_STATE_SHUTDOWN,
  remove: skep.TaskState.TASK_STATE_REMOVE,
});

function containerStatusToProto(status: ContainerStatus): skep.ContainerStatus.$Properties {
  return {
    containerId: text(status.containerId),
    pid: int64(status.pid, 'container.pid'),
    exitCode: int64(status.exitCode, 'container.exitCode'),
    oomKilled: status.oomKilled,
  };
}

function containerStatusFromProto(m: skep.ContainerStatus.$Properties): ContainerStatus {
  return Object.freeze({
    containerId: m.containerId ?? '',
    pid: intFromProto(m.pid, 'container.pid'),
    exitCode: intFromProto(m.exitCode, 'container.exitCode'),
    oomKilled: m.oomKilled ?? false,
  });
}

export function localAddressToProto({
  networkId,
  address,
}: LocalAddress): skep.LocalAddress.$Properties {
  return { networkId: text(networkId), address: text(address) };
}

function localAddressFromProto(m: skep.LocalAddress.$Properties): LocalAddress {
  return Object.freeze({
    networkId: asId<LocalAddress['networkId']>(m.networkId ?? ''),
    address: m.address ?? '',
  });
}

export function taskStatusToProto(status: TaskStatus): skep.TaskStatus.$Properties {
  return {
    state: taskStateTable.toProto(status.state),
    timestampMs: int64(status.timestampMs, 'status.timestampMs'),
    message: text(status.message),
    err: text(status.err),
    container: nullable(status.container, containerStatusToProto),
    hostPorts: status.hostPorts.map(portConfigToProto),
    localAddresses: status.localAddresses.map(localAddressToProto),
    appliedAtMs: int64(status.appliedAtMs, 'status.appliedAtMs'),
  };
}

export function taskStatusFromProto(m: skep.TaskStatus.$Properties): TaskStatus {
  return Object.freeze({
    state: taskStateTable.fromProto(m.state),
    timestampMs: intFromProto(m.timestampMs, 'status.timestampMs'),
    message: m.message ?? '',
    err: m.err ?? '',
    container: nullable(m.container, containerStatusFromProto),
    hostPorts: listFromProto(m.hostPorts, portConfigFromProto),
    localAddresses: listFromProto(m.localAddresses, localAddressFromProto),
    appliedAtMs: intFromProto(m.appliedAtMs, 'status.appliedAtMs'),
  });
}

export function attachmentToProto(
  attachment: NetworkAttachment,
): skep.NetworkAttachment.$Properties {
  return {
    networkId: text(attachment.networkId),
    addresses: textList(attachment.addresses),
    aliases: textList(attachment.aliases),
  };
}

function attachmentFromProto(m: skep.NetworkAttachment.$Properties): NetworkAttachment {
  return Object.freeze({
    networkId: asId<NetworkAttachment['networkId']>(m.networkId ?? ''),
    addresses: textListFromProto(m.addresses),
    aliases: textListFromProto(m.aliases),
  });
}

export function taskToProto(task: Task): skep.Task.$Properties {
  return {
    id: text(task.id),
    meta: metaToProto(task.meta),
    serviceId: text(task.serviceId),
    slot: task.slot === null ? null : uint32(task.slot, 'task.slot'),
    nodeId: optionalText(task.nodeId),
    spec: encodeTaskSpec(task.spec),
    specVersion: int64(task.specVersion, 'task.specVersion'),
    serviceAnnotations: annotationsToProto(task.serviceAnnotations),
    status: taskStatusToProto(task.status),
    desiredState: desiredStateTable.toProto(task.desiredState),
    networks: task.networks.map(attachmentToProto),
    endpoint: nullable(task.endpoint, endpointToProto),
    logDriver: nullable(task.logDriver, logDriverToProto),
    assignedGenericResources: task.assignedGenericResources.map(genericResourceToProto),
    jobIteration: optionalInt64(task.jobIteration, 'task.jobIteration'),
    movesStopFirst: task.moving === null ? null : task.moving === 'stop-first',
    hasForerunnersPlace: task.hasForerunnersPlace,
  };
}

export function taskFromProto(m: skep.Task.$Properties): Task {
  return Object.freeze({
    id: asId<Task['id']>(m.id ?? ''),
    meta: metaFromProto(requiredMessage(m.meta, 'task.meta')),
    serviceId: asId<Task['serviceId']>(m.serviceId ?? ''),
    slot: m.slot ?? null,
    nodeId: nullable(m.nodeId, asId<NodeId>),
    spec: decodeTaskSpec(requiredMessage(m.spec, 'task.spec')),
    specVersion: intFromProto(m.specVersion, 'task.specVersion'),
    serviceAnnotations: annotationsFromProto(
      requiredMessage(m.serviceAnnotations, 'task.serviceAnnotations'),
    ),
    status: taskStatusFromProto(requiredMessage(m.status, 'task.status')),
    desiredState: desiredStateTable.fromProto(m.desiredState),
    networks: listFromProto(m.networks, attachmentFromProto),
    endpoint: nullable(m.endpoint, endpointFromProto),
    logDriver: nullable(m.logDriver, logDriverFromProto),
    assignedGenericResources: listFromProto(m.assignedGenericResources, genericResourceFromProto),
    jobIteration: optionalIntFromProto(m.jobIteration, 'task.jobIteration'),
    moving: nullable(m.movesStopFirst, (stops) => (stops ? 'stop-first' : 'start-first')),
    hasForerunnersPlace: m.hasForerunnersPlace ?? false,
  });
}
