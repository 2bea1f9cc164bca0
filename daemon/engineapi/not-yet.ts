/**
 * Docker's routes that skep does not have. Each is refused by its name, so that a client's user learns what
 * is missing rather than that a page was not found.
 */
import { SkepError } from '../../common/base/errors.ts';
import type { Method, Routes } from './server.ts';

/** method, path, what a client is told */
export const NOT_YET: readonly (readonly [Method, string, string])[] = [
  [
    'POST',
    '/build',
    'building images is not supported: build elsewhere, then load or push the image',
  ],
  [
    'POST',
    '/session',
    'build sessions are not supported: build elsewhere, then load or push the image',
  ],
  [
    'POST',
    '/grpc',
    'build sessions are not supported: build elsewhere, then load or push the image',
  ],
  [
    'GET',
    '/containers/:id/attach/ws',
    'attaching by WebSocket is not supported: attach by an upgrade of the connection',
  ],
  ['GET', '/images/search', 'searching registries is not supported: ask the registry itself'],
  ['PUT', '/volumes/:name', 'cluster volumes are not supported'],
  ['GET', '/plugins/*', 'plugins are not supported'],
  ['POST', '/plugins/*', 'plugins are not supported'],
  ['DELETE', '/plugins/*', 'plugins are not supported'],
];

export function addNotYetRoutes(routes: Routes): void {
  for (const [method, path, words] of NOT_YET) {
    routes.add(method, path, () => {
      throw new SkepError('unimplemented', words);
    });
  }
}
