/** The Engine API under the docker command and a raw client, beside Debian's Docker. `npm run bench -- engineapi [PART...]` */
import { create } from './engineapi/create.ts';
import { idle } from './engineapi/idle.ts';
import { list } from './engineapi/list.ts';
import { logs } from './engineapi/logs.ts';
import { rate } from './engineapi/rate.ts';
import { run } from './engineapi/run.ts';
import { runParts } from './support/parts.ts';

await runParts({ idle, rate, list, create, run, logs });
