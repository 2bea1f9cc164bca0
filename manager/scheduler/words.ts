/** Amounts in the words of explanations. */

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** To two digits: `down` for what may be used, `up` for what is needed at least, so that who takes it by its word is right. */
export type Rounding = 'nearest' | 'down' | 'up';

/** `512 MiB`, `1.50 GiB`: the largest unit that leaves at least 1. */
export function bytesInWords(bytes: number, rounding: Rounding = 'nearest'): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const words = Number.isInteger(value) ? value : twoDigits(ROUND[rounding](value * 100));
  return `${words} ${UNITS[unit]}`;
}

/** CPUs with two digits, `0.50`. */
export function cpusInWords(nanoCpus: number, rounding: Rounding = 'nearest'): string {
  return twoDigits(ROUND[rounding](nanoCpus / 1e7));
}

const ROUND = { nearest: Math.round, down: Math.floor, up: Math.ceil } as const;

/** @param hundredths a whole number: fractions of ten are none of two, and would be cut by one too many */
function twoDigits(hundredths: number): string {
  return (hundredths / 100).toFixed(2);
}
