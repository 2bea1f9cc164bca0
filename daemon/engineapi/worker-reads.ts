/**
 * What is asked of the cluster at a worker: passed on to a manager, where operators allow it (`--api-read-on-workers`,
 * docs/decisions/0124), and without that what tells only that something changed (0218). Knows which routes only read the cluster; nothing of what they do.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../../common/base/clock.ts';
import { SkepError } from '../../common/base/errors.ts';
import { askJson } from './ask-json.ts';
import { forward } from './forward.ts';
import type { RequestContext } from './http-context.ts';
import type { Method, Routes } from './server.ts';

export interface WorkerReadsOptions {
  /** This node is in a cluster, and no manager of it. */
  readonly isWorker: () => boolean;
  readonly nodeId: () => string;
  /** Throws `unavailable` when no manager can be reached. */
  readonly connect: (signal: AbortSignal) => Promise<Duplex>;
}

const READS = /^\/(services|tasks|nodes|secrets|configs|skep\/services|skep\/watch)(?=\/|$)/;
const NETWORKS = /^\/networks(?=\/|$)/;
/** On a worker they are added to its own: see `addEventRoutes`. */
const EVENTS = '/events';
/** Without a flag in outline: which object changed, and not to what. */
const WATCH = '/skep/watch';

/** Of managers that have not the flag. */
export const READS_REFUSED =
  'This node is not a swarm manager, and the managers answer no reads of workers: start them with --api-read-on-workers as well.';

/** Not `/swarm`: it holds the tokens with which anybody becomes a manager. */
function isClusterRead(method: Method, path: string): boolean {
  return method === 'GET' && (READS.test(path) || NETWORKS.test(path));
}

/** Adds to `routes` those that read the cluster, and no others: what a manager answers for workers. */
export function onlyClusterReads(routes: Routes): Routes {
  return {
    add: (method, path, handler) => {
      if (isClusterRead(method, path) || path === EVENTS) routes.add(method, path, handler);
    },
  };
}

/** The same of a manager that tells workers only that something changed; for the rest it says what it lacks. */
export function onlyNews(routes: Routes): Routes {
  return {
    add: (method, path, handler) => {
      if (method === 'GET' && (path === EVENTS || path === WATCH)) {
        routes.add(method, path, handler);
      } else if (isClusterRead(method, path)) {
        routes.add(method, path, () => {
          throw new SkepError('not-a-manager', READS_REFUSED);
        });
      }
    },
  };
}

/** Adds to `routes`; on a worker the watch alone is a manager's to answer. */
export function withWorkerWatch(routes: Routes, options: WorkerReadsOptions): Routes {
  const asked = withWorkerReads(routes, options);
  return {
    add: (method, path, handler) => (path === WATCH ? asked : routes).add(method, path, handler),
  };
}

/** Adds to `routes`; on a worker handlers do not hear of what a manager is asked for. */
export function withWorkerReads(routes: Routes, options: WorkerReadsOptions): Routes {
  return {
    add: (method, path, handler) => {
      if (!isClusterRead(method, path)) {
        routes.add(method, path, handler);
        return;
      }
      const isOfNetworks = NETWORKS.test(path);
      routes.add(method, path, async (context) => {
        // The node's own networks are among what is asked for, unless it says otherwise: see `addNetworkRoutes`.
        const isOwn = isOfNetworks && context.text('scope') !== 'swarm';
        if (isOwn || !options.isWorker()) await handler(context);
        else await passOn(context, options);
      });
    },
  };
}

/** A manager answers in place of this node. */
export async function passOn(context: RequestContext, options: WorkerReadsOptions): Promise<void> {
  const connection = await options.connect(context.signal);
  const target = targetOf(context.request.url ?? '/', options.nodeId());
  await forward(context, connection, target, 'a manager');
}

/** What a manager answers to the same question about networks, of those of the cluster alone. Throws as `askJson`. */
export async function clusterNetworks(
  context: RequestContext,
  { connect }: Pick<WorkerReadsOptions, 'connect'>,
  clock: Clock,
): Promise<unknown> {
  const query = new URLSearchParams(context.query);
  query.set('scope', 'swarm');
  const target = `/v1.${context.apiMinor}/networks?${query}`;
  return askJson({ connect, target, peer: 'a manager' }, clock, context.signal);
}

/** `self` is this node, not the manager. */
export function targetOf(url: string, nodeId: string): string {
  return url.replace(/^((?:\/v\d+\.\d+)?\/nodes\/)self(?=[/?]|$)/, `$1${nodeId}`);
}
