/** The output of a benchmark: one `key=value` line per figure on standard output, words on standard error. */

/** Prints a figure: whole above 100, else with three digits that count. */
export function figure(key: string, value: number): void {
  const text = value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
  process.stdout.write(`${key}=${text}\n`);
}

/** Says what is going on. */
export function say(words: string): void {
  process.stderr.write(`# ${words}\n`);
}
