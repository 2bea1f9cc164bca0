/**
 * The invariants of the simulator, in the order in which they look: those that find facts come
 * before those that hold others against them.
 */
import type { Checker } from '../checker.ts';
import type { Facts } from '../facts.ts';
import type { Plan } from '../plan.ts';
import { DurableCommit, MatchIsDurable } from './commits.ts';
import { DamageIsNoticed, ReplayIsMemory } from './disk.ts';
import { Monotone, OneLeader, PreVote } from './elections.ts';
import { Progress } from './liveness.ts';
import { AppendOnly, BoundedMemory, LeaderCompleteness, LogMatching } from './logs.ts';
import { OneChange } from './members.ts';
import { NonceOnce } from './nonces.ts';
import { AcknowledgedStays, Linearizable, StateMachineSafety } from './state.ts';

export function allInvariants(facts: Facts, plan: Plan): Checker[] {
  return [
    new OneLeader(),
    new LogMatching(facts),
    new LeaderCompleteness(facts),
    new StateMachineSafety(facts),
    new Monotone(),
    new DurableCommit(facts),
    new AcknowledgedStays(facts),
    new OneChange(facts),
    new AppendOnly(),
    new MatchIsDurable(facts),
    new Linearizable(facts),
    new ReplayIsMemory(),
    new Progress(),
    new PreVote(facts),
    new BoundedMemory(facts, plan.flow),
    new NonceOnce(),
    new DamageIsNoticed(),
  ];
}
