/** `GET /skep/net/trace?service=...&from=...`: each step of the way to a service. */
import { SkepError } from '../../common/base/errors.ts';
import type { NetworkTraceJson } from '../../common/model/engine-json/network.ts';
import { taskName } from '../../common/model/task.ts';
import type { RouteParts } from './parts.ts';
import type { Routes } from './server.ts';

export function addNetworkTraceRoutes(routes: Routes, parts: RouteParts): void {
  routes.add('GET', '/skep/net/trace', async (context) => {
    const { connectionTracer } = parts.swarm.requireManager();
    const [service, from] = ['service', 'from'].map((name) => context.query.get(name) ?? '');
    if (!service || !from) {
      throw new SkepError('invalid-argument', 'trace a connection: service and from are needed');
    }
    const trace = await connectionTracer.trace(service, from, context.signal);
    const { node, task, hops } = trace;
    const answer: NetworkTraceJson = {
      Service: trace.service.spec.name,
      NodeID: node.id,
      Hostname: node.description?.hostname ?? '',
      Task: task ? taskName(task) : '',
      Hops: hops.map(({ step, detail, faults }) => ({
        Step: step,
        Detail: detail,
        Faults: faults,
      })),
    };
    context.send(200, answer);
  });
}
