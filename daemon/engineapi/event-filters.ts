/** Docker's filters of events. Names AND, values of a name OR, labels AND. */
import type { ScopedEvent } from './event-journal.ts';
import type { Filters } from './filters.ts';

/** Filters that name an object: the type of their events, and how it may be named. */
const OBJECTS = [
  'container',
  'volume',
  'network',
  'node',
  'service',
  'secret',
  'config',
  'plugin',
  'daemon',
] as const;
export const EVENT_FILTERS: readonly string[] = [
  'type',
  'event',
  'scope',
  'label',
  'image',
  ...OBJECTS,
];
/** Actions that go on after their name with what was done: `exec_create: sh`. */
const OPEN_ACTIONS = ['health_status', 'exec_create', 'exec_start'];

export function eventTest(filters: Filters): (event: ScopedEvent) => boolean {
  return (event) =>
    filters.any('type', (type) => type === event.type) &&
    filters.any('event', (action) => isAction(event.action, action)) &&
    filters.any('scope', (scope) => scope === event.scope) &&
    filters.labels('label', event.attributes) &&
    filters.any('image', (image) => isOfImage(event, image)) &&
    OBJECTS.every((type) => filters.any(type, (ref) => isOf(event, type, ref)));
}

function isAction(action: string, wanted: string): boolean {
  if (action === wanted) return true;
  return OPEN_ACTIONS.includes(wanted) && action.startsWith(`${wanted}:`);
}

/** By a prefix of its id or name, as in Docker. */
function isOf({ type, id, attributes }: ScopedEvent, wanted: string, ref: string): boolean {
  if (type !== wanted) return false;
  return id.startsWith(ref) || (attributes['name'] ?? '').startsWith(ref);
}

/** Of the image itself, and of containers made from it; with the tag or without. */
function isOfImage({ type, id, attributes }: ScopedEvent, wanted: string): boolean {
  if (type !== 'image' && type !== 'container') return false;
  const name = attributes[type === 'image' ? 'name' : 'image'] ?? '';
  const names = [name, withoutTag(name), ...(type === 'image' ? [id, withoutTag(id)] : [])];
  return names.includes(wanted);
}

function withoutTag(reference: string): string {
  const name = reference.split('@')[0]!;
  const colon = name.lastIndexOf(':');
  return colon > name.lastIndexOf('/') ? name.slice(0, colon) : name;
}
