/** The options of a tmpfs as `--tmpfs` and mount(8) write them. Pure. */
import { SkepError } from '../base/errors.ts';
import type { TmpfsOptions } from './service.ts';

/** A tmpfs of a container is mounted with the opposite of each (`nosuid` and so on), unless its options say it. */
export const TMPFS_FLAGS = ['suid', 'dev', 'exec'] as const;
const NUMBERS = ['uid', 'gid', 'nr_inodes'];
const NUMBER_MAX = 2 ** 32 - 2;
const MODE_MAX = 0o7777;
const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** `size=64m,mode=1770,exec,uid=1000`. Throws `invalid-argument` with Docker's words that name the option. */
export function parseTmpfsText(text: string): {
  readonly isReadOnly: boolean;
  readonly tmpfs: TmpfsOptions;
} {
  let isReadOnly = false;
  let sizeBytes = 0;
  let mode = 0;
  const own: string[] = [];
  for (const word of text.split(',').filter((one) => one !== '')) {
    const [, digits, unit = ''] = /^size=(\d+)([kmg]?)b?$/i.exec(word) ?? [];
    const [, octal = ''] = /^mode=([0-7]+)$/.exec(word) ?? [];
    const bits = Number.parseInt(octal, 8);
    if (digits !== undefined) sizeBytes = Number(digits) * (UNITS[unit.toLowerCase()] ?? 1);
    else if (bits > 0 && bits <= MODE_MAX) mode = bits;
    else if (word === 'ro' || word === 'rw') isReadOnly = word === 'ro';
    else if (word.startsWith('mode=')) throw refused(word, 'mode is octal, from 1 to 7777');
    else if (word.startsWith('size='))
      throw refused(word, 'size is a number of bytes, or one with k, m or g');
    else own.push(word);
  }
  return { isReadOnly, tmpfs: { sizeBytes, mode, options: tmpfsWords(own) } };
}

/**
 * Those of `TmpfsOptions.options`, of which a later one counts, without what is so anyway. Throws as
 * `parseTmpfsText`.
 */
export function tmpfsWords(words: readonly string[]): readonly string[] {
  const said = new Map<string, string>();
  for (const word of words) {
    const at = word.indexOf('=');
    const [key, value] = at < 0 ? [word, ''] : [word.slice(0, at), word.slice(at + 1)];
    const flag = TMPFS_FLAGS.find((name) => word === name || word === `no${name}`);
    const isNumber = NUMBERS.includes(key) && /^\d+$/.test(value) && Number(value) <= NUMBER_MAX;
    if (flag === undefined && !isNumber) {
      const known = [
        'size',
        'mode',
        'ro',
        'rw',
        ...TMPFS_FLAGS.map((name) => `[no]${name}`),
        ...NUMBERS,
      ];
      throw refused(word, `there are ${known.join(', ')}`);
    }
    said.delete(flag ?? key);
    if (word !== `no${flag}`) said.set(flag ?? key, isNumber ? `${key}=${Number(value)}` : word);
  }
  return [...said.values()];
}

function refused(word: string, reason: string): SkepError {
  const words = `invalid tmpfs option ${JSON.stringify(word)}: ${reason}`;
  return new SkepError('invalid-argument', words);
}
