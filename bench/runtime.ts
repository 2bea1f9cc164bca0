/** Containers: start, adoption, exec, memory, statistics, logs, and a service of 50 tasks. `npm run bench -- runtime [PART...]` */
import { agent } from './runtime/agent.ts';
import { cluster } from './runtime/cluster.ts';
import { logs } from './runtime/logs.ts';
import { start } from './runtime/start.ts';
import { runParts } from './support/parts.ts';

await runParts({ start, agent, logs, cluster });
