/** Images: unpacking, pulling, loading and saving, what a registry serves a cluster, and what a second image costs. `npm run bench -- images [PART...]` */
import { archives } from './images/archives.ts';
import { pull } from './images/pull.ts';
import { second } from './images/second.ts';
import { sharing } from './images/sharing.ts';
import { unpack } from './images/unpack.ts';
import { runParts } from './support/parts.ts';

await runParts({ unpack, archives, pull, sharing, second });
