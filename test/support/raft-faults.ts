/** A random life of a Raft cluster, decided by one seed, and its recovery when all faults end. */
import { assert } from '../../common/base/assert.ts';
import { SeededRandom } from '../../common/base/random.ts';
import type { NodeId } from '../../manager/raft/types.ts';
import { RaftCluster } from './raft-cluster.ts';

type Disturbance = (cluster: RaftCluster, id: NodeId, joined: NodeId[]) => void;

/** What may happen next, by weight in an average life. `id` is any node. */
const DISTURBANCES: readonly (readonly [number, Disturbance])[] = [
  [300, (cluster) => void cluster.deliverAny(5)],
  [250, (cluster, id) => void cluster.work(id)],
  [120, (cluster, id) => void cluster.finishAppend(id)],
  [120, (cluster, id) => void cluster.finishApply(id)],
  [100, (cluster, id) => cluster.tick(id)],
  [30, (cluster, id) => void cluster.propose(cluster.leader() ?? id)],
  [10, (cluster, id) => void cluster.propose(id)],
  [6, (cluster) => cluster.loseAny()],
  [6, (cluster, id) => cluster.read(id)],
  [4, (cluster, id) => cluster.compact(id, 3)],
  [1, (cluster, id) => cluster.crash(id)],
  [3, (cluster, id) => cluster.restart(id)],
  [1, (cluster, id) => cluster.isolate(id)],
  [1, (cluster, id) => cluster.cutLink(id, cluster.anyId())],
  [3, (cluster) => cluster.heal()],
  [1, (cluster, id) => cluster.campaign(id)],
  [1, (cluster, id) => cluster.transfer(cluster.leader() ?? id, cluster.anyId())],
  [2, (cluster, id, joined) => changeSomeMember(cluster, cluster.leader() ?? id, joined)],
];

/** How much more or less often each thing happens; every seed draws its own mixture. */
const FACTORS = [0.1, 0.5, 1, 3, 10];

class Fate {
  readonly #random: SeededRandom;
  readonly #weights: readonly number[];
  readonly #total: number;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#weights = DISTURBANCES.map(
      ([weight]) => weight * FACTORS[this.#random.below(FACTORS.length)]!,
    );
    this.#total = this.#weights.reduce((sum, weight) => sum + weight, 0);
  }

  strike(cluster: RaftCluster, joined: NodeId[]): void {
    let left = this.#random.unit() * this.#total;
    const at = this.#weights.findIndex((weight) => {
      left -= weight;
      return left < 0;
    });
    const [, happen] = DISTURBANCES[Math.max(at, 0)]!;
    happen(cluster, cluster.anyId(), joined);
  }
}

function changeSomeMember(cluster: RaftCluster, leader: NodeId, joined: NodeId[]): void {
  if (joined.length < 2 && cluster.chance(30)) {
    const id = cluster.addEmptyNode();
    joined.push(id);
    cluster.changeMember(leader, 'add-learner', id);
    return;
  }
  const id = cluster.anyId();
  const voters = cluster.node(leader).app.confState.voters;
  if (cluster.chance(40)) cluster.changeMember(leader, 'add-voter', id);
  // See `RawNode.proposeConfChange`.
  else if (id === leader && voters.length <= 2) return;
  // Two voters that lose one would be the end of the run, not a fault of Raft.
  else if (voters.length > 3) cluster.changeMember(leader, 'remove', id);
  else cluster.changeMember(leader, 'add-learner', id);
}

/**
 * `steps` random things happen, then all faults end. Throws when a promise is broken on the way or
 * no leader is found within forty election timeouts.
 */
export function surviveFaults(
  seed: number,
  steps: number,
): { cluster: RaftCluster; leader: NodeId; lastProposal: string } {
  const cluster = new RaftCluster({
    seed,
    size: seed % 3 === 0 ? 5 : 3,
    asyncStorageWrites: seed % 2 === 0,
    preVote: seed % 5 !== 0,
    checkQuorum: seed % 7 !== 0,
    maxSizePerMessageBytes: [1, 80, 400][(seed % 11) % 3]!,
    maxInflightMessages: [1, 3, 16][(seed % 13) % 3]!,
  });
  const joined: NodeId[] = [];
  const fate = new Fate(seed);
  for (let i = 0; i < steps; i++) fate.strike(cluster, joined);

  cluster.heal();
  const calmDown = (): void => {
    for (const id of cluster.nodes.keys()) cluster.restart(id);
    // Without pre-vote a removed node that runs on can depose leaders for ever.
    for (const id of cluster.removedNodes()) cluster.crash(id);
    cluster.run(20);
  };
  // First what was under way ends, changes of members and of leaders among it.
  for (let i = 0; i < 10; i++) calmDown();
  for (let i = 0; i < 20 && cluster.leader() === null; i++) calmDown();
  calmDown();
  const leader = cluster.leader();
  assert(leader !== null, 'no leader after all faults ended');
  const lastProposal = cluster.propose(leader);
  cluster.run(20);
  return { cluster, leader, lastProposal };
}
