import { expect, test } from 'vitest';
import { addRoutes } from '../../../daemon/engineapi/routes.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import { complaintOf, skepOpenApi } from '../../support/skep-openapi.ts';

function skepRoutes(): string[] {
  const found: string[] = [];
  const routes: Routes = {
    add: (method, path) => {
      if (path.startsWith('/skep/')) found.push(`${method} ${path}`);
    },
  };
  addRoutes(routes, { worker: {}, swarm: {} } as unknown as Parameters<typeof addRoutes>[1]);
  return found;
}

const documented = Object.entries(skepOpenApi.paths).flatMap(([path, operations]) =>
  Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
);

/** `:name` stands for one part of a path, `*` for the rest. */
function isOf(route: string, operation: string): boolean {
  const pattern = route
    .split('/')
    .map((part) => (part.startsWith(':') ? '\\{\\w+\\}' : part === '*' ? '.+' : part))
    .join('/');
  return new RegExp(`^${pattern}$`).test(operation);
}

test('every route under /skep/ is described by docs/api/skep.yaml, and no other', () => {
  const routes = skepRoutes();
  expect(routes.length).toBeGreaterThan(1);
  expect(routes.filter((route) => !documented.some((one) => isOf(route, one)))).toEqual([]);
  expect(documented.filter((one) => !routes.some((route) => isOf(route, one)))).toEqual([]);
});

test.each([
  [200, { ServiceID: 'x' }, /required property 'ServiceName'/],
  [404, { message: 'no' }, /^$/],
  [404, { message: 'no', more: 1 }, /must NOT have additional properties/],
  [418, {}, /does not answer 418/],
])('an answer %i of %j is judged', (status, value, complaint) => {
  expect(complaintOf('/skep/services/{id}/explain', 'get', status, value)).toMatch(complaint);
});
