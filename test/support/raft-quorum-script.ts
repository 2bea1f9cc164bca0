/** The directives of etcd/raft's quorum tables: `committed` and `vote`. */
import { assert } from '../../common/base/assert.ts';
import {
  committedIndex,
  EVERYTHING,
  type JointVoters,
  majorityCommittedIndex,
  majorityVoteResult,
  type VoteResult,
  voteResult,
  voterIds,
} from '../../manager/raft/quorum.ts';
import type { NodeId } from '../../manager/raft/types.ts';
import { type Directive, valuesOf } from './datadriven.ts';

const NO_VOTERS: ReadonlySet<NodeId> = new Set();
const RESULT_NAMES: Readonly<Record<VoteResult, string>> = {
  pending: 'VotePending',
  lost: 'VoteLost',
  won: 'VoteWon',
};

/** Each directive stands for itself. */
export function handleQuorumDirective(directive: Directive): string {
  if (directive.command === 'vote') return vote(directive);
  assert(directive.command === 'committed', `unknown command ${directive.command}`);
  return committed(directive);
}

/** `cfg` and `cfgj`; the latter is null when the case is about one majority only. */
function votersOf(directive: Directive): { cfg: NodeId[]; cfgj: NodeId[] | null } {
  const cfg = (valuesOf(directive, 'cfg') ?? []).map(Number);
  const joint = valuesOf(directive, 'cfgj');
  if (joint === undefined || joint.length === 0) return { cfg, cfgj: null };
  return { cfg, cfgj: joint[0] === 'zero' ? [] : joint.map(Number) };
}

/** The values for each voter, in order of first mention; `_` gives none. */
function assign(voters: readonly NodeId[], values: readonly string[]): Map<NodeId, string> | null {
  const distinct = [...new Set(voters)];
  if (distinct.length !== values.length) return null;
  const pairs = distinct.map((id, i): [NodeId, string] => [id, values[i]!]);
  return new Map(pairs.filter(([, value]) => value !== '_'));
}

function indexName(index: number): string {
  return index === EVERYTHING ? '∞' : String(index);
}

/** The picture of who has what that the tables print. */
function picture(voters: JointVoters, acked: ReadonlyMap<NodeId, number>): string {
  const ids = voterIds(voters);
  if (ids.length === 0) return '<empty majority quorum>';
  const index = (id: NodeId): number => acked.get(id) ?? 0;
  const ranked = [...ids].sort((a, b) => index(a) - index(b) || a - b);
  const bars = new Map<NodeId, number>();
  ranked.forEach((id, i) => {
    const lower = ranked[i - 1];
    const tied = lower !== undefined && index(lower) === index(id);
    bars.set(id, tied ? bars.get(lower)! : i);
  });
  const width = ids.length;
  const lines = ids.map((id) => {
    const bar = bars.get(id)!;
    const drawn = acked.has(id)
      ? `${'x'.repeat(bar)}>${' '.repeat(width - bar)}`
      : `?${' '.repeat(width)}`;
    return `${drawn} ${String(index(id)).padStart(5)}    (id=${id.toString(16)})\n`;
  });
  return `${' '.repeat(width)}    idx\n${lines.join('')}`;
}

function committed(directive: Directive): string {
  const { cfg, cfgj } = votersOf(directive);
  const texts = assign([...cfg, ...(cfgj ?? [])], valuesOf(directive, 'idx') ?? []);
  if (texts === null) return 'error: mismatched input';
  const acked = new Map([...texts].map(([id, text]) => [id, Number(text)]));
  const lookup = (id: NodeId): number | undefined => acked.get(id);
  const incoming = new Set(cfg);
  const outgoing = new Set(cfgj ?? []);
  const drawn = picture({ incoming, outgoing }, acked);
  const index = committedIndex({ incoming, outgoing }, lookup);
  const same: [string, number][] =
    cfgj === null
      ? [
          ['alone', majorityCommittedIndex(incoming, lookup)],
          ['with an empty half', committedIndex({ incoming, outgoing: NO_VOTERS }, lookup)],
          ['with itself', committedIndex({ incoming, outgoing: incoming }, lookup)],
        ]
      : [['swapped', committedIndex({ incoming: outgoing, outgoing: incoming }, lookup)]];
  for (const [what, other] of same) assert(other === index, `${what}: ${other}, not ${index}`);
  return `${drawn}${indexName(index)}`;
}

function vote(directive: Directive): string {
  const { cfg, cfgj } = votersOf(directive);
  const texts = assign([...cfg, ...(cfgj ?? [])], valuesOf(directive, 'votes') ?? []);
  if (texts === null) return 'error: mismatched input';
  const votes = new Map([...texts].map(([id, text]) => [id, text === 'y']));
  const incoming = new Set(cfg);
  const outgoing = new Set(cfgj ?? []);
  const result = voteResult({ incoming, outgoing }, votes);
  const swapped = voteResult({ incoming: outgoing, outgoing: incoming }, votes);
  assert(swapped === result, `swapped: ${swapped}, not ${result}`);
  const alone = cfgj === null ? majorityVoteResult(incoming, votes) : result;
  assert(alone === result, `alone: ${alone}, not ${result}`);
  return RESULT_NAMES[result];
}
