/** What the logs must have in common, and what leaders may do with theirs. */
import type { RaftEvent } from '../../../manager/raft/events.ts';
import { type Entry, entrySizeBytes, type Message } from '../../../manager/raft/types.ts';
import { broken, type Checker, expect, type NodeView } from '../checker.ts';
import type { Facts } from '../facts.ts';
import type { Machine } from '../machine.ts';
import type { Plan } from '../plan.ts';

/** By induction: equal entries follow equal entries. */
export class LogMatching implements Checker {
  readonly number = 2;
  readonly name = 'logs that hold an entry in common are equal up to it';
  readonly #facts: Facts;

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  sending(machine: Machine, message: Message): void {
    if (message.type !== 'append') return;
    let previousTerm = message.logTerm;
    for (const entry of message.entries) {
      this.#facts.see(entry, previousTerm, `sent by ${machine.raftId}`);
      previousTerm = entry.term;
    }
  }

  durable(machine: Machine, entry: Entry, previousTerm: number | null): void {
    this.#facts.see(entry, previousTerm, `on the disk of ${machine.raftId}`);
  }
}

/** Entries looked at behind a new leader's election: older ones were looked at before. */
const LOOK_BACK = 500;

export class LeaderCompleteness implements Checker {
  readonly number = 3;
  readonly name = 'a leader has everything that is committed';
  readonly #facts: Facts;

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  event(machine: Machine, event: RaftEvent): void {
    if (event.code === 'became-leader') this.#judgeLeader(machine, event.term);
    if (event.code !== 'vote-granted') return;
    const { ownLast, candidateLast, from } = event;
    const isUpToDate =
      candidateLast.term > ownLast.term ||
      (candidateLast.term === ownLast.term && candidateLast.index >= ownLast.index);
    expect(isUpToDate, () => {
      const logs = `${candidateLast.index} of term ${candidateLast.term}, its own with ${ownLast.index} of ${ownLast.term}`;
      return `${machine.raftId} encourages ${from}, whose log ends with ${logs}`;
    });
  }

  sending(machine: Machine, message: Message): void {
    if (message.type !== 'timeout-now') return;
    const { progress, lastIndex } = machine.node!.core.status();
    const match = progress.get(message.to)?.match ?? lastIndex;
    expect(match === lastIndex, () => {
      return `${machine.raftId} hands over to ${message.to}, which has ${match} of ${lastIndex}`;
    });
  }

  #judgeLeader({ raftId, node }: Machine, term: number): void {
    const { lastCommitted } = this.#facts;
    for (let index = lastCommitted; index > Math.max(0, lastCommitted - LOOK_BACK); index--) {
      const own = node!.core.logTerm(index);
      if (own === 'compacted') return;
      const committed = this.#facts.committedTerm(index);
      const isEarlier = this.#facts.committedIn(index) < term; // it may lead late in a term of the past
      if (committed !== 0 && isEarlier && own !== committed) {
        broken(
          `${raftId} leads in term ${term} and has ${own} at ${index}, committed is term ${committed}`,
        );
      }
    }
  }
}

export class AppendOnly implements Checker {
  readonly number = 9;
  readonly name = 'a leader never overwrites its own log';

  after({ machine, status, before }: NodeView): void {
    if (before === null || status.role !== 'leader') return;
    if (before.status.role !== 'leader' || before.status.term !== status.term) return;
    expect(status.lastIndex >= before.status.lastIndex, () => {
      return `the log of leader ${machine.raftId} ends at ${status.lastIndex} after ${before.status.lastIndex}`;
    });
  }

  durable(machine: Machine, entry: Entry): void {
    const { lastView, truth, raftId } = machine;
    if (lastView?.status.role !== 'leader' || lastView.status.term !== entry.term) return;
    const there = truth.term(entry.index);
    expect(there === undefined || there !== entry.term, () => {
      return `leader ${raftId} writes entry ${entry.index} of term ${entry.term} again`;
    });
  }
}

export class BoundedMemory implements Checker {
  readonly number = 15;
  readonly name = 'what is under way and what is uncommitted has limits';
  readonly #facts: Facts;
  readonly #flow: Plan['flow'];

  constructor(facts: Facts, flow: Plan['flow']) {
    this.#facts = facts;
    this.#flow = flow;
  }

  sending(machine: Machine, { type, entries, to }: Message): void {
    if (type !== 'append' || entries.length < 2) return;
    const bytes = entries.reduce((sum, entry) => sum + entrySizeBytes(entry), 0);
    expect(bytes <= this.#flow.maxSizePerMessageBytes, () => {
      return `${machine.raftId} sends ${entries.length} entries of ${bytes} bytes to ${to}`;
    });
  }

  after(view: NodeView): void {
    const { machine, status, before } = view;
    if (status.role !== 'leader' || status.lastIndex === before?.status.lastIndex) return;
    for (const [id, { inflightMessages }] of view.details().progress) {
      expect(inflightMessages <= this.#flow.maxInflightMessages, () => {
        return `${inflightMessages} messages are under way from ${machine.raftId} to ${id}`;
      });
    }
    this.#judgeUncommitted(view);
  }

  #judgeUncommitted({ machine, status }: NodeView): void {
    let bytes = 0;
    let largest = 0;
    for (let index = status.lastIndex; index > status.commit; index--) {
      if (machine.node!.core.logTerm(index) !== status.term) break;
      const own = this.#facts.seen(index, status.term)?.data.length ?? 0;
      bytes += own;
      largest = Math.max(largest, own);
    }
    expect(bytes <= Math.max(this.#flow.maxUncommittedBytes, largest), () => {
      return `${machine.raftId} has ${bytes} bytes uncommitted, the limit is ${this.#flow.maxUncommittedBytes}`;
    });
  }
}
