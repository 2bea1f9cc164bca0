/** Failures of the operating system in words. Apart from `errors.ts`, which uses no module of Node. */
import { getSystemErrorMap } from 'node:util';
import { describeError } from './errors.ts';

/** What the system says of a file, in the words that people know (`no such file or directory`); else its code. */
export function systemErrorWords(err: unknown): string {
  const { code } = err as NodeJS.ErrnoException;
  if (code === undefined) return describeError(err);
  for (const [name, words] of getSystemErrorMap().values()) if (name === code) return words;
  return code;
}
