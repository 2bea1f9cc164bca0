/** How a manager enters the Raft group (it asks who is in it, then to be added) and leaves it. */
import { skep } from '../../proto/gen/skep.js';
import { int64, intFromProto, listFromProto, requiredMessage, text } from '../wire/scalars.ts';
import { codec } from './codec.ts';
import { unary } from './method.ts';

export interface ClusterMember {
  readonly raftId: number;
  readonly nodeId: string;
  /** `IP:port` */
  readonly address: string;
  readonly learner: boolean;
}

export const listMembers = unary<null, readonly ClusterMember[]>({
  path: '/skep.Membership/ListMembers',
  roles: ['manager'],
  request: codec<null, skep.ListMembersRequest.$Properties>(
    skep.ListMembersRequest,
    () => ({}),
    () => null,
  ),
  response: codec<readonly ClusterMember[], skep.ListMembersResponse.$Properties>(
    skep.ListMembersResponse,
    (members) => ({ members: members.map(memberToProto) }),
    (m) => listFromProto(m.members, memberFromProto),
  ),
});

/** Adds the caller itself; it must be listening under `address` already. */
export const addMember = unary<ClusterMember, null>({
  path: '/skep.Membership/AddMember',
  roles: ['manager'],
  request: codec<ClusterMember, skep.AddMemberRequest.$Properties>(
    skep.AddMemberRequest,
    (member) => ({ member: memberToProto(member) }),
    (m) => memberFromProto(requiredMessage(m.member, 'member')),
  ),
  response: codec<null, skep.AddMemberResponse.$Properties>(
    skep.AddMemberResponse,
    () => ({}),
    () => null,
  ),
});

/** Removes a member of the caller's own node; a member that is not there is removed already. */
export const removeMember = unary<{ readonly raftId: number }, null>({
  path: '/skep.Membership/RemoveMember',
  roles: ['manager'],
  request: codec<{ readonly raftId: number }, skep.RemoveMemberRequest.$Properties>(
    skep.RemoveMemberRequest,
    ({ raftId }) => ({ raftId: int64(raftId, 'raft_id') }),
    (m) => ({ raftId: intFromProto(m.raftId, 'raft_id') }),
  ),
  response: codec<null, skep.RemoveMemberResponse.$Properties>(
    skep.RemoveMemberResponse,
    () => ({}),
    () => null,
  ),
});

function memberToProto(member: ClusterMember): skep.ClusterMember.$Properties {
  return {
    raftId: int64(member.raftId, 'raft_id'),
    nodeId: text(member.nodeId),
    address: text(member.address),
    learner: member.learner,
  };
}

function memberFromProto(m: skep.ClusterMember.$Properties): ClusterMember {
  return {
    raftId: intFromProto(m.raftId, 'raft_id'),
    nodeId: m.nodeId ?? '',
    address: m.address ?? '',
    learner: m.learner ?? false,
  };
}
