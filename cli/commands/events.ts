/** `skep events`: what happens on the host and in its cluster, line by line as it comes. */
import type { EventJson } from '../../common/model/engine-json/event.ts';
import { parseTemplate } from '../output/template.ts';
import { type Configure, collect, filterMap, printLine } from './context.ts';
import { parseInstant } from './logs.ts';

interface EventFlags {
  readonly filter?: readonly string[];
  readonly since?: string;
  readonly until?: string;
  readonly format?: string;
}

const NANOS_PER_MS = 1e6;

export const events: Configure = (command, context) => {
  command
    .option('-f, --filter <filter>', 'e.g. type=service, event=die, container=web', collect)
    .option('--since <time>', 'what is remembered since then, e.g. 2026-01-02T13:23:37Z or 42m')
    .option('--until <time>', 'end then')
    .option('--format <template>', 'json or a template')
    .action(async ({ filter, since, until, format }: EventFlags) => {
      const nowMs = context.clock.wallMs();
      const query = {
        ...(since !== undefined && { since: parseInstant(since, nowMs) }),
        ...(until !== undefined && { until: parseInstant(until, nowMs) }),
        filters: filterMap(filter),
      };
      const render = rendererOf(format);
      for await (const event of context.client.events(query, context.signal)) {
        printLine(context, render(event));
      }
    });
};

function rendererOf(format: string | undefined): (event: EventJson) => string {
  if (format === undefined) return eventText;
  if (format === 'json') return (event) => JSON.stringify(event);
  const template = parseTemplate(format, false);
  // Templates know the fields by the names that Docker's client gives them.
  return (event) =>
    template.render({
      ...event,
      Scope: event.scope,
      Time: event.time,
      TimeNano: event.timeNano,
      Status: event.status ?? '',
      ID: event.id ?? '',
      From: event.from ?? '',
    });
}

/** `2026-11-28T20:21:59.123000000Z service create abc (name=web)` */
export function eventText({ Type, Action, Actor, timeNano }: EventJson): string {
  const attributes = Object.entries(Actor.Attributes)
    .map(([name, value]) => `${name}=${value}`)
    .sort();
  const list = attributes.length === 0 ? '' : ` (${attributes.join(', ')})`;
  return `${timeText(timeNano)} ${Type} ${Action} ${Actor.ID}${list}`;
}

/** With the digits that Docker prints. A number holds the milliseconds of so many nanoseconds, not more. */
function timeText(nanos: number): string {
  return new Date(Math.round(nanos / NANOS_PER_MS)).toISOString().replace('Z', '000000Z');
}
