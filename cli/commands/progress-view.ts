/** What is shown of a service or job on its way, and how: bars on a terminal, plain lines elsewhere. */
import { ellipsis } from '../output/table.ts';
import { type CommandContext, printLine } from './context.ts';

const BARS_MAX = 20;
const BAR_WIDTH = 50;
const ERROR_CHARS_MAX = 75;
const STATE_WIDTH = 9;

const STATE_ORDER = [
  'new',
  'allocated',
  'pending',
  'assigned',
  'accepted',
  'preparing',
  'ready',
  'starting',
  'running',
  'complete',
  'shutdown',
  'failed',
  'rejected',
];

/** Place of a task's state on its way; -1 for states that are not on it. */
export const rank = (state: string): number => STATE_ORDER.indexOf(state);

export interface SlotView {
  readonly label: string;
  readonly state: string;
  readonly error: string;
}

export interface ProgressView {
  /** lines above the bars */
  readonly heading: readonly string[];
  readonly slots: readonly SlotView[];
  /** how many slots there will be: with too many of them there are no bars */
  readonly seats: number;
  /** the state that fills a slot's bar */
  readonly goal: 'running' | 'complete';
}

/** Bars that are drawn over on a terminal; elsewhere one line for each change. */
export class Screen {
  readonly #context: CommandContext;
  readonly #tty: boolean;
  readonly #prefix: string;
  #drawn = 0;
  #last = '';
  #verifying = false;
  readonly #told = new Set<string>();

  /** @param prefix of every line; with one there are no bars */
  constructor(context: CommandContext, prefix = '') {
    this.#context = context;
    this.#prefix = prefix;
    this.#tty = prefix === '' && (context.stdout.isTTY ?? false);
  }

  /** @param verifyLeftMs how long it must stay so; null = nothing is verified */
  show(view: ProgressView, verifyLeftMs: number | null): void {
    if (this.#tty) {
      const seconds = Math.ceil((verifyLeftMs ?? 0) / 1000);
      const verify = `verify: Waiting ${Math.max(1, seconds)} seconds to verify that tasks are stable...`;
      const bars = view.seats <= BARS_MAX ? view.slots.map((slot) => bar(slot, view.goal)) : [];
      this.#draw([...view.heading, ...bars, ...(verifyLeftMs === null ? [] : [verify])]);
      return;
    }
    // A task that fails again and again says the same each time: once is enough.
    const errors = view.slots.map((slot) => slot.error).filter((text) => text !== '');
    const fresh = [...new Set(errors)].filter((text) => !this.#told.has(text));
    for (const text of fresh) this.#told.add(text);
    const heading = view.heading.join('; ');
    if (heading !== this.#last || fresh.length > 0) this.#say([heading, ...fresh].join('; '));
    this.#last = heading;
    if (verifyLeftMs !== null && !this.#verifying) {
      const seconds = Math.max(1, Math.round(verifyLeftMs / 1000));
      this.#say(`verify: Waiting ${seconds} seconds to verify that tasks are stable...`);
    }
    this.#verifying = verifyLeftMs !== null;
  }

  note(text: string): void {
    this.#drawn = 0;
    this.#say(text);
  }

  end(text: string): void {
    this.#drawn = 0;
    if (text !== '') this.#say(text);
  }

  #say(text: string): void {
    printLine(this.#context, `${this.#prefix}${text}`);
  }

  #draw(lines: readonly string[]): void {
    const { stdout } = this.#context;
    const width = stdout.columns ?? 80;
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    const body = lines.map((line) => `\x1b[2K${line.slice(0, width - 1)}\n`).join('');
    stdout.write(`${up}\x1b[J${body}`);
    this.#drawn = lines.length;
  }
}

function bar({ label, state, error }: SlotView, goal: ProgressView['goal']): string {
  if (error !== '') return `${label}: ${ellipsis(error, ERROR_CHARS_MAX)}`;
  const full = Math.round((Math.min(rank(state), rank(goal)) / rank(goal)) * BAR_WIDTH);
  const drawn =
    full >= BAR_WIDTH
      ? '='.repeat(BAR_WIDTH)
      : `${'='.repeat(Math.max(0, full))}>${' '.repeat(BAR_WIDTH - 1 - Math.max(0, full))}`;
  return `${label}: ${state.padEnd(STATE_WIDTH)} [${drawn}]`;
}
