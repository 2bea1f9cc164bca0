/**
 * Fake agents by the thousand, in processes of their own: starts them, adds up what they report, ends them. Knows
 * neither flags nor the Engine API.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../../../common/base/clock.ts';
import { SkepError } from '../../../common/base/errors.ts';
import type { Assignment, Order, Reply, Report } from './messages.ts';

/** Agents in one process: a thousand keep half a core busy while they join. */
const AGENTS_PER_PROCESS_MAX = 1_000;
/** Heartbeats that are kept for `takeHeartbeats`; older ones go first. */
const HEARTBEATS_KEPT = 1_000_000;
const END_LIMIT_MS = 30_000;

export interface FleetOptions extends Omit<Assignment, 'firstNumber'> {
  /** default: as few as AGENTS_PER_PROCESS_MAX allows */
  readonly processes?: number;
  readonly clock: Clock;
  /** Told once when a process ends that should not, or an agent cannot join. */
  readonly onFailure: (err: unknown) => void;
}

export type FleetStatus = Omit<Report, 'kind' | 'heartbeatsMs'>;

const NOTHING: FleetStatus = {
  joined: 0,
  connected: 0,
  sessions: 0,
  differences: 0,
  runningTasks: 0,
  refusal: '',
};

interface Member {
  readonly child: ChildProcess;
  status: FleetStatus;
  /** what `end` waits for */
  ended: (nodeIds: readonly string[]) => void;
  exited: boolean;
}

/** The parts of a whole that differ by one at most. */
export function split(count: number, parts: number): number[] {
  return Array.from({ length: parts }, (_, i) => Math.floor((count + i) / parts));
}

export class AgentFleet {
  readonly #options: FleetOptions;
  readonly #members: Member[] = [];
  #heartbeatsMs: number[] = [];
  #ending = false;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** Returns at once; see `status` for how far they have come. */
  start(): void {
    const { count, managers, token, rootPem, nanoCpus, memoryBytes } = this.#options;
    const shared = { managers, token, rootPem, nanoCpus, memoryBytes };
    const processes = this.#options.processes ?? Math.ceil(count / AGENTS_PER_PROCESS_MAX);
    let firstNumber = 1;
    for (const part of split(count, processes)) {
      const member = this.#spawn();
      order(member, { kind: 'begin', assignment: { ...shared, firstNumber, count: part } });
      firstNumber += part;
    }
  }

  /** By the last report of each process, which come every second. */
  get status(): FleetStatus {
    return this.#members.reduce((sum, { status }) => added(sum, status), NOTHING);
  }

  get pids(): readonly number[] {
    return this.#members.flatMap(({ child }) => child.pid ?? []);
  }

  /** How long the answers to heartbeats took since the last call, ms. */
  takeHeartbeats(): readonly number[] {
    const taken = this.#heartbeatsMs;
    this.#heartbeatsMs = [];
    return taken;
  }

  /** Ends every session, then the processes. Resolves with the ids of the nodes. */
  async end(): Promise<readonly string[]> {
    this.#ending = true;
    const nodeIds = await Promise.all(this.#members.map((member) => this.#endOne(member)));
    return nodeIds.flat();
  }

  /** The processes die: their connections break, and nobody comes back. */
  kill(): void {
    this.#ending = true;
    for (const { child } of this.#members) child.kill('SIGKILL');
  }

  /** As hosts that are silent: nothing is said or answered, and no connection breaks. */
  freeze(): void {
    for (const { child } of this.#members) child.kill('SIGSTOP');
  }

  async #endOne(member: Member): Promise<readonly string[]> {
    if (member.exited) return [];
    const { clock } = this.#options;
    const nodeIds = await new Promise<readonly string[]>((resolve) => {
      const timer = clock.setTimer(END_LIMIT_MS, () => resolve([]));
      member.ended = (ids) => {
        timer.cancel();
        resolve(ids);
      };
      order(member, { kind: 'end' });
    });
    member.child.kill('SIGKILL');
    return nodeIds;
  }

  #spawn(): Member {
    const member: Member = {
      child: fork(processModule(), { serialization: 'advanced' }),
      status: NOTHING,
      ended: () => {},
      exited: false,
    };
    this.#members.push(member);
    member.child.on('message', (reply: Reply) => this.#hear(member, reply));
    member.child.on('error', (err) => this.#fail(err));
    member.child.on('exit', (code, signal) => {
      member.exited = true;
      member.ended([]);
      const how = signal ?? `status ${code}`;
      this.#fail(new SkepError('internal', `run fake agents: a process ended with ${how}`));
    });
    return member;
  }

  #hear(member: Member, reply: Reply): void {
    switch (reply.kind) {
      case 'report': {
        const { kind: _, heartbeatsMs, ...status } = reply;
        member.status = status;
        this.#heartbeatsMs.push(...heartbeatsMs);
        if (this.#heartbeatsMs.length > HEARTBEATS_KEPT) {
          this.#heartbeatsMs = this.#heartbeatsMs.slice(-HEARTBEATS_KEPT);
        }
        break;
      }
      case 'failed':
        this.#fail(new SkepError('unavailable', reply.message));
        break;
      case 'ended':
        member.ended(reply.nodeIds);
    }
  }

  #fail(err: unknown): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#options.onFailure(err);
  }
}

function added(a: FleetStatus, b: FleetStatus): FleetStatus {
  return {
    joined: a.joined + b.joined,
    connected: a.connected + b.connected,
    sessions: a.sessions + b.sessions,
    differences: a.differences + b.differences,
    runningTasks: a.runningTasks + b.runningTasks,
    refusal: a.refusal || b.refusal,
  };
}

function order({ child }: Member, what: Order): void {
  if (child.connected) child.send(what, () => {}); // one that is gone is told of by its exit
}

/** Compiled or not, as this file. */
function processModule(): string {
  return fileURLToPath(import.meta.url).replace(/fleet(\.[jt]s)$/, 'agent-process$1');
}
