/** `/skep/stacks`: what Docker's API has no word for. Their objects are made by the routes of each kind. */
import { JsonReader } from './json/reader.ts';
import { stackPlanToJson, wantedStackFromJson } from './json/stack.ts';
import { controlOf, type RouteParts } from './parts.ts';
import type { Routes } from './server.ts';

/** Of a plan: specs of some hundreds of services, and the contents of secrets and configs. */
const PLAN_BYTES_MAX = 32 * 1024 * 1024;

export function addStackRoutes(routes: Routes, parts: RouteParts): void {
  routes.add('POST', '/skep/stacks/:name/plan', async (context) => {
    const body = new JsonReader(await context.json(PLAN_BYTES_MAX));
    const wanted = wantedStackFromJson(context.param('name'), body, null);
    context.send(200, stackPlanToJson(await controlOf(parts).planStack(wanted, context.signal)));
  });
}
