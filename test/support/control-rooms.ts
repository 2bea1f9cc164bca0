/** Allocator, orchestrator and scheduler around one real store, with agents that obey at once. */
import { assertNever } from '../../common/base/assert.ts';
import { silentLogger } from '../../common/base/log.ts';
import type { NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import { isJob, type Service, type ServiceSpec } from '../../common/model/service.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';
import { isAfter, isBefore, isTerminal, type TaskState } from '../../common/model/task-state.ts';
import { Allocator } from '../../manager/allocator/allocator.ts';
import { Orchestrator } from '../../manager/orchestrator/orchestrator.ts';
import { Scheduler } from '../../manager/scheduler/scheduler.ts';
import { aCluster, aNode, aService, aServiceSpec } from './builders.ts';
import { settle } from './fake-clock.ts';
import { makeStore, type TestStore } from './store.ts';

const ROUNDS_MAX = 500;

export class ControlRooms {
  readonly failures: unknown[] = [];
  readonly test: TestStore;
  /** what becomes of a task that is told to run; default: it runs */
  outcome: (task: Task) => TaskState = () => 'running';
  /** what becomes of a task that is to be prepared and waits then; default: it is prepared */
  preparation: (task: Task) => TaskState = () => 'ready';
  /** agents of these nodes say nothing */
  readonly silent = new Set<NodeId>();
  /** tasks that do not do what they are told */
  readonly deaf = new Set<TaskId>();
  allocator!: Allocator;
  orchestrator!: Orchestrator;
  scheduler!: Scheduler;

  private constructor(test: TestStore) {
    this.test = test;
  }

  /** With a cluster object and `nodes` ready workers; the rooms run. */
  static async start(nodes: number, test = makeStore()): Promise<ControlRooms> {
    const rooms = new ControlRooms(test);
    await test.create('cluster', aCluster());
    for (let i = 0; i < nodes; i++) await test.create('node', aNode());
    await rooms.lead();
    return rooms;
  }

  /** A new leader: all three rooms, with nothing but the store. */
  async lead(): Promise<void> {
    const { store, clock, random } = this.test;
    const onFailure = (err: unknown): void => void this.failures.push(err);
    const options = { store, clock, random, log: silentLogger, onFailure };
    this.allocator = new Allocator(options);
    this.orchestrator = new Orchestrator(options);
    this.scheduler = new Scheduler(options);
    await this.allocator.start();
    await this.orchestrator.start();
    await this.scheduler.start();
    await settle();
  }

  async stop(): Promise<void> {
    await Promise.all([this.allocator.stop(), this.orchestrator.stop(), this.scheduler.stop()]);
    if (this.failures.length > 0) throw this.failures[0];
  }

  /** Creates a service and lets everything come to rest. */
  async deploy(spec: Partial<ServiceSpec> = {}): Promise<Service> {
    const whole = aServiceSpec(spec);
    const jobStatus = isJob(whole.mode)
      ? { iteration: 0, lastExecutionMs: this.test.clock.wallMs() }
      : null;
    const [service] = await this.test.create('service', aService({ spec: whole, jobStatus }));
    await this.rest();
    return this.service(service!.id);
  }

  /** As the control API does it. */
  async change(id: ServiceId, patch: (spec: ServiceSpec) => ServiceSpec): Promise<void> {
    await this.test.store.update((tx) => {
      const service = tx.require('service', id);
      tx.update('service', {
        ...service,
        spec: patch(service.spec),
        specVersion: service.meta.version,
        previousSpec: service.spec,
        previousSpecVersion: service.specVersion,
        updateStatus: null,
        jobStatus: service.jobStatus && {
          iteration: service.jobStatus.iteration + 1,
          lastExecutionMs: this.test.clock.wallMs(),
        },
      });
    });
  }

  /** Until nobody has anything to do at this moment. */
  async rest(): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const before = this.test.store.revision;
      for (let i = 0; i < 4; i++) await settle();
      await this.#agentsAct();
      if (this.test.store.revision === before) return;
    }
    throw new Error('the rooms do not come to rest');
  }

  /** Time passes in small steps, with the agents at work. */
  async pass(ms: number, stepMs = 100): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      await this.test.clock.advance(Math.min(stepMs, left));
      await this.rest();
    }
  }

  service(id: ServiceId): Service {
    return this.test.get('service', id);
  }

  tasks(id: ServiceId): Task[] {
    const tasks = this.test.store.view((view) => [...view.tasksByService(id)]);
    return tasks.sort(
      (a, b) => (a.slot ?? 0) - (b.slot ?? 0) || a.meta.createdAtMs - b.meta.createdAtMs,
    );
  }

  /** Tasks that are wanted and run. */
  running(id: ServiceId): Task[] {
    return this.tasks(id).filter(
      ({ desiredState, status }) =>
        (desiredState === 'running' || desiredState === 'complete') && status.state === 'running',
    );
  }

  nodes(): Node[] {
    return this.test.store.view((view) => [...view.list('node')]);
  }

  async setNode(id: NodeId, patch: (node: Node) => Node): Promise<void> {
    await this.test.store.update((tx) => tx.update('node', patch(tx.require('node', id))));
  }

  /** An agent's report, as the dispatcher stores it. */
  async report(id: TaskId, state: TaskState, extra: Partial<TaskStatus> = {}): Promise<void> {
    const nowMs = this.test.clock.wallMs();
    await this.test.store.update((tx) => {
      const task = tx.get('task', id);
      if (!task || !isAfter(state, task.status.state)) return;
      const status = { ...task.status, state, timestampMs: nowMs, appliedAtMs: nowMs, ...extra };
      tx.update('task', { ...task, status });
    });
  }

  async #agentsAct(): Promise<void> {
    const tasks = this.test.store.view((view) => [...view.list('task')]);
    for (const task of tasks) {
      const { state } = task.status;
      if (isBefore(state, 'assigned') || isTerminal(state)) continue;
      if (task.nodeId === null || this.silent.has(task.nodeId) || this.deaf.has(task.id)) continue;
      const next = this.#nextState(task);
      if (next !== null && isAfter(next, state)) await this.report(task.id, next);
    }
  }

  #nextState(task: Task): TaskState | null {
    switch (task.desiredState) {
      case 'ready':
        return this.preparation(task);
      case 'running':
      case 'complete':
        return task.status.state === 'running' ? null : this.outcome(task);
      case 'shutdown':
      case 'remove':
        return 'shutdown';
      default:
        return assertNever(task.desiredState, 'desired state');
    }
  }
}
