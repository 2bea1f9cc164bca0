/** What the members are, and how they may change. */
import { decodeConfChange } from '../../../manager/raft/conf-change.ts';
import type { RaftEvent } from '../../../manager/raft/events.ts';
import type { Status } from '../../../manager/raft/status.ts';
import type { Message } from '../../../manager/raft/types.ts';
import { type Checker, expect, type NodeView } from '../checker.ts';
import { placeKey } from '../durable-log.ts';
import { type Facts, sorted } from '../facts.ts';
import type { Machine } from '../machine.ts';

/** docs/design/raft-node.md: how far behind a learner may be that gets its vote. */
const PROMOTE_LAG_ENTRIES = 100;

export class OneChange implements Checker {
  readonly number = 8;
  readonly name = 'one change of members at a time, and the same members everywhere';
  readonly #facts: Facts;
  readonly #proposed = new Set<number>();
  /** Nodes with other members than before. */
  readonly #switched = new Set<number>();
  /** What leaders knew of the others when they appended an entry, by node and index. */
  readonly #appending = new Map<number, Map<number, readonly Status[]>>();

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  sending(machine: Machine, message: Message): void {
    if (message.type !== 'append') return;
    for (const { index, term, type, data } of message.entries) {
      if (type === 'normal' || term !== message.term) continue;
      const key = placeKey(index, term);
      if (this.#proposed.has(key)) continue;
      this.#proposed.add(key);
      this.#judgeProposal(machine, index, data);
    }
  }

  event({ raftId }: Machine, event: RaftEvent): void {
    if (event.code === 'membership-switched') this.#switched.add(raftId);
  }

  after(view: NodeView): void {
    this.#keepForPromotions(view);
    const { machine, status, appliedIndex } = view;
    if (!this.#switched.delete(machine.raftId) && view.before !== null) return;
    const config = view.details().confState;
    // A snapshot's members are in force before its state is.
    const possible = this.#facts.configs.filter(({ index }) => index <= status.commit);
    const first = possible.findLastIndex(({ index }) => index <= appliedIndex);
    const isOne = possible
      .slice(Math.max(0, first))
      .some(
        ({ voters, learners }) => same(voters, config.voters) && same(learners, config.learners),
      );
    const isWaiting = config.voters.length === 0 && appliedIndex === 0;
    expect(isOne || isWaiting, () => {
      const due = this.#facts.configAt(appliedIndex);
      return `${machine.raftId} has voters ${config.voters}, learners ${config.learners} at ${appliedIndex}; by the log ${due.voters}, learners ${due.learners}`;
    });
    expect(config.votersOutgoing.length === 0, () => `${machine.raftId} is in a joint config`);
  }

  #judgeProposal({ raftId, node }: Machine, index: number, data: Uint8Array): void {
    const { core, appliedIndex } = node!;
    for (let i = appliedIndex + 1; i < index; i++) {
      const term = core.logTerm(i);
      const type = typeof term === 'number' ? this.#facts.seen(i, term)?.type : undefined;
      expect(type === undefined || type === 'normal', () => {
        return `${raftId} proposes a change of members at ${index} before it applied that at ${i}`;
      });
    }
    const change = decodeConfChange({ type: 'conf-change', data });
    if (change.kind !== 'v1' || change.type !== 'add-voter') return;
    const kept = this.#appending.get(raftId)?.get(index);
    const views = kept?.at(-1)?.term === core.basicStatus().term ? kept : [core.status()];
    expect(
      views.some((view) => mayPromote(view, change.nodeId)),
      () => {
        const { commit, progress } = views.at(-1)!;
        const { match, state } = progress.get(change.nodeId)!;
        return `${raftId} promotes ${change.nodeId}, which is at ${match} of ${commit} (${state})`;
      },
    );
  }

  /** A promotion shows only when it is sent: what was known when it was appended is kept till then. */
  #keepForPromotions(view: NodeView): void {
    const { machine, status, before, detailsBefore } = view;
    if (status.role !== 'leader' || before === null) return;
    if (view.details().confState.learners.length === 0) return;
    const views = this.#appending.get(machine.raftId) ?? new Map<number, readonly Status[]>();
    this.#appending.set(machine.raftId, views);
    for (let index = before.status.lastIndex + 1; index <= status.lastIndex; index++) {
      views.set(index, [...(detailsBefore === null ? [] : [detailsBefore]), view.details()]);
    }
  }
}

function mayPromote({ confState, progress, commit }: Status, id: number): boolean {
  const learner = progress.get(id);
  if (learner === undefined || !confState.learners.includes(id)) return true;
  // Its state may change and change back within the event that promotes it.
  return learner.match > 0 && learner.match + PROMOTE_LAG_ENTRIES >= commit;
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && sorted(a).every((id, i) => id === sorted(b)[i]);
}
