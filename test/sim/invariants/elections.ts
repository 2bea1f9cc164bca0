/** Who may lead, and who may ask to. */
import type { RaftEvent } from '../../../manager/raft/events.ts';
import type { Message, MessageType } from '../../../manager/raft/types.ts';
import { type Checker, expect, type NodeView } from '../checker.ts';
import type { Facts } from '../facts.ts';
import type { Machine } from '../machine.ts';

/** Answers of one kind that reached a life of a node, by the term that they are for. */
class Grants {
  readonly #type: MessageType;
  readonly #from = new Map<string, Set<number>>();

  constructor(type: MessageType) {
    this.#type = type;
  }

  note(machine: Machine, message: Message): void {
    if (message.type !== this.#type || message.reject) return;
    const key = keyOf(machine, message.term);
    const from = this.#from.get(key) ?? new Set();
    from.add(message.from);
    this.#from.set(key, from);
  }

  has(machine: Machine, term: number, from: number): boolean {
    return this.#from.get(keyOf(machine, term))?.has(from) ?? false;
  }
}

function keyOf({ raftId, life }: Machine, term: number): string {
  return `${raftId}/${life}/${term}`;
}

function votersOf(machine: Machine): readonly number[] {
  return machine.node?.core.status().confState.voters ?? [];
}

function isQuorum(voters: readonly number[], test: (id: number) => boolean): boolean {
  return voters.filter(test).length > voters.length / 2;
}

export class OneLeader implements Checker {
  readonly number = 1;
  readonly name = 'one leader per term, with the votes of a quorum';
  readonly #leaders = new Map<number, number>();
  readonly #votes = new Grants('vote-response');

  delivering(machine: Machine, message: Message): void {
    this.#votes.note(machine, message);
  }

  event(machine: Machine, event: RaftEvent): void {
    if (event.code !== 'became-leader') return;
    const { raftId, truth } = machine;
    const { term } = event;
    const other = this.#leaders.get(term) ?? raftId;
    expect(other === raftId, () => `${other} and ${raftId} lead in term ${term}`);
    this.#leaders.set(term, raftId);
    const isOwnDurable = truth.hardState.term === term && truth.hardState.vote === raftId;
    const voters = votersOf(machine);
    const voted = (id: number): boolean =>
      id === raftId ? isOwnDurable : this.#votes.has(machine, term, id);
    expect(isQuorum(voters, voted), () => {
      return `${raftId} leads in term ${term} with the votes of ${voters.filter(voted)} of ${voters}`;
    });
  }
}

export class PreVote implements Checker {
  readonly number = 14;
  readonly name = 'a term is raised only by who could win it';
  readonly #facts: Facts;
  readonly #grants = new Grants('pre-vote-response');
  /** Terms in which a leader asked the node to take over. */
  readonly #asked = new Set<string>();

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  delivering(machine: Machine, message: Message): void {
    this.#grants.note(machine, message);
    if (message.type === 'timeout-now') this.#asked.add(keyOf(machine, message.term));
  }

  event(machine: Machine, event: RaftEvent): void {
    if (event.code !== 'became-candidate') return;
    const { raftId } = machine;
    const { term } = event;
    this.#facts.terms.add(term);
    if (this.#asked.has(keyOf(machine, term - 1))) return;
    const voters = votersOf(machine);
    const granted = (id: number): boolean => id === raftId || this.#grants.has(machine, term, id);
    expect(isQuorum(voters, granted), () => {
      return `${raftId} raised the term to ${term}, encouraged by ${voters.filter(granted)} of ${voters}`;
    });
  }

  after({ machine, status }: NodeView): void {
    expect(this.#facts.terms.has(status.term), () => {
      return `${machine.raftId} is in term ${status.term}, for which nobody stood`;
    });
  }
}

/** Types whose sender has reached their term, so that the receiver must follow. */
const BINDING: ReadonlySet<MessageType> = new Set([
  'append',
  'heartbeat',
  'append-response',
  'heartbeat-response',
]);

export class Monotone implements Checker {
  readonly number = 5;
  readonly name = 'terms, commit and applied only grow, votes are given once and kept';
  readonly #votes = new Map<string, number>();
  /** Highest term that a node must have reached after the event at hand. */
  #due: { readonly machine: Machine; readonly life: number; term: number } | null = null;

  delivering(machine: Machine, message: Message): void {
    const { node, life, lastView, stopping, syncFailed } = machine;
    if (!BINDING.has(message.type) || node === null || node.removed) return;
    if (stopping || syncFailed) return; // takes no part any more
    if (message.term <= (lastView?.status.term ?? message.term)) return;
    if (!node.members().some(({ raftId }) => raftId === message.from)) return;
    const term = Math.max(message.term, this.#due?.machine === machine ? this.#due.term : 0);
    this.#due = { machine, life, term };
  }

  sending(machine: Machine, message: Message): void {
    if (message.type !== 'vote-response' || message.reject) return;
    const { raftId, truth } = machine;
    const { term, to } = message;
    const { hardState } = truth;
    const isDurable = hardState.term > term || (hardState.term === term && hardState.vote === to);
    expect(isDurable, () => {
      return `${raftId} tells ${to} of its vote in term ${term}, on disk are term ${hardState.term}, vote ${hardState.vote}`;
    });
    const key = `${raftId}/${term}`;
    const other = this.#votes.get(key) ?? to;
    expect(other === to, () => `${raftId} votes for ${other} and ${to} in term ${term}`);
    this.#votes.set(key, to);
  }

  after({ machine, status, appliedIndex, before }: NodeView): void {
    const { raftId } = machine;
    const due = this.#due;
    this.#due = null;
    if (due?.machine === machine && due.life === machine.life) {
      expect(status.term >= due.term, () => {
        return `${raftId} stays in term ${status.term} after a message of term ${due.term}`;
      });
    }
    if (before === null) return;
    const grown = [
      ['term', before.status.term, status.term],
      ['commit', before.status.commit, status.commit],
      ['applied', before.appliedIndex, appliedIndex],
      ['applied of the core', before.status.applied, status.applied],
    ] as const;
    for (const [what, was, is] of grown) {
      expect(is >= was, () => `${what} of ${raftId} falls from ${was} to ${is}`);
    }
    expect(appliedIndex <= status.commit, () => {
      return `${raftId} applied ${appliedIndex}, committed is ${status.commit}`;
    });
  }
}
