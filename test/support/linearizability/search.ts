/**
 * The search of Wing and Gong with Lowe's memory of what was tried, as in Porcupine: is there an order
 * of these steps, one at a time, that keeps every step between its call and its return and that a
 * register can have gone through? Knows one key.
 *
 * Five things keep it small. What is left to do is told by the steps that may come next and the first
 * return among the rest, so that is what is remembered, not the set of all that was done. A step that
 * changes nothing and fits is taken at once: where any order works, the one with it in front does. And
 * a change of unknown outcome is tried only where the next step notices it, for one that nobody notices
 * may as well never have come; of several whose values nobody asks about, one stands for all. A value
 * is not left while someone still has to see it and nobody is left to bring it back.
 */
import { Demand } from './demand.ts';
import type { Value } from './history.ts';
import { findAnonymous, fits, Notices, notices, type RegisterStep } from './register-steps.ts';

export interface SearchResult {
  /** undecided: the limit of tried states was reached */
  readonly verdict: 'linearizable' | 'violation' | 'undecided';
  readonly statesTried: number;
  /** The longest order found; when linearizable, one that has every step that returned. */
  readonly order: readonly RegisterStep[];
}

interface Anchor {
  next: Mark | null;
}

/** A call or a return, in a list of what is not yet in the order. */
interface Mark extends Anchor {
  readonly step: RegisterStep;
  readonly id: number;
  readonly isCall: boolean;
  /** of a call: its return; null for an unknown outcome */
  back: Mark | null;
  previous: Anchor;
}

/** One point of the order from which several steps were possible. */
interface Choice {
  readonly value: Value;
  readonly owes: boolean;
  /** what was put in the order to get here */
  readonly taken: readonly Mark[];
  /** not yet tried, the next one last */
  readonly options: Mark[];
}

interface Ahead {
  readonly calls: readonly Mark[];
  readonly firstReturn: Mark | null;
}

export function search(
  steps: readonly RegisterStep[],
  initial: Value,
  statesMax: number,
): SearchResult {
  const head = listOf(steps);
  const anonymous = findAnonymous(steps);
  const demand = new Demand(steps);
  const tried = new Set<string>();
  const choices: Choice[] = [];
  const order: Mark[] = [];
  let longest: RegisterStep[] = [];

  /** Takes `mark`, if any, and all that fits and changes nothing. True when every return is behind. */
  const advance = (mark: Mark | null, from: Value, owed: boolean): boolean => {
    const taken: Mark[] = [];
    const take = (next: Mark): void => {
      lift(next);
      demand.remove(next.step);
      taken.push(next);
      order.push(next);
    };
    let value = from;
    let owes = owed;
    if (mark) {
      take(mark);
      if (mark.step.sets !== undefined) value = mark.step.sets;
      owes = mark.back === null;
    }
    let ahead = look(head);
    for (;;) {
      const free = ahead.calls.find(({ step }) => step.sets === undefined && fits(step, value));
      if (!free) break;
      take(free);
      owes = false;
      ahead = look(head);
    }
    const key = keyOf(ahead, value, owes);
    const isNew = !tried.has(key);
    tried.add(key);
    const possible = isNew ? optionsOf(ahead, value, owes) : [];
    const options = onceEach(possible, anonymous).filter(
      ({ step }) => !demand.forbids(step, value),
    );
    choices.push({ value, owes, taken, options });
    if (order.length > longest.length) longest = order.map(({ step }) => step);
    return ahead.firstReturn === null;
  };

  if (demand.isHopeless(initial)) return { verdict: 'violation', statesTried: 0, order: [] };
  if (advance(null, initial, false)) {
    return { verdict: 'linearizable', statesTried: 1, order: longest };
  }
  while (choices.length > 0) {
    const { value, owes, taken, options } = choices.at(-1)!;
    const option = options.pop();
    if (option) {
      if (advance(option, value, owes)) {
        const found = order.map(({ step }) => step);
        return { verdict: 'linearizable', statesTried: tried.size, order: found };
      }
      if (tried.size > statesMax) break;
      continue;
    }
    choices.pop();
    for (const mark of [...taken].reverse()) {
      unlift(mark);
      demand.add(mark.step);
      order.pop();
    }
  }
  const verdict = tried.size > statesMax ? 'undecided' : 'violation';
  return { verdict, statesTried: tried.size, order: longest };
}

/** The steps that may be tried here, the most promising last. */
function optionsOf({ calls }: Ahead, value: Value, owes: boolean): Mark[] {
  const noticed = new Notices(calls.map(({ step }) => step));
  const possible = calls.filter(({ step, back }) => {
    const { sets } = step;
    if (sets === undefined || !fits(step, value)) return false;
    if (owes && !notices(step, value)) return false;
    return back !== null || noticed.hasOther(step, sets);
  });
  const due = ({ step }: Mark): number => step.returnedMs ?? Number.POSITIVE_INFINITY;
  return possible.sort((a, b) => (due(a) === due(b) ? b.id - a.id : due(b) - due(a)));
}

/** Of interchangeable steps only the one called first. */
function onceEach(options: Mark[], anonymous: ReadonlySet<RegisterStep>): Mark[] {
  const firsts = new Map<Value | undefined, number>();
  for (const { id, step } of options) {
    if (!anonymous.has(step)) continue;
    firsts.set(step.requires, Math.min(id, firsts.get(step.requires) ?? id));
  }
  return options.filter(({ id, step }) => !anonymous.has(step) || firsts.get(step.requires) === id);
}

function keyOf({ calls, firstReturn }: Ahead, value: Value, owes: boolean): string {
  const ids = calls.map(({ id }) => id).join(',');
  return `${firstReturn?.id ?? ''} ${ids} ${owes ? 'owes' : ''} ${JSON.stringify(value)}`;
}

/** The steps that may come next: called before anything else that is left has returned. */
function look(head: Anchor): Ahead {
  const calls: Mark[] = [];
  let mark = head.next;
  while (mark?.isCall) {
    calls.push(mark);
    mark = mark.next;
  }
  return { calls, firstReturn: mark };
}

/** Calls and returns in the order of time. Calls first among equals: they overlap then. */
function listOf(steps: readonly RegisterStep[]): Anchor {
  const head: Anchor = { next: null };
  const link = { back: null, previous: head, next: null };
  const marks: { readonly mark: Mark; readonly atMs: number }[] = [];
  for (const [id, step] of steps.entries()) {
    const call: Mark = { step, id, isCall: true, ...link };
    marks.push({ mark: call, atMs: step.invokedMs });
    if (step.returnedMs === null) continue;
    call.back = { step, id, isCall: false, ...link };
    marks.push({ mark: call.back, atMs: step.returnedMs });
  }
  marks.sort((a, b) => a.atMs - b.atMs || Number(b.mark.isCall) - Number(a.mark.isCall));
  let last = head;
  for (const { mark } of marks) {
    last.next = mark;
    mark.previous = last;
    last = mark;
  }
  return head;
}

function lift(call: Mark): void {
  unlink(call);
  if (call.back) unlink(call.back);
}

/** Undoes the newest `lift` that was not undone. */
function unlift(call: Mark): void {
  if (call.back) relink(call.back);
  relink(call);
}

function unlink(mark: Mark): void {
  mark.previous.next = mark.next;
  if (mark.next) mark.next.previous = mark.previous;
}

function relink(mark: Mark): void {
  mark.previous.next = mark;
  if (mark.next) mark.next.previous = mark;
}
