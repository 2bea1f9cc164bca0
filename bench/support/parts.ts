/** A benchmark of several parts, of which some can be asked for by name. */
import { say } from './report.ts';

/** Runs the parts that the command line names, or all, and ends the process. */
export async function runParts(
  parts: Readonly<Record<string, () => Promise<void>>>,
): Promise<never> {
  const asked = process.argv.slice(2);
  const unknown = asked.filter((name) => !Object.hasOwn(parts, name));
  if (unknown.length > 0) {
    say(`no part ${unknown.join(', ')}: there are ${Object.keys(parts).join(', ')}`);
    process.exit(2);
  }
  for (const [name, run] of Object.entries(parts)) {
    if (asked.length > 0 && !asked.includes(name)) continue;
    say(name);
    await run();
  }
  process.exit(0); // helpers end with this process
}
