/** `/services/{id}/logs` and `/tasks/{id}/logs`: output of tasks, from whichever node runs them. */
import { SkepError } from '../../common/base/errors.ts';
import type { LogEvent, LogSelector } from '../../manager/logbroker/log-broker.ts';
import { streamType } from './frames.ts';
import type { RequestContext } from './http-context.ts';
import { type LogLine, logSelection, writeLogLines } from './log-lines.ts';
import { controlOf, type RouteParts } from './parts.ts';
import type { Routes } from './server.ts';

const NANOS_PER_MS = 1_000_000n;

export function addServiceLogRoutes(routes: Routes, parts: RouteParts): void {
  routes.add('GET', '/services/:id/logs', async (context) => {
    const service = await controlOf(parts).getService(context.param('id'), context.signal);
    const { tty } = service.spec.task.container;
    await sendLogs(context, parts, { kind: 'service', serviceId: service.id }, tty);
  });

  routes.add('GET', '/tasks/:id/logs', async (context) => {
    const task = await controlOf(parts).getTask(context.param('id'), context.signal);
    await sendLogs(context, parts, { kind: 'task', taskId: task.id }, task.spec.container.tty);
  });
}

async function sendLogs(
  context: RequestContext,
  parts: RouteParts,
  selector: LogSelector,
  tty: boolean,
): Promise<void> {
  const selection = logSelection(context);
  if (selection.untilNanos !== null) {
    throw new SkepError('invalid-argument', 'until is not supported for service logs');
  }
  const events = parts.swarm.requireManager().logs.read(selector, selection, context.signal);
  const out = context.stream(streamType(tty, context.apiMinor));
  await writeLogLines(out, linesOf(events, parts), selection, tty, parts.clock, context.signal);
}

async function* linesOf(
  events: AsyncIterable<LogEvent>,
  parts: RouteParts,
): AsyncIterable<LogLine> {
  for await (const event of events) {
    const { task } = event;
    const attributes = {
      'com.docker.swarm.node.id': task.nodeId ?? '',
      'com.docker.swarm.service.id': task.serviceId,
      'com.docker.swarm.task.id': task.id,
    };
    if (event.kind === 'record') {
      yield { ...event.record, attributes };
    } else {
      yield {
        timeNanos: BigInt(Math.floor(parts.clock.wallMs())) * NANOS_PER_MS,
        stream: 'stderr',
        data: Buffer.from(`warning: incomplete log stream: ${event.why}\n`),
        attributes,
      };
    }
  }
}
