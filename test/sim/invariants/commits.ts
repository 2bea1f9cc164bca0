/** What may count as committed, and as held by others. */
import type { Message } from '../../../manager/raft/types.ts';
import { broken, type Checker, expect, type NodeView } from '../checker.ts';
import type { Facts } from '../facts.ts';
import type { Machine } from '../machine.ts';

export class DurableCommit implements Checker {
  readonly number = 6;
  readonly name = 'what is committed is durable on a quorum';
  readonly #facts: Facts;

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  after(view: NodeView): void {
    const { machine, status, before } = view;
    const from = before?.status.commit ?? 0;
    if (status.commit <= from) return;
    const known = this.#facts.lastCommitted;
    const by = status.role === 'leader' ? status.term : (before?.status.term ?? status.term);
    for (let index = Math.max(from + 1, 1); index <= status.commit; index++) {
      const own = machine.node!.core.logTerm(index);
      if (own === 'unavailable') {
        broken(`${machine.raftId} lacks entry ${index} and takes it for committed`);
      }
      // A quick disk commits, takes a snapshot and compacts within one event.
      const isNews = own === 'compacted' && index > known;
      const term = isNews ? machine.truth.term(index) : own;
      if (typeof term !== 'number') continue;
      const committed = this.#facts.committedTerm(index);
      expect(committed === 0 || committed === term, () => {
        return `entry ${index} is committed in term ${committed}, for ${machine.raftId} in ${term}`;
      });
      if (committed === 0) this.#facts.commit(index, term, by);
    }
    if (status.commit > known) this.#judgeNews(view);
  }

  /** Nobody had this much committed before. */
  #judgeNews(view: NodeView): void {
    const { machine, status, before } = view;
    const { raftId } = machine;
    const { commit } = status;
    const leads = status.role === 'leader' || before?.status.role === 'leader';
    expect(leads, () => `${raftId} takes ${commit} for committed, no leader did`);
    const term = machine.node!.core.logTerm(commit);
    if (typeof term !== 'number') broken(`leader ${raftId} committed ${commit}: it is ${term}`);
    const led = status.role === 'leader' ? status.term : before!.status.term;
    expect(term === led, () => {
      return `${raftId} commits entry ${commit} of term ${term} by counting in term ${led}`;
    });
    // Changes of members may have come into force in the same event: after the commit, or before it, when one that
    // leaves a lone voter lets the next entry be committed at once.
    const earlier = this.#facts.configsSince(before?.appliedIndex ?? 0);
    const configs = [view.details().confState, ...earlier];
    const isHeld = configs.some((config) => {
      const holders = config.voters.filter((id) => this.#holds(id, commit, term));
      return holders.length > config.voters.length / 2;
    });
    expect(isHeld, () => {
      const voters = view.details().confState.voters;
      const holders = voters.filter((id) => this.#holds(id, commit, term));
      return `${raftId} commits ${commit} of term ${term}, durable on ${holders} of ${voters}`;
    });
  }

  #holds(id: number, index: number, term: number): boolean {
    return this.#facts.machines.get(id)?.truth.holds(index, term) ?? false;
  }
}

export class MatchIsDurable implements Checker {
  readonly number = 10;
  readonly name = 'nobody counts or promises what is not on the disk';
  readonly #facts: Facts;
  /** Highest index that reached a life of a node, by term and sender. */
  readonly #acked = new Map<string, number>();

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  delivering(machine: Machine, message: Message): void {
    if (message.type !== 'append-response' || message.reject) return;
    const key = ackKey(machine, message.term, message.from);
    this.#acked.set(key, Math.max(this.#acked.get(key) ?? 0, message.index));
  }

  sending({ raftId, truth }: Machine, message: Message): void {
    if (message.type !== 'append-response' || message.reject) return;
    expect(truth.everLastIndex >= message.index, () => {
      return `${raftId} acknowledges ${message.index}, on its disk is ${truth.everLastIndex}`;
    });
  }

  after(view: NodeView): void {
    const { machine, status, kind } = view;
    if (status.role !== 'leader' || (kind !== 'deliver' && kind !== 'disk')) return;
    const before = view.detailsBefore;
    for (const [id, { match, next }] of view.details().progress) {
      expect(match < next, () => `${machine.raftId} has match ${match}, next ${next} of ${id}`);
      if (match === 0) continue;
      const earlier = before?.term === status.term ? before.progress.get(id) : undefined;
      if (earlier !== undefined) {
        expect(match >= earlier.match, () => {
          return `match of ${id} falls from ${earlier.match} to ${match} on ${machine.raftId}`;
        });
        if (earlier.match === match) continue;
      }
      const acked = id === status.id ? match : this.#acked.get(ackKey(machine, status.term, id));
      expect(match <= (acked ?? 0), () => {
        return `${machine.raftId} counts ${match} on ${id}, which in term ${status.term} acknowledged ${acked}`;
      });
      const term = machine.node!.core.logTerm(match);
      if (term === 'compacted') continue; // thus committed
      if (term === 'unavailable') {
        broken(`${machine.raftId} counts ${match} on ${id} and has ${status.lastIndex} itself`);
      }
      // What a new leader has counts for itself at once; it commits only with entries of its own term.
      if (id === status.id && term !== status.term) continue;
      const isHeld = this.#facts.machines.get(id)?.truth.holds(match, term) ?? false;
      expect(isHeld, () => {
        return `${machine.raftId} counts entry ${match} of term ${term} on ${id}, whose disk never had it`;
      });
    }
  }
}

function ackKey({ raftId, life }: Machine, term: number, from: number): string {
  return `${raftId}/${life}/${term}/${from}`;
}
