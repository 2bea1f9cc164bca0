/** What an agent and the dispatcher say to one another on their one stream. */
import type { AssignmentChange } from './assignment.ts';
import type { TaskId } from './ids.ts';
import type { Availability, NodeDescription, NodeRole } from './node.ts';
import type { TaskStatus } from './task.ts';

export interface TaskStatusUpdate {
  readonly taskId: TaskId;
  readonly status: TaskStatus;
}

export type AgentMessage =
  /** first message of a stream */
  | {
      readonly kind: 'hello';
      readonly description: NodeDescription;
      /**
       * `statuses` messages that follow at once. The node is not ready before they are stored: else what ended while it
       * was away would be taken to run on a node that is there.
       */
      readonly reports: number;
    }
  /** the node's description changed (resources, labels, TLS) */
  | { readonly kind: 'description'; readonly description: NodeDescription }
  /** answered by `heartbeat-heard`, which acknowledges statuses, too; the first one follows the first session message */
  | { readonly kind: 'heartbeat' }
  /** newest status of each named task; sent again in each session until it was acknowledged */
  | {
      readonly kind: 'statuses';
      readonly sequence: number;
      readonly updates: readonly TaskStatusUpdate[];
      /** as `applied` says it, to save a message; 0 = nothing new is in force */
      readonly appliedRevision: number;
    }
  /** the set is in force on this node at `revision` */
  | { readonly kind: 'applied'; readonly revision: number }
  /** what it holds is not what the manager says: it needs the whole set */
  | { readonly kind: 'resync' }
  /** last message of a session that the agent ends on purpose and means to follow up (a restart, an upgrade) */
  | { readonly kind: 'pause' };

/** So long a task that is to stop serves on for nodes that do not confirm that they know. */
export const DRAIN_LIMIT_MS = 2_000;

export interface ManagerPeer {
  readonly nodeId: string;
  /** `IP:port` */
  readonly address: string;
}

export type DispatcherMessage =
  /** first message of a stream, and again whenever one of its fields changes */
  | {
      readonly kind: 'session';
      readonly heartbeatPeriodMs: number;
      readonly managers: readonly ManagerPeer[];
      readonly rootCaPem: string;
      readonly nodeSpec: {
        readonly desiredRole: NodeRole;
        readonly availability: Availability;
        readonly labels: Readonly<Record<string, string>>;
      };
      /** a CA rotation wants this node's certificate renewed now */
      readonly renewCertificate: boolean;
    }
  /** the whole set (`complete`), or the step from `appliesTo` to `resultsIn` */
  | {
      readonly kind: 'assignments';
      readonly complete: boolean;
      /** false when more parts of the same step follow */
      readonly last: boolean;
      readonly appliesTo: number;
      readonly resultsIn: number;
      readonly changes: readonly AssignmentChange[];
      /** of all that the node holds after the last part, as `AssignmentLedger` counts it; '' = not told */
      readonly checksum: string;
    }
  /** no node sends new connections to these tasks, which are to stop: all have confirmed that */
  | { readonly kind: 'drained'; readonly taskIds: readonly TaskId[] }
  | {
      readonly kind: 'heartbeat-heard';
      /** the statuses of this session up to this sequence are stored; 0 = none since the last answer */
      readonly storedSequence: number;
    };
