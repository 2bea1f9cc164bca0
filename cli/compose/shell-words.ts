/** Splits a command line into words as a shell would: quotes and backslashes, no expansion. */
import { SkepError } from '../../common/base/errors.ts';

/** Throws `invalid-argument` for an unclosed quote. */
export function splitShellWords(text: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote: '"' | "'" | null = null;
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (quote !== null) {
      if (char === quote) quote = null;
      else if (char === '\\' && quote === '"' && '"\\$`'.includes(text[at + 1] ?? ' ')) {
        word += text[++at]!;
      } else word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (char === '\\') {
      word = (word ?? '') + (text[++at] ?? '');
    } else if (/\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? '') + char;
  }
  if (quote !== null) {
    throw new SkepError(
      'invalid-argument',
      `invalid command line: ${quote} is not closed: ${text}`,
    );
  }
  if (word !== null) words.push(word);
  return words;
}
