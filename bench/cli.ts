/** The command: stack files, and how soon it says something. `npm run bench -- cli [PART...]` */
import { parse } from './cli/parse.ts';
import { plan } from './cli/plan.ts';
import { start } from './cli/start.ts';
import { say } from './support/report.ts';

const PARTS: Readonly<Record<string, () => Promise<void>>> = { parse, plan, start };

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !Object.hasOwn(PARTS, name));
if (unknown.length > 0) {
  say(`no part ${unknown.join(', ')}: there are ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}
for (const [name, run] of Object.entries(PARTS)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  say(name);
  await run();
}
process.exit(0); // helpers end with this process
