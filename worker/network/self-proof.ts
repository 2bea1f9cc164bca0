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
  /** what is so still: not repaired, or not to be */
  readonly left: readonly Drift[];
  /** namespaces that could not be looked at or repaired, and why */
  readonly failures: readonly { readonly where: string; readonly reason: string }[];
}

export interface ProofOptions {
  readonly repair: boolean;
  /** false = only what is suspect */
  readonly all: boolean;
}

/** One after another: a later subject may stand on an earlier one (a task's link on its network). */
export async function prove(
  subjects: readonly Subject[],
  { repair, all }: ProofOptions,
): Promise<Proof> {
  const drifts: Drift[] = [];
  const left: Drift[] = [];
  const failures: { where: string; reason: string }[] = [];
  let compared = 0;
  for (const subject of subjects) {
    const suspect = subject.suspect();
    if (!suspect && !all) continue;
    const { where } = subject;
    compared++;
    try {
      const found = await subject.differences();
      if (found.length === 0) {
        subject.trust();
        continue;
      }
      drifts.push(...found.map((it) => ({ where, ...it })));
      if (repair) await subject.repair(found);
      const still = repair ? await subject.differences() : found;
      left.push(...still.map((it) => ({ where, ...it })));
    } catch (err) {
      failures.push({ where, reason: describeError(err) });
    }
  }
  return { compared, drifts, left, failures };
}
