/** Amounts in the words of explanations. */

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `512 MiB`, `1.50 GiB`: the largest unit that leaves at least 1. */
export function bytesInWords(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(2)} ${UNITS[unit]}`;
}

/** CPUs with two digits, `0.50`. */
export function cpusInWords(nanoCpus: number): string {
  return (nanoCpus / 1e9).toFixed(2);
}
