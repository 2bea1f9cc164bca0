/** The control plane: scheduling, addresses, memory, agents, lost nodes. `npm run bench -- control [PART...]` */
import { agents } from './control/agents.ts';
import { allocation } from './control/allocation.ts';
import { lost } from './control/lost.ts';
import { memory } from './control/memory.ts';
import { scale, scheduling } from './control/scheduling.ts';
import { through } from './control/through-raft.ts';
import { runParts } from './support/parts.ts';

await runParts({ scheduling, scale, allocation, memory, through, agents, lost });
