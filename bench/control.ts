/** The control plane: scheduling, addresses, memory. `npm run bench -- control [PART...]` */
import { allocation } from './control/allocation.ts';
import { memory } from './control/memory.ts';
import { scale, scheduling } from './control/scheduling.ts';
import { runParts } from './support/parts.ts';

await runParts({ scheduling, scale, allocation, memory });
