/**
 * Docker's routes that skep has not yet. Each is refused by its name, so that a client's user learns what
 * is missing rather than that a page was not found.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { Method, Routes } from './server.ts';

/** method, path, what the route would do */
export const NOT_YET: readonly (readonly [Method, string, string])[] = [
  ['POST', '/build', 'building images'],
  ['POST', '/build/prune', 'building images'],
  ['POST', '/session', 'build sessions'],
  ['GET', '/images/search', 'searching registries'],
  ['PUT', '/volumes/:name', 'updating cluster volumes'],
  ['GET', '/plugins/*', 'managing plugins'],
  ['POST', '/plugins/*', 'managing plugins'],
  ['DELETE', '/plugins/*', 'managing plugins'],
];

export function addNotYetRoutes(routes: Routes): void {
  for (const [method, path, what] of NOT_YET) {
    routes.add(method, path, () => {
      throw new SkepError('unimplemented', `${what} is not supported yet`);
    });
  }
}
