/**
 * Regular expressions of the filter `name`, in Go's syntax (RE2) as Docker takes them. Pure.
 *
 * Go's engine is linear, ours tries again and again: an expression of bad will would hold up the whole daemon, so that
 * all trials of a list together have an end.
 */
import { createContext, Script } from 'node:vm';
import { SkepError } from '../../common/base/errors.ts';

/** For all expressions and all names; one that is meant takes microseconds for each name. */
const TRIALS_LIMIT_MS = 100;

const POSIX_CLASSES: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  digit: '0-9',
  lower: 'a-z',
  punct: '!-\\/:-@\\[-`{-~',
  space: '\\s',
  upper: 'A-Z',
  word: '\\w',
  xdigit: '0-9A-Fa-f',
};

/** What JavaScript knows and Go does not: looks ahead and behind, and what was matched before. */
const NOT_IN_GO = /^\(\?(?:[=!]|<[=!])|^\\[1-9k]/;

/** Null when it is none in Go. */
function compiled(text: string): RegExp | null {
  const [, flags = '', rest = text] = /^\(\?([ims]+)\)(.*)$/s.exec(text) ?? [];
  let isValid = true;
  const source = rest.replace(
    /\\[\s\S]|\(\?(?:P<|<?[=!])|\[:([a-z]+):\]/g,
    (part, posix?: string) => {
      if (NOT_IN_GO.test(part)) isValid = false;
      if (part === '(?P<') return '(?<';
      if (part === '\\A') return '^';
      if (part === '\\z') return '$';
      if (posix === undefined) return part;
      return POSIX_CLASSES[posix] ?? part;
    },
  );
  try {
    return isValid ? new RegExp(source, [...new Set(flags)].join('')) : null;
  } catch {
    return null; // as Docker has it: then only the text itself is meant
  }
}

/** What can be read in several ways: repetitions, and alternatives, of which a row of some twenty takes as long. */
const CAN_TAKE_LONG = /[*+{?|]/;

const TRIALS = new Script('names.map((name) => expressions.some((one) => one.test(name)))');

/**
 * Those of `names` that are one of `texts` or hold a match of one. Throws `invalid-argument` when it takes too long.
 */
export function matchingNames(
  texts: readonly string[],
  names: readonly string[],
): ReadonlySet<string> {
  const matching = new Set(names.filter((name) => texts.includes(name)));
  const expressions = texts.map(compiled).filter((one) => one !== null);
  const rest = names.filter((name) => !matching.has(name));
  tried(texts, expressions, rest).forEach((matches, i) => {
    if (matches) matching.add(rest[i]!);
  });
  return matching;
}

function tried(
  texts: readonly string[],
  expressions: readonly RegExp[],
  names: readonly string[],
): readonly boolean[] {
  if (!texts.some((text) => CAN_TAKE_LONG.test(text))) {
    return names.map((name) => expressions.some((one) => one.test(name)));
  }
  try {
    const context = createContext({ expressions, names });
    return TRIALS.runInContext(context, { timeout: TRIALS_LIMIT_MS }) as readonly boolean[];
  } catch (cause) {
    const words = `invalid filter 'name': '${texts.join("', '")}' takes too long to be tried`;
    throw new SkepError('invalid-argument', words, { cause });
  }
}
