/** Bugs of the driver: the order of durable, sent and applied, promises to callers, members. */
import type { Mutant } from './mutant.ts';

const NODE = 'manager/raftnode';

export const DRIVER_MUTANTS: readonly Mutant[] = [
  {
    name: 'change-applied-twice',
    bug: 'a change of members is in force when it is proposed, and again when it is committed',
    file: `${NODE}/proposal-queue.ts`,
    find: '      raw.proposeConfChange(change);\n',
    replace: '      raw.proposeConfChange(change);\n      raw.applyConfChange(change);\n',
    invariants: [0, 6, 8],
  },
  {
    name: 'applied-twice',
    bug: 'an entry is applied twice at times',
    file: `${NODE}/apply-loop.ts`,
    find: 'this.#stateMachine.apply(entry.index, entry.data);',
    replace:
      '{ this.#stateMachine.apply(entry.index, entry.data); if (entry.index % 50 === 7) this.#stateMachine.apply(entry.index, entry.data); }',
    invariants: [4],
  },
  {
    name: 'settled-before-apply',
    bug: 'a proposal is acknowledged when it is in the leader’s log',
    file: `${NODE}/proposal-queue.ts`,
    find: "      this.waiters.add({ index: ++index, term, type: 'normal', resolve, reject, signal });\n",
    replace: '      resolve(++index); void term; void signal; void reject;\n',
    invariants: [7],
  },
  {
    name: 'refused-for-good',
    bug: 'a proposal that may yet be committed is refused for good',
    file: `${NODE}/proposal-queue.ts`,
    find: "const unknown = (): ProposalError => new ProposalError('unavailable', words, true);",
    replace: "const unknown = (): ProposalError => new ProposalError('unavailable', words, false);",
    invariants: [7],
  },
  {
    name: 'callers-forgotten',
    bug: 'a leader that lost its office does not tell its callers',
    file: `${NODE}/proposal-queue.ts`,
    find: '    this.waiters.rejectAbove(raw.basicStatus().commit, unknown);\n    this.#orphansUntilTick = this.#ticks + orphanTicks;\n',
    replace: '    void [raw, orphanTicks, unknown];\n',
    invariants: [13],
  },
  {
    name: 'read-before-apply',
    bug: 'a read is answered before what it must see is applied',
    file: `${NODE}/read-barriers.ts`,
    find: 'const due = this.#confirmed.filter(({ index }) => index <= applied);',
    replace: 'const due = this.#confirmed.filter(({ index }) => index <= applied + 1_000_000);',
    invariants: [11],
  },
  {
    name: 'lease-read',
    bug: 'a leader trusts its clock for reads',
    file: `${NODE}/node-core.ts`,
    find: '    checkQuorum: true,\n',
    replace: "    checkQuorum: true,\n    readOnlyMode: 'lease-based',\n",
    invariants: [11],
  },
  {
    name: 'promoted-early',
    bug: 'a learner gets its vote before it has caught up',
    file: `${NODE}/member-changes.ts`,
    find: "const caughtUp = one?.state === 'replicate' && one.match + PROMOTE_LAG_ENTRIES >= commit;",
    replace: 'const caughtUp = one !== undefined && commit + PROMOTE_LAG_ENTRIES > 0;',
    invariants: [8],
  },
  {
    name: 'snapshot-without-members',
    bug: 'a snapshot forgets the learners',
    file: `${NODE}/node-snapshots.ts`,
    find: 'const { confState, membership } = view;',
    replace: 'const { membership } = view; const confState = { ...view.confState, learners: [] };',
    invariants: [8, 0, 13],
  },
  {
    name: 'snapshot-of-later',
    bug: 'a snapshot holds the state of a later moment than it says',
    file: `${NODE}/snapshot-taker.ts`,
    find: 'const chunks = startedView(stateMachine.snapshot());',
    replace: 'const chunks = ((view: typeof startedView) => stateMachine.snapshot())(startedView);',
    invariants: [4],
  },
  {
    name: 'forced-keeps-members',
    bug: 'a forced new cluster keeps the members that are lost',
    file: `${NODE}/force-new-cluster.ts`,
    find: "    ...[...ids].sort((a, b) => a - b).map((id) => confChange('remove', id)),\n",
    replace: '',
    invariants: [13, 8],
  },
  {
    name: 'commit-remembered-wrong',
    bug: 'after a restart more counts as committed than was',
    file: `${NODE}/durable-state.ts`,
    find: 'const commit = Math.max(hardState.commit, found.index, contents.marks[0]?.index ?? 0);',
    replace: 'const commit = lastIndex;',
    invariants: [6, 0, 2, 4],
  },
];
