/** What an invariant of the cluster's world wants to be told. */
import type {
  AgentMessage,
  DispatcherMessage,
  TaskStatusUpdate,
} from '../../../common/model/session.ts';
import type { Task } from '../../../common/model/task.ts';
import type { Commit, ReadView } from '../../../manager/store/types.ts';
import type { Dependencies } from '../../../worker/executor/executor.ts';
import type { AnyChecker } from '../checker.ts';
import type { NodeTables } from './containers.ts';
import type { Host } from './host.ts';
import type { Process } from './wires.ts';

/** Hooks are told at once, but `ended`. */
export interface ClusterChecker extends AnyChecker {
  /** An entry of the log was applied somewhere for the first time; `view` is what it led to. */
  committed?(commit: Commit, view: ReadView): void;
  /** A container runs. */
  started?(host: Host, task: Task): void;
  stopped?(host: Host, task: Task, exitCode: number): void;
  preparing?(host: Host, task: Task, dependencies: Dependencies, tables: NodeTables): void;
  /** The manager on `by` got it from the agent of `host`. */
  heard?(host: Host, message: AgentMessage, by: Host): void;
  /** The agent of `host` got it. */
  told?(host: Host, message: DispatcherMessage): void;
  /** The dispatcher writes it to an agent; see `Written`. */
  writing?(
    client: Process,
    message: DispatcherMessage,
    pendingBytes: number,
    isFull: boolean,
  ): void;
  /** A user got an answer. */
  answered?(): void;
  /** The agent was told that its statuses are stored. */
  acknowledged?(host: Host, updates: readonly TaskStatusUpdate[]): void;
  /** Each second of simulated time. */
  second?(): void;
  /** All faults are over and everything is as it was asked for. */
  ended?(view: ReadView): void;
}
