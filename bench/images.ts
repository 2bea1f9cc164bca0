/** Images: unpacking, pulling, and what a registry serves a cluster. `npm run bench -- images [PART...]` */
import { pull } from './images/pull.ts';
import { sharing } from './images/sharing.ts';
import { unpack } from './images/unpack.ts';
import { runParts } from './support/parts.ts';

await runParts({ unpack, pull, sharing });
