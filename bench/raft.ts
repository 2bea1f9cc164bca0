/** Consensus: throughput against etcd, fail-over, snapshots, the core alone. `npm run bench -- raft [PART...]` */
import { core } from './raft/core.ts';
import { failover } from './raft/failover.ts';
import { snapshot } from './raft/snapshot.ts';
import { throughput } from './raft/throughput.ts';
import { say } from './support/report.ts';

const PARTS: Readonly<Record<string, () => Promise<void>>> = {
  core,
  throughput,
  failover,
  snapshot,
};

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
