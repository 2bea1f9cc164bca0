/** What clients and state machines see. */
import type {
  Call,
  Operation as HistoryOperation,
  Outcome,
} from '../../support/linearizability/history.ts';
import { checkLinearizability } from '../../support/linearizability/linearizability.ts';
import { type Applied, type Checker, expect } from '../checker.ts';
import type { Facts } from '../facts.ts';
import type { Machine } from '../machine.ts';
import type { Operation } from '../workload.ts';

export class StateMachineSafety implements Checker {
  readonly number = 4;
  readonly name = 'all state machines go through the same states';
  readonly #facts: Facts;

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  applied({ machine, index, payload, write, done, chain }: Applied): void {
    const facts = this.#facts;
    const last = facts.applied.at(-1)?.index ?? 0;
    if (index > last) {
      facts.applied.push({ index, id: write.id, payload, chain });
      if (done) facts.setValue(write.key, index, write.value);
      return;
    }
    const known = facts.writeAt(index);
    const { raftId } = machine;
    expect(known?.id === write.id, () => {
      return `${raftId} applies write ${write.id} at ${index}, others ${known?.id}`;
    });
    expect(known?.chain === chain, () => `${raftId} has another state at ${index} than others`);
  }

  restored({ raftId }: Machine, index: number, chain: number): void {
    expect(this.#facts.chainAt(index) === chain, () => {
      return `the snapshot at ${index} on ${raftId} is of another state`;
    });
  }
}

export class AcknowledgedStays implements Checker {
  readonly number = 7;
  readonly name = 'what was acknowledged stays, once; what was refused never comes';
  readonly #facts: Facts;
  readonly #refused = new Set<number>();

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  applied({ machine, index, write }: Applied): void {
    const { indexOfId } = this.#facts;
    const other = indexOfId.get(write.id) ?? index;
    expect(other === index, () => `write ${write.id} is applied at ${other} and at ${index}`);
    indexOfId.set(write.id, index);
    expect(!this.#refused.has(write.id), () => {
      return `write ${write.id} was refused for good, ${machine.raftId} applies it at ${index}`;
    });
  }

  operation({ write, outcome, index, machine }: Operation): void {
    if (write === null) return;
    if (outcome === 'refused') {
      this.#refused.add(write.id);
      const at = this.#facts.indexOfId.get(write.id);
      expect(at === undefined, () => `write ${write.id} is refused for good and applied at ${at}`);
    }
    if (outcome !== 'ok') return;
    const at = this.#facts.indexOfId.get(write.id);
    expect(at === index, () => {
      return `write ${write.id} is acknowledged at ${index} by ${machine.raftId}, applied at ${at}`;
    });
    const applied = machine.node?.appliedIndex ?? index;
    expect(applied >= index, () => {
      return `${machine.raftId} acknowledges ${index} and has applied ${applied}`;
    });
  }

  ended(running: readonly Machine[]): void {
    for (const { raftId, node, state } of running) {
      expect(node!.appliedIndex >= this.#facts.acknowledged, () => {
        return `${raftId} ends at ${node!.appliedIndex}, ${this.#facts.acknowledged} was acknowledged`;
      });
      const chain = this.#facts.chainAt(node!.appliedIndex);
      expect(state!.registers.chain === chain, () => `${raftId} ends in another state`);
    }
  }
}

/**
 * The log is one order of all writes; a read stands behind the write whose state it saw. Such an
 * order is linearizable when it never contradicts real time: what ended before something else began
 * stands before it.
 */
export class Linearizable implements Checker {
  readonly number = 11;
  readonly name = 'reads and writes are linearizable';
  readonly #facts: Facts;
  readonly #history: Operation[] = [];
  #isJudged = false;

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  operation(operation: Operation): void {
    this.#history.push(operation);
    this.#judgePlace(operation);
  }

  /** Once more, from what the clients alone know, by the checker of `npm run jepsen`. */
  ended(): void {
    if (this.#isJudged) return; // what comes after a forced new cluster does not continue it
    this.#isJudged = true;
    const history = this.#history;
    const { violations } = checkLinearizability(history.map(asHistory), {
      initial: '0',
      statesMax: STATES_MAX,
    });
    expect(violations.length === 0, () => violations[0]!.text);
  }

  #judgePlace({ kind, key, outcome, index, floor, value, machine }: Operation): void {
    if (outcome !== 'ok') return;
    const { raftId } = machine;
    if (kind === 'read') {
      expect(index >= floor, () => {
        return `a read on ${raftId} sees the state at ${index}, ${floor} was acknowledged before it`;
      });
      const there = this.#facts.valueAt(key, index);
      expect(value === there, () => {
        return `a read on ${raftId} of ${key} at ${index} sees ${value}, there is ${there}`;
      });
    } else {
      expect(index > floor, () => {
        return `a write on ${raftId} is at ${index}, ${floor} was acknowledged before it`;
      });
    }
    this.#facts.acknowledged = Math.max(this.#facts.acknowledged, index);
  }
}

/** Of a key. Beyond it a history counts as undecided, which is no fault. */
const STATES_MAX = 20_000;

function asHistory({ client, key, kind, write, outcome, ...rest }: Operation): HistoryOperation {
  const { value, done, began: invokedMs, ended: atMs } = rest;
  const base = { client: String(client), key, invokedMs };
  if (write === null) {
    const seen: Outcome = { kind: 'saw', atMs, value: String(value) };
    return {
      ...base,
      call: { kind: 'read' },
      outcome: outcome === 'ok' ? seen : { kind: 'unknown' },
    };
  }
  const result = done ? 'done' : 'refused';
  const outcomes: Record<Operation['outcome'], Outcome> = {
    ok: { kind: kind === 'put' ? 'done' : result, atMs },
    refused: { kind: 'failed', atMs },
    unknown: { kind: 'unknown' },
    open: { kind: 'unknown' },
  };
  const call: Call =
    write.expected === null
      ? { kind: 'write', value: String(write.value) }
      : { kind: 'cas', expected: String(write.expected), value: String(write.value) };
  return { ...base, call, outcome: outcomes[outcome] };
}
