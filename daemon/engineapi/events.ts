/** `GET /events`: what happens on this node and in its cluster, in Docker's form. */
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock, Timer } from '../../common/base/clock.ts';
import { hasCode, SkepError } from '../../common/base/errors.ts';
import type { JournalReader } from '../../common/base/journal.ts';
import { EVENT_FILTERS, eventTest } from './event-filters.ts';
import type { EventJournal, ScopedEvent } from './event-journal.ts';
import { type FarEvents, type FarEventsSource, farEventsOf } from './far-events.ts';
import { Filters } from './filters.ts';
import type { RequestContext } from './http-context.ts';
import { some } from './json/some.ts';
import { PatientWriter } from './patient-writer.ts';
import type { Routes } from './server.ts';

export interface EventRoutesOptions {
  readonly events: Pick<EventJournal, 'kept' | 'reader'>;
  readonly clock: Clock;
  /** Events of one scope alone are told. */
  readonly scope?: ScopedEvent['scope'];
  /** Where a worker reads the events of its cluster; absent = it has its own alone. */
  readonly far?: FarEventsSource;
}

const NANOS_PER_MS = 1e6;

export function addEventRoutes(routes: Routes, options: EventRoutesOptions): void {
  const { events, clock, scope, far } = options;
  routes.add('GET', '/events', async (context) => {
    const { test, ...range } = eventSelection(context);
    context.reserveStream();
    const inScope = (event: ScopedEvent): boolean => scope === undefined || event.scope === scope;
    const selection = { ...range, test: (event: ScopedEvent) => inScope(event) && test(event) };
    const farEvents = far ? await farEventsOf(far, context.query, clock, context.signal) : null;
    const out = context.stream('application/json');
    const writer = new PatientWriter(out, clock, context.signal);
    const over = abortWith(context.signal);
    try {
      await Promise.all([
        sendEvents(events, selection, writer, clock, over.signal),
        farEvents && passOnEvents(farEvents, range.untilMs, writer),
      ]);
    } finally {
      over.abort(); // the first that fails ends the other
      over.release();
    }
    out.end();
  });
}

/** Rejects with `unavailable` when they end before they are to: a stream that goes on without them would look whole. */
export async function passOnEvents(
  events: FarEvents,
  untilMs: number | null,
  writer: Pick<PatientWriter, 'write'>,
): Promise<void> {
  for await (const line of events) await writer.write(`${line}\n`);
  if (untilMs === null) {
    throw new SkepError(
      'unavailable',
      'send events: the manager that told those of the cluster ended',
    );
  }
}

export interface EventSelection {
  /** wall clock; null = from the first that is kept when there is an end, else only what comes */
  readonly sinceMs: number | null;
  /** wall clock; null = for ever */
  readonly untilMs: number | null;
  readonly test: (event: ScopedEvent) => boolean;
}

export function eventSelection(context: Pick<RequestContext, 'text'>): EventSelection {
  const [since, until] = [context.text('since'), context.text('until')];
  const [sinceMs, untilMs] = [instantMs(since), instantMs(until)];
  if (untilMs !== null && sinceMs !== null && untilMs < sinceMs) {
    throw new SkepError(
      'invalid-argument',
      `\`since\` time (${since}) cannot be after \`until\` time (${until})`,
    );
  }
  return {
    sinceMs,
    untilMs,
    test: eventTest(Filters.parse(context.text('filters'), EVENT_FILTERS)),
  };
}

/** Until the client goes or `until` is over. Rejects with `cancelled` for a client too slow. */
export async function sendEvents(
  events: Pick<EventJournal, 'kept' | 'reader'>,
  { sinceMs, untilMs, test }: EventSelection,
  writer: Pick<PatientWriter, 'write'>,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const reader = events.reader(); // before what is kept is read: nothing lies between
  const send = async (batch: readonly ScopedEvent[]): Promise<void> => {
    for (const event of batch) if (test(event)) await writer.write(`${eventLine(event)}\n`);
  };
  if (sinceMs !== null || untilMs !== null) {
    const [firstMs, lastMs] = [
      sinceMs ?? Number.NEGATIVE_INFINITY,
      untilMs ?? Number.POSITIVE_INFINITY,
    ];
    await send(events.kept().filter(({ timeMs }) => timeMs >= firstMs && timeMs <= lastMs));
  }
  const over = abortWith(signal);
  const timer: Timer | null =
    untilMs === null
      ? null
      : clock.setTimer(Math.max(0, untilMs - clock.wallMs()), () => over.abort());
  try {
    if (untilMs !== null && untilMs <= clock.wallMs()) return;
    for (;;) await send(await nextOf(reader, over.signal));
  } catch (err) {
    signal.throwIfAborted();
    if (!over.signal.aborted) throw err;
  } finally {
    timer?.cancel();
    over.release();
  }
}

/** Docker's stream has no word for events that were lost: it is cut, so that the client knows. */
async function nextOf(
  reader: JournalReader<ScopedEvent>,
  signal: AbortSignal,
): Promise<readonly ScopedEvent[]> {
  try {
    return await reader.next(signal);
  } catch (err) {
    if (!hasCode(err, 'resource-exhausted')) throw err;
    throw new SkepError('cancelled', 'send events: the client reads too slowly', { cause: err });
  }
}

/** With the fields of clients before 1.22, as Docker sends them still. */
export function eventLine(event: ScopedEvent): string {
  const { type, action, id, attributes, scope } = event;
  const timeMs = Math.floor(event.timeMs);
  const { image = '' } = attributes;
  const older =
    type === 'container' || type === 'image'
      ? { status: action, ...some('id', id), ...(type === 'container' && some('from', image)) }
      : {};
  return JSON.stringify({
    ...older,
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    scope,
    time: Math.floor(timeMs / 1000),
    timeNano: timeMs * NANOS_PER_MS,
  });
}

/** Unix seconds, with a fraction or without, as clients send them; null = not given. */
function instantMs(text: string | null): number | null {
  if (text === null || text === '') return null;
  const match = /^(\d{1,12})(?:\.(\d{1,9}))?$/.exec(text);
  if (!match) throw new SkepError('invalid-argument', `invalid time: '${text}'`);
  return Number(match[1]) * 1000 + Number((match[2] ?? '').padEnd(9, '0')) / NANOS_PER_MS;
}
