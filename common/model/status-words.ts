/** What people read of a task's status: errors may quote whole files, and are copied to managers and clients. */
import type { TaskStatus } from './task.ts';

/** Of a message, and of an error. */
const WORDS_CHARS_MAX = 16 * 1024;

/** With words that are longer cut; else the same object. */
export function withShortWords(status: TaskStatus): TaskStatus {
  const { message, err } = status;
  if (message.length <= WORDS_CHARS_MAX && err.length <= WORDS_CHARS_MAX) return status;
  return { ...status, message: short(message), err: short(err) };
}

function short(words: string): string {
  return words.length <= WORDS_CHARS_MAX ? words : `${words.slice(0, WORDS_CHARS_MAX - 1)}…`;
}
