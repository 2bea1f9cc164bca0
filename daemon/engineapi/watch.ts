/**
 * `GET /skep/watch`: every change of the cluster's objects as server-sent events, from a revision on. One
 * event for each commit; its id is the revision from which a client that was cut off goes on, on any manager.
 */
import { abortWith } from '../../common/base/abort-with.ts';
import type { Clock } from '../../common/base/clock.ts';
import { describeError, hasCode, SkepError } from '../../common/base/errors.ts';
import { TurnBudget } from '../../common/base/turn-budget.ts';
import type { Network } from '../../common/model/network.ts';
import { OBJECT_KINDS, type ObjectKind } from '../../common/model/object-kinds.ts';
import type { ClusterWatch, WatchAction, WatchFilters } from '../../manager/controlapi/watch.ts';
import type { Commit } from '../../manager/store/types.ts';
import { Filters } from './filters.ts';
import type { RequestContext } from './http-context.ts';
import { commitToJson, commitToOutline } from './json/change.ts';
import { controlOf, type RouteParts } from './parts.ts';
import { PatientWriter } from './patient-writer.ts';
import type { Routes } from './server.ts';

const WATCH_FILTERS = ['kind', 'action', 'id', 'name', 'label', 'service', 'node'];
const ACTIONS: readonly WatchAction[] = ['create', 'update', 'remove'];
/** Proxies and clients take a connection that is silent for a minute for dead. */
const KEEP_ALIVE_MS = 15_000;

/** @param options `inOutline`: which objects changed, and not to what */
export function addWatchRoutes(
  routes: Routes,
  parts: RouteParts,
  { inOutline }: { readonly inOutline: boolean } = { inOutline: false },
): void {
  routes.add('GET', '/skep/watch', async (context) => {
    const filters = watchFilters(context.text('filters'));
    const from = fromRevision(context);
    context.reserveStream();
    const control = controlOf(parts);
    const { store } = parts.swarm.requireManager();
    const networkOf = (id: string): Network | undefined =>
      store.view((view) => view.get('network', id));
    const watch = await control.watch(filters, from, context.signal);
    try {
      const withPrevious = context.flag('previous');
      const toJson = (commit: Commit): object =>
        inOutline ? commitToOutline(commit) : commitToJson(commit, withPrevious, networkOf);
      context.response.setHeader('Cache-Control', 'no-store');
      const out = context.stream('text/event-stream');
      const writer = new PatientWriter(out, parts.clock, context.signal);
      await sendChanges(watch, toJson, writer, parts.clock, context.signal);
      out.end();
    } finally {
      watch.close();
    }
  });
}

/** Until the watch ends; with an `error` event for one that cannot go on. */
export async function sendChanges(
  watch: ClusterWatch,
  toJson: (commit: Commit) => object,
  writer: Pick<PatientWriter, 'write'>,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const budget = new TurnBudget(clock);
  await writer.write(sseEvent('ready', watch.revision, { Revision: watch.revision }));
  let silentUntilMs = clock.monotonicMs() + KEEP_ALIVE_MS;
  try {
    for (;;) {
      const leftMs = silentUntilMs - clock.monotonicMs();
      const commits = leftMs > 0 ? await nextWithin(watch, leftMs, clock, signal) : [];
      if (commits === null) return;
      budget.begin();
      for (const commit of commits) {
        if (budget.spent) await budget.renew();
        await writer.write(sseEvent('commit', commit.revision, toJson(commit)));
      }
      // An id without data moves the place from which the client goes on, and is no event to it.
      if (leftMs <= 0) await writer.write(`id: ${watch.revision}\n\n`);
      else if (commits.length === 0) continue;
      silentUntilMs = clock.monotonicMs() + KEEP_ALIVE_MS;
    }
  } catch (err) {
    if (!hasCode(err, 'compacted')) throw err;
    const data = { Code: err.code, Message: describeError(err), ...err.details };
    await writer.write(`event: error\ndata: ${JSON.stringify(data)}\n\n`);
  }
}

/** What comes in `limitMs`; nothing when that is over. */
async function nextWithin(
  watch: ClusterWatch,
  limitMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<readonly Commit[] | null> {
  const over = abortWith(signal);
  const timer = clock.setTimer(limitMs, () => over.abort());
  try {
    return await watch.next(over.signal);
  } catch (err) {
    signal.throwIfAborted();
    if (over.signal.aborted) return [];
    throw err;
  } finally {
    timer.cancel();
    over.release();
  }
}

function sseEvent(name: string, id: number, data: object): string {
  return `id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** What a client that reconnects says of itself stands before what its address says. */
function fromRevision(context: RequestContext): number | undefined {
  const last = context.request.headers['last-event-id'];
  const text = typeof last === 'string' && last !== '' ? last : context.text('from');
  if (text === null || text === '') return undefined;
  const revision = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(revision)) return revision;
  throw new SkepError('invalid-argument', `watch: '${text}' is no revision to go on from`);
}

export function watchFilters(text: string | null): WatchFilters {
  const filters = Filters.parse(text, WATCH_FILTERS);
  return {
    kinds: filters.get('kind').map((kind) => oneOf('kind', kind, OBJECT_KINDS) as ObjectKind),
    actions: filters.get('action').map((action) => oneOf('action', action, ACTIONS)),
    ids: filters.get('id'),
    names: filters.get('name'),
    labels: filters.get('label'),
    services: filters.get('service'),
    nodes: filters.get('node'),
  };
}

function oneOf<T extends string>(filter: string, value: string, known: readonly T[]): T {
  const found = known.find((candidate) => candidate === value);
  if (found) return found;
  throw new SkepError(
    'invalid-argument',
    `invalid filter '${filter}=${value}': it is one of ${known.join(', ')}`,
  );
}
