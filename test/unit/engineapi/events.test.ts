import { beforeEach, describe, expect, test } from 'vitest';
import type { EngineEvent } from '../../../common/model/engine-event.ts';
import { EVENT_FILTERS, eventTest } from '../../../daemon/engineapi/event-filters.ts';
import { EVENTS_KEPT, EventJournal } from '../../../daemon/engineapi/event-journal.ts';
import { eventLine, eventSelection, sendEvents } from '../../../daemon/engineapi/events.ts';
import { Filters } from '../../../daemon/engineapi/filters.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

let clock: FakeClock;
let journal: EventJournal;
let sent: string[];
beforeEach(() => {
  clock = new FakeClock();
  journal = new EventJournal(clock);
  sent = [];
});

const anEvent = (id: string, overrides: Partial<EngineEvent> = {}): EngineEvent => ({
  type: 'container',
  action: 'start',
  id,
  attributes: { name: `web.${id}` },
  ...overrides,
});

const query = (values: Record<string, string>) =>
  eventSelection({ text: (name) => values[name] ?? null });

function send(values: Record<string, string>, client = new AbortController()): Promise<void> {
  const writer = { write: async (line: string) => void sent.push(JSON.parse(line).Actor.ID) };
  return sendEvents(journal, query(values), writer, clock, client.signal);
}

/** Unix seconds of the clock, `ms` from now. */
const at = (ms: number): string => String((clock.wallMs() + ms) / 1000);

describe('an event', () => {
  test('of a container has the form that clients read, old ones as well', () => {
    const event = { ...anEvent('c1'), scope: 'local', timeMs: 1_764_360_000_123 } as const;
    const line = eventLine({ ...event, attributes: { image: 'web:1', name: 'web.1' } });
    expect(JSON.parse(line)).toEqual({
      status: 'start',
      id: 'c1',
      from: 'web:1',
      Type: 'container',
      Action: 'start',
      Actor: { ID: 'c1', Attributes: { image: 'web:1', name: 'web.1' } },
      scope: 'local',
      time: 1_764_360_000,
      timeNano: 1_764_360_000_123_000_000,
    });
    expect(line).toContain('"timeNano":1764360000123000000}');
  });

  test('of no object leaves out what names one, as in Docker', () => {
    const attributes = { reclaimed: '5' };
    const event = { type: 'container', action: 'prune', id: '', attributes } as const;
    expect(JSON.parse(eventLine({ ...event, scope: 'local', timeMs: 1000 }))).toEqual({
      ...{ status: 'prune', Type: 'container', Action: 'prune', scope: 'local' },
      Actor: { ID: '', Attributes: attributes },
      ...{ time: 1, timeNano: 1e9 },
    });
  });

  test('of the cluster has only the new fields', () => {
    const event = anEvent('s1', { type: 'service', action: 'create' });
    const line = eventLine({ ...event, scope: 'swarm', timeMs: 1000 });
    expect(Object.keys(JSON.parse(line))).toEqual([
      'Type',
      'Action',
      'Actor',
      'scope',
      'time',
      'timeNano',
    ]);
  });
});

describe('events', () => {
  test('without since are those that come', async () => {
    journal.tell(anEvent('before'));
    const client = new AbortController();
    const done = send({}, client);
    await settle();
    journal.tell(anEvent('after'));
    journal.tellOfCluster(anEvent('cluster'), 0);
    await settle();
    expect(sent).toEqual(['after', 'cluster']);
    client.abort(new Error('gone'));
    await expect(done).rejects.toThrow('gone');
  });

  test('since then begin with those that are kept, and miss none between', async () => {
    journal.tell(anEvent('old'));
    await clock.advance(1500);
    journal.tell(anEvent('kept'));
    const done = send({ since: at(-500), until: at(1000) });
    journal.tell(anEvent('new'));
    await clock.advance(1000);
    await done;
    expect(sent).toEqual(['kept', 'new']);
  });

  test('until a time that is past end at once', async () => {
    journal.tell(anEvent('one'));
    await clock.advance(1000);
    journal.tell(anEvent('two'));
    await send({ since: '0', until: at(-500) });
    expect(sent).toEqual(['one']);
    expect(clock.pending).toBe(0);
  });

  test('until a time begin with all that are kept, as in Docker', async () => {
    journal.tell(anEvent('one'));
    await clock.advance(1000);
    journal.tell(anEvent('two'));
    await send({ until: at(-500) });
    expect(sent).toEqual(['one']);
    const done = send({ until: at(500) });
    journal.tell(anEvent('new'));
    await clock.advance(500);
    await done;
    expect(sent).toEqual(['one', 'one', 'two', 'new']);
  });

  test('until a time that is to come end then, and leave no timer', async () => {
    const done = send({ until: at(2000) });
    await clock.advance(1999);
    journal.tell(anEvent('in time'));
    await clock.advance(1);
    await done;
    expect([sent, clock.pending]).toEqual([['in time'], 0]);
  });

  test('are cut off for a client that falls behind what is kept', async () => {
    let release = (): void => {};
    const writer = {
      write: () =>
        new Promise<void>((resolve) => {
          release = resolve;
        }),
    };
    const done = sendEvents(journal, query({}), writer, clock, new AbortController().signal);
    const cut = expect(done).rejects.toMatchObject({ code: 'cancelled' });
    await settle();
    journal.tell(anEvent('first'));
    await settle();
    for (let i = 0; i <= EVENTS_KEPT; i++) journal.tell(anEvent(`e${i}`));
    release();
    await cut;
  });

  test('refuse times and filters that mean nothing', () => {
    expect(() => query({ since: 'yesterday' })).toThrow("invalid time: 'yesterday'");
    expect(() => query({ since: '20', until: '10' })).toThrow(
      '`since` time (20) cannot be after `until` time (10)',
    );
    expect(() => query({ filters: '{"colour":["red"]}' })).toThrow("invalid filter 'colour'");
  });

  test('take a time with nanoseconds', () => {
    expect(query({ since: '1764360000.123456789' }).sinceMs).toBeCloseTo(1_764_360_000_123.457, 2);
  });
});

describe('filters of events', () => {
  const SEEN: Record<string, EngineEvent & { scope: 'local' | 'swarm' }> = {
    start: {
      ...anEvent('c100', { attributes: { name: 'web.1', image: 'reg:5000/web:2', tier: 'front' } }),
      scope: 'local',
    },
    exec: {
      ...anEvent('c200', { action: 'exec_create: sh', attributes: { name: 'db.1', image: 'db' } }),
      scope: 'local',
    },
    pull: {
      ...anEvent('web:2', { type: 'image', action: 'pull', attributes: { name: 'web' } }),
      scope: 'local',
    },
    scale: {
      ...anEvent('s100', { type: 'service', action: 'update', attributes: { name: 'web' } }),
      scope: 'swarm',
    },
  };
  const chosen = (filters: object): string[] => {
    const passes = eventTest(Filters.parse(JSON.stringify(filters), EVENT_FILTERS));
    return Object.keys(SEEN).filter((name) => passes({ ...SEEN[name]!, timeMs: 0 }));
  };

  test.each<[object, string[]]>([
    [{}, ['start', 'exec', 'pull', 'scale']],
    [{ type: { service: true } }, ['scale']],
    [{ type: ['service', 'image'] }, ['pull', 'scale']],
    [{ event: ['start'] }, ['start']],
    [{ event: ['exec_create'] }, ['exec']],
    [{ event: ['exec'] }, []],
    [{ scope: ['swarm'] }, ['scale']],
    [{ container: ['web.1'] }, ['start']],
    [{ container: ['c'] }, ['start', 'exec']],
    [{ container: ['web', 'db'] }, ['start', 'exec']],
    [{ service: ['web'] }, ['scale']],
    [{ service: ['s100'], container: ['web'] }, []],
    [{ node: ['web'] }, []],
    [{ label: ['tier=front'] }, ['start']],
    [{ label: ['tier', 'image=db'] }, []],
    [{ image: ['reg:5000/web'] }, ['start']],
    [{ image: ['reg:5000/web:2'] }, ['start']],
    [{ image: ['web'] }, ['pull']],
  ])('%j', (filters, expected) => {
    expect(chosen(filters)).toEqual(expected);
  });
});
