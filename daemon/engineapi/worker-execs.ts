/**
 * Processes in the containers of tasks, asked for at a worker: passed on to a manager, where operators allow it
 * (`--api-exec-on-workers`, docs/decisions/0210). Knows which routes are about processes; nothing of what they do.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { ContainerInfo } from '../../worker/container-view.ts';
import type { RequestContext } from './http-context.ts';
import type { Method, Routes } from './server.ts';

/** Runs a command, and says what runs and what that takes; nothing that ends, changes or copies a container. */
const PROCESS_ROUTES: ReadonlySet<string> = new Set([
  'GET /containers/:id/json',
  'GET /containers/:id/stats',
  'GET /containers/:id/top',
  'POST /containers/:id/exec',
  'POST /exec/:id/start',
  'POST /exec/:id/resize',
  'GET /exec/:id/json',
]);

export const isAboutProcesses = (method: Method, path: string): boolean =>
  PROCESS_ROUTES.has(`${method} ${path}`);

/** Where a worker asks for what it has not itself. */
export interface FarProcesses {
  readonly isAsked: () => boolean;
  readonly passOn: (context: RequestContext) => Promise<void>;
}

export interface ProcessesForWorkersOptions {
  /** Throw `not-found` for what this node has not. */
  readonly containerOf: (reference: string) => ContainerInfo;
  readonly containerOfExec: (id: string) => ContainerInfo;
}

/**
 * Adds to `routes` those about processes, and no others: what a manager answers for workers. Containers of this node outside
 * of services are nobody's there.
 */
export function onlyProcessesOfTasks(routes: Routes, options: ProcessesForWorkersOptions): Routes {
  return {
    add: (method, path, handler) => {
      if (!isAboutProcesses(method, path)) return;
      routes.add(method, path, (context) => {
        const id = context.param('id');
        const isExec = path.startsWith('/exec/');
        requireTask(isExec ? options.containerOfExec(id) : options.containerOf(id));
        return handler(context);
      });
    },
  };
}

/** Adds to `routes`; without leave every one says how it is given. */
export function withLeave(routes: Routes, isAllowed: boolean): Routes {
  if (isAllowed) return routes;
  return {
    add: (method, path) =>
      routes.add(method, path, () => {
        const words =
          'the managers answer nothing about processes for workers: start them with --api-exec-on-workers as well';
        throw new SkepError('permission-denied', words);
      }),
  };
}

export function requireTask(info: ContainerInfo): ContainerInfo {
  if (info.task === null) throw new SkepError('not-found', `No such container: ${info.name}`);
  return info;
}
