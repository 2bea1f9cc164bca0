/**
 * A whole cluster under one seed: machines, links, what is committed, and what watches them. Knows how
 * events go and what they tell; what happens when is decided in `life.ts`.
 */
import { SeededRandom } from '../../../common/base/random.ts';
import { type NodeId, newId } from '../../../common/model/ids.ts';
import type { Node, NodeRole } from '../../../common/model/node.ts';
import type { Service } from '../../../common/model/service.ts';
import type { AgentMessage, DispatcherMessage } from '../../../common/model/session.ts';
import type { Task } from '../../../common/model/task.ts';
import { dispatcherSession } from '../../../common/rpc/dispatcher-method.ts';
import type { ManagerOrigin } from '../../../manager/manager-options.ts';
import type { ReadView } from '../../../manager/store/types.ts';
import { Checks } from '../checker.ts';
import { SimClock, type SimEvent, WORLD } from '../clock.ts';
import { Statistics } from '../statistics.ts';
import { Trace } from '../trace.ts';
import type { ClusterChecker } from './checker.ts';
import { addressOf, Host, type HostObserver, idOfAddress } from './host.ts';
import { clusterInvariants } from './invariants/all.ts';
import { withLapse } from './lapses.ts';
import { Ledger } from './ledger.ts';
import type { ClusterPlan } from './plan.ts';
import type { CallFrame, Delivered, Directory } from './rpc.ts';
import { StatusMail, withOtherEnds } from './status-mail.ts';
import { Truth } from './truth.ts';
import { Wires } from './wires.ts';

/** About a microsecond. */
const GRAIN_MS = 2 ** -10;
const SURPRISE = 'no surprises';
/** A daemon that could not start is started again after this, as systemd does. */
const RESTART_MS = 1_000;

export class ClusterWorld {
  readonly plan: ClusterPlan;
  readonly clock = new SimClock(GRAIN_MS);
  readonly trace: Trace;
  readonly statistics = new Statistics();
  readonly hosts = new Map<number, Host>();
  readonly truth = new Truth();
  readonly ledger = new Ledger();
  readonly wires: Wires<CallFrame>;
  readonly checks: Checks<ClusterChecker>;
  /** Things go wrong now. */
  isFaulty = true;
  readonly #random: SeededRandom;
  readonly #directory: Directory;
  readonly #lapses: SeededRandom;
  readonly #mail = new StatusMail();
  readonly #deaths = new Map<number, (() => void)[]>();

  /** @param traceLines to be kept */
  constructor(plan: ClusterPlan, traceLines: number) {
    this.plan = plan;
    this.trace = new Trace(traceLines);
    this.#random = new SeededRandom(plan.seed);
    this.wires = new Wires<CallFrame>({
      clock: this.clock,
      random: this.#random.fork(),
      quality: plan.link,
      isDown: (host) => this.hosts.get(host)?.isDown ?? true,
      isStopped: (host) => this.hosts.get(host)?.paused ?? false,
    });
    this.#directory = {
      wires: this.wires,
      serverAt: (address) => this.hosts.get(idOfAddress(address))?.daemon?.server ?? null,
      hostAt: idOfAddress,
      deliver: (message) => this.#delivered(message),
      written: ({ client, message, pendingBytes, isFull }) =>
        this.checks.tell('writing', client, message as DispatcherMessage, pendingBytes, isFull),
      agentHighWaterBytes: plan.agentHighWaterBytes,
    };
    this.#lapses = this.#random.fork();
    this.checks = new Checks(clusterInvariants(this));
  }

  /** Randomness of a concern of its own. */
  fork(): SeededRandom {
    return this.#random.fork();
  }

  addHost(role: NodeRole, nodeId?: NodeId): Host {
    const id = this.hosts.size + 1;
    const random = this.#random.fork();
    const { plan, clock } = this;
    const host = new Host({
      ...{ id, nodeId: nodeId ?? newId(random), role, plan, clock, random },
      directory: this.#directory,
      observer: this.#observe(id),
      isFaulty: () => this.isFaulty,
    });
    this.hosts.set(id, host);
    return host;
  }

  host(id: number): Host {
    return this.hosts.get(id)!;
  }

  view<T>(read: (view: ReadView) => T): T {
    return this.truth.view(read);
  }

  /** Whose manager leads and has its rooms open, as far as it knows. */
  leader(): Host | null {
    let best: Host | null = null;
    let bestTerm = 0;
    for (const host of this.hosts.values()) {
      const manager = host.daemon?.manager;
      if (!manager?.isLeader()) continue;
      const { term } = manager.raftStatus();
      if (term <= bestTerm) continue;
      best = host;
      bestTerm = term;
    }
    return best;
  }

  managers(): Host[] {
    return [...this.hosts.values()].filter(({ role, gone }) => role === 'manager' && !gone);
  }

  /** Starts the daemon; tries again while it cannot. */
  async start(host: Host, first: ManagerOrigin | null = null): Promise<void> {
    if (host.gone || host.daemon !== null) return;
    this.note(host.id, 'starts');
    const starting = host.start(
      first,
      this.managers().map(({ id }) => addressOf(id)),
    );
    const { life } = host;
    try {
      await starting;
      if (host.life === life) this.note(host.id, 'is up');
    } catch (err) {
      if (host.life !== life) return;
      this.note(host.id, `cannot start: ${String(err)}`);
      this.statistics.add('start failed');
      host.end('kill');
      this.clock.schedule(RESTART_MS, WORLD, 'fault', () => {
        if (host.life === life + 1) void this.start(host, first);
      });
    }
  }

  end(host: Host, how: 'crash' | 'kill', why: string): void {
    this.note(host.id, `ends: ${why} (${how})`);
    host.end(how);
    this.wires.changed();
    for (const tell of this.#deaths.get(host.id) ?? []) tell();
    this.#deaths.delete(host.id);
  }

  onDeath(host: Host, tell: () => void): void {
    const all = this.#deaths.get(host.id) ?? [];
    all.push(tell);
    this.#deaths.set(host.id, all);
  }

  pause(host: Host): void {
    if (host.paused || host.daemon === null) return;
    host.paused = true;
    this.note(host.id, 'is stopped');
    this.wires.changed();
  }

  resume(host: Host): void {
    if (!host.paused) return;
    host.paused = false;
    this.note(host.id, 'goes on');
    for (const { kind, run } of host.backlog.splice(0)) {
      this.clock.schedule(0, host.id, kind, run);
    }
    this.wires.changed();
  }

  /** Runs until `isOver`, for `limitMs` at most. True when it was over. */
  async run(limitMs: number, isOver: () => boolean = () => false): Promise<boolean> {
    let over = false;
    const ask = (): boolean => {
      if (this.checks.violation !== null) return true;
      over = isOver();
      return over;
    };
    await this.clock.run(this.clock.nowMs + limitMs, (event) => this.#dispatch(event), ask);
    return over;
  }

  count(name: string): void {
    this.statistics.add(name);
  }

  note(owner: number, line: string): void {
    this.trace.add(`${this.clock.nowMs.toFixed(3)} ${owner} ${line}`);
  }

  #dispatch({ owner, kind, run }: SimEvent): void {
    const host = this.hosts.get(owner);
    if (host?.paused) {
      host.backlog.push({ kind, run });
      return;
    }
    this.statistics.add(`event.${kind}`);
    run();
  }

  #observe(id: number): HostObserver {
    const of = (): Host => this.host(id);
    return {
      applying: (index, payload) => this.#applying(id, index, payload),
      failed: (err) => this.surprise(err),
      removed: () => this.note(id, 'removed from the managers'),
      containers: {
        started: (task) => {
          this.note(id, `runs ${nameOf(task)}`);
          this.count('container.started');
          this.checks.tell('started', of(), task);
        },
        ended: (task, exitCode) => {
          this.note(id, `ended ${nameOf(task)}: ${exitCode}`);
          this.checks.tell('stopped', of(), task, exitCode);
        },
      },
      executor: {
        preparing: (task, dependencies, tables) =>
          this.checks.tell('preparing', of(), task, dependencies, tables),
      },
    };
  }

  /** An old report comes once more, as from a process that was thought dead. */
  replayReport(random: SeededRandom): void {
    const leader = this.leader();
    const report = this.#mail.anyOld(random);
    const host = report === null ? undefined : this.hosts.get(report.client.host);
    const pool = host?.daemon?.pool;
    if (!leader || !host || !pool || report === null) return;
    const message = random.below(2) === 0 ? report.message : withOtherEnds(report.message);
    this.note(host.id, 'reports once more what it reported before');
    host.whenAwake(() => {
      void host.reportAgain(leader.address, message).catch(() => {});
    });
  }

  surprise(err: unknown): void {
    const words = err instanceof Error ? (err.stack ?? err.message) : String(err);
    this.checks.report(0, SURPRISE, words);
  }

  #applying(id: number, index: number, payload: Uint8Array): void {
    const isNew = index > this.truth.revision;
    try {
      for (const commit of this.truth.take(index, payload)) {
        for (const { action, kind, object } of commit.changes) {
          const words =
            kind === 'task'
              ? describeTask(object)
              : kind === 'service'
                ? describeService(object)
                : kind === 'node'
                  ? describeNode(object)
                  : '';
          this.note(id, `commits ${index}: ${action} ${kind} ${object.id} ${words}`);
          this.count(`change.${kind}.${action}`);
        }
        this.view((view) => this.checks.tell('committed', commit, view));
      }
    } catch (err) {
      this.surprise(err);
    }
    if (!isNew) return;
    this.count('commits');
  }

  /** What arrives of it. */
  #delivered({ method, client, server, toServer, message }: Delivered): unknown {
    if (method.path !== dispatcherSession.path) return message;
    const agent = this.host(client.host);
    if (toServer) {
      const said = message as AgentMessage;
      if (said.kind === 'hello') this.#mail.begun(client);
      if (said.kind === 'statuses') this.#mail.sent(client, said);
      this.note(server.host, `hears ${said.kind} of ${client.host}`);
      this.checks.tell('heard', agent, said, this.host(server.host));
      return message;
    }
    const told = withLapse(agent, message as DispatcherMessage, this.#lapses);
    if (told !== message) this.note(client.host, 'loses an entry of its assignments');
    this.note(client.host, `is told ${describeTold(told)}`);
    this.checks.tell('told', agent, told);
    if (told.kind !== 'heartbeat-heard') return told;
    const updates = this.#mail.stored(client, told.storedSequence);
    if (updates.length > 0) this.checks.tell('acknowledged', agent, updates);
    return told;
  }
}

function nameOf(task: Task): string {
  return `${task.serviceAnnotations.name}.${task.slot ?? 'node'} ${task.id.slice(0, 6)}`;
}

function describeTask(task: Task): string {
  const { serviceAnnotations, slot, specVersion, status, desiredState, nodeId } = task;
  const where = nodeId === null ? '' : ` on ${nodeId.slice(0, 6)}`;
  return `${serviceAnnotations.name}.${slot ?? 'node'} v${specVersion} ${status.state} -> ${desiredState}${where}`;
}

function describeService({ spec, specVersion, updateStatus }: Service): string {
  return `${spec.name} v${specVersion} ${updateStatus?.state ?? 'not updated'}`;
}

function describeNode({ status, role, spec }: Node): string {
  return `${status.state} ${role} -> ${spec.desiredRole} ${spec.availability}`;
}

function describeTold(message: DispatcherMessage): string {
  if (message.kind !== 'assignments') return message.kind;
  const { complete, appliesTo, resultsIn, changes } = message;
  return `${complete ? 'set' : `step ${appliesTo} to`} ${resultsIn}: ${changes.length} changes`;
}
