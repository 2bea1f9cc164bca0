/**
 * Containers of other nodes behind the same routes as this node's: a request that names none of this node is passed
 * on to the node that has it (lists: see `container-lists.ts`). Also which routes a node answers for managers. Knows nothing of what the routes do.
 */
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { RemoteContainer, RemoteContainers } from '../../manager/remote-containers.ts';
import { containerStartOfExec } from './exec-id.ts';
import { forward } from './forward.ts';
import type { RequestContext } from './http-context.ts';
import type { Routes } from './server.ts';
import { type FarProcesses, isAboutProcesses } from './worker-execs.ts';

export interface RemoteRoutesOptions {
  /** Of the manager here; null when there is none. */
  readonly remote: () => Pick<RemoteContainers, 'find' | 'connect'> | null;
  /** Throw `not-found` for what this node has not. */
  readonly requireContainer: (reference: string) => unknown;
  readonly requireExec: (id: string) => unknown;
  /** on a worker that may ask, who knows of processes elsewhere */
  readonly far?: FarProcesses | null;
}

export const CONTAINER_LIST = '/containers/json';

type Subject = 'containers' | 'exec';

/** What the path of a route is about, when that is one container or exec. */
function subjectOf(path: string): Subject | null {
  const match = /^\/(containers|exec)\/:id(?=\/|$)/.exec(path);
  return match ? (match[1] as Subject) : null;
}

/** Adds to `routes`; handlers hear what is this node's, and what is nobody's. */
export function withRemoteContainers(routes: Routes, options: RemoteRoutesOptions): Routes {
  return {
    add: (method, path, handler) => {
      const subject = subjectOf(path);
      if (subject === null) {
        routes.add(method, path, handler);
        return;
      }
      routes.add(method, path, async (context) => {
        const id = context.param('id');
        if (isHere(options, subject, id)) return handler(context);
        if (isAboutProcesses(method, path) && options.far?.isAsked()) {
          return options.far.passOn(context);
        }
        const container = remoteOf(options, subject, id);
        return container === null ? handler(context) : passOn(options, context, container);
      });
    },
  };
}

/** Adds to `routes` those about one container or exec, and the list of them: what managers may ask a node for. */
export function onlyContainerRoutes(routes: Routes): Routes {
  return {
    add: (method, path, handler) => {
      const isList = method === 'GET' && path === CONTAINER_LIST;
      if (isList || subjectOf(path) !== null) routes.add(method, path, handler);
    },
  };
}

function isHere(options: RemoteRoutesOptions, subject: Subject, id: string): boolean {
  try {
    if (subject === 'exec') options.requireExec(id);
    else options.requireContainer(id);
    return true;
  } catch (err) {
    return !hasCode(err, 'not-found'); // the handler tells the others
  }
}

function remoteOf(
  options: RemoteRoutesOptions,
  subject: Subject,
  id: string,
): RemoteContainer | null {
  const reference = subject === 'exec' ? containerStartOfExec(id) : id;
  return reference === null ? null : (options.remote()?.find(reference) ?? null);
}

async function passOn(
  options: RemoteRoutesOptions,
  context: RequestContext,
  container: RemoteContainer,
): Promise<void> {
  const remote = options.remote();
  if (remote === null) throw new SkepError('unavailable', 'this node is no manager any more');
  const wanted = `container ${container.containerId}`;
  const connection = await remote.connect(container, wanted, context.signal);
  const target = targetOf(context.request.url ?? '/', container.containerId);
  await forward(context, connection, target, `node ${container.hostname || container.nodeId}`);
}

/** The container by its whole id: names and the starts of ids are for the whole cluster to tell apart. */
export function targetOf(url: string, containerId: string): string {
  return url.replace(/^((?:\/v\d+\.\d+)?\/containers\/)[^/?]+/, `$1${containerId}`);
}
