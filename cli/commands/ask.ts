/** Questions to the person at the terminal. */
import type { ReadStream } from 'node:tty';
import { SkepError } from '../../common/base/errors.ts';
import type { CommandContext } from './context.ts';

/** The first line of the input; not shown while it is typed. Without a terminal nothing is asked. */
export async function askSecret(context: CommandContext, question: string): Promise<string> {
  const { stdin, stderr } = context;
  const terminal = stdin as Partial<ReadStream>;
  if (!stdin.isTTY) return firstLine(context);
  stderr.write(`${question}: `);
  terminal.setRawMode?.(true);
  try {
    return await firstLine(context);
  } finally {
    terminal.setRawMode?.(false);
    stderr.write('\n');
  }
}

/** As typed, or `preset` when the line is empty. */
export async function askLine(
  context: CommandContext,
  question: string,
  preset: string,
): Promise<string> {
  context.stderr.write(preset === '' ? `${question}: ` : `${question} (${preset}): `);
  return (await firstLine(context)) || preset;
}

/** Whether the answer is yes; an empty one is no. @param warning what is about to happen, as whole sentences */
export async function askWhetherToContinue(
  context: CommandContext,
  warning: string,
): Promise<boolean> {
  const question = `${warning}\nAre you sure you want to continue? [y/N]`;
  return /^y(es)?$/i.test(await askLine(context, question, ''));
}

async function firstLine({ stdin }: CommandContext): Promise<string> {
  let text = '';
  // The input stays open: there may be a second question.
  for await (const chunk of stdin.iterator({ destroyOnReturn: false })) {
    text += (chunk as Buffer | string).toString();
    if (/[\r\n\u0003\u0004]/.test(text)) break; // a raw terminal sends Ctrl-C and Ctrl-D as they are
  }
  if (text.includes('\u0003')) throw new SkepError('cancelled', 'read from terminal: cancelled');
  return (text.split(/[\r\n\u0004]/)[0] ?? '').trim();
}
