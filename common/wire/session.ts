/** Messages of agent sessions: model <-> protobuf. */

import { skep } from '../../proto/gen/skep.js';
import { SkepError } from '../base/errors.ts';
import { asId, type TaskId } from '../model/ids.ts';
import type { AgentMessage, DispatcherMessage } from '../model/session.ts';
import { assignmentChangeFromProto, assignmentChangeToProto } from './assignment.ts';
import {
  nodeDescriptionFromProto,
  nodeDescriptionToProto,
  nodeSpecFromProto,
  nodeSpecToProto,
} from './node.ts';
import { WireReader } from './reader.ts';
import { int64, intFromProto, listFromProto, requiredMessage, text } from './scalars.ts';
import { encodeWith } from './scratch.ts';
import { taskStatusFromProto, taskStatusToProto } from './task.ts';

export function encodeAgentMessage(message: AgentMessage): Uint8Array {
  const body = agentMessageToProto(message);
  return encodeWith((writer) => skep.AgentMessage.encode(body, writer));
}

export function decodeAgentMessage(bytes: Uint8Array): AgentMessage {
  const m = skep.AgentMessage.decode(new WireReader(bytes));
  switch (m.body) {
    case 'hello':
      return { kind: 'hello', description: descriptionOf(m.hello), reports: m.hello?.reports ?? 0 };
    case 'description':
      return { kind: 'description', description: descriptionOf(m.description) };
    case 'heartbeat':
      return { kind: 'heartbeat' };
    case 'statuses': {
      const { sequence, updates, appliedRevision } = requiredMessage(m.statuses, 'statuses');
      return {
        kind: 'statuses',
        sequence: intFromProto(sequence, 'sequence'),
        updates: listFromProto(updates, ({ taskId, status }) => ({
          taskId: asId(taskId ?? ''),
          status: taskStatusFromProto(requiredMessage(status, 'status')),
        })),
        appliedRevision: intFromProto(appliedRevision, 'applied_revision'),
      };
    }
    case 'applied': {
      const { revision } = requiredMessage(m.applied, 'applied');
      return { kind: 'applied', revision: intFromProto(revision, 'revision') };
    }
    case 'pause':
      return { kind: 'pause' };
    case 'resync':
      return { kind: 'resync' };
    case undefined:
      break;
  }
  throw new SkepError('invalid-argument', 'decode agent message: it has no known body');
}

export function encodeDispatcherMessage(message: DispatcherMessage): Uint8Array {
  const body = dispatcherMessageToProto(message);
  return encodeWith((writer) => skep.DispatcherMessage.encode(body, writer));
}

export function decodeDispatcherMessage(bytes: Uint8Array): DispatcherMessage {
  const m = skep.DispatcherMessage.decode(new WireReader(bytes));
  switch (m.body) {
    case 'session':
      return sessionFromProto(requiredMessage(m.session, 'session'));
    case 'assignments': {
      const a = requiredMessage(m.assignments, 'assignments');
      return {
        kind: 'assignments',
        complete: a.complete ?? false,
        last: a.last ?? false,
        appliesTo: intFromProto(a.appliesTo, 'applies_to'),
        resultsIn: intFromProto(a.resultsIn, 'results_in'),
        changes: listFromProto(a.changes, assignmentChangeFromProto),
        checksum: a.checksum ?? '',
      };
    }
    case 'heartbeatHeard': {
      const { storedSequence } = requiredMessage(m.heartbeatHeard, 'heartbeat_heard');
      return {
        kind: 'heartbeat-heard',
        storedSequence: intFromProto(storedSequence, 'stored_sequence'),
      };
    }
    case 'drained': {
      const { taskIds } = requiredMessage(m.drained, 'drained');
      return { kind: 'drained', taskIds: listFromProto(taskIds, (id) => asId<TaskId>(id)) };
    }
    case undefined:
      break;
  }
  throw new SkepError('invalid-argument', 'decode dispatcher message: it has no known body');
}

function agentMessageToProto(message: AgentMessage): skep.AgentMessage.$Properties {
  switch (message.kind) {
    case 'hello':
      return {
        hello: {
          description: nodeDescriptionToProto(message.description),
          reports: message.reports,
        },
      };
    case 'description':
      return { description: { description: nodeDescriptionToProto(message.description) } };
    case 'heartbeat':
      return { heartbeat: {} };
    case 'statuses':
      return {
        statuses: {
          sequence: int64(message.sequence, 'sequence'),
          updates: message.updates.map(({ taskId, status }) => ({
            taskId,
            status: taskStatusToProto(status),
          })),
          appliedRevision: int64(message.appliedRevision, 'applied_revision'),
        },
      };
    case 'applied':
      return { applied: { revision: int64(message.revision, 'revision') } };
    case 'pause':
      return { pause: {} };
    case 'resync':
      return { resync: {} };
  }
}

function dispatcherMessageToProto(message: DispatcherMessage): skep.DispatcherMessage.$Properties {
  switch (message.kind) {
    case 'session':
      return {
        session: {
          heartbeatPeriodMs: Math.round(message.heartbeatPeriodMs),
          managers: message.managers.map(({ nodeId, address }) => ({ nodeId, address })),
          rootCaPem: message.rootCaPem,
          nodeSpec: nodeSpecToProto({ name: '', ...message.nodeSpec }),
          renewCertificate: message.renewCertificate,
        },
      };
    case 'assignments':
      return {
        assignments: {
          complete: message.complete,
          last: message.last,
          appliesTo: int64(message.appliesTo, 'applies_to'),
          resultsIn: int64(message.resultsIn, 'results_in'),
          changes: message.changes.map(assignmentChangeToProto),
          checksum: message.checksum,
        },
      };
    case 'heartbeat-heard':
      return {
        heartbeatHeard: { storedSequence: int64(message.storedSequence, 'stored_sequence') },
      };
    case 'drained':
      return { drained: { taskIds: message.taskIds.map((id) => text(id)) } };
  }
}

function sessionFromProto(
  m: skep.DispatcherSession.$Properties,
): Extract<DispatcherMessage, { kind: 'session' }> {
  const spec = nodeSpecFromProto(requiredMessage(m.nodeSpec, 'node_spec'));
  return {
    kind: 'session',
    heartbeatPeriodMs: m.heartbeatPeriodMs ?? 0,
    managers: listFromProto(m.managers, ({ nodeId, address }) => ({
      nodeId: text(nodeId ?? ''),
      address: text(address ?? ''),
    })),
    rootCaPem: m.rootCaPem ?? '',
    nodeSpec: {
      desiredRole: spec.desiredRole,
      availability: spec.availability,
      labels: spec.labels,
    },
    renewCertificate: m.renewCertificate ?? false,
  };
}

function descriptionOf(
  m: { description?: skep.NodeDescription.$Properties | null | undefined } | null | undefined,
): ReturnType<typeof nodeDescriptionFromProto> {
  return nodeDescriptionFromProto(requiredMessage(m?.description, 'description'));
}
