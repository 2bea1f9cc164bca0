/**
 * The network of a node: paths between tasks and into the cluster, programming, attaching, names, and how soon
 * a dead task's endpoint is gone. `npm run bench -- network [PART...]`
 */
import { attach } from './network/attach.ts';
import { death } from './network/death.ts';
import { dns } from './network/dns.ts';
import { paths } from './network/paths.ts';
import { programming } from './network/programming.ts';
import { runParts } from './support/parts.ts';

await runParts({ paths, programming, attach, dns, death });
