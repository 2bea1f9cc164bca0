/** What must come about. What must come about after all faults ended is in `healing.ts`. */
import type { Message } from '../../../manager/raft/types.ts';
import { type Checker, expect, type NodeView } from '../checker.ts';
import type { Machine } from '../machine.ts';

const ELECTION_TICKS = 10;
/**
 * Two election timeouts (one until the check that finds nobody was heard, one since the check before),
 * a third when leadership was being handed over meanwhile, which begins the first anew; and the ticks
 * at both ends that are not whole.
 */
const PATIENCE_TICKS = 3 * ELECTION_TICKS + 3;

interface Reign {
  readonly life: number;
  /** Tick from which on the leader knows of these members. */
  readonly sinceTick: number;
  readonly voters: string;
}

export class Progress implements Checker {
  readonly number = 13;
  readonly name = 'everybody gets an answer';
  readonly #reigns = new Map<number, Reign>();
  /** Tick at which a node was leader last. */
  readonly #ledAt = new Map<number, { readonly life: number; readonly tick: number }>();

  delivering(machine: Machine, message: Message): void {
    machine.heard.set(message.from, machine.ticks);
  }

  after(view: NodeView): void {
    const { machine, status, kind } = view;
    if (kind !== 'tick') return;
    const { raftId, life, ticks } = machine;
    if (status.role === 'leader') {
      this.#ledAt.set(raftId, { life, tick: ticks });
      this.#judgeLeader(view);
      return;
    }
    this.#reigns.delete(raftId);
    const led = this.#ledAt.get(raftId);
    if (led?.life !== life || ticks - led.tick <= PATIENCE_TICKS) return;
    expect(machine.openWrites === 0, () => {
      return `${machine.openWrites} callers wait for ${raftId}, which does not lead for ${ticks - led.tick} ticks`;
    });
  }

  #judgeLeader(view: NodeView): void {
    const { raftId, life, ticks, heard } = view.machine;
    const { voters } = view.details().confState;
    const reign = this.#reigns.get(raftId);
    if (reign?.life !== life || reign.voters !== voters.join()) {
      this.#reigns.set(raftId, { life, sinceTick: ticks, voters: voters.join() });
      return;
    }
    if (ticks - reign.sinceTick <= PATIENCE_TICKS) return;
    const isHeard = (id: number): boolean =>
      id === raftId || ticks - (heard.get(id) ?? 0) <= PATIENCE_TICKS;
    expect(voters.filter(isHeard).length > voters.length / 2, () => {
      return `${raftId} leads and heard nothing of ${voters.filter((id) => !isHeard(id))} for three election timeouts`;
    });
  }
}
