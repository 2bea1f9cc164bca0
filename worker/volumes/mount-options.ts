/** The options of a tmpfs and of the local volume driver, parsed and refused by name. Pure. */
import { SkepError } from '../../common/base/errors.ts';

/** null = the kernel's default (half of the memory; mode 1777). */
export interface TmpfsOptions {
  readonly sizeBytes: number | null;
  /** permission bits, 0..0o7777 */
  readonly mode: number | null;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** `64m`, `1g`, `4096`, `64MB` (binary units, as Docker). Throws `invalid-argument`. */
export function parseSizeBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([bkmg]?)i?b?$/i.exec(text.trim());
  const bytes = match ? Math.floor(Number(match[1]) * UNITS[match[2]!.toLowerCase()]!) : Number.NaN;
  if (!Number.isSafeInteger(bytes)) {
    throw new SkepError('invalid-argument', `parse size ${JSON.stringify(text)}: not a size`);
  }
  return bytes;
}

/** `size=64m,mode=1770` (`docker run --tmpfs`). Throws `invalid-argument` naming the option. */
export function parseTmpfsOptions(text: string): TmpfsOptions {
  let sizeBytes: number | null = null;
  let mode: number | null = null;
  for (const option of text.split(',').filter((o) => o !== '')) {
    const equals = option.indexOf('=');
    const key = equals < 0 ? option : option.slice(0, equals);
    const value = equals < 0 ? '' : option.slice(equals + 1);
    if (key === 'size') sizeBytes = parseSizeBytes(value);
    else if (key === 'mode') mode = parseMode(value);
    else if (!['rw', 'nosuid', 'nodev', 'noexec'].includes(key)) {
      throw new SkepError('invalid-argument', `tmpfs option ${key}: not supported`);
    }
  }
  return { sizeBytes, mode };
}

function parseMode(text: string): number {
  if (!/^[0-7]{1,5}$/.test(text) || Number.parseInt(text, 8) > 0o7777) {
    throw new SkepError('invalid-argument', `tmpfs mode ${JSON.stringify(text)}: not octal`);
  }
  return Number.parseInt(text, 8);
}

/** Throws `not-found` for another driver. */
export function requireLocalDriver(driver: string): void {
  if (driver === '' || driver === 'local') return;
  throw new SkepError('not-found', `create volume: plugin ${JSON.stringify(driver)} not found`);
}
