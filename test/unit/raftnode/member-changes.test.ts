import { describe, expect, test } from 'vitest';
import type { ProgressStatus, Status } from '../../../manager/raft/status.ts';
import { type ConfChange, EMPTY_CONF_STATE } from '../../../manager/raft/types.ts';
import { MemberChanges } from '../../../manager/raftnode/member-changes.ts';
import { MemberView } from '../../../manager/raftnode/member-view.ts';
import { type MemberRecord, Membership } from '../../../manager/raftnode/membership.ts';
import { settle } from '../../support/fake-clock.ts';

const LEARNER: MemberRecord = { raftId: 2, nodeId: 'node-2', address: '10.0.0.2:2377' };
const NEWCOMER: MemberRecord = { raftId: 3, nodeId: 'node-3', address: '10.0.0.3:2377' };
const CONF_STATE = { ...EMPTY_CONF_STATE, voters: [1], learners: [2] };

function statusWith(match: number, state: ProgressStatus['state']): Status {
  const progress = new Map([[2, { match, state } as Partial<ProgressStatus> as ProgressStatus]]);
  return { commit: 500, confState: CONF_STATE, progress } as Partial<Status> as Status;
}

/** A leader, 1, with a learner that it hears; changes end when `finish` is called. */
function leader(): { changes: MemberChanges; proposed: ConfChange[]; finish: () => void } {
  const self = { raftId: 1, address: '10.0.0.1:2377' };
  const membership = Membership.EMPTY.withMember({ ...self, nodeId: 'node-1' }).withMember(LEARNER);
  const view = new MemberView({
    self,
    membership,
    confState: CONF_STATE,
    silenceTicksMax: () => 10,
  });
  view.hear(LEARNER);
  const proposed: ConfChange[] = [];
  let finish = (): void => {};
  const propose = (change: ConfChange): Promise<void> => {
    proposed.push(change);
    return new Promise((resolve) => {
      finish = resolve;
    });
  };
  return { changes: new MemberChanges({ view, propose }), proposed, finish: () => finish() };
}

describe('promotion of a learner', () => {
  const { signal } = new AbortController();

  test.each([
    ['within 100 entries', 400, 'replicate', true],
    ['further behind', 399, 'replicate', false],
    ['not known to match', 500, 'probe', false],
  ] as const)('%s: at %i of 500, %s', async (_, match, state, isPromoted) => {
    const { changes, proposed } = leader();
    const promotion = changes.promote(() => statusWith(match, state), signal);
    await settle();
    expect(promotion !== null).toBe(isPromoted);
    expect(proposed.map(({ type }) => type)).toEqual(isPromoted ? ['add-voter'] : []);
  });

  test('is judged again when its turn comes', async () => {
    const { changes, proposed, finish } = leader();
    const adding = changes.add(NEWCOMER);
    await settle();
    let status = statusWith(500, 'replicate');
    const promotion = changes.promote(() => status, signal);
    status = statusWith(10, 'probe');
    finish();
    await Promise.all([adding, promotion]);
    expect(proposed.map(({ type }) => type)).toEqual(['add-learner']);
  });
});
