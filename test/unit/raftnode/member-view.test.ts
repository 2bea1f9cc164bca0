import { expect, test } from 'vitest';
import { EMPTY_CONF_STATE } from '../../../manager/raft/types.ts';
import { MemberView } from '../../../manager/raftnode/member-view.ts';
import { Membership } from '../../../manager/raftnode/membership.ts';

test('a member is the node of its record; one that is not recorded yet may be any', () => {
  const self = { raftId: 1, address: '10.0.0.1:2377' };
  const member = { raftId: 2, address: '10.0.0.2:2377' };
  const view = new MemberView({
    self,
    membership: Membership.EMPTY.withMember({ ...member, nodeId: 'node-2' }),
    confState: EMPTY_CONF_STATE,
    silenceTicksMax: () => 10,
  });
  view.identify(member, 'node-2');
  view.identify({ ...member, raftId: 3 }, 'node-3');
  expect(() => view.identify(member, 'node-3')).toThrow(
    expect.objectContaining({
      code: 'permission-denied',
      message: 'accept raft messages of 2: that is node node-2, the sender is node node-3',
    }),
  );
});
