/** Consensus: throughput against etcd, fail-over, snapshots, the core alone. `npm run bench -- raft [PART...]` */
import { core } from './raft/core.ts';
import { failover } from './raft/failover.ts';
import { snapshot } from './raft/snapshot.ts';
import { throughput } from './raft/throughput.ts';
import { runParts } from './support/parts.ts';

await runParts({ core, throughput, failover, snapshot });
