/**
 * Membership changes as pure functions: a membership with its progress map and a change in, both
 * new out, or the reason why not. Voters change one at a time (`simple`) or through a joint
 * configuration that needs both majorities (Ongaro's thesis, chapter 4).
 */
import { SkepError } from '../../common/base/errors.ts';
import { type InflightLimits, Progress } from './progress.ts';
import { sortedIds } from './quorum.ts';
import { isJoint, type Membership, NO_MEMBERS, type ProgressMap } from './tracker.ts';
import type { ConfChangeSingle, ConfState, NodeId } from './types.ts';

/** What a change starts from. */
export interface MembershipBase {
  readonly membership: Membership;
  readonly progress: ProgressMap;
  /** The log's last index: where probing of a new member begins. */
  readonly lastIndex: number;
  readonly limits: InflightLimits;
}

export interface MembershipResult {
  readonly membership: Membership;
  readonly progress: ProgressMap;
}

/** The change is impossible from this membership. Nothing was changed. */
export class MembershipChangeError extends SkepError {
  constructor(why: string) {
    super('failed-precondition', why);
  }
}

/** A membership under change; sets are private copies. */
class Draft {
  readonly incoming: Set<NodeId>;
  readonly outgoing: Set<NodeId>;
  readonly learners: Set<NodeId>;
  readonly learnersNext: Set<NodeId>;
  readonly progress: Map<NodeId, Progress>;
  autoLeave: boolean;
  readonly #base: MembershipBase;

  constructor(base: MembershipBase) {
    checkInvariants(base);
    this.#base = base;
    this.incoming = new Set(base.membership.voters.incoming);
    this.outgoing = new Set(base.membership.voters.outgoing);
    this.learners = new Set(base.membership.learners);
    this.learnersNext = new Set(base.membership.learnersNext);
    this.autoLeave = base.membership.autoLeave;
    // Copied because `isLearner` changes.
    this.progress = new Map([...base.progress].map(([id, one]) => [id, one.cloneShallow()]));
  }

  apply(changes: readonly ConfChangeSingle[]): void {
    for (const { type, nodeId } of changes) {
      if (nodeId === 0) continue; // refused by the application when it applied the entry
      if (type === 'add-voter') this.#makeVoter(nodeId);
      else if (type === 'add-learner') this.#makeLearner(nodeId);
      else if (type === 'remove') this.remove(nodeId);
    }
    if (this.incoming.size === 0) throw new MembershipChangeError('removed all voters');
  }

  /** Takes a member from the incoming configuration. */
  remove(id: NodeId): void {
    if (!this.progress.has(id)) return;
    this.incoming.delete(id);
    this.learners.delete(id);
    this.learnersNext.delete(id);
    // An outgoing voter still acknowledges entries.
    if (!this.outgoing.has(id)) this.progress.delete(id);
  }

  finish(): MembershipResult {
    const result: MembershipResult = {
      membership: {
        voters: { incoming: this.incoming, outgoing: this.outgoing },
        learners: this.learners,
        learnersNext: this.learnersNext,
        autoLeave: this.autoLeave,
      },
      progress: this.progress,
    };
    checkInvariants(result);
    return result;
  }

  #makeVoter(id: NodeId): void {
    const progress = this.progress.get(id);
    this.incoming.add(id);
    if (progress === undefined) {
      this.#startProgress(id, false);
      return;
    }
    progress.isLearner = false;
    this.learners.delete(id);
    this.learnersNext.delete(id);
  }

  #makeLearner(id: NodeId): void {
    const progress = this.progress.get(id);
    if (progress === undefined) {
      this.learners.add(id);
      this.#startProgress(id, true);
      return;
    }
    if (progress.isLearner) return;
    this.remove(id);
    this.progress.set(id, progress);
    // While it votes in the outgoing half it cannot be a learner too.
    if (this.outgoing.has(id)) {
      this.learnersNext.add(id);
    } else {
      progress.isLearner = true;
      this.learners.add(id);
    }
  }

  #startProgress(id: NodeId, isLearner: boolean): void {
    const next = Math.max(this.#base.lastIndex, 1);
    const { limits } = this.#base;
    // Counted as active, else the next quorum check could fail before it had a chance to speak.
    const fields = { match: 0, next, isLearner, recentActive: true, limits };
    this.progress.set(id, new Progress(fields));
  }
}

/** Changes that alter at most one voter, without a joint configuration. */
export function changeSimply(
  base: MembershipBase,
  changes: readonly ConfChangeSingle[],
): MembershipResult {
  const draft = new Draft(base);
  if (isJoint(base.membership)) {
    throw new MembershipChangeError("can't apply simple config change in joint config");
  }
  draft.apply(changes);
  if (countDifferences(base.membership.voters.incoming, draft.incoming) > 1) {
    throw new MembershipChangeError('more than one voter changed without entering joint config');
  }
  return draft.finish();
}

/** From voters V to V' by way of "V' and V". */
export function enterJoint(
  base: MembershipBase,
  autoLeave: boolean,
  changes: readonly ConfChangeSingle[],
): MembershipResult {
  const draft = new Draft(base);
  if (isJoint(base.membership)) throw new MembershipChangeError('config is already joint');
  if (draft.incoming.size === 0) {
    throw new MembershipChangeError("can't make a zero-voter config joint");
  }
  for (const id of draft.incoming) draft.outgoing.add(id);
  draft.apply(changes);
  draft.autoLeave = autoLeave;
  return draft.finish();
}

/** From "V' and V" to V'; learners that waited for it become learners. */
export function leaveJoint(base: MembershipBase): MembershipResult {
  const draft = new Draft(base);
  if (!isJoint(base.membership)) throw new MembershipChangeError("can't leave a non-joint config");
  for (const id of draft.learnersNext) {
    draft.learners.add(id);
    draft.progress.get(id)!.isLearner = true;
  }
  draft.learnersNext.clear();
  for (const id of draft.outgoing) {
    if (!draft.incoming.has(id) && !draft.learners.has(id)) draft.progress.delete(id);
  }
  draft.outgoing.clear();
  draft.autoLeave = false;
  return draft.finish();
}

/**
 * The membership that a `ConfState` describes, made out of nothing by the changes above, so that
 * all checks apply.
 */
export function restoreMembership(
  confState: ConfState,
  lastIndex: number,
  limits: InflightLimits,
): MembershipResult {
  let current: MembershipResult = { membership: NO_MEMBERS, progress: new Map() };
  const base = (): MembershipBase => ({ ...current, lastIndex, limits });
  const add = (type: ConfChangeSingle['type'], ids: readonly NodeId[]): ConfChangeSingle[] =>
    ids.map((nodeId) => ({ type, nodeId }));

  const incoming = [
    ...add('add-voter', confState.voters),
    ...add('add-learner', confState.learners),
    ...add('add-learner', confState.learnersNext),
  ];
  if (confState.votersOutgoing.length === 0) {
    for (const change of incoming) current = changeSimply(base(), [change]);
    return current;
  }
  for (const change of add('add-voter', confState.votersOutgoing)) {
    current = changeSimply(base(), [change]);
  }
  const removals = add('remove', confState.votersOutgoing);
  return enterJoint(base(), confState.autoLeave, [...removals, ...incoming]);
}

/** Same members in the same places; order does not matter. */
export function confStatesEqual(a: ConfState, b: ConfState): boolean {
  const canonical = (state: ConfState): string =>
    JSON.stringify([
      sortedIds(state.voters),
      sortedIds(state.learners),
      sortedIds(state.votersOutgoing),
      sortedIds(state.learnersNext),
      state.autoLeave,
    ]);
  return canonical(a) === canonical(b);
}

/**
 * The rules of `Membership`, and that everybody in it has progress marked rightly. The empty
 * membership passes: all others are made from it.
 */
function checkInvariants({ membership, progress }: MembershipResult): void {
  const { voters, learners, learnersNext } = membership;
  const { incoming, outgoing } = voters;
  for (const ids of [incoming, outgoing, learners, learnersNext]) {
    for (const id of ids) if (!progress.has(id)) broken(`no progress for ${id}`);
  }
  for (const id of learnersNext) {
    if (!outgoing.has(id)) broken(`${id} is a staged learner, but no outgoing voter`);
    if (progress.get(id)!.isLearner) broken(`${id} is a staged learner, but marked as learner`);
  }
  for (const id of learners) {
    if (outgoing.has(id)) broken(`${id} is a learner and an outgoing voter`);
    if (incoming.has(id)) broken(`${id} is a learner and a voter`);
    if (!progress.get(id)!.isLearner) broken(`${id} is a learner, but not marked as learner`);
  }
  if (outgoing.size > 0) return;
  if (learnersNext.size > 0) broken('learners are staged, but the config is not joint');
  if (membership.autoLeave) broken('auto-leave is set, but the config is not joint');
}

function broken(why: string): never {
  throw new MembershipChangeError(why);
}

function countDifferences(a: ReadonlySet<NodeId>, b: ReadonlySet<NodeId>): number {
  let count = 0;
  for (const id of a) if (!b.has(id)) count++;
  for (const id of b) if (!a.has(id)) count++;
  return count;
}
