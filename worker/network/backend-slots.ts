/**
 * The numbered slots of a balancing map. Pure: decides which slots change so that the map has
 * exactly the keys 0 .. n-1 and, where slots need not be the same everywhere, a change of one backend touches O(1) of them.
 */
import { type Random, shuffled } from '../../common/base/random.ts';

export interface SlotPlan {
  /** the slots afterwards */
  readonly slots: readonly string[];
  /** slots whose element must be deleted: changed or dropped */
  readonly deleted: readonly number[];
  /** slots that get a (new) element */
  readonly added: readonly number[];
}

/**
 * A backend that stays keeps its slot, unless it moves down to close a gap. New ones come in random
 * order: the kernel's counter starts at slot 0 in every task, and they must not all begin with the
 * same backend.
 */
export function planSlots(
  current: readonly string[],
  wanted: ReadonlySet<string>,
  random: Random,
): SlotPlan {
  const slots: (string | null)[] = current.map((address) => (wanted.has(address) ? address : null));
  const held = new Set(current);
  const fresh = shuffled(
    [...wanted].filter((address) => !held.has(address)),
    random,
  );
  for (let i = 0; i < slots.length && fresh.length > 0; i++) {
    if (slots[i] === null) slots[i] = fresh.pop() ?? null;
  }
  slots.push(...fresh);
  closeGaps(slots);
  return planBetween(current, slots as string[]);
}

/**
 * Slots that follow from the backends alone: whoever has the same backends has the same slots, whatever was before. A
 * change of one backend changes many of them.
 */
export function planSameSlots(current: readonly string[], wanted: ReadonlySet<string>): SlotPlan {
  return planBetween(current, [...wanted].sort());
}

function planBetween(current: readonly string[], slots: readonly string[]): SlotPlan {
  return {
    slots,
    deleted: [...current.keys()].filter((i) => current[i] !== slots[i]),
    added: [...slots.keys()].filter((i) => current[i] !== slots[i]),
  };
}

/** Moves the last backends into the gaps before them. */
function closeGaps(slots: (string | null)[]): void {
  for (let i = 0; i < slots.length; i++) {
    while (slots.length > i && slots[slots.length - 1] === null) slots.pop();
    if (i < slots.length && slots[i] === null) slots[i] = slots.pop() ?? null;
  }
}
