/** Images: unpacking, pulling, what a registry serves a cluster, and what a second image costs. `npm run bench -- images [PART...]` */
import { pull } from './images/pull.ts';
import { second } from './images/second.ts';
import { sharing } from './images/sharing.ts';
import { unpack } from './images/unpack.ts';
import { runParts } from './support/parts.ts';

await runParts({ unpack, pull, sharing, second });
