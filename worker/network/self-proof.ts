/**
 * Compares the kernel with what it ought to be, namespace by namespace, and repairs it. Knows how to
 * go about it, not what a namespace holds.
 */
import { describeError } from '../../common/base/errors.ts';
import type { Difference } from './kernel-facts.ts';

/** One namespace of ours. */
export interface Subject {
  /** for people, e.g. `network front` */
  readonly where: string;
  /** False when nothing there can have changed since it was last found to be right. */
  suspect(): boolean;
  differences(): Promise<Difference[]>;
  /** What only a try tells, absent = nothing: is looked for where it is asked for. */
  readonly tried?: () => Promise<Difference[]>;
  repair(differences: readonly Difference[]): Promise<void>;
  /** It was found to be right. */
  trust(): void;
}

export interface Drift extends Difference {
  readonly where: string;
}

export interface Proof {
  /** namespaces compared */
  readonly compared: number;
  /** what was found at first */
  readonly drifts: readonly Drift[];
  /** what is so still, or may be: not repaired, or not to be, or it could not be looked at again */
  readonly left: readonly Drift[];
  /** namespaces that could not be looked at or repaired, and why */
  readonly failures: readonly { readonly where: string; readonly reason: string }[];
  /** false: its turn was over, there is more */
  readonly isWhole: boolean;
}

export const NOTHING_PROVED: Proof = {
  ...{ compared: 0, drifts: [], left: [], failures: [], isWhole: true },
};

/** A part of a proof: who waits for the same namespaces need not wait for all of them to be compared. */
export interface ProofTurn {
  /** `where` of what former turns have dealt with; what this one deals with is added */
  readonly seen: Set<string>;
  /** asked between two namespaces: a turn compares one at least */
  readonly isOver: () => boolean;
}

export interface ProofOptions {
  readonly repair: boolean;
  /** false = only what is suspect */
  readonly all: boolean;
  /** true = what a subject tries counts as well */
  readonly tries?: boolean;
  /** absent = the whole in one */
  readonly turn?: ProofTurn;
}

/** One after another: a later subject may stand on an earlier one (a task's link on its network). */
export async function prove(
  subjects: readonly Subject[],
  { repair, all, tries = false, turn }: ProofOptions,
): Promise<Proof> {
  const drifts: Drift[] = [];
  const left: Drift[] = [];
  const failures: { where: string; reason: string }[] = [];
  let compared = 0;
  const look = async (subject: Subject): Promise<Difference[]> => {
    const found = await subject.differences();
    return tries && subject.tried ? [...found, ...(await subject.tried())] : found;
  };
  for (const subject of subjects) {
    const { where } = subject;
    if (turn?.seen.has(where)) continue;
    const isMeant = subject.suspect() || all;
    if (isMeant && compared > 0 && turn?.isOver()) {
      return { compared, drifts, left, failures, isWhole: false };
    }
    turn?.seen.add(where);
    if (!isMeant) continue;
    compared++;
    let found: readonly Difference[] = [];
    try {
      found = await look(subject);
      if (found.length === 0) {
        subject.trust();
        continue;
      }
      drifts.push(...found.map((it) => ({ where, ...it })));
      if (repair) await subject.repair(found);
      const still = repair ? await look(subject) : found;
      left.push(...still.map((it) => ({ where, ...it })));
    } catch (err) {
      left.push(...found.map((it) => ({ where, ...it })));
      failures.push({ where, reason: describeError(err) });
    }
  }
  return { compared, drifts, left, failures, isWhole: true };
}

/** What several turns found. */
export function together(turns: readonly Proof[]): Proof {
  return {
    compared: turns.reduce((sum, { compared }) => sum + compared, 0),
    drifts: turns.flatMap(({ drifts }) => drifts),
    left: turns.flatMap(({ left }) => left),
    failures: turns.flatMap(({ failures }) => failures),
    isWhole: turns.at(-1)?.isWhole ?? true,
  };
}

/** What was found and is so no more. What a second look found besides is `left` and was never a drift. */
export function mendedOf({ drifts, left }: Pick<Proof, 'drifts' | 'left'>): readonly Drift[] {
  const still = new Set(left.map(({ where, what }) => `${where}: ${what}`));
  return drifts.filter(({ where, what }) => !still.has(`${where}: ${what}`));
}

/** Single things of the kernel that were not as they ought to be. */
export interface DriftCounts {
  /** since this daemon started */
  readonly repaired: number;
  /** at the last look: not mended */
  readonly left: number;
}

/** Counts what proofs found, one after another. */
export class DriftCounter {
  #counts: DriftCounts = { repaired: 0, left: 0 };

  get counts(): DriftCounts {
    return this.#counts;
  }

  note(proof: Pick<Proof, 'drifts' | 'left'>): void {
    const repaired = this.#counts.repaired + mendedOf(proof).length;
    this.#counts = { repaired, left: proof.left.length };
  }
}
