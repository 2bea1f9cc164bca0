/** Colours for people who look at a terminal: never in a pipe, nor where NO_COLOR asks for none. */

/** What a piece of text tells. */
export type Tone = 'good' | 'caution' | 'bad' | 'faint' | 'plain';

export type Paint = (text: string, tone: Tone) => string;

/** Escape sequences that begin green, yellow, red and dim, and those that end them. */
const STYLES = { good: [32, 39], caution: [33, 39], bad: [31, 39], faint: [2, 22] } as const;

const plain: Paint = (text) => text;
const coloured: Paint = (text, tone) => {
  if (tone === 'plain') return text;
  const [begin, end] = STYLES[tone];
  return `\x1b[${begin}m${text}\x1b[${end}m`;
};

/** @param env any value of NO_COLOR but the empty one counts (no-color.org) */
export function paintFor(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): Paint {
  const isWanted = stream.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
  return isWanted ? coloured : plain;
}
