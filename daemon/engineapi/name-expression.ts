/**
 * Regular expressions of the filter `name`, in Go's syntax (RE2) as Docker takes them. Pure.
 *
 * Go's engine is linear, ours tries again and again: an expression of bad will would hold up the whole daemon, so that
 * each trial has an end.
 */
import { createContext, Script } from 'node:vm';
import { SkepError } from '../../common/base/errors.ts';

/** For one name; any that is meant takes microseconds. */
const TRIAL_LIMIT_MS = 100;

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

const TRIAL = new Script('expression.test(name)');

/** True for names that hold a match of `text`, or that are `text`. The test throws `invalid-argument` when it takes too long. */
export function nameTest(text: string): (name: string) => boolean {
  const expression = compiled(text);
  if (expression === null) return (name) => name === text;
  const canTakeLong = /[*+{?]/.test(text);
  const context = canTakeLong ? createContext({ expression, name: '' }) : null;
  return (name) => {
    if (name === text) return true;
    if (context === null) return expression.test(name);
    context['name'] = name;
    try {
      return TRIAL.runInContext(context, { timeout: TRIAL_LIMIT_MS }) as boolean;
    } catch (cause) {
      const words = `invalid filter 'name': '${text}' takes too long to be tried`;
      throw new SkepError('invalid-argument', words, { cause });
    }
  };
}
